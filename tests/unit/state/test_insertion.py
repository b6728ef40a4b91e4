"""Items that many callers create at once: each for itself, in a transaction for all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aisquad_core.errors import DuplicateItemError
from aisquad_core.model import ItemKey

if TYPE_CHECKING:
    from aisquad_core.model import WorkItem
    from aisquad_core.state.workstate import WorkState
    from tests.unit.state.conftest import MakeItem, MakeStart


async def create_together(state: WorkState, *items: WorkItem) -> list[BaseException | None]:
    """Create items in one batch; return how each went."""
    results = await asyncio.gather(*(state.create(item) for item in items), return_exceptions=True)
    return [result if isinstance(result, BaseException) else None for result in results]


async def places(state: WorkState) -> list[tuple[str, str, int]]:
    """Return convoy, id and place within the convoy of every item, in their order."""
    rows = await state.pool.run(
        lambda database: database.execute(
            "SELECT convoy_id, id, place - (SELECT min(place) FROM work_items AS f"
            " WHERE f.convoy_id = w.convoy_id) FROM work_items AS w ORDER BY convoy_id, place"
        ).fetchall()
    )
    return [(convoy_id, item_id, place) for convoy_id, item_id, place in rows]


async def test_items_of_many_convoys_go_in_together(state: WorkState, make_item: MakeItem) -> None:
    await state.create(make_item("first"))
    commits = state._writer.commits
    items = [
        make_item(f"op-{number}", convoy_id=f"c{number % 3}", position=number // 3)
        for number in range(100)
    ]
    assert await create_together(state, *items) == [None] * 100
    assert state._writer.commits == commits + 1
    found = await places(state)
    expected = [(item.convoy_id, item.id, item.position) for item in items]
    assert sorted(found) == sorted([*expected, ("build-1", "first", 0)])


async def test_a_place_that_is_taken_means_behind_the_last(
    state: WorkState, make_item: MakeItem
) -> None:
    await state.create(make_item("a"))
    await state.create(make_item("far", position=5))
    together = [make_item(name) for name in ("b", "c")] + [make_item("d", position=2)]
    assert await create_together(state, *together) == [None] * 3
    await state.create(make_item("e"))
    assert [(name, place) for _, name, place in await places(state)] == [
        ("a", 0), ("d", 2), ("far", 5), ("b", 6), ("c", 7), ("e", 8)
    ]  # fmt: skip


async def test_of_two_of_one_name_the_first_is_created_and_the_others_do_not_notice(
    state: WorkState, make_item: MakeItem
) -> None:
    await state.create(make_item("old"))
    names = ["a", "b", "a", "old", "c", "d", "e"]
    items = [
        make_item(name, agent_id=f"agent-{place}", position=place)
        for place, name in enumerate(names)
    ]
    failures = await create_together(state, *items)
    assert [place for place, failure in enumerate(failures) if failure is not None] == [2, 3]
    assert all(isinstance(failures[place], DuplicateItemError) for place in (2, 3))
    assert (await state.get(ItemKey("build-1", "a"))).agent_id == "agent-0"
    assert (await state.get(ItemKey("build-1", "old"))).agent_id == "shell"


async def test_one_that_sqlite_cannot_take_leaves_the_others_alone(
    state: WorkState, make_item: MakeItem
) -> None:
    items = [make_item("a"), make_item("caf\udce9", position=1), make_item("b", position=2)]
    first, second, third = await create_together(state, *items)
    assert (first, third) == (None, None)
    assert isinstance(second, UnicodeEncodeError)


@pytest.mark.parametrize(
    ("odd", "place"),
    [
        ({"id": "old", "position": 3}, DuplicateItemError),
        ({"id": "odd\udce9", "position": 3}, UnicodeEncodeError),
        ({"position": 0}, 3),
        ({"position": 1}, 3),
        ({"position": 1 << 24}, 3),
        ({"position": 3, "convoy_id": "new"}, 0),
    ],
)
async def test_one_that_cannot_go_in_with_the_others_changes_nothing_for_them(
    state: WorkState, make_item: MakeItem, odd: dict[str, Any], place: int | type[Exception]
) -> None:
    await state.create(make_item("old"))
    together = [make_item("a", position=1), make_item("b", position=2), make_item("odd", **odd)]
    first, second, failure = await create_together(state, *together)
    assert (first, second) == (None, None)
    found = {item_id: found for _, item_id, found in await places(state)}
    assert (found["old"], found["a"], found["b"]) == (0, 1, 2)
    if isinstance(place, int):
        assert (failure, found["odd"]) == (None, place)
    else:
        assert isinstance(failure, place)
        assert len(found) == 3


async def test_an_item_can_be_changed_in_the_batch_that_creates_it(
    state: WorkState, make_item: MakeItem, make_start: MakeStart
) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(state.create(make_item("a")))
        await asyncio.sleep(0)
        version = state.run_update(make_start("a"))
    assert await version == 2


@pytest.mark.parametrize("position", [-1, 1 << 40])
async def test_a_position_out_of_range_means_behind_the_last(
    state: WorkState, make_item: MakeItem, position: int
) -> None:
    await state.create(make_item("a"))
    await state.create(make_item("b", position=position))
    assert [(name, place) for _, name, place in await places(state)] == [("a", 0), ("b", 1)]
