"""What the crossing to an engine on another thread must do beyond the contract."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import pytest

from aisquad_core.api import Resized, Snapshot
from aisquad_core.embedded import EmbeddedEngine
from aisquad_core.errors import EngineRunningError, EngineStoppedError
from aisquad_core.testing import FakeEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from aisquad_core.api import EngineAPI, Event

BOUND_S = 10


class Inside:
    """The engine's side of the crossing, as a factory."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.engine: FakeEngine
        self.fault = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[EngineAPI]:
        self.threads.append(threading.current_thread())
        self.loop = asyncio.get_running_loop()
        async with FakeEngine() as self.engine, asyncio.TaskGroup() as tasks:
            failing = tasks.create_task(self._fail())
            yield self.engine
            failing.cancel()

    async def _fail(self) -> None:
        await self.fault.wait()
        raise ZeroDivisionError("the engine's own mistake")

    def do(self, action: Callable[[], object]) -> None:
        """Do something on the engine's loop, soon."""
        self.loop.call_soon_threadsafe(action)


@pytest.fixture
def inside() -> Iterator[Inside]:
    before = threading.active_count()
    made = Inside()
    yield made
    assert [thread for thread in made.threads if thread.is_alive()] == []
    pool = [thread for thread in threading.enumerate() if thread.name.startswith("asyncio_")]
    assert threading.active_count() - len(pool) <= before


async def seqs(stream: AsyncIterator[Snapshot | Event], count: int) -> list[int]:
    async with asyncio.timeout(BOUND_S):
        return [(await anext(stream)).seq for _ in range(count)]


async def test_the_engine_lives_and_ends_on_a_thread_of_its_own(inside: Inside) -> None:
    embedded = EmbeddedEngine(inside)
    async with embedded as api:
        snapshot = await api.snapshot()
        assert snapshot.engine.phase == "running"
        assert inside.threads[0] is not threading.current_thread()
        assert inside.threads[0].is_alive()
    with pytest.raises(EngineStoppedError) as raised:
        await embedded.snapshot()
    assert raised.value.__cause__ is None


async def test_a_blocked_engine_does_not_hold_up_the_callers_loop(inside: Inside) -> None:
    released = threading.Event()
    async with EmbeddedEngine(inside) as api, asyncio.timeout(BOUND_S):
        inside.do(lambda: released.wait(BOUND_S))
        async with asyncio.TaskGroup() as tasks:
            answer = tasks.create_task(api.snapshot())
            await asyncio.sleep(0)
            released.set()  # reached only if this loop goes on while the engine's stands
        assert answer.result().engine.phase == "running"


async def test_many_calls_at_once_are_all_answered(inside: Inside) -> None:
    async with EmbeddedEngine(inside) as api, asyncio.timeout(BOUND_S):
        async with asyncio.TaskGroup() as tasks:
            answers = [tasks.create_task(api.set_parallelism(size)) for size in range(1, 201)]
        assert [answer.result() for answer in answers] == list(range(1, 201))


def test_another_loop_can_call_it_too(inside: Inside) -> None:
    async def own() -> None:
        async with EmbeddedEngine(inside) as api:
            other = asyncio.to_thread(lambda: asyncio.run(api.set_parallelism(7)))
            assert await other == 7

    asyncio.run(own())


def test_it_can_be_left_from_another_loop_than_it_was_entered_from(inside: Inside) -> None:
    embedded = EmbeddedEngine(inside)

    async def follow() -> list[int]:
        async with embedded.subscribe() as stream:
            return await seqs(stream, 1)

    async def leave() -> None:
        await embedded.__aexit__(None, None, None)

    asyncio.run(embedded.__aenter__())
    assert asyncio.run(embedded.set_parallelism(7)) == 7
    assert len(asyncio.run(follow())) == 1
    asyncio.run(leave())
    assert not inside.threads[0].is_alive()


def test_a_failure_while_no_loop_waits_is_told_when_it_is_left(inside: Inside) -> None:
    embedded = EmbeddedEngine(inside)

    async def enter() -> None:
        await embedded.__aenter__()

    async def leave() -> None:
        inside.do(inside.fault.set)
        await embedded.__aexit__(None, None, None)

    asyncio.run(enter())
    with pytest.raises(EngineStoppedError) as raised:
        asyncio.run(leave())
    assert "own mistake" in str(raised.value)


