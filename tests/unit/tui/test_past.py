from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import pytest

from aisquad_core.errors import EngineStoppedError, StorageError
from aisquad_core.testing import FakeClock, FakeEngine
from aisquad_tui.past import PastReader, Question
from tests.tui.scenes import past_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aisquad_core.api import History

_BOUND_S = 10.0


class _Watched(FakeEngine):
    """Keeps what it is asked, and can be slow or refuse."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.asked: list[tuple[float, int, str | None]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None

    async def history(
        self, *, period_s: float = 3600.0, points: int = 120, convoy_id: str | None = None
    ) -> History:
        self.asked.append((period_s, points, convoy_id))
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return await super().history(period_s=period_s, points=points, convoy_id=convoy_id)


class _Stage(NamedTuple):
    engine: _Watched
    clock: FakeClock
    reader: PastReader
    news: asyncio.Queue[None]

    async def told(self) -> None:
        """Wait until there is something new."""
        async with asyncio.timeout(_BOUND_S):
            await self.news.get()
        await self.clock.settle()


def of(period_s: float = 3600, points: int = 60, convoy_id: str | None = None) -> Question:
    return Question(period_s=period_s, points=points, convoy_id=convoy_id)


@asynccontextmanager
async def reading(*, is_in_view: bool = True) -> AsyncIterator[_Stage]:
    clock = FakeClock()
    news = asyncio.Queue[None]()
    async with _Watched(clock) as engine:
        engine.past = past_of(clock.now())
        reader = PastReader(engine, clock, lambda: news.put_nowait(None))
        reader.show(is_in_view)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(reader.run())
            yield _Stage(engine, clock, reader, news)
            running.cancel()


async def test_it_reads_what_is_asked() -> None:
    async with reading() as stage:
        stage.reader.ask(of(900, 66, "nightly-0001"))
        await stage.told()
        assert stage.engine.asked == [(900, 66, "nightly-0001")]
        assert stage.reader.past is not None
        assert stage.reader.past.history == stage.engine.past
        assert stage.reader.past.points == 66
        assert stage.reader.is_current


async def test_the_same_question_is_not_asked_twice_in_haste() -> None:
    async with reading() as stage:
        stage.reader.ask(of())
        await stage.told()
        stage.reader.ask(of())
        await stage.clock.settle()
        assert len(stage.engine.asked) == 1


@pytest.mark.parametrize(
    ("question", "pause_s"),
    [(of(900, 100), 9.0), (of(900, 900), 5.0), (of(3600, 60), 60.0), (of(86_400 * 30), 300.0)],
)
async def test_it_reads_again_as_often_as_there_is_something_new(
    question: Question, pause_s: float
) -> None:
    async with reading() as stage:
        stage.reader.ask(question)
        await stage.told()
        await stage.clock.advance(pause_s - 0.5)
        assert len(stage.engine.asked) == 1
        await stage.clock.advance(1)
        await stage.told()
        assert len(stage.engine.asked) == 2


async def test_while_held_it_reads_only_what_is_asked_anew() -> None:
    async with reading() as stage:
        stage.reader.ask(of())
        await stage.told()
        stage.reader.hold(True)
        await stage.clock.advance(600)
        stage.reader.ask(of(points=90))
        stage.reader.ask_again()
        await stage.clock.advance(600)
        assert stage.engine.asked == [(3600, 60, None)]
        stage.reader.ask(of(900))
        await stage.told()
        await stage.clock.advance(600)
        assert stage.engine.asked[1:] == [(900, 60, None)]
        stage.reader.hold(False)
        await stage.told()
        assert stage.engine.asked[2:] == [(900, 60, None)]


async def test_what_is_recorded_first_is_awaited() -> None:
    async with reading() as stage:
        assert stage.engine.past is not None
        stage.engine.past = replace(stage.engine.past, load=())
        stage.reader.ask(of(86_400))
        await stage.told()
        await stage.clock.advance(5.5)
        await stage.told()
        assert len(stage.engine.asked) == 2


async def test_nothing_is_read_while_nobody_looks() -> None:
    async with reading(is_in_view=False) as stage:
        stage.reader.ask(of())
        await stage.clock.advance(600)
        assert stage.engine.asked == []
        stage.reader.show(True)
        await stage.told()
        assert len(stage.engine.asked) == 1
        stage.reader.show(False)
        await stage.clock.advance(6000)
        assert len(stage.engine.asked) == 1
        stage.reader.show(True)
        await stage.told()
        assert len(stage.engine.asked) == 2


async def test_another_question_is_answered_at_once() -> None:
    async with reading() as stage:
        stage.reader.ask(of(3600))
        await stage.told()
        stage.reader.ask(of(900))
        assert not stage.reader.is_current
        await stage.told()
        assert [asked[0] for asked in stage.engine.asked] == [3600, 900]
        assert stage.reader.is_current


async def test_an_answer_that_comes_too_late_is_not_shown() -> None:
    async with reading() as stage:
        stage.engine.gate.clear()
        stage.reader.ask(of(3600))
        await stage.clock.settle()
        stage.reader.ask(of(900))
        stage.engine.gate.set()
        await stage.told()
        await stage.told()
        assert [asked[0] for asked in stage.engine.asked] == [3600, 900]
        assert stage.reader.is_current


async def test_other_points_leave_the_picture_what_it_is_until_it_is_finer() -> None:
    async with reading() as stage:
        stage.reader.ask(of(points=60))
        await stage.told()
        stage.reader.ask(of(points=120))
        assert stage.reader.is_current
        await stage.told()
        assert stage.reader.past is not None
        assert stage.reader.past.points == 120


async def test_an_error_is_told_and_the_last_answer_stays() -> None:
    async with reading() as stage:
        stage.reader.ask(of())
        await stage.told()
        stage.engine.failure = StorageError("metrics.db: database is locked")
        stage.reader.ask_again()
        await stage.told()
        assert stage.reader.error == "metrics.db: database is locked"
        assert stage.reader.past is not None
        stage.engine.failure = None
        await stage.clock.advance(61)
        await stage.told()
        assert stage.reader.error == ""


async def test_an_engine_that_is_gone_is_no_error_and_is_asked_again_when_it_is_back() -> None:
    async with reading() as stage:
        stage.engine.failure = EngineStoppedError("no engine")
        stage.reader.ask(of())
        await stage.told()
        assert (stage.reader.past, stage.reader.error) == (None, "")
        stage.engine.failure = None
        stage.reader.ask_again()
        await stage.told()
        assert stage.reader.past is not None
