"""WorkState: the durable truth about convoys and work items, in one SQLite database.

A change is acknowledged only once it is committed with `synchronous=FULL`; changes of many callers
share a transaction. Every change of an item compares the version that its caller knows.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import msgspec

from aisquad_core.errors import InputError, NotFoundError, StorageError
from aisquad_core.model import ItemKey, check_transition
from aisquad_core.state.changes import (
    delete_launch,
    insert_items,
    publish_launch,
    reserve_launch,
    transition_items,
)
from aisquad_core.state.conditions import place_range
from aisquad_core.state.connection import ThreadConnection, as_storage_error
from aisquad_core.state.connection_pool import ConnectionPool
from aisquad_core.state.finishing import finish
from aisquad_core.state.insertion import BulkInsert
from aisquad_core.state.interpreter import answering_quickly
from aisquad_core.state.mark import Mark
from aisquad_core.state.operation_text import encode_json
from aisquad_core.state.reader import Reader
from aisquad_core.state.records import CONVOY_COLUMNS, ENGINE_COLUMNS, convoy_row, engine_row
from aisquad_core.state.rows import (
    ITEM_TOUCH,
    ITEM_UPDATE,
    PREDECESSORS,
    RUN_UPDATE,
    inserted_row,
    item_update_row,
    run_update_row,
    stamp,
    stamp_or_none,
    words_or_none,
)
from aisquad_core.state.writer import Writer

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from aisquad_core.clock import Clock
    from aisquad_core.model import ConvoyRecord, RunUpdate, WorkItem, WorkStatus
    from aisquad_core.state.connection import Connect
    from aisquad_core.state.records import EngineFacts

T = TypeVar("T")

CREATE_CHUNK = 256
"""Items that one transaction creates: between chunks other callers' changes are committed."""
TRANSITION_CHUNK = 500
"""Items that one transaction moves at once."""

_CREATE_LANE = 0
"""First, so that an item can be changed in the batch that it is created in."""
_RUN_LANE = 1
_ITEM_LANE = 2
_TOUCH_LANE = 3
_Indexed: TypeAlias = "tuple[WorkStatus, datetime | None, datetime | None]"
"""Status, start and end of an item, which are indexed; its agent is, too, and hardly changes."""
_INDEXED_KEPT = 4_096
"""Items of which it is kept what was last written into indexed columns."""


