"""What WorkState promises about items and convoys."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from aisquad_core.api import ItemFilter, StatusCounts
from aisquad_core.errors import (
    ConcurrentUpdateError,
    DuplicateItemError,
    IllegalTransitionError,
    NotFoundError,
    StateError,
    StorageError,
)
from aisquad_core.model import (
    TRANSITIONS,
    ConvoyStatus,
    ItemKey,
    Operation,
    OutputMode,
    StopReason,
    Try,
    WorkStatus,
)
from aisquad_core.state import workstate as workstate_module
from aisquad_core.state.records import EngineFacts
from aisquad_core.state.workstate import WorkState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aisquad_core.model import WorkItem
    from aisquad_core.testing import FakeClock
    from tests.unit.state.conftest import MakeConvoy, MakeItem, MakeStart

KEY = ItemKey("build-1", "lint")
NOT_UTF8 = "caf\udce9"


async def test_an_item_comes_back_as_it_was_created(state: WorkState, make_item: MakeItem) -> None:
    now = make_item("x").created_at
    item = make_item(
        "lint",
        status=WorkStatus.FAILED,
        agent_id="reviewer",
        context={"file": NOT_UTF8, "n": [1, 2.5, None]},
        metadata={"ü": True},
        artifacts={"log": "x"},
        dependencies=("a", "b"),
        operation=Operation(
            id="lint",
            argv=("cat", NOT_UTF8),
            agent_id="reviewer",
            stdin=NOT_UTF8,
            stdout=OutputMode.RESULT,
            needs=("a", "b"),
            timeout_s=2.5,
            retries=2,
            context={"file": NOT_UTF8},
        ),
        position=7,
        priority=-3,
        attempt=2,
        token="t2",
        boot_id="b",
        stopping=StopReason.TIMEOUT,
        exit_code=124,
        error="too slow",
        reason="because",
        started_at=now,
        finished_at=now,
        tries=(
            Try(
                attempt=1,
                status=WorkStatus.LOST,
                exit_code=None,
                error=NOT_UTF8,
                started_at=now,
                finished_at=None,
                token="t1",
            ),
        ),
    )
    await state.create(item)
    assert await state.get(KEY) == item


async def test_an_item_that_exists_is_not_created_again(
    state: WorkState, make_item: MakeItem
) -> None:
    await state.create(make_item("lint"))
    with pytest.raises(DuplicateItemError, match="lint exists already"):
        await state.create(make_item("lint", agent_id="other"))
    assert await state.get(KEY) == make_item("lint")


async def test_update_stores_the_item_and_counts_its_version(
    state: WorkState, make_item: MakeItem, clock: FakeClock
) -> None:
    item = await state.create(make_item("lint"))
    await clock.advance(5)
    changed = msgspec.structs.replace(
        item,
        status=WorkStatus.IN_PROGRESS,
        agent_id="reviewer",
        context={"a": 1},
        metadata={"b": 2},
        artifacts={"c": NOT_UTF8},
        priority=9,
        reason="why",
        started_at=clock.now(),
    )
    stored = await state.update(changed)
    assert stored == msgspec.structs.replace(changed, version=2, updated_at=clock.now())
    assert await state.get(KEY) == stored


async def test_a_stale_update_changes_nothing(state: WorkState, make_item: MakeItem) -> None:
    item = await state.create(make_item("lint"))
    newer = await state.update(msgspec.structs.replace(item, reason="first"))
    with pytest.raises(ConcurrentUpdateError) as caught:
        await state.update(msgspec.structs.replace(item, reason="second"))
    assert (caught.value.item_id, caught.value.expected_version, caught.value.actual_version) == (
        "lint",
        1,
        2,
    )
    assert await state.get(KEY) == newer


async def test_updating_an_item_that_is_gone_says_so(state: WorkState, make_item: MakeItem) -> None:
    with pytest.raises(ConcurrentUpdateError) as caught:
        await state.update(make_item("lint"))
    assert caught.value.actual_version is None


@pytest.mark.parametrize("current", list(WorkStatus))
async def test_update_makes_exactly_the_legal_transitions(
    state: WorkState, make_item: MakeItem, current: WorkStatus
) -> None:
    for number, wanted in enumerate(WorkStatus):
        item = await state.create(make_item(f"op-{number}", status=current, position=number))
        if wanted is current or wanted in TRANSITIONS[current]:
            await state.update(msgspec.structs.replace(item, status=wanted))
        else:
            with pytest.raises(IllegalTransitionError) as caught:
                await state.update(msgspec.structs.replace(item, status=wanted))
            assert (caught.value.current, caught.value.wanted) == (current, wanted)
            assert await state.get(item.key) == item


async def test_run_update_writes_its_fields_and_appends_the_ended_try(
    state: WorkState, make_item: MakeItem, make_start: MakeStart
) -> None:
    item = await state.create(make_item("lint", context={"keep": 1}))
    now = item.created_at
    assert await state.run_update(make_start("lint", boot_id="b", error="caf\udce9")) == 2
    ended = Try(
        attempt=1,
        status=WorkStatus.FAILED,
        exit_code=1,
        error=NOT_UTF8,
        started_at=now,
        finished_at=now,
        token="t1",
    )
    again = make_start(
        "lint",
        expected_version=2,
        previous=WorkStatus.IN_PROGRESS,
        status=WorkStatus.PENDING,
        attempt=2,
        token=None,
        started_at=None,
        reason="waits",
        ended_try=ended,
    )
    assert await state.run_update(again) == 3
    assert await state.get(KEY) == msgspec.structs.replace(
        item, version=3, attempt=2, reason="waits", tries=(ended,)
    )


async def test_run_update_refuses_another_status_than_the_stored_one(
    state: WorkState, make_item: MakeItem, make_start: MakeStart
) -> None:
    item = await state.create(make_item("lint", status=WorkStatus.BLOCKED))
    with pytest.raises(IllegalTransitionError):
        await state.run_update(make_start("lint"))
    with pytest.raises(IllegalTransitionError):
        state.run_update(make_start("lint", status=WorkStatus.COMPLETED))
    assert await state.get(KEY) == item


async def test_a_cancelled_caller_does_not_stop_its_write(
    state: WorkState, make_item: MakeItem, make_start: MakeStart
) -> None:
    await state.create(make_item("lint"))
    async with asyncio.TaskGroup() as tasks:

        async def start() -> None:
            await state.run_update(make_start("lint"))

        caller = tasks.create_task(start())
        await asyncio.sleep(0)
        caller.cancel()
    assert caller.cancelled()
    await state.create(make_item("later", position=1))
    assert (await state.get(KEY)).version == 2


async def test_leaving_commits_what_is_queued(
    path: Path, clock: FakeClock, make_item: MakeItem, make_start: MakeStart
) -> None:
    async with WorkState(path, clock=clock) as state:
        await state.create(make_item("lint"))
        version = state.run_update(make_start("lint"))
    assert await version == 2
    with pytest.raises(StateError, match="closed"):
        await state.create(make_item("other"))
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT version FROM work_items").fetchall() == [(2,)]


async def test_a_convoy_can_be_seen_only_when_all_of_it_is_there(
    state: WorkState, make_item: MakeItem, make_convoy: MakeConvoy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workstate_module, "CREATE_CHUNK", 2)
    seen: list[tuple[int, int]] = []

    def items() -> Iterator[WorkItem]:
        for number in range(5):
            yield make_item(f"op-{number}", position=number)

    async def watch() -> None:
        while not seen or seen[-1][1] == 0:
            page = await state.reader.items(ItemFilter())
            seen.append((page.total or 0, len(await state.reader.convoys())))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch())
        record = make_convoy("build-1", total=5, cwd="/srv/caf\udce9", timeout_s=1.5)
        await state.create_convoy(record, items())
    assert {total for total, _ in seen} <= {0, 5}
    assert await state.reader.convoy("build-1") == record
    assert await state.reader.counts() == StatusCounts(pending=5)


async def test_others_commit_between_the_chunks_of_a_convoy(
    state: WorkState,
    make_item: MakeItem,
    make_convoy: MakeConvoy,
    make_start: MakeStart,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workstate_module, "CREATE_CHUNK", 1)
    await state.create(make_item("lint"))
    committed: list[asyncio.Future[int]] = []
    done_at: list[int] = []

    def items() -> Iterator[WorkItem]:
        for number in range(6):
            if number == 1:
                committed.append(state.run_update(make_start("lint")))
            if committed and committed[0].done():
                done_at.append(number)
            yield make_item(f"op-{number}", convoy_id="big-1", position=number)

    await state.create_convoy(make_convoy("big-1", total=6), items())
    assert done_at
    assert done_at[0] < 6


async def test_nothing_stays_of_a_convoy_with_a_repeated_item(
    state: WorkState, make_item: MakeItem, make_convoy: MakeConvoy
) -> None:
    names = [f"op-{number}" for number in range(600)]
    items = [make_item(name, position=place) for place, name in enumerate([*names, "op-7"])]
    with pytest.raises(DuplicateItemError) as caught:
        await state.create_convoy(make_convoy("build-1"), items)
    assert caught.value.item_id == "op-7"
    with pytest.raises(NotFoundError):
        await state.get(ItemKey("build-1", "op-1"))
    await state.create_convoy(make_convoy("build-1"), items[:600])
    with pytest.raises(DuplicateItemError, match="build-1"):
        await state.create_convoy(make_convoy("build-1"), [])
    assert await state.reader.counts("build-1") == StatusCounts(pending=600)


async def test_a_cancelled_launch_leaves_nothing(
    state: WorkState, make_item: MakeItem, make_convoy: MakeConvoy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workstate_module, "CREATE_CHUNK", 1)
    async with asyncio.TaskGroup() as tasks:

        def items() -> Iterator[WorkItem]:
            for number in range(1_000):
                if number == 5:
                    launch.cancel()
                yield make_item(f"op-{number}", position=number)

        launch = tasks.create_task(state.create_convoy(make_convoy("build-1"), items()))
    assert launch.cancelled()
    await state.create_convoy(make_convoy("build-1"), [make_item("op-0")])
    assert await state.reader.counts() == StatusCounts(pending=1)


async def test_what_a_crash_leaves_of_a_launch_is_hidden_and_removed(
    path: Path, clock: FakeClock, make_item: MakeItem, make_convoy: MakeConvoy
) -> None:
    async with WorkState(path, clock=clock) as state:
        await state.create_convoy(make_convoy("build-1"), [make_item("lint")])
        await state.create(make_item("script", convoy_id="by-hand"))
        await state.create_convoy(make_convoy("torn-1"), [make_item("a", convoy_id="torn-1")])
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE launches SET is_complete = 0 WHERE convoy_id = 'torn-1'")
        database.execute("DELETE FROM convoys WHERE id = 'torn-1'")
        database.commit()
    async with WorkState(path, clock=clock) as state:
        page = await state.reader.items(ItemFilter())
        assert [item.id for item in page.items] == ["script", "lint"]
        assert page.total == 2
        assert await state.delete_orphans() == 1
        assert await state.delete_orphans() == 0
        with pytest.raises(NotFoundError):
            await state.get(ItemKey("torn-1", "a"))
        assert (await state.get(KEY)).id == "lint"


async def test_transition_moves_all_but_those_that_went_another_way(
    state: WorkState,
    make_item: MakeItem,
    make_convoy: MakeConvoy,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workstate_module, "TRANSITION_CHUNK", 3)
    items = [
        make_item(f"op-{number}", status=WorkStatus.BLOCKED, position=number) for number in range(8)
    ]
    items[3] = msgspec.structs.replace(items[3], status=WorkStatus.COMPLETED)
    items[4] = msgspec.structs.replace(items[4], status=WorkStatus.PENDING)
    await state.create_convoy(make_convoy("build-1"), items)
    await state.update(msgspec.structs.replace(items[4], status=WorkStatus.IN_PROGRESS))
    await clock.advance(1)
    versions = [(item.id, item.version) for item in items]
    stale = await state.transition(
        "build-1",
        [*versions, ("gone", 1)],
        status=WorkStatus.SKIPPED,
        reason="lint failed",
        finished_at=clock.now(),
    )
    assert stale == ["op-3", "op-4", "gone"]
    moved = await state.get(ItemKey("build-1", "op-7"))
    assert moved == msgspec.structs.replace(
        items[7],
        status=WorkStatus.SKIPPED,
        version=2,
        reason="lint failed",
        finished_at=clock.now(),
        updated_at=clock.now(),
    )
    assert await state.reader.counts() == StatusCounts(skipped=6, completed=1, running=1)


async def test_a_convoy_is_changed_or_not_found(state: WorkState, make_convoy: MakeConvoy) -> None:
    record = make_convoy("build-1", source="/srv/caf\udce9.toml")
    with pytest.raises(NotFoundError):
        await state.update_convoy(record)
    await state.create_convoy(record, [])
    changed = replace(
        record,
        status=ConvoyStatus.PAUSED,
        reason="paused",
        stopping=StopReason.CANCEL,
        started_at=record.created_at,
    )
    await state.update_convoy(changed)
    assert await state.reader.convoy("build-1") == changed


async def test_the_engine_has_one_row_of_facts(state: WorkState, clock: FakeClock) -> None:
    assert await state.reader.engine_facts() is None
    facts = EngineFacts(
        pid=1,
        boot_id="b",
        version="0.1",
        started_at=clock.now(),
        parallelism=5,
        baseline=5,
        max=20,
        auto=True,
        throttle=0.25,
        reason="baseline",
        updated_at=clock.now(),
    )
    await state.record_engine(facts)
    await state.record_engine(replace(facts, parallelism=7, auto=False))
    assert await state.reader.engine_facts() == replace(facts, parallelism=7, auto=False)


async def test_a_moved_or_replaced_database_is_noticed_and_can_be_rescued(
    state: WorkState, path: Path, make_item: MakeItem, tmp_path: Path
) -> None:
    await state.create(make_item("lint"))
    assert await state.check_identity() is None
    await asyncio.to_thread(path.rename, tmp_path / "elsewhere.db")
    assert await state.check_identity() == f"{path} was moved or deleted"
    await asyncio.to_thread(path.touch)
    assert await state.check_identity() == f"{path} was replaced by another file"
    await state.rescue(tmp_path / "rescued.db")
    with closing(sqlite3.connect(tmp_path / "rescued.db")) as database:
        assert database.execute("SELECT id FROM work_items").fetchall() == [("lint",)]


async def test_a_deleted_wal_is_noticed(state: WorkState, path: Path, make_item: MakeItem) -> None:
    await state.create(make_item("lint"))
    wal = path.with_name("workstate.db-wal")
    await asyncio.to_thread(wal.unlink)
    assert await state.check_identity() == f"{wal} was moved or deleted"


@pytest.mark.parametrize("name", ["what?.db", "a#b.db", "50%.db", "a b.db", "ünï?mode=rw.db"])
async def test_nasty_names_of_the_database_are_only_names(
    tmp_path: Path, clock: FakeClock, make_item: MakeItem, name: str
) -> None:
    folder = tmp_path / "what? #1"
    folder.mkdir()
    async with WorkState(folder / name, clock=clock) as state:
        await state.create(make_item("lint"))
        assert (await state.get(KEY)).id == "lint"
        found = {entry.name for entry in folder.iterdir()}
    assert found == {name, f"{name}-wal", f"{name}-shm"}


async def test_a_folder_that_does_not_exist_is_a_storage_error(
    tmp_path: Path, clock: FakeClock
) -> None:
    with pytest.raises(StorageError, match="unable to open"):
        async with WorkState(tmp_path / "no" / "w.db", clock=clock):
            pass


async def test_a_database_that_went_back_is_noticed_at_the_next_start(
    path: Path, clock: FakeClock, make_item: MakeItem, tmp_path: Path
) -> None:
    older = tmp_path / "older.db"
    async with WorkState(path, clock=clock) as state:
        await state.create(make_item("lint"))
        await state.mark()
        await state.rescue(older)
        await state.create(make_item("test", position=1))
        await state.mark()
        await state.mark()
    assert (tmp_path / "workstate.db-mark").read_text() == "5\n"
    async with WorkState(path, clock=clock) as state:
        assert state.setback is None
    await asyncio.to_thread(older.rename, path)
    async with WorkState(path, clock=clock) as state:
        assert state.setback is not None
        assert "3 instead of 5 marks" in state.setback
        await state.create(make_item("test", position=1))
        await state.mark()
    assert (tmp_path / "workstate.db-mark").read_text() == "6\n"
    async with WorkState(path, clock=clock) as state:
        assert state.setback is None


async def test_threads_take_turns_quickly_only_while_a_work_state_is_open(
    path: Path, clock: FakeClock
) -> None:
    before_s = sys.getswitchinterval()
    async with WorkState(path, clock=clock):
        assert sys.getswitchinterval() == pytest.approx(1e-4)
    assert sys.getswitchinterval() == pytest.approx(before_s)
