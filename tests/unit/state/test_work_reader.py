"""Windows, counts and names: what the reader answers, with an engine and without one."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from aisquad_core.api import ItemFilter, ItemSort, RelatedItem, StatusCounts
from aisquad_core.errors import InputError, NotFoundError
from aisquad_core.model import ConvoyStatus, ItemKey, Operation, WorkStatus
from aisquad_core.state.item_query import STATUS_ORDER
from aisquad_core.state.operation_text import decode_operation
from aisquad_core.state.reader import Reader
from aisquad_core.state.workstate import WorkState

if TYPE_CHECKING:
    from pathlib import Path

    from aisquad_core.api import ItemView
    from aisquad_core.testing import FakeClock
    from tests.unit.state.conftest import MakeConvoy, MakeItem


@pytest.fixture
async def filled(state: WorkState, make_item: MakeItem, make_convoy: MakeConvoy) -> Reader:
    """Three convoys of 16 items: every status, agents and times mixed, some never started."""
    statuses = list(WorkStatus)
    for convoy in range(3):
        convoy_id = f"build-{convoy}"
        now = make_item("x").created_at
        items = [
            make_item(
                f"op-{(number * 7) % 16:02}",
                convoy_id=convoy_id,
                status=statuses[number % 8],
                agent_id=f"agent-{number % 3}",
                position=number,
                error="50% of_it\\ failed" if number == 5 else None,
                started_at=now + timedelta(seconds=number % 5) if number % 4 else None,
            )
            for number in range(16)
        ]
        await state.create_convoy(make_convoy(convoy_id, total=16), items)
    return state.reader


def _key(view: ItemView) -> ItemKey:
    return ItemKey(view.convoy_id, view.id)


async def _all(reader: Reader, sort: ItemSort, *, is_reversed: bool) -> list[ItemView]:
    page = await reader.items(ItemFilter(), sort=sort, is_reversed=is_reversed, limit=1_000)
    assert page.next_after is None
    assert page.total == len(page.items) == 48
    return list(page.items)


async def test_position_is_the_newest_convoy_first_then_its_own_order(filled: Reader) -> None:
    views = await _all(filled, ItemSort.POSITION, is_reversed=False)
    assert [(view.convoy_id, view.position) for view in views] == [
        (f"build-{convoy}", position) for convoy in (2, 1, 0) for position in range(16)
    ]


@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize("sort", list(ItemSort))
async def test_every_order_is_sorted_and_its_pages_make_the_whole(
    filled: Reader, sort: ItemSort, is_reversed: bool
) -> None:
    whole = await _all(filled, sort, is_reversed=is_reversed)

    def rank(view: ItemView) -> str | int | float:
        match sort:
            case ItemSort.STATUS:
                return STATUS_ORDER.index(view.status)
            case ItemSort.ID:
                return view.id
            case ItemSort.AGENT:
                return view.agent_id
            case ItemSort.STARTED if view.started_at:
                return view.started_at.timestamp() * (-1 if is_reversed else 1)
            case _:
                return 9e15

    ranks = [rank(view) for view in whole]
    if is_reversed and sort in {ItemSort.STATUS, ItemSort.ID, ItemSort.AGENT}:
        ranks.reverse()
    assert all(a <= b for a, b in pairwise(ranks))  # type: ignore[operator]  # one type a sort
    for limit in (1, 7, 48):
        paged: list[ItemView] = []
        after: str | None = None
        while True:
            page = await filled.items(
                ItemFilter(), sort=sort, is_reversed=is_reversed, after=after, limit=limit
            )
            paged += page.items
            after = page.next_after
            if after is None:
                break
        assert paged == whole
    for offset in (0, 5, 17, 40, 47, 48, 60):
        page = await filled.items(
            ItemFilter(), sort=sort, is_reversed=is_reversed, offset=offset, limit=4
        )
        assert list(page.items) == whole[offset : offset + 4]


@pytest.mark.parametrize(
    "item_filter",
    [
        ItemFilter(statuses=(WorkStatus.FAILED, WorkStatus.IN_PROGRESS)),
        ItemFilter(convoy_ids=("build-0", "build-2", "none")),
        ItemFilter(convoy_ids=("none",)),
        ItemFilter(agent_ids=("agent-1",)),
        ItemFilter(keys=(ItemKey("build-1", "op-03"), ItemKey("build-9", "op-03"))),
        ItemFilter(text="OP-03"),
        ItemFilter(text="50% OF_it\\"),
        ItemFilter(text="5_%"),
        ItemFilter(convoy_ids=("build-1",), statuses=(WorkStatus.LOST,), agent_ids=("agent-1",)),
    ],
)
async def test_filters_let_through_what_fits_in_any_order(
    filled: Reader, item_filter: ItemFilter
) -> None:
    def fits(view: ItemView) -> bool:
        text = item_filter.text.lower()
        return (
            (not item_filter.statuses or view.status in item_filter.statuses)
            and (not item_filter.convoy_ids or view.convoy_id in item_filter.convoy_ids)
            and (not item_filter.agent_ids or view.agent_id in item_filter.agent_ids)
            and (not item_filter.keys or _key(view) in item_filter.keys)
            and any(text in (part or "").lower() for part in (view.id, view.error, view.reason))
        )

    for sort in ItemSort:
        whole = await _all(filled, sort, is_reversed=False)
        page = await filled.items(item_filter, sort=sort)
        expected = [view for view in whole if fits(view)]
        assert list(page.items) == expected
        assert page.total == len(expected)


@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize("sort", list(ItemSort))
async def test_an_offset_is_the_place_in_every_order(
    filled: Reader, sort: ItemSort, is_reversed: bool
) -> None:
    for item_filter in (ItemFilter(), ItemFilter(agent_ids=("agent-1",))):
        page = await filled.items(item_filter, sort=sort, is_reversed=is_reversed, limit=100)
        offsets = [
            await filled.offset_of(item_filter, _key(view), sort=sort, is_reversed=is_reversed)
            for view in page.items
        ]
        assert offsets == list(range(len(page.items)))


@pytest.mark.parametrize("is_reversed", [False, True])
async def test_a_row_is_found_by_its_number_among_launched_convoys_and_single_items(
    filled: Reader, state: WorkState, make_item: MakeItem, is_reversed: bool
) -> None:
    """Single items leave gaps, so that their convoys have no row at every place."""
    await state.create(make_item("late", convoy_id="build-1", position=20))
    for position in (2, 7, 4):
        await state.create(make_item(f"alone-{position}", convoy_id="alone", position=position))
    for convoy_ids in ((), ("build-1",), ("alone", "build-0"), ("none",)):
        item_filter = ItemFilter(convoy_ids=convoy_ids)
        whole = (await filled.items(item_filter, is_reversed=is_reversed)).items
        for row in range(len(whole) + 2):
            page = await filled.items(item_filter, is_reversed=is_reversed, offset=row, limit=3)
            assert page.items == whole[row : row + 3]
        found = [
            await filled.offset_of(item_filter, _key(view), is_reversed=is_reversed)
            for view in whole
        ]
        assert found == list(range(len(whole)))


async def test_the_key_of_another_order_is_refused(filled: Reader) -> None:
    page = await filled.items(ItemFilter(), sort=ItemSort.ID, limit=1)
    for after in (page.next_after, "nonsense", "bm9uc2Vuc2U="):
        with pytest.raises(InputError):
            await filled.items(ItemFilter(), sort=ItemSort.STATUS, after=after)


async def test_counts_add_up(filled: Reader) -> None:
    one = StatusCounts(
        pending=2, blocked=2, running=2, completed=2, failed=2, lost=2, cancelled=2, skipped=2
    )
    assert await filled.counts("build-1") == one
    assert await filled.counts("none") == StatusCounts()
    assert (await filled.counts()).total == 48
    assert await filled.counts_by_convoy() == {f"build-{convoy}": one for convoy in range(3)}


async def test_a_blocked_item_says_what_it_needs(
    state: WorkState, make_item: MakeItem, make_convoy: MakeConvoy
) -> None:
    names = [f"op-{number}" for number in range(5)]
    waiting = make_item("last", status=WorkStatus.BLOCKED, dependencies=tuple(names), position=5)
    items = [make_item(name, position=place) for place, name in enumerate(names)]
    items[0] = replace(items[0], status=WorkStatus.COMPLETED)
    told = replace(waiting, id="told", reason="convoy paused", position=6)
    await state.create_convoy(make_convoy("build-1"), [*items, waiting, told])
    page = await state.reader.items(ItemFilter(statuses=(WorkStatus.BLOCKED,)))
    assert [view.reason for view in page.items] == [
        "needs op-1, op-2, op-3 and 1 more",
        "convoy paused",
    ]
    assert (await state.reader.view(waiting.key)).reason == "needs op-1, op-2, op-3 and 1 more"
    assert await state.reader.dependencies(waiting.key) == (
        RelatedItem(id="op-0", status=WorkStatus.COMPLETED),
        *[RelatedItem(id=name, status=WorkStatus.PENDING) for name in names[1:]],
    )
    dependents = await state.reader.dependents(ItemKey("build-1", "op-1"))
    assert [item.id for item in dependents] == ["last", "told"]


async def test_convoys_come_newest_first_and_unfinished_ones_oldest_first(
    state: WorkState, make_convoy: MakeConvoy
) -> None:
    for number, status in enumerate(ConvoyStatus):
        await state.create_convoy(make_convoy(f"c-{number}", status=status), [])
    convoys = await state.reader.convoys()
    assert [convoy.id for convoy in convoys] == [f"c-{n}" for n in (6, 5, 4, 3, 2, 1, 0)]
    failed = await state.reader.convoys((ConvoyStatus.FAILED, ConvoyStatus.PARTIAL), limit=1)
    assert [convoy.id for convoy in failed] == ["c-5"]
    unfinished = await state.reader.unfinished_convoys()
    assert [convoy.id for convoy in unfinished] == ["c-0", "c-1", "c-2"]


async def test_ids_may_be_shortened_as_long_as_they_are_clear(
    state: WorkState, make_item: MakeItem, make_convoy: MakeConvoy
) -> None:
    for convoy_id in ("nightly-aaaa", "nightly-bbbb", "night"):
        items = [
            make_item(name, convoy_id=convoy_id, position=place)
            for place, name in enumerate(["lint", "lint-2", "fix-src/a.py"])
        ]
        await state.create_convoy(make_convoy(convoy_id), items)
    reader = state.reader
    assert await reader.resolve_convoy("nightly-a") == "nightly-aaaa"
    assert await reader.resolve_convoy("night") == "night"
    with pytest.raises(NotFoundError, match="begins with nightly: nightly-aaaa, nightly-bbbb"):
        await reader.resolve_convoy("nightly")
    with pytest.raises(NotFoundError, match="no convoy x"):
        await reader.resolve_convoy("x")
    assert await reader.resolve_item("nightly-a/lint-") == ItemKey("nightly-aaaa", "lint-2")
    assert await reader.resolve_item("nightly-b/lint") == ItemKey("nightly-bbbb", "lint")
    assert await reader.resolve_item("lint") == ItemKey("night", "lint")
    assert await reader.resolve_item("fix") == ItemKey("night", "fix-src/a.py")
    assert await reader.resolve_item("fix-src/a") == ItemKey("night", "fix-src/a.py")
    with pytest.raises(NotFoundError, match="begins with lin: lint, lint-2"):
        await reader.resolve_item("lin")
    with pytest.raises(NotFoundError, match="no work item in night x"):
        await reader.resolve_item("night/x")
    for text in ("x", "caf\udce9", "nothing/x"):
        with pytest.raises(NotFoundError):
            await reader.resolve_item(text)
    assert await reader.item_ids("lint", limit=5) == ["lint", "lint-2"]


async def test_a_scheduler_loads_a_convoy_in_pages(
    state: WorkState, make_item: MakeItem, make_convoy: MakeConvoy
) -> None:
    operation = Operation(id="op", argv=("cat", "caf\udce9"), needs=("a",), retries=3)
    items = [
        make_item(
            f"op-{number}", position=number, operation=operation, dependencies=("a",), reason="r"
        )
        for number in range(7)
    ]
    await state.create_convoy(make_convoy("build-1"), items)
    await state.create(make_item("other", convoy_id="by-hand"))
    pages = [page async for page in state.reader.run_rows("build-1", page_size=3)]
    assert [len(page) for page in pages] == [3, 3, 1]
    rows = [row for page in pages for row in page]
    assert [row.id for row in rows] == [item.id for item in items]
    assert (rows[0].version, rows[0].dependencies, rows[0].retries) == (1, ("a",), 3)
    assert rows[0].operation is not None
    assert decode_operation(rows[0].operation) == operation
    assert [page async for page in state.reader.run_rows("none")] == []


async def test_no_database_reads_as_an_empty_one_until_there_is_one(
    path: Path, clock: FakeClock, make_item: MakeItem, make_convoy: MakeConvoy
) -> None:
    async with Reader.open(path) as reader:
        assert await reader.convoys() == []
        assert await reader.counts() == StatusCounts()
        assert (await reader.items(ItemFilter())).items == ()
        assert await reader.engine_facts() is None
        with pytest.raises(NotFoundError, match="no convoy x"):
            await reader.resolve_convoy("x")
        assert [*path.parent.iterdir()] == []
        async with WorkState(path, clock=clock) as state:
            await state.create_convoy(make_convoy("build-1"), [make_item("lint")])
            assert (await reader.counts()).pending == 1
        # The engine has left: the database is read on its own.
        assert [convoy.id for convoy in await reader.convoys()] == ["build-1"]
        assert await reader.item(ItemKey("build-1", "lint")) == make_item("lint")
