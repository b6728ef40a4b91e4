from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from aisquad_core.errors import EngineSilentError, EngineStoppedError
from aisquad_core.model import Operation
from aisquad_core.testing import FakeClock, FakeEngine
from aisquad_tui.bridge import FRAME_S, Bridge
from aisquad_tui.store import Part

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aisquad_core.api import EngineAPI, Event, Snapshot
    from aisquad_tui.store import Frame

_TICK_S = FRAME_S / 10


class _Carried:
    """A bridge that is running, and the frames that came over it."""

    def __init__(self, engine: FakeEngine, *, source: EngineAPI | None = None) -> None:
        self.engine = engine
        self.clock = engine.clock
        self.frames: list[Frame] = []
        self.bridge = Bridge(
            source or engine,
            self.clock,
            self.frames.append,
            sleep=self.clock.sleep,
            is_lasting=source is not None,
        )


class _Coming(FakeEngine):
    """What is asked instead of an engine that may be away."""

    def __init__(self, present: FakeEngine | None) -> None:
        super().__init__()
        self.present = present
        self.absence = EngineStoppedError("away")
        self.asked = 0

    @asynccontextmanager
    async def subscribe(
        self, since: int | None = None
    ) -> AsyncIterator[AsyncIterator[Snapshot | Event]]:
        self.asked += 1
        if self.present is None:
            raise self.absence
        async with self.present.subscribe(since) as stream:
            yield stream


@asynccontextmanager
async def _carried() -> AsyncIterator[_Carried]:
    async with FakeEngine(clock=FakeClock()) as engine, asyncio.TaskGroup() as tasks:
        carried = _Carried(engine)
        running = tasks.create_task(carried.bridge.run())
        await carried.clock.settle()
        yield carried
        running.cancel()


async def test_the_first_frame_comes_at_once_and_has_every_part() -> None:
    async with _carried() as carried:
        assert [frame.parts for frame in carried.frames] == [Part.ALL]
        assert carried.frames[0].picture.engine is not None


async def test_however_much_changes_there_are_ten_frames_a_second_at_most() -> None:
    async with _carried() as carried:
        for cpu in range(100):
            carried.engine.set_load(cpu, 10)
            await carried.clock.advance(_TICK_S)
        assert len(carried.frames) == 1 + 10
        history = carried.frames[-1].picture.history
        assert history[-1].cpu_percent >= 90


async def test_a_change_after_a_quiet_time_is_sent_at_once() -> None:
    async with _carried() as carried:
        await carried.clock.advance(60)
        carried.engine.set_load(50, 50)
        await carried.clock.settle()
        assert [frame.parts for frame in carried.frames] == [Part.ALL, Part.LOAD]


async def test_while_nothing_changes_nothing_waits_for_the_clock() -> None:
    async with _carried() as carried:
        await carried.clock.advance(FRAME_S)
        assert carried.clock.sleepers == 0
        assert len(carried.frames) == 1


async def test_items_that_changed_between_two_frames_come_together() -> None:
    async with _carried() as carried:
        carried.engine.add_convoy("c", [Operation(id=f"i{n}") for n in range(3)])
        await carried.clock.advance(FRAME_S)
        assert {key.item_id for key in carried.frames[-1].items} == {"i0", "i1", "i2"}


async def test_held_still_nothing_comes_and_let_go_all_of_it_comes_in_one_frame() -> None:
    async with _carried() as carried:
        carried.bridge.hold(True)
        carried.engine.add_convoy("c", [Operation(id="a")])
        await carried.clock.advance(10)
        assert len(carried.frames) == 1
        carried.bridge.hold(False)
        await carried.clock.settle()
        [_, frame] = carried.frames
        assert frame.parts == Part.ALL
        assert frame.are_items_unknown
        assert [convoy.name for convoy in frame.picture.convoys.values()] == ["c"]


async def test_letting_go_of_what_is_not_held_sends_nothing() -> None:
    async with _carried() as carried:
        carried.bridge.hold(False)
        await carried.clock.advance(10)
        assert len(carried.frames) == 1


