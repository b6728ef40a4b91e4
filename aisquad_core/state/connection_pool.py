"""Readers of one database: aiosqlite connections opened `mode=ro`, lent out one call at a time.

The pool never writes: a reader that could would also checkpoint, and only the one writer may.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TypedDict, TypeVar

from aisquad_core.clock import SystemClock
from aisquad_core.errors import PoolClosedError, PoolTimeoutError
from aisquad_core.state.connection import BUSY_WAIT_S, ThreadConnection, as_storage_error
from aisquad_core.state.schema import check_version

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from aisquad_core.clock import Clock

T = TypeVar("T")

_INTERRUPT_AGAIN_S = 0.02


class PoolStats(TypedDict):
    """What the pool is doing now, and has done so far."""

    pool_size: int
    """How many readers there may be."""
    open_connections: int
    """How many there are."""
    active_connections: int
    """How many are lent out."""
    pool_utilization: float
    """Those lent out as a fraction of the size, 0 to 1."""
    waits: int
    """How often a caller had to wait for a reader."""
    reconnects: int
    """How often a broken reader was replaced."""


class PooledReader(ThreadConnection):
    """One read-only connection, and which file it has open."""

    def __init__(self, path: Path, database: str, *, busy_wait_s: float) -> None:
        self._path = path
        self._kind = database
        self._identity: tuple[int, int] | None = None
        uri = f"{path.absolute().as_uri()}?mode=ro"
        super().__init__(uri, prepare=self._check, busy_wait_s=busy_wait_s)

    def _check(self, connection: sqlite3.Connection) -> None:
        self._identity = self._identify()
        if check_version(connection, self._path, self._kind) == 0:
            raise FileNotFoundError(f"{self._path} has no tables yet")

    def _identify(self) -> tuple[int, int]:
        status = self._path.stat()
        return status.st_dev, status.st_ino

    async def is_healthy(self) -> bool:
        """Whether it still reads, and reads the file that is at its path now."""
        try:
            return await self.run(self._is_healthy)
        except (sqlite3.Error, ValueError, OSError):  # ValueError: aiosqlite, when closed
            return False

    def _is_healthy(self, connection: sqlite3.Connection) -> bool:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        return not connection.in_transaction and self._identity == self._identify()


class ConnectionPool:
    """Lends out readers; opens them when needed, keeps them, replaces broken ones.

    Args:
        path: The database; it need not exist before the first call.
        size: How many readers there may be at once.
        database: The name of its schema.
        is_keeping: False: each reader is closed after its call (no pooling).
        acquire_timeout_s: How long a caller waits for a reader, in seconds.
        busy_wait_s: How long a read waits for a database that somebody else has locked, in seconds.
        clock: Says how long a reader has been lent out; None: the machine's.
    """

    def __init__(
        self,
        path: Path,
        *,
        size: int = 20,
        database: str = "workstate",
        is_keeping: bool = True,
        acquire_timeout_s: float = 30.0,
        busy_wait_s: float = BUSY_WAIT_S,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._lent: dict[object, float] = {}
        """When each reader that is lent out was lent, the oldest first."""
        self._path = path
        self._size = size
        self._database = database
        self._is_keeping = is_keeping
        self._acquire_timeout_s = acquire_timeout_s
        self._busy_wait_s = busy_wait_s
        self._slots = asyncio.Semaphore(size)
        self._idle: list[PooledReader] = []
        self._active = 0
        self._waits = 0
        self._reconnects = 0
        self._is_closed = False
        self._all_back = asyncio.Event()
        self._all_back.set()
        self._stopping: set[asyncio.Future[None]] = set()

    def get_stats(self) -> PoolStats:
        """Return the present figures."""
        return PoolStats(
            pool_size=self._size,
            open_connections=self._active + len(self._idle),
            active_connections=self._active,
            pool_utilization=self._active / self._size,
            waits=self._waits,
            reconnects=self._reconnects,
        )

    @property
    def oldest_reader_s(self) -> float:
        """Seconds since the reader was lent that is out for the longest; 0.0 if none is.

        A long reader keeps the WAL from being used again from its beginning.
        """
        lent_at_s = next(iter(self._lent.values()), None)
        return 0.0 if lent_at_s is None else self._clock.monotonic() - lent_at_s

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[PooledReader]:
        """Lend out a healthy reader; roll it back when the caller fails or is cancelled.

        Raises:
            PoolTimeoutError: All readers stayed in use for `acquire_timeout_s`.
            PoolClosedError: The pool is closed.
            FileNotFoundError: There is no database, or one without tables.
            NewerSchemaError: The database is from a newer aisquad.
            StorageError: The database cannot be read.
        """
        await self._take_slot()
        reader: PooledReader | None = None
        loan = object()
        self._lent[loan] = self._clock.monotonic()
        try:
            reader = await self._healthy_reader()
            yield reader
        except BaseException as error:
            if reader is not None:
                kept, reader = reader, None
                if await self._drain(kept):
                    reader = kept
            if (storage_error := as_storage_error(error)) is not None:
                raise storage_error from error
            raise
        finally:
            del self._lent[loan]
            await self._give_back(reader)

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run `function` on a reader, in one transaction: all that it reads is of one moment.

        Raises:
            As `acquire`.
        """

        def read(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN")
            result = function(connection)
            connection.execute("COMMIT")
            return result

        async with self.acquire() as reader:
            return await reader.run(read)

    async def close(self) -> None:
        """Refuse new callers, wait for those that have a reader, and close all readers."""
        self._is_closed = True
        await self._all_back.wait()
        while self._idle:
            await self._idle.pop().close()
        if self._stopping:
            await asyncio.wait(self._stopping)

    async def _take_slot(self) -> None:
        if self._slots.locked():
            self._waits += 1
        try:
            async with asyncio.timeout(self._acquire_timeout_s):
                await self._slots.acquire()
        except TimeoutError as error:
            raise PoolTimeoutError(self._size, self._acquire_timeout_s) from error
        if self._is_closed:
            self._slots.release()
            raise PoolClosedError("the database readers are closed")
        self._active += 1
        self._all_back.clear()

    async def _healthy_reader(self) -> PooledReader:
        while self._idle:
            reader = self._idle.pop()
            try:
                is_healthy = await reader.is_healthy()
            except BaseException:
                self._discard(reader)
                raise
            if is_healthy:
                return reader
            self._discard(reader)
            self._reconnects += 1
        try:
            return await self._new_reader().open()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_CANTOPEN:
                raise
            if not await asyncio.to_thread(self._path.exists):
                raise FileNotFoundError(f"{self._path} does not exist") from error
        # Now it is there: it may have been made after the first look.
        return await self._new_reader().open()

    def _new_reader(self) -> PooledReader:
        return PooledReader(self._path, self._database, busy_wait_s=self._busy_wait_s)

    async def _drain(self, reader: PooledReader) -> bool:
        """End what still runs on the reader and roll back; False if it had to be given up.

        A cancelled call goes on in the reader's thread, which must end before the next caller.
        """
        try:
            while True:
                # Again and again: an interrupt between two statements of the call does nothing.
                await reader.interrupt()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_INTERRUPT_AGAIN_S):
                        await reader.run(_roll_back)
                        return True
        except (sqlite3.Error, ValueError):
            self._discard(reader)
            return False
        except BaseException:
            self._discard(reader)
            raise

    def _discard(self, reader: PooledReader) -> None:
        if (stopped := reader.stop()) is not None:
            self._stopping.add(stopped)
            stopped.add_done_callback(self._stopping.discard)

    async def _give_back(self, reader: PooledReader | None) -> None:
        try:
            if reader is not None and self._is_keeping:
                self._idle.append(reader)
            elif reader is not None:
                await reader.close()
        finally:
            self._active -= 1
            self._slots.release()
            if self._active == 0:
                self._all_back.set()


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")
