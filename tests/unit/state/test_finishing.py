from __future__ import annotations

import asyncio

import pytest

from aisquad_core.state.finishing import finish, unbroken


async def test_who_is_cancelled_waits_for_the_end_and_is_cancelled_then() -> None:
    loop = asyncio.get_running_loop()
    written: asyncio.Future[None] = loop.create_future()
    is_waiting = asyncio.Event()

    async def leave() -> None:
        is_waiting.set()
        await finish((written,))

    async with asyncio.TaskGroup() as tasks:
        leaving = tasks.create_task(leave())
        await is_waiting.wait()
        leaving.cancel()
        await asyncio.sleep(0)
        assert not leaving.done()
        written.set_result(None)
    assert leaving.cancelled()


async def test_what_never_ends_is_not_waited_for_beyond_the_bound() -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    await finish((never,), within_s=0.01)
    assert not never.done()


async def test_how_a_future_ends_is_the_callers_to_look_at() -> None:
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    failed.set_exception(ValueError("no"))
    await finish((failed,))
    with pytest.raises(ValueError, match="no"):
        failed.result()


async def test_work_is_done_to_its_end_also_for_who_is_cancelled() -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    done: list[int] = []

    async def work() -> None:
        begun.set()
        await go.wait()
        done.append(1)

    async with asyncio.TaskGroup() as tasks:
        doing = tasks.create_task(unbroken(work()))
        await begun.wait()
        doing.cancel()
        await asyncio.sleep(0)
        assert not doing.done()
        go.set()
    assert doing.cancelled()
    assert done == [1]


async def test_what_work_returns_or_raises_is_the_callers() -> None:
    async def work(number: int) -> float:
        await asyncio.sleep(0)
        return 1 / number

    assert await unbroken(work(2)) == 0.5
    with pytest.raises(ZeroDivisionError):
        await unbroken(work(0))