async def test_the_end_of_the_engine_is_the_last_frame_and_leaves_the_picture() -> None:
    async with FakeEngine() as engine:
        carried = _Carried(engine)
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            tasks.create_task(carried.bridge.run())
            await carried.clock.settle()
            await engine.stop()
            await carried.clock.advance(FRAME_S)
    last = carried.frames[-1].picture
    assert last.lost_at is not None
    assert last.engine is not None
    assert last.engine.phase == "stopped"


async def test_an_end_while_held_is_told_when_the_screen_is_let_go() -> None:
    async with FakeEngine() as engine:
        carried = _Carried(engine)
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            tasks.create_task(carried.bridge.run())
            await carried.clock.settle()
            carried.bridge.hold(True)
            await engine.stop()
            await carried.clock.advance(1)
            assert len(carried.frames) == 1
            carried.bridge.hold(False)
            await carried.clock.settle()
    assert carried.frames[-1].picture.lost_at is not None


async def test_an_engine_that_had_stopped_before_is_away_from_the_start() -> None:
    async with FakeEngine() as engine:
        await engine.stop()
        carried = _Carried(engine)
        async with asyncio.timeout(10):
            await carried.bridge.run()
    [frame] = carried.frames
    assert frame.parts == Part.ENGINE
    assert frame.picture.lost_at == engine.clock.now()


async def test_a_fault_of_the_screen_ends_the_bridge() -> None:
    def fail(frame: Frame) -> None:
        raise ZeroDivisionError

    async with FakeEngine() as engine:
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.timeout(10):
                await Bridge(engine, engine.clock, fail).run()
    assert caught.group_contains(ZeroDivisionError)


async def test_a_lasting_bridge_keeps_the_last_picture_and_shows_all_of_the_next_engine() -> None:
    """The next engine counts its events anew: nothing of the first one's numbers is compared."""
    async with FakeEngine(clock=FakeClock()) as first, FakeEngine(clock=first.clock) as second:
        second.add_convoy("after", [Operation(id="a")])
        coming = _Coming(first)
        carried = _Carried(first, source=coming)
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(carried.bridge.run())
            for cpu in range(50):
                first.set_load(cpu, 10)
            first.add_convoy("before", [Operation(id="a")])
            await carried.clock.advance(1)
            coming.present = None
            lost_at = carried.clock.now()
            await first.stop()
            await carried.clock.settle()
            await carried.clock.advance(FRAME_S)
            away = carried.frames[-1].picture
            assert away.lost_at == lost_at
            assert [convoy.name for convoy in away.convoys.values()] == ["before"]
            asked = coming.asked
            await carried.clock.advance(60)
            assert 50 < coming.asked - asked < 70
            assert carried.frames[-1].picture.lost_at == lost_at

            coming.present = second
            await carried.clock.advance(1)
            back = carried.frames[-1]
            assert (back.parts, back.are_items_unknown) == (Part.ALL, True)
            assert back.picture.lost_at is None
            assert [convoy.name for convoy in back.picture.convoys.values()] == ["after"]
            assert second.hub.seq < first.hub.seq
            running.cancel()


async def test_an_engine_that_stopped_and_still_answers_is_away_since_it_stopped() -> None:
    async with FakeEngine(clock=FakeClock()) as engine:
        coming = _Coming(engine)
        carried = _Carried(engine, source=coming)
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(carried.bridge.run())
            await carried.clock.settle()
            await engine.stop()
            stopped_at = carried.clock.now()
            await carried.clock.settle()
            await carried.clock.advance(5)
            assert coming.asked > 1
            assert carried.frames[-1].picture.lost_at == stopped_at
            running.cancel()


async def test_an_engine_that_does_not_answer_is_told_apart_from_one_that_is_gone() -> None:
    async with FakeEngine(clock=FakeClock()) as engine:
        coming = _Coming(None)
        carried = _Carried(engine, source=coming)
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(carried.bridge.run())
            await carried.clock.settle()
            assert not carried.frames[-1].picture.is_silent
            coming.absence = EngineSilentError(7)
            await carried.clock.advance(2)
            silent = carried.frames[-1].picture
            assert (silent.is_silent, silent.lost_at) == (True, carried.frames[0].picture.lost_at)
            coming.present = engine
            await carried.clock.advance(2)
            assert carried.frames[-1].picture.lost_at is None
            running.cancel()