async def test_an_engine_that_cannot_be_entered_raises_its_own_error(tmp_path: Path) -> None:
    class Refusing(FakeEngine):
        async def __aenter__(self) -> Self:
            raise EngineRunningError(tmp_path, 123)

    with pytest.raises(EngineRunningError, match="123"):
        async with EmbeddedEngine(Refusing):
            pytest.fail("entered")


async def test_a_factory_that_raises_raises_its_own_error() -> None:
    def refuse() -> FakeEngine:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with EmbeddedEngine(refuse):
            pytest.fail("entered")


async def test_giving_up_while_it_is_entered_gives_up_there_too() -> None:
    entering, given_up = threading.Event(), threading.Event()

    @asynccontextmanager
    async def hang() -> AsyncIterator[EngineAPI]:
        entering.set()
        try:
            await asyncio.Event().wait()
            yield FakeEngine()
        finally:
            given_up.set()

    async def enter() -> None:
        async with EmbeddedEngine(hang):
            pytest.fail("entered")

    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(enter())
        await asyncio.to_thread(entering.wait, BOUND_S)
        waiting.cancel()
    assert waiting.cancelled()
    assert given_up.is_set()


@pytest.mark.parametrize("rounds", [0, 1, 200])
async def test_a_cancelled_call_is_cancelled_there_before_the_caller_goes_on(
    inside: Inside, rounds: int
) -> None:
    began, ended = threading.Event(), threading.Event()

    async def linger(_: EngineAPI) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            ended.set()

    async with EmbeddedEngine(inside) as api, asyncio.timeout(BOUND_S):
        async with asyncio.TaskGroup() as tasks:
            calling = tasks.create_task(api.call(linger))
            for _ in range(rounds):
                await asyncio.sleep(0)
            calling.cancel()
            await asyncio.wait([calling])
        assert calling.cancelled()
        assert ended.is_set() == began.is_set()


async def test_an_impatient_caller_still_waits_for_the_end_there(inside: Inside) -> None:
    began, ended = threading.Event(), threading.Event()

    async def linger(_: EngineAPI) -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)  # ended early by a second cancellation, if one came across
            ended.set()

    async with EmbeddedEngine(inside) as api, asyncio.timeout(BOUND_S):
        async with asyncio.TaskGroup() as tasks:
            calling = tasks.create_task(api.call(linger))
            await asyncio.to_thread(began.wait, BOUND_S)
            for _ in range(5):
                calling.cancel()
                await asyncio.sleep(0)
            await asyncio.wait([calling])
        assert calling.cancelled()
        assert ended.is_set()


async def test_a_timeout_around_a_call_is_a_timeout(inside: Inside) -> None:
    async with EmbeddedEngine(inside) as api:
        convoy = await api.call(lambda _: _add_convoy(inside.engine))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await api.wait([convoy])
        assert (await api.snapshot()).convoys[0].id == convoy


async def _add_convoy(engine: FakeEngine) -> str:
    from aisquad_core.model import Operation

    return engine.add_convoy("c", [Operation(id="a", argv=("sleep", "60"))])


async def test_a_failure_of_the_engine_reaches_every_caller_and_the_end(inside: Inside) -> None:
    refused: list[EngineStoppedError] = []

    async def expect_refusal(api: EmbeddedEngine, convoy: str) -> None:
        with pytest.raises(EngineStoppedError) as raised:
            await api.wait([convoy])
        refused.append(raised.value)

    async def live(embedded: EmbeddedEngine) -> None:
        async with embedded as api, asyncio.timeout(BOUND_S), asyncio.TaskGroup() as tasks:
            convoy = await api.call(lambda _: _add_convoy(inside.engine))
            tasks.create_task(expect_refusal(api, convoy))
            await asyncio.sleep(0)
            inside.do(inside.fault.set)

    embedded = EmbeddedEngine(inside)
    with pytest.raises(EngineStoppedError, match="mistake") as raised:
        await live(embedded)
    with pytest.raises(EngineStoppedError) as later:
        await embedded.snapshot()
    assert len(refused) == 1
    for error in (raised.value, later.value):
        cause = error.__cause__
        assert isinstance(cause, ExceptionGroup)
        assert isinstance(cause.exceptions[0], ZeroDivisionError)


