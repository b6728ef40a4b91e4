"""What every engine answers about windows of items: terms, totals, offsets, last lines."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from aisquad_core.api import ItemField, ItemFilter, ItemSort, ItemTerm
from aisquad_core.errors import InputError
from aisquad_core.model import ItemKey, WorkStatus

if TYPE_CHECKING:
    from tests.contract.conftest import World

_STATUSES = (WorkStatus.FAILED, WorkStatus.COMPLETED)

_TERMS: tuple[tuple[ItemTerm, list[str]], ...] = (
    (ItemTerm(text="FIX"), ["fix_api", "fix-web", "report"]),
    (ItemTerm(text="fix_", field=ItemField.ID), ["fix_api"]),
    (ItemTerm(text="GRÖSS", field=ItemField.ID), []),
    (ItemTerm(text="GRÖ", field=ItemField.ID), ["Größe"]),
    (ItemTerm(text="%", field=ItemField.ID), []),
    (ItemTerm(text="shel", field=ItemField.AGENT, is_negated=True), []),
    (ItemTerm(text="older", field=ItemField.CONVOY), ["first", "second"]),
    (
        ItemTerm(text="older", field=ItemField.CONVOY, is_negated=True),
        ["fix_api", "fix-web", "Größe", "report", "watch"],
    ),
    (ItemTerm(text="running", field=ItemField.STATUS), ["watch"]),
    (ItemTerm(text="exit 9", field=ItemField.ERROR), ["fix-web"]),
    (
        ItemTerm(text="exit", field=ItemField.ERROR, is_negated=True),
        ["fix_api", "Größe", "report", "watch", "first"],
    ),
    (ItemTerm(text="which failed", field=ItemField.REASON), ["report"]),
    (ItemTerm(text="9", field=ItemField.EXIT), ["fix-web"]),
    (
        ItemTerm(text="0", field=ItemField.EXIT, is_negated=True),
        ["fix-web", "report", "watch", "second"],
    ),
    (
        ItemTerm(text="^FIX.(api|web)$", field=ItemField.ID, is_regex=True),
        ["fix_api", "fix-web"],
    ),
    (ItemTerm(text="^r|^w", field=ItemField.ID, is_regex=True), ["report", "watch"]),
    (ItemTerm(text="^f", field=ItemField.STATUS, is_regex=True), ["fix-web", "second"]),
    (ItemTerm(text="^[1-8]$", field=ItemField.EXIT, is_regex=True), ["second"]),
    (
        ItemTerm(text="e", field=ItemField.ID, is_regex=True, is_negated=True),
        ["fix_api", "watch", "first"],
    ),
)


def op(item_id: str, run: str = "true", **options: object) -> dict[str, object]:
    return {"id": item_id, "run": run, **options}


@pytest.fixture
async def work(world: World) -> str:
    """A convoy that has ended but for one operation, and an older one that has ended."""
    older = await world.launch(op("first", "echo old"), op("second", "exit 3"), name="older")
    await world.ended(older)
    convoy = await world.launch(
        op("fix_api", "echo one; echo two"),
        op("fix-web", "echo broken; exit 9"),
        op("Größe"),
        op("report", needs=["fix-web"]),
        op("watch", "echo begun; sleep 60"),
    )
    for name in ("fix_api", "Größe"):
        await world.reached(convoy, name, WorkStatus.COMPLETED)
    await world.reached(convoy, "report", WorkStatus.SKIPPED)
    await world.reached(convoy, "watch", WorkStatus.IN_PROGRESS)
    return convoy


async def ids(world: World, *terms: ItemTerm) -> list[str]:
    page = await world.api.items(ItemFilter(terms=terms))
    assert page.total == len(page.items)
    return [view.id for view in page.items]


async def test_a_term_lets_through_what_it_says(world: World, work: str) -> None:
    for term, expected in _TERMS:
        assert await ids(world, term) == expected, term


async def test_all_terms_must_hold(world: World, work: str) -> None:
    fixes = ItemTerm(text="fix", field=ItemField.ID)
    failed = ItemTerm(text="failed", field=ItemField.STATUS)
    assert await ids(world, fixes, failed) == ["fix-web"]


async def test_an_expression_that_is_none_or_may_run_away_is_refused_by_name(world: World) -> None:
    for expression in ("(", "(a+)+$", "(?P<n>a)(?P=n)", "a*b*c*d*e"):
        filter = ItemFilter(terms=(ItemTerm(text=expression, is_regex=True),))
        with pytest.raises(InputError) as refused:
            await world.api.items(filter)
        assert repr(expression) in str(refused.value)
        with pytest.raises(InputError):
            await world.api.offset_of(filter, ItemKey("none", "none"))


async def test_a_page_is_counted_only_when_that_is_asked_for(world: World, work: str) -> None:
    for filter in (ItemFilter(), ItemFilter(text="fix"), ItemFilter(statuses=_STATUSES)):
        counted = await world.api.items(filter, limit=2)
        uncounted = await world.api.items(filter, limit=2, is_counted=False)
        assert counted.total is not None
        assert counted.total > 2
        assert uncounted.total is None
        assert uncounted.items == counted.items
        assert uncounted.next_after == counted.next_after


async def test_totals_are_those_of_the_rows(world: World, work: str) -> None:
    older = (await world.api.snapshot()).convoys[1].id
    for convoy_ids in ((), (work,), (older,), (work, older), ("none",)):
        for statuses in ((), _STATUSES, (WorkStatus.IN_PROGRESS,)):
            filter = ItemFilter(convoy_ids=convoy_ids, statuses=statuses)
            page = await world.api.items(filter)
            assert page.total == len(page.items), filter


async def test_an_items_offset_is_its_place_in_the_whole(world: World, work: str) -> None:
    with_e = ItemFilter(terms=(ItemTerm(text="e", field=ItemField.ID),))
    for filter, sort, is_reversed in product((ItemFilter(), with_e), ItemSort, (False, True)):
        whole = await world.api.items(filter, sort=sort, is_reversed=is_reversed)
        offsets = [
            await world.api.offset_of(
                filter, ItemKey(view.convoy_id, view.id), sort=sort, is_reversed=is_reversed
            )
            for view in whole.items
        ]
        assert offsets == list(range(len(whole.items))), (filter, sort, is_reversed)


async def test_an_item_that_the_filter_leaves_out_has_no_offset(world: World, work: str) -> None:
    filter = ItemFilter(text="report")
    assert await world.api.offset_of(filter, ItemKey(work, "watch")) is None
    assert await world.api.offset_of(filter, ItemKey(work, "nobody")) is None
    assert await world.api.offset_of(filter, ItemKey(work, "report")) == 0


async def test_last_lines_are_there_when_they_are_asked_for(world: World, work: str) -> None:
    filter = ItemFilter(convoy_ids=(work,))
    without = await world.api.items(filter)
    assert [view.last_line for view in without.items] == [None] * 5

    async def lines() -> list[str | None]:
        page = await world.api.items(filter, has_last_lines=True)
        return [view.last_line for view in page.items]

    async def all_lines() -> list[str | None]:
        while (found := await lines())[-1] is None:  # what runs has yet to print it
            pass
        return found

    assert await world.during(all_lines()) == ["two", "broken", None, None, "begun"]


async def test_a_running_items_use_of_the_machine_is_told(world: World, work: str) -> None:
    running = await world.api.item(ItemKey(work, "watch"))
    assert running.cpu_percent is not None
    assert running.cpu_percent >= 0
    assert running.rss_bytes is not None
    ended = await world.api.item(ItemKey(work, "fix_api"))
    assert ended.cpu_percent is None
    assert ended.rss_bytes is None


async def test_a_resize_tells_the_size_before(world: World) -> None:
    before = (await world.api.snapshot()).engine
    await world.api.set_parallelism(before.parallelism + 2)
    after = (await world.api.snapshot()).engine
    assert after.resized_from == before.parallelism
    assert after.grace_s > 0
