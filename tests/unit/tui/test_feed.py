from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest

from aisquad_core.api import ItemSort
from aisquad_core.errors import EngineStoppedError, InputError, StorageError
from aisquad_core.model import ItemKey, Operation, WorkStatus
from aisquad_core.testing import FakeEngine, ScriptedItem
from aisquad_tui.feed import RECOUNT_S, REFRESH_S, Feed
from aisquad_tui.filter import parse
from aisquad_tui.window import Window

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aisquad_core.api import ItemFilter, ItemPage

_MANY = 5_000
_BOUND_S = 15.0


class _Pace(NamedTuple):
    """How often the feed reads and counts anew."""

    refresh_s: float
    recount_s: float


_USUAL = _Pace(REFRESH_S, RECOUNT_S)
_SLOW = _Pace(3600.0, 3600.0)
"""Nothing is read again in a test's time, but for the operator's keys."""


class _Asked(NamedTuple):
    """How rows were asked for."""

    offset: int
    limit: int
    is_reversed: bool
    is_counted: bool
    has_last_lines: bool


class _Watched(FakeEngine):
    """Counts what it is asked, and can be slow or refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: list[_Asked] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None

    async def items(
        self,
        filter: ItemFilter,
        *,
        sort: ItemSort = ItemSort.POSITION,
        is_reversed: bool = False,
        after: str | None = None,
        offset: int = 0,
        limit: int = 100,
        is_counted: bool = True,
        has_last_lines: bool = False,
    ) -> ItemPage:
        self.pages.append(_Asked(offset, limit, is_reversed, is_counted, has_last_lines))
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return await super().items(
            filter,
            sort=sort,
            is_reversed=is_reversed,
            after=after,
            offset=offset,
            limit=limit,
            is_counted=is_counted,
            has_last_lines=has_last_lines,
        )


class _Fed:
    """A window that a feed fills."""

    def __init__(self, engine: _Watched, pace: _Pace, *, is_lasting: bool = False) -> None:
        self.engine = engine
        self.window = Window()
        self.window.resize(20)
        self.complaints: list[str] = []
        self.came = asyncio.Event()
        self.feed = Feed(
            engine,
            self.window,
            self.came.set,
            self.complaints.append,
            refresh_s=pace.refresh_s,
            recount_s=pace.recount_s,
            is_lasting=is_lasting,
        )

    def ids(self) -> list[str]:
        return [view.id if view else "?" for view in self.window.shown()]

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for rows until something holds."""
        async with asyncio.timeout(_BOUND_S):
            while not is_so():
                self.came.clear()
                await self.came.wait()

    async def ready(self) -> None:
        await self.until(lambda: not self.window.lacks_rows and not self.window.is_near_edge)

    async def settle(self) -> None:
        await self.engine.clock.settle()


@asynccontextmanager
async def _fed(
    *, count: int = _MANY, pace: _Pace = _USUAL, is_lasting: bool = False
) -> AsyncIterator[_Fed]:
    engine = _Watched()
    async with engine:
        operations = [Operation(id=f"i{n:04}") for n in range(count)]
        engine.add_convoy(
            "many", operations, statuses={op.id: ScriptedItem(reason="held") for op in operations}
        )
        fed = _Fed(engine, pace, is_lasting=is_lasting)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(fed.feed.run())
            fed.feed.ask()
            await fed.ready()
            yield fed
            running.cancel()


async def test_the_first_question_fills_the_window() -> None:
    async with _fed() as fed:
        assert fed.ids() == [f"i{n:04}" for n in range(20)]
        assert fed.window.total == _MANY
        assert len(fed.engine.pages) == 1
        assert fed.engine.pages[0].limit <= 100
        assert fed.engine.pages[0].has_last_lines


async def test_keys_within_the_margin_ask_the_engine_nothing() -> None:
    async with _fed(pace=_SLOW) as fed:
        for _ in range(2):
            fed.window.page(1)
            fed.feed.ask()
            await fed.settle()
            assert "?" not in fed.ids()
        assert len(fed.engine.pages) <= 2


async def test_paging_through_never_shows_a_row_that_is_not_read() -> None:
    async with _fed(count=600, pace=_SLOW) as fed:
        while fed.window.cursor != ItemKey("many-0001", "i0599"):
            fed.window.page(1)
            assert "?" not in fed.ids()
            fed.feed.ask()
            await fed.ready()
        assert fed.ids()[-1] == "i0599"