async def test_a_failure_of_the_engine_leaves_no_reader_waiting(inside: Inside) -> None:
    async def read() -> None:
        async with EmbeddedEngine(inside) as api, api.subscribe() as stream:
            async with asyncio.timeout(BOUND_S):
                await anext(stream)
                inside.do(inside.fault.set)
                _ = [one async for one in stream]

    with pytest.raises(EngineStoppedError, match="mistake"):
        await read()


async def test_a_call_that_would_outlive_the_engine_is_ended_with_it(inside: Inside) -> None:
    began = threading.Event()

    async def linger(_: EngineAPI) -> None:
        began.set()
        await asyncio.Event().wait()

    async def expect_refusal(api: EmbeddedEngine) -> None:
        with pytest.raises(EngineStoppedError):
            await api.call(linger)

    async with (
        asyncio.timeout(BOUND_S),
        asyncio.TaskGroup() as tasks,
        EmbeddedEngine(inside) as api,
    ):
        tasks.create_task(expect_refusal(api))
        await asyncio.to_thread(began.wait, BOUND_S)


async def test_a_bodys_own_exception_comes_out_as_it_is(inside: Inside) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with EmbeddedEngine(inside):
            raise KeyError("mine")


async def test_leaving_is_waited_for_though_the_caller_is_cancelled(inside: Inside) -> None:
    is_leaving, has_left = threading.Event(), threading.Event()

    @asynccontextmanager
    async def slow_to_leave() -> AsyncIterator[EngineAPI]:
        async with inside() as api:
            yield api
            is_leaving.set()
            await asyncio.sleep(0.05)
            has_left.set()

    async def visit() -> None:
        async with EmbeddedEngine(slow_to_leave):
            pass

    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as tasks:
        visiting = tasks.create_task(visit())
        await asyncio.to_thread(is_leaving.wait, BOUND_S)
        visiting.cancel()
        await asyncio.wait([visiting])
    assert visiting.cancelled()
    assert has_left.is_set()
    assert not inside.threads[0].is_alive()


async def test_a_stream_ends_with_the_engine(inside: Inside) -> None:
    async with EmbeddedEngine(inside) as api, api.subscribe() as stream:
        await api.set_parallelism(3)
        await api.stop()
        async with asyncio.timeout(BOUND_S):
            news = [one async for one in stream]
        assert isinstance(news[0], Snapshot)
        assert any(isinstance(one, Resized) for one in news)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_a_stream_read_after_the_engine_was_left_has_ended(inside: Inside) -> None:
    async with EmbeddedEngine(inside) as api:
        subscription = api.subscribe()
        stream = await subscription.__aenter__()
    assert [one async for one in stream] == []
    await subscription.__aexit__(None, None, None)


async def test_a_cancelled_read_loses_nothing(inside: Inside) -> None:
    async with EmbeddedEngine(inside) as api, api.subscribe() as stream, asyncio.timeout(BOUND_S):
        taken = await seqs(stream, 1)
        for size in range(1, 101):
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(seqs(stream, 1))
                for _ in range(size % 7):
                    await asyncio.sleep(0)
                inside.do(lambda size=size: inside.engine.resize(10 + size))  # type: ignore[misc]
                reading.cancel()
                await asyncio.wait([reading])
            if not reading.cancelled():
                taken += reading.result()
        await api.stop()
        taken += [one.seq async for one in stream]
    assert taken[:101] == list(range(101))


async def test_a_slow_reader_leaves_no_more_than_the_hub_keeps(inside: Inside) -> None:
    def be_busy() -> None:
        for size in range(1, 10_001):
            inside.engine.resize(10 + size)
            inside.engine.set_load(size % 100, 50.0)

    async with EmbeddedEngine(inside) as api, api.subscribe() as stream:
        assert await seqs(stream, 1) == [0]
        inside.do(be_busy)
        await api.stop()
        news = [one async for one in stream]
    assert len(news) <= 64 + 3
    assert news[-1].seq == inside.engine.hub.seq


async def test_leaving_a_stream_unsubscribes(inside: Inside) -> None:
    async with EmbeddedEngine(inside) as api:
        async with api.subscribe():
            assert inside.engine.hub.has_subscribers
        for rounds in range(30):
            async with asyncio.TaskGroup() as tasks:
                subscribing = tasks.create_task(api.subscribe().__aenter__())
                for _ in range(rounds):
                    await asyncio.sleep(0)
                subscribing.cancel()
                await asyncio.wait([subscribing])
                if not subscribing.cancelled():
                    break
            assert not inside.engine.hub.has_subscribers
