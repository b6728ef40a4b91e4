"""Records what happens; saves it in the background, the only writer of the metrics database.

Metrics are not the truth: recording never waits and never fails. What a crash finds unsaved is
lost, and so is the oldest while storage refuses for long.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from aisquad_core.clock import SteadyWall
from aisquad_core.errors import InputError, StateError, StorageError
from aisquad_core.model import ConvoyStatus
from aisquad_core.sanitise import one_line
from aisquad_core.state.connection import ThreadConnection, as_storage_error
from aisquad_core.state.finishing import finish
from aisquad_core.state.metrics import saving
from aisquad_core.state.metrics.pending import BATCH_ROWS, Pending
from aisquad_core.state.metrics.reader import MetricsReader
from aisquad_core.state.metrics.saving import SLICE_ROWS, Batch, ConvoyChange, End
from aisquad_core.state.metrics.spans import to_us
from aisquad_core.state.writer import identify, prepare_for_writing

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from aisquad_core.api import ResizeNote
    from aisquad_core.clock import Clock
    from aisquad_core.model import RunUpdate
    from aisquad_core.state.metrics.figures import ResourceMetrics

MAX_UNSAVED = 50_000
"""Records of each kind that wait while storage refuses."""
SAVE_EVERY_S = 1.0
"""Seconds for which records are gathered before they are saved together."""
SPREAD_S = 0.5
"""Seconds over which much work is spread, so that it holds up nobody: the transactions that it
takes, or the steps of the only one."""
_RESTS = BATCH_ROWS // SLICE_ROWS + 3
"""How often the only transaction rests at most."""
RETRY_S = 5.0
"""Seconds before storage that refused is tried again."""
PRUNE_EVERY_S = 3_600.0
PRUNED_ROWS = 500
"""Rows of each table that one transaction removes; more when as many come in."""
LEAVE_WITHIN_S = 5.0
"""Seconds that leaving waits for what is unsaved."""
STOP_WITHIN_S = 1.0
"""Seconds that a cancelled save is waited for, which a disk may hold up for ever."""
_BUSY_MS = 200


class MetricsCollector(MetricsReader):
    """Records and reads metrics: an async context manager, the only writer of its database.

    Whoever opens one must hold the state folder (`StateFolder.acquire`), as an engine does: a
    second writer would checkpoint under the first.

    Its questions, which are those of `MetricsReader`, are answered from what is saved; `flush`
    first to have everything in them.

    Args:
        path: The database; made if it does not exist, readable by its owner only.
        clock: Time.
        retention_days: Days after which records are removed.
        max_unsaved: Records of each kind that wait while storage refuses; the oldest go first.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        retention_days: int = 30,
        max_unsaved: int = MAX_UNSAVED,
    ) -> None:
        super().__init__(path, clock=clock)
        self.trouble: str | None = None
        """Why nothing is saved just now, in one line; None when well."""
        self._retention = timedelta(days=retention_days)
        self._wall = SteadyWall(clock)
        self._pending = Pending(max_unsaved)
        self._connection: ThreadConnection | None = None
        self._identity: tuple[int, int] | None = None
        self._due = asyncio.Event()
        """Set when saving is not to wait any longer."""
        self._hurry = threading.Event()
        """Set when a save that has begun is not to rest any more."""
        self._flushes: list[asyncio.Future[None]] = []
        self._prune_at_s = clock.monotonic()
        self._is_closing = False
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Begin to save; whether that succeeds is seen later, in `trouble`."""
        await super().__aenter__()
        group = await self._exits.enter_async_context(asyncio.TaskGroup())
        self._exits.push_async_callback(self._leave, group.create_task(self._keep_saving()))
        self._exits.push_async_callback(self._pool.close)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Save what is left, for five seconds at most, also when the caller is cancelled."""
        await self._exits.aclose()

    @property
    def dropped(self) -> int:
        """Records that were given up because they could not be saved."""
        return self._pending.dropped

    # Recording

    def record_convoy_start(
        self,
        convoy_id: str,
        operations: int,
        *,
        name: str | None = None,
        start_time: datetime | None = None,
        status: ConvoyStatus = ConvoyStatus.RUNNING,
    ) -> None:
        """Record that a convoy began, or that an ended one goes on.

        Args:
            convoy_id: Its id.
            operations: How many it has.
            name: Shown to people; None: the id.
            start_time: When it began; None: now, or what was recorded before.
            status: Where it stands.
        """
        change = self._change(convoy_id)
        change.operations = operations
        change.name = name or change.name
        change.start_time = start_time or change.start_time
        change.status, change.is_ended = status.value, False

    def update_convoy_metrics(
        self,
        convoy_id: str,
        *,
        status: ConvoyStatus | None = None,
        completed: int | None = None,
        failed: int | None = None,
        cancelled: int | None = None,
        skipped: int | None = None,
    ) -> None:
        """Record how far a convoy has come; what is None stays as it was.

        Args:
            convoy_id: Its id.
            status: Where it stands; a final one only by `record_convoy_complete`.
            completed: Operations that completed so far.
            failed: Those that failed or were lost, for good.
            cancelled: Those that were cancelled.
            skipped: Those that were skipped.

        Raises:
            InputError: The status is final.
        """
        if status is not None and status.is_final:
            raise InputError(f"status {status.value}: record_convoy_complete records an end")
        change = self._change(convoy_id)
        change.status = change.status if status is None else status.value
        _count(change, completed, failed, cancelled, skipped)

    def record_convoy_complete(
        self,
        convoy_id: str,
        status: ConvoyStatus,
        *,
        completed: int | None = None,
        failed: int | None = None,
        cancelled: int | None = None,
        skipped: int | None = None,
        end_time: datetime | None = None,
    ) -> None:
        """Record that a convoy has ended; see `update_convoy_metrics` for the counts.

        Args:
            convoy_id: Its id.
            status: What it ended as.
            completed: Operations that completed.
            failed: Those that failed or were lost.
            cancelled: Those that were cancelled.
            skipped: Those that were skipped.
            end_time: When it ended; None: now.

        Raises:
            InputError: The status is not final.
        """
        if not status.is_final:
            raise InputError(f"status {status.value}: a convoy does not end as that")
        change = self._change(convoy_id)
        change.status, change.is_ended = status.value, True
        change.end_time = end_time or self._clock.now()
        _count(change, completed, failed, cancelled, skipped)

    def record_operation(self, agent_id: str, update: RunUpdate) -> None:
        """Record the end of an attempt.

        Args:
            agent_id: Who ran it.
            update: What was written when it ended: with a `finished_at` and a final status, or
                with the `ended_try` after which it is tried again.

        Raises:
            InputError: It has not ended.
        """
        ended = update.ended_try or update
        if ended.finished_at is None:
            raise InputError(f"{update.item_id}: an attempt without `finished_at` has not ended")
        end = End(
            update.convoy_id,
            update.item_id,
            agent_id,
            ended.status,
            ended is update,
            ended.attempt,
            ended.started_at,
            ended.finished_at,
            ended.exit_code,
            ended.error and one_line(ended.error),
        )
        ends = self._pending.ends
        ends.append(end)
        if len(ends) > self._pending.capacity:
            self._pending.trim(ends)

    def record_resource_snapshot(self, snapshot: ResourceMetrics) -> None:
        """Record the machine and the engine at one moment."""
        self._pending.samples.append(
            (
                snapshot.timestamp,
                snapshot.cpu_percent,
                snapshot.memory_percent,
                snapshot.active_workers,
                snapshot.queue_depth,
                snapshot.parallelism,
                snapshot.throttle,
            )
        )
        self._pending.trim(self._pending.samples)

    def record_resize(self, note: ResizeNote) -> None:
        """Record a change of the parallelism, with its reason."""
        row = (note.at, note.previous, note.parallelism, note.auto, one_line(note.reason))
        self._pending.resizes.append(row)
        self._pending.trim(self._pending.resizes)

    def _change(self, convoy_id: str) -> ConvoyChange:
        change = self._pending.convoys.get(convoy_id)
        if change is None:
            change = ConvoyChange(convoy_id, self._clock.now())
            self._pending.convoys[convoy_id] = change
            self._pending.trim_convoys()
        return change

    # Saving

    async def flush(self) -> None:
        """Save everything recorded so far; return when it is committed.

        Raises:
            StorageError: It could not be; it is kept and tried again.
            StateError: The collector is closed.
        """
        if self._is_closing:
            raise StateError("the metrics are closed")
        flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushes.append(flushed)
        self._be_quick()
        await flushed

    async def _leave(self, saving_task: asyncio.Task[None]) -> None:
        self._is_closing = True
        self._be_quick()
        try:
            await finish((saving_task,), within_s=LEAVE_WITHIN_S)
        finally:
            saving_task.cancel()

    def _be_quick(self) -> None:
        self._due.set()
        self._hurry.set()

    async def _keep_saving(self) -> None:
        wait_s = 0.0  # at once: until the database is there, whoever reads it calls it ill
        try:
            while True:
                await self._until_due(wait_s)
                is_last = self._is_closing
                self._due.clear()
                flushes, self._flushes = self._flushes, []
                if not (flushes or is_last):
                    self._hurry.clear()
                failure = await self._try_to_save()
                wait_s = SAVE_EVERY_S if failure is None else RETRY_S
                _settle(flushes, failure)
                if is_last:
                    break
            await self._disconnect()
        finally:
            _settle(self._flushes, StorageError("the metrics were closed before this was saved"))
            stopped = None if self._connection is None else self._connection.stop()
            if stopped is not None:  # else its thread would answer a loop that is gone
                await asyncio.wait((stopped,), timeout=STOP_WITHIN_S)

    async def _until_due(self, wait_s: float) -> None:
        async with asyncio.TaskGroup() as waits:
            first = [
                waits.create_task(self._clock.sleep(wait_s)),
                waits.create_task(self._due.wait()),
            ]
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            for wait in first:
                wait.cancel()

    async def _try_to_save(self) -> StorageError | None:
        """Save what waits and remove a slice of what is too old; return why that failed."""
        saved = 0
        try:
            connection = self._connection or await self._connect()
            transactions = self._pending.transactions
            is_calm = transactions == 1 and not self._hurry.is_set()
            rest = partial(self._hurry.wait, SPREAD_S / _RESTS) if is_calm else None
            for number in range(transactions):
                if number and not self._hurry.is_set():
                    await self._until_due(SPREAD_S / transactions)
                saved += await self._save(connection, self._pending.take(), rest)
            await self._prune(connection, limit=PRUNED_ROWS + 2 * saved)
        except Exception as error:  # whatever it is, metrics stop no work
            await self._disconnect()
            self.trouble = self._describe(error)
            failure = StorageError(self.trouble)
            failure.__cause__ = error
            return failure
        self.trouble = None
        return None

    def _describe(self, error: Exception) -> str:
        dropped = f", {self.dropped:,} records given up" if self.dropped else ""
        file = "" if str(self._path) in str(error) else f"{self._path}: "
        return one_line(f"metrics are not being recorded{dropped}: {file}{error}")

    async def _save(
        self, connection: ThreadConnection, batch: Batch, rest: Callable[[], object] | None
    ) -> int:
        """Save a batch and return its size; what storage refuses waits again.

        Raises:
            Exception: What became of it; a record that no database takes is given up, alone.
        """
        saved = 0
        failure: Exception | None = None
        parts = [batch]  # the oldest last
        while parts:
            part = parts.pop()
            try:
                await connection.run(partial(self._save_part, batch=part, rest=rest))
                saved += len(part)
            except Exception as error:
                if isinstance(error, (StateError, OSError)) or as_storage_error(error) is not None:
                    for each in (*parts, part):
                        self._pending.put_back(each)
                    raise
                failure = error
                smaller = part.split()
                parts += reversed(smaller)
                self._pending.dropped += not smaller
        if failure is not None:
            raise failure
        return saved

    def _save_part(
        self, database: sqlite3.Connection, batch: Batch, rest: Callable[[], object] | None
    ) -> None:
        if identify(self._path) != self._identity:
            raise StorageError(f"{self._path} was replaced by another file")
        saving.save(database, batch, rest)

    async def _prune(self, connection: ThreadConnection, *, limit: int) -> None:
        if self._clock.monotonic() < self._prune_at_s:
            return
        now = self._wall.now()
        has_more = await connection.run(
            partial(
                saving.prune,
                before_us=to_us(now - self._retention),
                now_us=to_us(now),
                limit=limit,
            )
        )
        if not has_more:
            self._prune_at_s = self._clock.monotonic() + PRUNE_EVERY_S

    async def _connect(self) -> ThreadConnection:
        await asyncio.to_thread(self._make_file)
        uri = f"{self._path.absolute().as_uri()}?mode=rw"
        self._connection = await ThreadConnection(uri, prepare=self._prepare).open()
        return self._connection

    def _make_file(self) -> None:
        # Only as a new file: closing a descriptor of one that is open would drop SQLite's locks.
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        with suppress(FileExistsError):
            os.close(os.open(self._path, flags, 0o600))

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}").fetchall()
        prepare_for_writing(connection, self._path, "metrics", synchronous="NORMAL")
        saving.prepare(connection)
        self._identity = identify(self._path)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):  # what it could not do is known already
                await connection.close()


def _count(
    change: ConvoyChange,
    completed: int | None,
    failed: int | None,
    cancelled: int | None,
    skipped: int | None,
) -> None:
    if completed is not None:
        change.completed = completed
    if failed is not None:
        change.failed = failed
    if cancelled is not None:
        change.cancelled = cancelled
    if skipped is not None:
        change.skipped = skipped


def _settle(flushes: list[asyncio.Future[None]], failure: StorageError | None) -> None:
    for flushed in flushes:
        if flushed.done():
            continue
        if failure is None:
            flushed.set_result(None)
        else:
            copied = StorageError(str(failure))
            copied.__cause__ = failure.__cause__
            flushed.set_exception(copied)