async def test_the_end_is_read_from_the_other_side_and_in_order() -> None:
    async with _fed(pace=_SLOW) as fed:
        fed.window.end()
        fed.feed.ask()
        await fed.ready()
        assert fed.ids() == [f"i{n:04}" for n in range(_MANY - 20, _MANY)]
        assert fed.window.cursor == ItemKey("many-0001", f"i{_MANY - 1:04}")
        assert (fed.engine.pages[-1].offset, fed.engine.pages[-1].is_reversed) == (0, True)


async def test_the_end_of_a_sort_with_gaps_is_right_too() -> None:
    async with _fed(count=300, pace=_SLOW) as fed:
        ended = [Operation(id=f"e{n}") for n in range(5)]
        fed.engine.add_convoy(
            "ended", ended, statuses={op.id: WorkStatus.COMPLETED for op in ended}
        )
        fed.window.order(ItemSort.FINISHED, is_reversed=True)
        fed.feed.ask()
        await fed.ready()
        fed.window.end()
        fed.feed.ask()
        await fed.ready()
        page = await fed.engine.items(
            fed.window.query, sort=ItemSort.FINISHED, is_reversed=True, offset=285, limit=20
        )
        assert fed.ids() == [item.id for item in page.items]


async def test_a_key_is_answered_at_once_while_mere_changes_wait_for_their_time() -> None:
    async with _fed(pace=_SLOW) as fed:
        asked = len(fed.engine.pages)
        for _ in range(5):
            fed.window.take({}, are_unknown=True)
            fed.feed.ask()
            await fed.settle()
        assert len(fed.engine.pages) == asked
        fed.window.end()
        fed.feed.ask()
        await fed.ready()
        assert fed.ids()[-1] == f"i{_MANY - 1:04}"


async def test_changes_are_read_when_their_time_has_come() -> None:
    async with _fed(count=50, pace=_Pace(0.01, 0.0)) as fed:
        fed.window.move(0)
        fed.engine.add_convoy("new", [Operation(id="first")])
        fed.window.take({}, are_unknown=True)
        fed.feed.ask()
        await fed.until(lambda: "first" in fed.ids())
        assert fed.window.total == 51
        assert fed.window.cursor == ItemKey("many-0001", "i0000")


async def test_only_one_question_is_out_at_a_time() -> None:
    async with _fed(pace=_SLOW) as fed:
        fed.engine.gate.clear()
        asked = len(fed.engine.pages)
        fed.window.end()
        for _ in range(5):
            fed.feed.ask()
            await fed.settle()
        assert len(fed.engine.pages) == asked + 1
        fed.engine.gate.set()
        await fed.ready()


async def test_the_newest_wish_wins_and_does_not_wait_for_the_one_before() -> None:
    async with _fed(pace=_SLOW) as fed:
        fed.engine.gate.clear()
        asked = len(fed.engine.pages)
        for text in ("i1", "i12", "i123"):
            fed.window.restrict(parse(text), text)
            fed.feed.ask()
            await fed.settle()
        assert len(fed.engine.pages) == asked + 3
        fed.engine.gate.set()
        await fed.ready()
        assert fed.ids() == [f"i123{n}" for n in range(10)]
        assert fed.window.total == 10


async def test_a_filter_is_counted_when_it_is_new_and_then_rarely() -> None:
    async with _fed(pace=_Pace(0.0, 3600.0)) as fed:
        fed.window.restrict(parse("i1"), "i1")
        fed.feed.ask()
        await fed.ready()
        assert (fed.engine.pages[-1].is_counted, fed.window.total) == (True, 1_000)
        fed.window.expect()
        fed.feed.ask()
        await fed.until(lambda: not fed.window.is_dirty)
        assert not fed.engine.pages[-1].is_counted
        assert fed.window.total == 1_000


@pytest.mark.parametrize("sort", [ItemSort.POSITION, ItemSort.STARTED])
async def test_a_list_that_shrank_to_little_is_found_with_few_questions(sort: ItemSort) -> None:
    async with _fed(count=600, pace=_Pace(0.0, 3600.0)) as fed:
        fed.window.restrict(parse("reason:held"), "reason:held")
        fed.window.order(sort, is_reversed=False)
        fed.feed.ask()
        await fed.ready()
        fed.window.end()
        fed.feed.ask()
        await fed.ready()
        keys = [ItemKey("many-0001", f"i{n:04}") for n in range(10, 600)]
        await fed.engine.cancel(keys)
        asked = len(fed.engine.pages)
        fed.window.take({}, are_unknown=True)
        fed.feed.ask()
        await fed.until(lambda: fed.window.total == 10)
        await fed.ready()
        assert len(fed.engine.pages) - asked <= 4
        assert fed.ids()[:10] == [f"i{n:04}" for n in range(10)]


