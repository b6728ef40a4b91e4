"""Many callers, one transaction: each has its own outcome, and no update is lost."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from aisquad_core.errors import ConcurrentUpdateError, IllegalTransitionError, StorageError
from aisquad_core.model import ItemKey, RunUpdate, WorkItem, WorkStatus
from aisquad_core.state import writer
from aisquad_core.state.bulk import MAX_ROWS
from aisquad_core.state.workstate import WorkState
from aisquad_core.testing import FakeClock
from tests.unit.state.conftest import NOW

if TYPE_CHECKING:
    from tests.unit.state.conftest import MakeItem, MakeStart


@dataclass(frozen=True)
class Change:
    """One change that a caller tries."""

    item: int
    is_run_update: bool
    is_stale: bool
    """Expects the version before the one that the caller knows."""
    is_unusable: bool
    """Carries what SQLite cannot store."""
    pauses: int
    """Rounds of the loop before it."""


changes = st.builds(
    Change,
    item=st.integers(0, 2),
    is_run_update=st.booleans(),
    is_stale=st.integers(0, 5).map(lambda n: n == 0),
    is_unusable=st.integers(0, 7).map(lambda n: n == 0),
    pauses=st.integers(0, 3),
)


@settings(max_examples=60, deadline=None)
@given(callers=st.lists(st.lists(changes, min_size=1, max_size=6), min_size=1, max_size=8))
def test_versions_never_skip_and_no_update_is_lost(callers: list[list[Change]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_interleave(Path(folder) / "w.db", callers))


async def _interleave(path: Path, callers: list[list[Change]]) -> None:
    clock = FakeClock()
    made: defaultdict[int, dict[int, str]] = defaultdict(dict)
    """Item to version to the mark of the caller that made it."""
    async with WorkState(path, clock=clock) as state:
        for number in range(3):
            await state.create(_new_item(number, clock))

        async def call(name: str, plan: list[Change]) -> None:
            known = dict.fromkeys(range(3), 1)
            for step, change in enumerate(plan):
                for _ in range(change.pauses):
                    await asyncio.sleep(0)
                expected = known[change.item] - change.is_stale
                mark = f"{name}.{step}"
                try:
                    version = await _make(state, clock, change, expected, mark)
                except ConcurrentUpdateError as error:
                    known[change.item] = _actual(error, expected)
                except UnicodeEncodeError:
                    assert change.is_unusable
                else:
                    assert not change.is_unusable
                    assert version == expected + 1
                    assert version not in made[change.item]
                    made[change.item][version] = mark
                    known[change.item] = version

        async with asyncio.TaskGroup() as tasks:
            for number, plan in enumerate(callers):
                tasks.create_task(call(str(number), plan))
        for number in range(3):
            stored = await state.get(ItemKey("build-1", f"op-{number}"))
            assert sorted(made[number]) == list(range(2, stored.version + 1))
            assert stored.reason == made[number].get(stored.version)


def _actual(error: ConcurrentUpdateError, expected: int) -> int:
    assert error.expected_version == expected
    assert error.actual_version is not None
    assert error.actual_version != expected
    return error.actual_version


def _new_item(number: int, clock: FakeClock) -> WorkItem:
    return WorkItem(
        id=f"op-{number}",
        status=WorkStatus.PENDING,
        agent_id="shell",
        convoy_id="build-1",
        version=1,
        created_at=clock.now(),
        updated_at=clock.now(),
        position=number,
    )


async def _make(
    state: WorkState, clock: FakeClock, change: Change, expected: int, mark: str
) -> int:
    token = "\udcff" if change.is_unusable else None
    if change.is_run_update:
        return await state.run_update(
            RunUpdate(
                convoy_id="build-1",
                item_id=f"op-{change.item}",
                expected_version=expected,
                previous=WorkStatus.PENDING,
                status=WorkStatus.PENDING,
                token=token,
                reason=mark,
            )
        )
    item = replace(_new_item(change.item, clock), version=expected, reason=mark, token=token)
    return (await state.update(item)).version


async def _outcomes(*calls: asyncio.Future[int]) -> list[int | BaseException]:
    return await asyncio.gather(*calls, return_exceptions=True)


async def test_one_failure_in_a_batch_is_only_its_callers(
    state: WorkState, make_item: MakeItem, make_start: MakeStart
) -> None:
    for number in range(4):
        await state.create(make_item(f"op-{number}", position=number))
    outcomes = await _outcomes(
        state.run_update(make_start("op-0")),
        state.run_update(make_start("op-1", expected_version=9)),
        state.run_update(
            make_start("op-2", previous=WorkStatus.BLOCKED, status=WorkStatus.PENDING)
        ),
        state.run_update(make_start("op-3", token="\udcff")),
        state.run_update(make_start("gone")),
        state.run_update(make_start("op-3", exit_code=2**63)),
        state.run_update(make_start("op-0")),
        state.run_update(make_start("op-3")),
    )
    assert outcomes[0] == 2
    assert isinstance(outcomes[1], ConcurrentUpdateError)
    assert isinstance(outcomes[2], IllegalTransitionError)
    assert isinstance(outcomes[3], UnicodeEncodeError)
    assert isinstance(outcomes[4], ConcurrentUpdateError)
    assert isinstance(outcomes[5], OverflowError)
    assert isinstance(outcomes[6], ConcurrentUpdateError)
    assert outcomes[6].actual_version == 2
    assert outcomes[7] == 2


async def test_an_item_that_is_gone_fails_alone_in_a_batch_of_one_statement(
    state: WorkState, make_item: MakeItem, make_start: MakeStart
) -> None:
    await state.create(make_item("op-0"))
    found, gone = await _outcomes(
        state.run_update(make_start("op-0")), state.run_update(make_start("gone"))
    )
    assert found == 2
    assert isinstance(gone, ConcurrentUpdateError)
    assert gone.actual_version is None


async def test_successive_changes_of_one_item_share_a_batch(
    state: WorkState, make_item: MakeItem, make_start: MakeStart
) -> None:
    await state.create(make_item("op-0"))
    end = make_start(
        "op-0",
        expected_version=2,
        previous=WorkStatus.IN_PROGRESS,
        status=WorkStatus.COMPLETED,
    )
    assert await _outcomes(state.run_update(make_start("op-0")), state.run_update(end)) == [2, 3]


async def _traced(state: WorkState) -> list[str]:
    """Return a list that gets every statement of the writer from now on that changes anything."""
    statements: list[str] = []

    def note(statement: str) -> None:
        if not statement.startswith("PRAGMA"):  # copying the WAL back, whenever it is due
            statements.append(statement)

    def trace(connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(note)

    await state._writer.run_outside_transaction(trace)
    return statements


async def test_a_batch_without_conflict_is_one_statement(
    state: WorkState, make_item: MakeItem, make_start: MakeStart
) -> None:
    for number in range(200):
        await state.create(make_item(f"op-{number}", position=number))
    statements = await _traced(state)
    outcomes = await _outcomes(
        *[state.run_update(make_start(f"op-{number}")) for number in range(200)]
    )
    assert outcomes == [2] * 200
    assert len(statements) == 1


async def test_indexes_are_left_alone_where_nothing_in_them_changes(
    state: WorkState, make_item: MakeItem, make_start: MakeStart
) -> None:
    item = await state.create(make_item("op-0"))
    await state.run_update(make_start("op-0"))
    statements = await _traced(state)
    started = replace(item, version=2, status=WorkStatus.IN_PROGRESS, started_at=NOW)
    changed = await state.update(replace(started, reason="half done"))
    [update] = statements
    sets = update.partition(" FROM ")[0]
    assert "reason = " in sets
    assert not any(f"{column} = " in sets for column in ("status", "agent_id", "started_at"))
    assert await state.get(item.key) == changed


async def test_a_changed_agent_is_stored_whatever_was_taken_to_be_unchanged(
    state: WorkState, make_item: MakeItem
) -> None:
    item = await state.update(await state.create(make_item("op-0")))
    others = [await state.update(await state.create(make_item(f"op-{n}"))) for n in (1, 2)]
    changed, *_ = await asyncio.gather(
        state.update(replace(item, agent_id="reviewer")),
        *[state.update(replace(other, reason="why")) for other in others],
    )
    assert (changed.version, changed.agent_id) == (3, "reviewer")
    assert await state.get(item.key) == changed


async def test_indexes_are_left_alone_also_where_another_caller_lost(
    state: WorkState, make_item: MakeItem
) -> None:
    items = [await state.update(await state.create(make_item(f"op-{n}"))) for n in range(3)]
    await state.update(items[0])
    statements = await _traced(state)
    lost, *changed = await asyncio.gather(
        *[state.update(replace(item, reason="why")) for item in items], return_exceptions=True
    )
    assert isinstance(lost, ConcurrentUpdateError)
    assert [await state.get(item.key) for item in items[1:]] == changed
    updates = [each.partition(" FROM ")[0] for each in statements if each.startswith("UPDATE")]
    assert len(updates) == 2
    assert not any("status = " in each for each in updates)


async def test_callers_who_come_again_at_once_never_wait_for_more(
    state: WorkState, make_item: MakeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def change_often(name: str) -> None:
        item = await state.create(make_item(name))
        for _ in range(20):
            item = await state.update(item)

    monkeypatch.setattr(writer, "COMMIT_EVERY_S", 3600.0)
    await asyncio.gather(*[change_often(f"op-{number}") for number in range(5)])


async def test_the_first_of_many_waits_a_little_for_the_others(
    path: Path, clock: FakeClock, make_item: MakeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    async with WorkState(path, clock=clock, on_settled=lambda count, _: sizes.append(count)) as it:
        items = [await it.create(make_item(f"op-{number}")) for number in range(5)]
        items = await asyncio.gather(*map(it.update, items))
        sizes.clear()
        monkeypatch.setattr(writer, "COMMIT_EVERY_S", 0.5)
        async with asyncio.TaskGroup() as tasks:
            for item in items[:4]:
                tasks.create_task(it.update(item))
                for _ in range(10):
                    await asyncio.sleep(0)
    assert sizes == [4]


async def test_more_callers_than_a_batch_holds_are_all_served(
    state: WorkState, make_item: MakeItem, make_start: MakeStart
) -> None:
    count = MAX_ROWS + 40
    for start in range(0, count, 100):
        async with asyncio.TaskGroup() as tasks:
            for number in range(start, min(start + 100, count)):
                tasks.create_task(state.create(make_item(f"op-{number}", position=number)))
    statements = await _traced(state)
    outcomes = await _outcomes(
        *[state.run_update(make_start(f"op-{number}")) for number in range(count)]
    )
    assert outcomes == [2] * count
    assert len(statements) == 2


async def _limit_pages(state: WorkState, more: int) -> None:
    def limit(connection: sqlite3.Connection) -> None:
        [(count,)] = connection.execute("PRAGMA page_count").fetchall()
        connection.execute(f"PRAGMA max_page_count = {count + more}").fetchall()

    await state._writer.run_outside_transaction(limit)


async def test_a_full_disk_fails_all_of_a_batch_alike_and_then_it_goes_on(
    state: WorkState, make_item: MakeItem, make_start: MakeStart
) -> None:
    for number in range(2):
        await state.create(make_item(f"op-{number}", position=number))
    await _limit_pages(state, more=0)
    starts = [make_start("op-0"), make_start("op-1", reason="x" * 100_000)]
    outcomes = await _outcomes(*[state.run_update(start) for start in starts])
    assert [type(outcome) for outcome in outcomes] == [StorageError, StorageError]
    assert "full" in str(outcomes[0])
    with pytest.raises(StorageError, match="full"):
        await state.create(make_item("big", context={"text": "x" * 100_000}, position=2))
    assert (await state.get(ItemKey("build-1", "op-0"))).version == 1
    await _limit_pages(state, more=10_000)
    assert await _outcomes(*[state.run_update(start) for start in starts]) == [2, 2]


async def test_a_database_that_turns_read_only_fails_alike_and_then_it_goes_on(
    state: WorkState, make_item: MakeItem, make_start: MakeStart
) -> None:
    await state.create(make_item("op-0"))

    def query_only(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA query_only = ON").fetchall()

    await state._writer.run_outside_transaction(query_only)
    with pytest.raises(StorageError, match="readonly"):
        await state.run_update(make_start("op-0"))
    # Such a connection is replaced by a new one.
    assert await state.run_update(make_start("op-0")) == 2


async def test_a_writer_never_goes_on_with_another_file(
    state: WorkState, path: Path, make_item: MakeItem, make_start: MakeStart
) -> None:
    await state.create(make_item("op-0"))

    def query_only(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA query_only = ON").fetchall()

    await state._writer.run_outside_transaction(query_only)
    await asyncio.to_thread(path.rename, path.with_name("elsewhere.db"))
    for _ in range(2):
        with pytest.raises(StorageError):
            await state.run_update(make_start("op-0"))
    assert not await asyncio.to_thread(path.exists)


async def test_acknowledged_means_committed_with_full_synchronisation(
    state: WorkState, path: Path, make_item: MakeItem
) -> None:
    def pragmas(connection: sqlite3.Connection) -> tuple[int, str]:
        [(synchronous,)] = connection.execute("PRAGMA synchronous").fetchall()
        [(journal_mode,)] = connection.execute("PRAGMA journal_mode").fetchall()
        return synchronous, journal_mode

    assert await state._writer.run_outside_transaction(pragmas) == (2, "wal")
    await state.create(make_item("op-0"))
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as other:
        assert other.execute("SELECT count(*) FROM work_items").fetchone() == (1,)