class WorkState:
    """Creates, changes and reads work items and convoys; the only writer of its database.

    Args:
        path: The database; created if it does not exist.
        clock: For `updated_at`.
        pool_size: How many readers there may be.
        use_pooling: False: every read opens a connection of its own.
        on_settled: Called after each commit with how many writes of `backlog` it had, and the
            seconds that it took; None: nobody wants to know.
        connect: Makes the connection that writes.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        pool_size: int = 20,
        use_pooling: bool = True,
        on_settled: Callable[[int, float], None] | None = None,
        connect: Connect = ThreadConnection,
    ) -> None:
        self._path = path
        self._clock = clock
        self.pool = ConnectionPool(path, size=pool_size, is_keeping=use_pooling, clock=clock)
        """The readers."""
        self.reader = Reader(self.pool)
        """Every question to the work state."""
        self._mark = Mark(path)
        self._writer = Writer(
            path,
            clock=clock,
            changes=(BulkInsert(), RUN_UPDATE, ITEM_UPDATE, ITEM_TOUCH),
            witness=self._mark,
            on_settled=on_settled,
            connect=connect,
        )
        self._marked_commits = 0
        self._indexed: dict[ItemKey, _Indexed] = {}
        """What was last written into indexed columns: a hint, since not every writer tells."""
        self._exit = AsyncExitStack()
        self.setback: str | None = None
        """In words, if the database is older than it was when it was marked last."""

    async def __aenter__(self) -> Self:
        """Open the database and bring its schema up to date.

        Raises:
            NewerSchemaError: It is from a newer aisquad.
            StorageError: It cannot be opened.
        """
        await self._writer.open()
        self._exit.enter_context(answering_quickly())
        group = await self._exit.enter_async_context(asyncio.TaskGroup())
        self._exit.push_async_callback(self._finish, group.create_task(self._writer.run()))
        self._exit.push_async_callback(self.pool.close)
        self.setback = await self._writer.run_outside_transaction(self._mark.find_setback)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Commit what is queued and close, also when the caller failed or is cancelled."""
        await self._exit.aclose()

    async def _finish(self, writing: asyncio.Task[None]) -> None:
        self._writer.close()
        await finish((writing,))

    def run_update(self, update: RunUpdate) -> asyncio.Future[int]:
        """Change what running an item changes, if its version is the expected one.

        The stored status must be `previous`, too: the version implies it only for callers who
        make no mistake, and comparing it costs nothing beside the row.

        Returns:
            A future of the new version. Once this returns, the change is made even if the
            waiting caller is cancelled. The future may raise `ConcurrentUpdateError`,
            `IllegalTransitionError` (the stored status is not `previous`) or `StorageError`.

        Raises:
            IllegalTransitionError: `status` does not follow from `previous`.
        """
        if update.previous._value_ not in PREDECESSORS[update.status._value_]:
            check_transition(update.item_id, update.previous, update.status)
        key = ItemKey(update.convoy_id, update.item_id)
        self._note_indexed(key, (update.status, update.started_at, update.finished_at))
        return self._writer.add_row(_RUN_LANE, run_update_row(update), update.expected_version + 1)

    async def update(self, item: WorkItem) -> WorkItem:
        """Store all of an item but its name, place, time of creation and operation.

        Returns:
            The item with its new version and `updated_at`.

        Raises:
            ConcurrentUpdateError: The stored version is not the item's; nothing was changed.
            IllegalTransitionError: The item's status does not follow from the stored one.
            StorageError: It could not be committed.
        """
        key, indexed = item.key, (item.status, item.started_at, item.finished_at)
        lane = _TOUCH_LANE if self._indexed.get(key) == indexed else _ITEM_LANE
        committed = self._writer.add_row(lane, item_update_row(item), item.version + 1)
        updated_at = self._writer.newest_stamp
        version = await committed
        if lane == _ITEM_LANE:
            self._note_indexed(key, indexed)
        return msgspec.structs.replace(item, version=version, updated_at=updated_at)

    def _note_indexed(self, key: ItemKey, indexed: _Indexed) -> None:
        if len(self._indexed) >= _INDEXED_KEPT:
            self._indexed.clear()
        self._indexed[key] = indexed

    async def get(self, key: ItemKey) -> WorkItem:
        """Return one committed item.

        Raises:
            NotFoundError: There is none.
        """
        return await self.reader.item(key)

    async def create(self, item: WorkItem) -> WorkItem:
        """Add one item, with or without a convoy of its name.

        Raises:
            DuplicateItemError: The convoy has an item of that id.
            StorageError: It could not be committed.
        """
        row = inserted_row(item, stamp(item.created_at))
        await self._writer.add_row(_CREATE_LANE, row, item.version)
        return item

    async def create_convoy(self, record: ConvoyRecord, items: Iterable[WorkItem]) -> None:
        """Add a convoy with its items, in the order of their positions; all or nothing.

        Other callers' changes are committed between chunks of it. It can be seen only when all
        of it is there; what a crash leaves of it, `delete_orphans` removes. Items get the
        convoy's time of creation.

        Raises:
            DuplicateItemError: A convoy or item of that id exists; nothing of it stays.
            ValueError: An item is of another convoy.
            StorageError: It could not be committed.
        """
        number = await self._writer.add_job(
            partial(reserve_launch, convoy_id=record.id), is_counted=False
        )
        try:
            place = place_range(number)[0]
            waiting = iter(items)
            while chunk := list(islice(waiting, CREATE_CHUNK)):
                if any(item.convoy_id != record.id for item in chunk):
                    raise ValueError(f"an item of another convoy was given for {record.id}")
                await self._writer.add_job(
                    partial(insert_items, place=place, items=chunk, created_at=record.created_at),
                    is_counted=False,
                )
                place += len(chunk)
            await self._writer.add_job(
                partial(publish_launch, number=number, record=record), is_counted=False
            )
        except BaseException:
            await self._delete_launch(number)
            raise

    async def delete_orphans(self) -> int:
        """Remove what crashes left of convoys that were being created; return how many items.

        Only before anyone creates a convoy: one that is being created looks the same.
        """
        numbers = await self._writer.add_job(
            lambda connection: connection.execute(
                "SELECT number FROM launches WHERE NOT is_complete"
            ).fetchall()
        )
        return sum([await self._delete_launch(number) for (number,) in numbers])

    async def update_convoy(self, record: ConvoyRecord) -> None:
        """Store all of a convoy.

        Raises:
            NotFoundError: There is none of that id.
            StorageError: It could not be committed.
        """
        columns = CONVOY_COLUMNS.split(", ")[1:]
        convoy_id, *values = convoy_row(record)

        def write(connection: sqlite3.Connection) -> None:
            sets = ", ".join(f"{column} = ?" for column in columns)
            changed = connection.execute(
                f"UPDATE convoys SET {sets} WHERE id = ?", (*values, convoy_id)
            ).rowcount
            if not changed:
                raise NotFoundError(f"no convoy {record.id}")

        await self._writer.add_job(write)

    async def transition(
        self,
        convoy_id: str,
        versions: Sequence[tuple[str, int]],
        *,
        status: WorkStatus,
        reason: str | None,
        finished_at: datetime | None = None,
    ) -> list[str]:
        """Move many items of a convoy to a status, each if its version is the expected one.

        Args:
            convoy_id: Their convoy.
            versions: Item ids with the versions that the caller knows.
            status: For all of them.
            reason: Written as given.
            finished_at: Written as given.

        Returns:
            The ids of those left alone: gone, of another version, or in a status from which the
            wanted one does not follow.

        Raises:
            StorageError: A chunk could not be committed; earlier chunks are.
        """
        stale: list[str] = []
        text = words_or_none(reason)
        for start in range(0, len(versions), TRANSITION_CHUNK):
            chunk = encode_json(versions[start : start + TRANSITION_CHUNK])
            values = (status.value, text, stamp_or_none(finished_at), stamp(self._clock.now()))
            stale += await self._writer.add_job(
                partial(transition_items, convoy_id=convoy_id, chunk=chunk, values=values)
            )
        return stale

    async def record_engine(self, facts: EngineFacts) -> None:
        """Replace what the engine says about itself to commands in other processes."""
        row = engine_row(facts)
        await self._writer.add_job(
            lambda connection: (
                connection.execute(
                    f"REPLACE INTO engine (only, {ENGINE_COLUMNS}) VALUES (1{', ?' * len(row)})",
                    row,
                ).rowcount
            )
        )

    @property
    def backlog(self) -> int:
        """Writes that were accepted and not acknowledged yet.

        Those of `create_convoy` are not among them: each convoy that is being created has one at
        a time, and whoever admits convoys counts them himself.
        """
        return self._writer.unacknowledged

    @property
    def stalled_s(self) -> float:
        """Seconds that the present commit, or copying of the WAL, has taken; 0: there is none."""
        return self._writer.commit_age_s

    @property
    def wal_bytes(self) -> int:
        """Size of the WAL when the open files were compared last (`check_identity`)."""
        return self._writer.wal_bytes

    async def check_identity(self) -> str | None:
        """Compare the open database and WAL with the files at their paths.

        Returns:
            None, or in words what is wrong: a moved or deleted database takes commits into
            nowhere.
        """
        return await asyncio.to_thread(self._writer.check_identity)

    async def mark(self, *, is_probe: bool = False) -> bool:
        """Note outside the database how far it has come, if it has; once a second will do.

        Args:
            is_probe: Commit in any case, to find out whether anything can be.

        Returns:
            Whether something was committed.

        Raises:
            StorageError: It could not be committed, or the file cannot be written.
        """
        if self._writer.commits == self._marked_commits and not is_probe:
            return False
        number = await self._writer.add_job(self._mark.advance)
        commits = self._writer.commits
        try:
            await asyncio.to_thread(self._mark.write, number)
        except OSError as error:
            raise StorageError(f"{self._path}-mark: {error.strerror}") from error
        self._marked_commits = commits
        return True

    async def rescue(self, target: Path) -> int:
        """Write a copy of the database from the live connection, for when its file is gone.

        Everything that was acknowledged is in it. It is the user's alone, and on the disk.

        Args:
            target: A file that does not exist, outside the place of the database itself.

        Returns:
            Its size in bytes.

        Raises:
            InputError: There is a file already, or it is not to be there.
            StorageError: It could not be written; nothing of it is left.
        """
        if target.name.startswith(self._path.name) and await asyncio.to_thread(
            _is_same_folder, target, self._path
        ):
            raise InputError(f"{target}: a rescue must not take the work state's own place")
        try:
            await asyncio.to_thread(_make_empty, target)
        except FileExistsError as error:
            raise InputError(f"{target} exists already") from error
        except OSError as error:
            raise StorageError(f"{target}: {error.strerror}") from error
        try:
            await self._writer.run_outside_transaction(
                lambda connection: connection.execute("VACUUM INTO ?", (str(target),)).fetchall()
            )
            return await asyncio.to_thread(_keep, target)
        except BaseException as error:
            await asyncio.to_thread(target.unlink, missing_ok=True)
            if isinstance(error, OSError):
                raise StorageError(f"{target}: {error.strerror}") from error
            raise as_storage_error(error) or error from error

    async def _delete_launch(self, number: int) -> int:
        """Remove a convoy that is not complete, chunk by chunk, even when cancelled."""
        deleted = 0
        while True:
            deleting = self._writer.add_job(
                partial(delete_launch, number=number, limit=TRANSITION_CHUNK), is_counted=False
            )
            await finish((deleting,))
            count = deleting.result()
            deleted += count
            if count < TRANSITION_CHUNK:
                return deleted


def _is_same_folder(one: Path, other: Path) -> bool:
    try:
        return one.parent.samefile(other.parent)
    except OSError:  # one of them is not there
        return False


def _make_empty(path: Path) -> None:
    """Make a file that only its owner can read."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))


def _keep(path: Path) -> int:
    """Bring a file to the disk, and return its size."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