async def test_the_item_under_the_cursor_that_ended_unseen_keeps_its_row() -> None:
    engine = _Watched()
    async with engine:
        operations = [Operation(id=f"i{n:03}") for n in range(300)]
        engine.add_convoy(
            "many", operations, statuses={op.id: WorkStatus.IN_PROGRESS for op in operations}
        )
        fed = _Fed(engine, _Pace(0.0, 0.0))
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(fed.feed.run())
            fed.feed.ask()
            await fed.ready()
            fed.window.move(3)
            await engine.cancel([ItemKey("many-0001", "i003")])
            fed.window.take({}, are_unknown=True)
            fed.feed.ask()
            await fed.until(lambda: not fed.window.is_dirty)
            row = fed.window.shown()[3]
            assert (fed.window.cursor_row, fed.ids()[:5]) == (
                3,
                ["i000", "i001", "i002", "i003", "i004"],
            )
            assert row is not None
            assert row.status is WorkStatus.CANCELLED
            running.cancel()


async def test_a_refused_filter_is_told_once_and_not_asked_again_until_it_changes() -> None:
    async with _fed(pace=_Pace(0.0, 0.0)) as fed:
        fed.window.restrict(parse("/(a+)+b/"), "/(a+)+b/")
        fed.feed.ask()
        await fed.until(lambda: bool(fed.complaints))
        assert fed.ids() == []
        for _ in range(3):
            fed.window.take({}, are_unknown=True)
            fed.feed.ask()
            await fed.settle()
        assert len(fed.complaints) == 1
        fed.window.restrict(parse("i00"), "i00")
        fed.feed.ask()
        await fed.until(lambda: fed.window.total == 100)


async def test_a_state_that_cannot_be_read_is_tried_again_without_haste() -> None:
    async with _fed(pace=_SLOW) as fed:
        fed.engine.failure = StorageError("database is locked")
        fed.window.end()
        fed.feed.ask()
        await fed.until(lambda: bool(fed.complaints))
        asked = len(fed.engine.pages)
        for _ in range(5):
            fed.feed.ask()
            await fed.settle()
        assert len(fed.engine.pages) == asked
        assert len(fed.complaints) == 1


async def test_a_state_that_can_be_read_again_is_without_being_asked() -> None:
    async with _fed(pace=_Pace(0.01, 0.0)) as fed:
        fed.engine.failure = StorageError("database is locked")
        fed.window.end()
        fed.feed.ask()
        asked = len(fed.engine.pages)
        await fed.until(lambda: len(fed.engine.pages) > asked + 3)
        assert len(fed.complaints) == 1
        fed.engine.failure = None
        await fed.ready()
        assert fed.ids()[-1] == f"i{_MANY - 1:04}"


async def test_it_ends_with_the_engine() -> None:
    engine = _Watched()
    async with engine:
        fed = _Fed(engine, _USUAL)
        await engine.stop()
        fed.feed.ask()
        async with asyncio.timeout(_BOUND_S):
            await fed.feed.run()
        assert not fed.complaints


async def test_where_the_engine_may_come_back_the_rows_stay_and_are_read_on() -> None:
    async with _fed(pace=_Pace(0.01, 0.0), is_lasting=True) as fed:
        fed.engine.failure = EngineStoppedError("the engine is away")
        fed.window.end()
        fed.feed.ask()
        asked = len(fed.engine.pages)
        async with asyncio.timeout(_BOUND_S):
            while len(fed.engine.pages) < asked + 3:
                await fed.settle()
        assert fed.complaints == []
        fed.engine.failure = None
        await fed.ready()
        assert fed.ids()[-1] == f"i{_MANY - 1:04}"


async def test_without_being_asked_it_reads_nothing() -> None:
    engine = _Watched()
    async with engine:
        fed = _Fed(engine, _USUAL)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(fed.feed.run())
            await fed.settle()
            assert engine.pages == []
            running.cancel()


async def test_a_fault_of_the_engine_is_not_hidden() -> None:
    engine = _Watched()
    async with engine:
        fed = _Fed(engine, _USUAL)
        engine.failure = ZeroDivisionError()
        fed.feed.ask()
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.timeout(_BOUND_S):
                await fed.feed.run()
        assert caught.group_contains(ZeroDivisionError)
        assert not caught.group_contains(InputError)
