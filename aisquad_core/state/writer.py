"""The one writer: many callers' changes in one transaction (group commit), acknowledged together.

What arrives while a transaction runs goes into the next one. Nothing here knows what is written;
a caller whose own change cannot be made gets its error, and the others of its batch do not notice.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, TypeVar

from aisquad_core.errors import StateError, StorageError
from aisquad_core.state.batch import Batch, Job
from aisquad_core.state.bulk import MAX_ROWS
from aisquad_core.state.connection import ThreadConnection, as_storage_error
from aisquad_core.state.open_files import OpenFiles
from aisquad_core.state.schema import check_version, migrate

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from aisquad_core.clock import Clock
    from aisquad_core.state.batch import BulkChange, Witness
    from aisquad_core.state.bulk import Row
    from aisquad_core.state.connection import Connect

T = TypeVar("T")

WAL_AUTOCHECKPOINT_PAGES = 2_000
"""Pages in the WAL (8 MB) after which a commit also copies them into the database."""
COPY_BACK_PAGES = 600
"""Pages, as estimated, after which that is done between two commits. It takes 3 ms, for which
nobody waits who has been answered, and during which the next changes gather."""
PAGES_OF_COMMIT = 8
"""Estimate of the pages that a commit writes beside one for each change."""
JOURNAL_SIZE_LIMIT_BYTES = 8 * 1024 * 1024
"""Size to which the WAL may shrink: space in which outcomes are settled on a full disk."""
MAX_JOBS = 64
"""Functions in one transaction at most."""
COMMIT_EVERY_S = 0.002
"""Seconds between the beginnings of two commits while changes come in on their own."""
_LOOK_UP_AGAIN_S = 1.0
"""Seconds between attempts to find out what was committed."""


class Writer:
    """Owns the only connection in the world that writes the database.

    Args:
        path: The database; created if it does not exist.
        clock: For the stamps of changes.
        changes: The bulk changes that callers use.
        witness: Tells whether a transaction of functions was committed.
        on_settled: Called after each batch with how many writes it had that count, and the
            seconds that it took; None: nobody wants to know.
        connect: Makes the connection.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        changes: tuple[BulkChange, ...],
        witness: Witness,
        on_settled: Callable[[int, float], None] | None = None,
        connect: Connect = ThreadConnection,
    ) -> None:
        self._on_settled = on_settled
        self.unacknowledged = 0
        """Writes that were queued and whose callers have not been told yet, those that count."""
        self._commit_begun_s: float | None = None
        """Since when (monotonic) the writer waits for the disk; None: it does not."""
        self._path = path
        self._connect_to = connect
        self._clock = clock
        self._changes = changes
        self._witness = witness
        self._files = OpenFiles(path)
        self._connection: ThreadConnection | None = None
        self._queue: deque[Batch] = deque()
        self._idle: asyncio.Future[None] | None = None
        """Done when a batch is there; None while the writer is at work."""
        self._is_closing = False
        self._last_begun_s = 0.0
        """When (the loop's time) the latest batch was taken up."""
        self._last_size = 0
        """How many writes it had."""
        self.commits = 0
        """How many batches were committed."""
        self._pages = 0
        """Estimate of what is in the WAL and not in the database."""

    async def open(self) -> None:
        """Connect and bring the schema up to date.

        Raises:
            NewerSchemaError: The database is from a newer aisquad.
            StorageError: It cannot be opened.
        """
        self._loop = asyncio.get_running_loop()
        try:
            await self._connect()
        except sqlite3.Error as error:
            raise as_storage_error(error) or error from error

    def add_row(self, lane_index: int, row_head: Row, version: int) -> asyncio.Future[int]:
        """Queue a row of the bulk change of that index.

        Args:
            lane_index: Place of the change in `changes`.
            row_head: The row but for its last value, the stamp, which is added here.
            version: What the row's version becomes.

        Returns:
            A future of the new version. Cancelling it does not stop the write.

        Raises:
            StateError: The writer is closed.
        """
        queue = self._queue
        batch = queue[-1] if queue else self._open_batch()
        lane = batch.lanes[lane_index]
        if len(lane.rows) >= MAX_ROWS:
            batch = self._open_batch()
            lane = batch.lanes[lane_index]
        future: asyncio.Future[int] = self._loop.create_future()
        self.unacknowledged += 1
        batch.counted += 1
        lane.rows.append((*row_head, batch.stamp))
        lane.versions.append(version)
        lane.futures.append(future)
        return future

    def add_job(
        self, function: Callable[[sqlite3.Connection], T], *, is_counted: bool = True
    ) -> asyncio.Future[T]:
        """Queue a function to be run within the next transaction, on the connection's thread.

        Args:
            function: What to run.
            is_counted: Whether it is one of `unacknowledged`.

        Raises:
            StateError: The writer is closed.
        """
        batch = self._queue[-1] if self._queue else self._open_batch()
        if len(batch.jobs) >= MAX_JOBS:
            batch = self._open_batch()
        future: asyncio.Future[T] = self._loop.create_future()
        self.unacknowledged += is_counted
        batch.counted += is_counted
        batch.jobs.append(Job(function, future))
        return future

    @property
    def newest_stamp(self) -> datetime:
        """The `updated_at` of the change that was queued last."""
        return self._queue[-1].opened_at

    @property
    def wal_bytes(self) -> int:
        """Size of the WAL when the files were compared last."""
        return self._files.wal_bytes

    def check_identity(self) -> str | None:
        """Compare the open files with those at their paths now (blocking).

        From a change on nothing is committed, until the files are back.

        Returns:
            None, or in words which file was moved, deleted, replaced or overwritten.
        """
        return self._files.look()

    def _open_batch(self) -> Batch:
        if self._is_closing:
            raise StateError("the work state is closed")
        batch = Batch(self._changes, self._clock.now(), self._witness)
        self._queue.append(batch)
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        return batch

    async def run(self) -> None:
        """Commit batches until `close` was called and nothing is left; then disconnect."""
        try:
            while True:
                if not self._queue:
                    if self._is_closing:
                        break
                    self._idle = self._loop.create_future()
                    await self._idle
                    self._idle = None
                    continue
                await self._let_gather(self._queue[0])
                batch = self._queue.popleft()
                await self._commit(batch)
                self._pages += batch.size + PAGES_OF_COMMIT
                if self._pages >= COPY_BACK_PAGES:
                    await self._copy_back()
        finally:
            self._is_closing = True
            for batch in self._queue:
                batch.failure = StorageError("the writer ended before this was committed")
                self._settle(batch, 0.0)
            await self._disconnect()

    async def _let_gather(self, batch: Batch) -> None:
        """Wait a little if fewer writes are here than last time: more are on their way.

        A commit costs as much for one write as for twenty. Callers that come again as soon as
        they are answered are all here already, so that they never wait, nor does one that is
        alone.
        """
        now_s = self._loop.time()
        wait_s = self._last_begun_s + COMMIT_EVERY_S - now_s
        if batch.size < self._last_size and wait_s > 0 and not self._is_closing:
            await asyncio.sleep(wait_s)
            now_s = self._loop.time()
        self._last_begun_s, self._last_size = now_s, batch.size

    def close(self) -> None:
        """Take no more changes; those queued are still committed."""
        self._is_closing = True
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def run_outside_transaction(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run `function` on the writer's connection between two batches."""
        if self._connection is None:
            raise StorageError("the database is not open")
        self._files.begin()
        try:
            return await self._connection.run(function)
        finally:
            self._files.end()

    @property
    def commit_age_s(self) -> float:
        """Seconds since the present commit, or copying of the WAL, began; 0: there is none."""
        begun_s = self._commit_begun_s
        return 0.0 if begun_s is None else self._clock.monotonic() - begun_s

    def _settle(self, batch: Batch, took_s: float) -> None:
        batch.settle()
        self.unacknowledged -= batch.counted
        if self._on_settled is not None and batch.counted:
            self._on_settled(batch.counted, took_s)

    async def _commit(self, batch: Batch) -> None:
        self._commit_begun_s = begun_s = self._clock.monotonic()
        self._files.begin()
        try:
            if (change := self._files.change) is not None:
                raise StorageError(
                    f"{change}: nothing is committed until it is back; "
                    "`aisquad rescue FILE` saves a copy"
                )
            connection = self._connection or await self._connect()
            await connection.run(batch.commit)
            if batch.is_connection_suspect:
                await self._leave_connection()
            if batch.is_doubtful:
                await self._look_up(batch)
            self.commits += batch.failure is None
        except (sqlite3.Error, StateError, OSError) as error:  # it could not be opened again
            batch.failure = as_storage_error(error) or error
        except BaseException:
            batch.failure = StorageError("the writer ended while this was being committed")
            raise
        finally:
            self._files.end()
            self._commit_begun_s = None
            self._settle(batch, self._clock.monotonic() - begun_s)

    async def _copy_back(self) -> None:
        """Copy the WAL's pages into the database, as far as no reader needs those there."""
        self._pages = 0
        if self._connection is None or self._files.change is not None:
            return
        self._commit_begun_s = self._clock.monotonic()
        try:
            with suppress(sqlite3.Error):  # all is in the WAL still, and copied with what follows
                await self.run_outside_transaction(
                    lambda connection: connection.execute(
                        "PRAGMA wal_checkpoint(PASSIVE)"
                    ).fetchall()
                )
        finally:
            self._commit_begun_s = None

    async def _leave_connection(self) -> None:
        """Let go of a connection that failed, unless it alone still has what was committed."""
        if self._connection and await asyncio.to_thread(self._files.look) is None:
            await self._disconnect()

    async def _look_up(self, batch: Batch) -> None:
        """Find out whether a batch whose COMMIT failed is in the database, opened anew.

        Until that can be told nothing else is committed, so that no answer is a guess.

        Raises:
            StorageError: The writer is to end, and it still cannot be told.
        """
        while True:
            try:
                connection = self._connection or await self._connect()
                await connection.run(batch.look_up)
            except (sqlite3.Error, StateError, OSError) as error:
                await self._leave_connection()
                trouble = f"cannot tell what was committed last: {error}"
                if self._is_closing:
                    raise StorageError(f"{trouble}; this may be committed, or not") from error
                while self._queue:
                    refused = self._queue.popleft()
                    refused.failure = StorageError(trouble)
                    self._settle(refused, 0.0)
                await self._clock.sleep(_LOOK_UP_AGAIN_S)
            else:
                return

    async def _connect(self) -> ThreadConnection:
        # Opened again after a failure, it must be the same file, and never a new one.
        mode = "rw" if self._files.are_known else "rwc"
        connection = self._connect_to(
            f"{self._path.absolute().as_uri()}?mode={mode}", prepare=self._prepare
        )
        self._connection = await connection.open()
        return connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await asyncio.to_thread(self._files.let_go)
            with suppress(sqlite3.Error):  # what it could not do, its callers know already
                await connection.close()

    def _prepare(self, connection: sqlite3.Connection) -> None:
        prepare_for_writing(connection, self._path, "workstate", synchronous="FULL")
        self._files.note()


def prepare_for_writing(
    connection: sqlite3.Connection,
    path: Path,
    database: str,
    *,
    synchronous: Literal["FULL", "NORMAL"],
) -> None:
    """Set up the only connection that writes a database, and bring its schema up to date.

    Raises:
        NewerSchemaError: The database is from a newer aisquad.
        StorageError: SQLite refuses what is needed.
    """
    check_version(connection, path, database)  # before anything in the file changes
    # Fetched, every one of them: an unfetched journal_mode=WAL locks readers out.
    for pragma, wanted in (
        ("journal_mode = WAL", "wal"),
        (f"synchronous = {synchronous}", None),
        (f"journal_size_limit = {JOURNAL_SIZE_LIMIT_BYTES}", JOURNAL_SIZE_LIMIT_BYTES),
        (f"wal_autocheckpoint = {WAL_AUTOCHECKPOINT_PAGES}", WAL_AUTOCHECKPOINT_PAGES),
        ("temp_store = MEMORY", None),
    ):
        rows = connection.execute(f"PRAGMA {pragma}").fetchall()
        if wanted is not None and rows != [(wanted,)]:
            raise StorageError(f"{path}: SQLite refuses PRAGMA {pragma}: {rows}")
    migrate(connection, path, database)


def identify(path: Path) -> tuple[int, int]:
    """Return a file's device and inode (blocking): another one at its path differs in them."""
    status = path.stat()
    return status.st_dev, status.st_ino
