from __future__ import annotations

import asyncio

import pytest

from aisquad_core.state.finishing import finish


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
