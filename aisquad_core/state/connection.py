"""One SQLite connection on a thread of its own, through aiosqlite, that runs whole functions there.

Each hop to that thread and back costs more than most statements, and each statement of its own
may wait 5 ms for the interpreter lock while the loop is busy; so a transaction is one function.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from typing import TYPE_CHECKING, Protocol, TypeVar

import aiosqlite

from aisquad_core.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

T = TypeVar("T")

BUSY_WAIT_S = 2.0
"""Seconds for which a lock of another program is waited for, before callers are told of it."""

_CALLERS_FAULTS = frozenset(
    {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_MISUSE,
        sqlite3.SQLITE_RANGE,
    }
)
"""Result codes that blame one statement; every other one is about the database as a whole."""


def primary_code(error: BaseException) -> int | None:
    """Return SQLite's primary result code, or None if SQLite did not raise the error."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def as_storage_error(error: BaseException) -> StorageError | None:
    """Return what to tell callers if the database as a whole failed (full, I/O, read-only)."""
    code = primary_code(error)
    if code is None or code in _CALLERS_FAULTS:
        return None
    name = getattr(error, "sqlite_errorname", "SQLite")
    if code == sqlite3.SQLITE_BUSY:
        return StorageError(f"another program holds the database locked ({name})")
    return StorageError(f"{error} ({name})")


class _HopConnection(sqlite3.Connection):
    """Runs the next function of `hops` where aiosqlite means to commit.

    `commit` is the one call that aiosqlite's public interface passes to its thread without any
    arguments, and these connections are in autocommit mode, where it has nothing else to do.
    """

    hops: deque[Callable[[], None]]

    def commit(self) -> None:
        """Run the function handed over first."""
        self.hops.popleft()()


class ThreadConnection(aiosqlite.Connection):
    """An aiosqlite connection, in autocommit mode, that runs whole functions on its thread.

    Args:
        uri: Of the database, as SQLite takes it.
        prepare: Called with the new connection on its thread, before anyone else sees it.
        busy_wait_s: Seconds that SQLite waits for a lock of somebody else.
    """

    def __init__(
        self,
        uri: str,
        *,
        prepare: Callable[[sqlite3.Connection], None],
        busy_wait_s: float = BUSY_WAIT_S,
    ) -> None:
        self._hops: deque[Callable[[], None]] = deque()
        self._uri = uri
        self._prepare = prepare
        self._busy_wait_s = busy_wait_s
        self._sqlite: sqlite3.Connection | None = None
        self._is_open = False
        self._is_abandoned = False
        self._stopped: asyncio.Future[None] | None = None
        super().__init__(self._open, iter_chunk_size=64)

    async def open(self) -> Self:
        """Start the thread and connect; on failure or cancellation leave nothing behind."""
        try:
            await self
        except BaseException as error:
            if isinstance(error, RuntimeError):  # Python's word for a thread that cannot be had
                raise StorageError(f"the database cannot be opened: {error}") from error
            if self._stopped is not None:
                await asyncio.wait((self._stopped,))
            raise
        self._is_open = True
        return self

    def stop(self) -> asyncio.Future[None] | None:
        """Close the connection and end the thread without waiting; return when as a future."""
        if self._stopped is not None:
            return self._stopped
        self._is_abandoned = True
        if self._sqlite is not None and not self._is_open:
            self._sqlite.close()  # opened while the opening was cancelled: aiosqlite lost it
        self._stopped = super().stop()
        return self._stopped

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._uri,
            timeout=self._busy_wait_s,
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            factory=_HopConnection,
        )
        connection.hops = self._hops
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._sqlite = connection
        if self._is_abandoned:
            connection.close()
        return connection

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `function` returns for this connection, on its thread.

        A cancelled call does not stop the function: it runs on.
        """
        results: list[T] = []

        def hop() -> None:
            if self._sqlite is None:
                raise sqlite3.ProgrammingError("the connection is closed")
            results.append(function(self._sqlite))

        self._hops.append(hop)
        await self.commit()
        return results[0]


class Connect(Protocol):
    """Makes the connection that writes; `ThreadConnection` is one."""

    def __call__(
        self, uri: str, *, prepare: Callable[[sqlite3.Connection], None]
    ) -> ThreadConnection:
        """Return a connection that is not open yet."""
        ...
