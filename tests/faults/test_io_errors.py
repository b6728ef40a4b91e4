"""A COMMIT that fails with an I/O error may be in the file all the same: each caller is told."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from aisquad_core.errors import ConcurrentUpdateError, StorageError
from aisquad_core.model import ItemKey, RunUpdate, WorkItem, WorkStatus
from aisquad_core.state import connection as connection_module
from aisquad_core.state import writer
from aisquad_core.state.workstate import WorkState
from aisquad_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PENDING, RUNNING = WorkStatus.PENDING, WorkStatus.IN_PROGRESS


class Disk:
    """Decides which statement fails, and whether what it did reached the file."""

    def __init__(self) -> None:
        self.fails_at: str | None = None
        """The beginning of the statement that fails next."""
        self.is_kept = False
        """Whether the file has it in spite of the failure."""
        self.refusals = 0
        """How often the database cannot be opened anew afterwards."""

    def fail(self, statement: str, *, is_kept: bool, refusals: int = 0) -> None:
        self.fails_at, self.is_kept, self.refusals = statement, is_kept, refusals


def io_error(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = getattr(sqlite3, name)
    error.sqlite_errorname = name
    return error


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()

    class FailingConnection(connection_module._HopConnection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:  # noqa: ANN401
            if sql.startswith("PRAGMA journal_mode") and disk.fails_at is None and disk.refusals:
                disk.refusals -= 1
                raise io_error("SQLITE_IOERR_READ")
            if disk.fails_at is None or not sql.startswith(disk.fails_at):
                return super().execute(sql, *parameters)
            disk.fails_at = None
            if disk.is_kept:
                super().execute(sql, *parameters).fetchall()
            raise io_error("SQLITE_IOERR_FSYNC")

    monkeypatch.setattr(connection_module, "_HopConnection", FailingConnection)
    return disk


@pytest.fixture
async def state(disk: Disk, tmp_path: Path, clock: FakeClock) -> AsyncIterator[WorkState]:
    async with WorkState(tmp_path / "workstate.db", clock=clock) as state:
        await state.create(item(clock, "op-0"))
        await clock.advance(1.0)  # so that the next batch has a stamp of its own
        yield state


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def item(clock: FakeClock, name: str) -> WorkItem:
    return WorkItem(
        id=name,
        status=PENDING,
        agent_id="shell",
        convoy_id="build-1",
        version=1,
        created_at=clock.now(),
        updated_at=clock.now(),
    )


def start(name: str, version: int = 1) -> RunUpdate:
    return RunUpdate(
        convoy_id="build-1",
        item_id=name,
        expected_version=version,
        previous=PENDING,
        status=RUNNING,
        token="abc",
    )


async def until_waiting(clock: FakeClock) -> None:
    """Return when somebody waits for the clock."""
    async with asyncio.timeout(10):
        while not clock.sleepers:  # noqa: ASYNC110 - the clock tells nobody
            await asyncio.sleep(0)


async def test_a_change_that_reached_the_file_is_acknowledged(disk: Disk, state: WorkState) -> None:
    disk.fail("UPDATE work_items", is_kept=True)
    assert await state.run_update(start("op-0")) == 2
    assert (await state.get(ItemKey("build-1", "op-0"))).status is RUNNING


async def test_a_change_that_did_not_reach_the_file_is_refused_and_can_be_made_again(
    disk: Disk, state: WorkState
) -> None:
    disk.fail("UPDATE work_items", is_kept=False)
    with pytest.raises(StorageError, match="SQLITE_IOERR_FSYNC"):
        await state.run_update(start("op-0"))
    assert (await state.get(ItemKey("build-1", "op-0"))).status is PENDING
    assert await state.run_update(start("op-0")) == 2


@pytest.mark.parametrize("is_kept", [True, False])
async def test_a_whole_transaction_is_acknowledged_if_it_reached_the_file(
    disk: Disk, state: WorkState, clock: FakeClock, is_kept: bool
) -> None:
    """Of functions and changes, one of which is stale and is told so if the rest is there."""

    async def change(version: int) -> int:
        return await state.run_update(start("op-0", version))

    disk.fail("COMMIT", is_kept=is_kept)
    made, changed, stale = await asyncio.gather(  # queued one after the other, before a commit
        state.create(item(clock, "op-1")), change(1), change(7), return_exceptions=True
    )
    if is_kept:
        assert isinstance(made, WorkItem)
        assert changed == 2
        assert isinstance(stale, ConcurrentUpdateError)
    else:
        assert {type(made), type(changed), type(stale)} == {StorageError}
    found = await asyncio.gather(
        *[state.get(ItemKey("build-1", name)) for name in ("op-0", "op-1")], return_exceptions=True
    )
    assert [isinstance(each, WorkItem) for each in found] == [True, is_kept]
    if not is_kept:
        await state.create(item(clock, "op-1"))


async def test_while_it_cannot_be_told_nobody_is_answered_and_nothing_else_is_written(
    disk: Disk, state: WorkState, clock: FakeClock
) -> None:
    disk.fail("UPDATE work_items", is_kept=True, refusals=2)
    doubtful = state.run_update(start("op-0"))
    await until_waiting(clock)
    assert not doubtful.done()
    refused = asyncio.ensure_future(state.create(item(clock, "op-1")))
    async with asyncio.timeout(10):
        while not doubtful.done():
            await clock.advance(1.0)
        with pytest.raises(StorageError, match="cannot tell what was committed last"):
            await refused
        assert await doubtful == 2
    await state.create(item(clock, "op-1"))


async def test_a_work_state_that_is_left_meanwhile_says_that_it_cannot_be_told(
    disk: Disk, tmp_path: Path, clock: FakeClock
) -> None:
    async with WorkState(tmp_path / "workstate.db", clock=clock) as state:
        await state.create(item(clock, "op-0"))
        disk.fail("UPDATE work_items", is_kept=True, refusals=1_000)
        doubtful = state.run_update(start("op-0"))
        await until_waiting(clock)
        leaving = asyncio.ensure_future(state.__aexit__(None, None, None))
        while not doubtful.done():
            await clock.advance(1.0)
        with pytest.raises(StorageError, match="may be committed, or not"):
            await doubtful
        await leaving


@pytest.mark.parametrize("is_broken", [False, True])
async def test_the_wal_is_copied_back_after_the_answer_and_a_failure_of_that_costs_nothing(
    disk: Disk, state: WorkState, monkeypatch: pytest.MonkeyPatch, *, is_broken: bool
) -> None:
    monkeypatch.setattr(writer, "COPY_BACK_PAGES", 1)
    if is_broken:
        disk.fail("PRAGMA wal_checkpoint", is_kept=False)
    assert await state.run_update(start("op-0")) == 2
    monkeypatch.setattr(writer, "COPY_BACK_PAGES", 1_000_000)
    await state.mark(is_probe=True)  # behind the copying
    assert disk.fails_at is None
    assert copied_status(state) == (None if is_broken else "in_progress")
    assert (await state.get(ItemKey("build-1", "op-0"))).status is RUNNING


def copied_status(state: WorkState) -> str | None:
    """Return what the database says of op-0 without its WAL."""
    uri = f"{state._path.absolute().as_uri()}?immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as database:
        has_items = database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'work_items'")
        if not has_items.fetchall():
            return None
        [(status,)] = database.execute("SELECT status FROM work_items").fetchall()
        return str(status)
