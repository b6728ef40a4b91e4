"""The disk under the work state: commits that fail, and what a crash leaves of a commit.

SQLite is the real one, with `synchronous=FULL`. A crash here is a process that stops: what it gave
to the kernel is there afterwards. So the database and its WAL are copied as they are at that
moment, and put in the place of the old files once those are closed; a crash inside a commit cuts
the copy of the WAL somewhere in what that commit wrote.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar, cast

from aisquad_core.model import FINAL_STATUSES
from aisquad_core.state.connection import ThreadConnection

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")

_FINAL = frozenset(status.value for status in FINAL_STATUSES)
_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")


class Fault(StrEnum):
    """How a commit fails."""

    FULL = "full"
    """No space; SQLite has rolled back by itself."""
    IO = "io"
    """The transaction is still open."""
    BUSY = "busy"
    """Somebody else writes, or checkpoints."""
    UNTOLD = "untold"
    """It reached the disk all the same, as one whose fsync failed may: only a look tells."""


_CODES: Mapping[Fault, tuple[str, str, int]] = {
    Fault.FULL: ("database or disk is full", "SQLITE_FULL", sqlite3.SQLITE_FULL),
    Fault.IO: ("disk I/O error", "SQLITE_IOERR_WRITE", sqlite3.SQLITE_IOERR_WRITE),
    Fault.BUSY: ("database is locked", "SQLITE_BUSY", sqlite3.SQLITE_BUSY),
    Fault.UNTOLD: ("disk I/O error", "SQLITE_IOERR_FSYNC", sqlite3.SQLITE_IOERR_FSYNC),
}


class Point(StrEnum):
    """A named moment at which an engine can die."""

    AFTER_FOLDER = "after the folder"
    AFTER_INTENT = "after the intent"
    AFTER_FORK = "after the fork"
    BEFORE_COMMIT = "before a commit"
    INSIDE_COMMIT = "inside a commit"
    AFTER_COMMIT = "after a commit"
    BEFORE_SETTLING = "before settling"
    AFTER_SETTLING = "after settling"
    BEFORE_CONTEST = "before a contest"
    AFTER_CLAIM = "after the engine's claim"
    AFTER_CONTEST = "after a contest"
    IN_RECOVERY = "in recovery"
    """At any of the others while the engine takes over."""


class Disk:
    """The files of the work state, as one engine after the other sees them.

    Args:
        database: Its path.
        chance: Where a torn commit ends.
        pass_point: Called at each point; it leaves the loop if the engine dies there.
        is_due: Whether the engine dies at its next pass of a point.
        committed: Called with the connection after each commit.
        note: Takes a line of the trace.
    """

    def __init__(
        self,
        database: Path,
        *,
        chance: random.Random,
        pass_point: Callable[[Point], None],
        is_due: Callable[[Point], bool],
        committed: Callable[[sqlite3.Connection], None],
        note: Callable[[str], None],
    ) -> None:
        self.database = database
        self.faults: dict[int, Fault] = {}
        """By the number of the commit, counted from 1 for each engine."""
        self.commits = 0
        self._chance = chance
        self._pass_point = pass_point
        self._is_due = is_due
        self._committed = committed
        self._note = note
        self._wal = database.with_name(f"{database.name}-wal")
        self._torn: tuple[int, int] | None = None
        """What the commit that the crash interrupts wrote of the WAL: from, to."""

    def begin(self, faults: Mapping[int, Fault]) -> None:
        """Serve a new engine."""
        self.commits = 0
        self.faults = dict(faults)
        self._torn = None

    def connect(
        self, uri: str, *, prepare: Callable[[sqlite3.Connection], None]
    ) -> ThreadConnection:
        """Make the engine's writing connection."""
        return _FaultyConnection(uri, prepare, self)

    def execute(
        self, connection: sqlite3.Connection, sql: str, parameters: Sequence[Any]
    ) -> sqlite3.Cursor:
        """Carry out a statement that commits, unless it is to fail."""
        self.commits += 1
        is_settling = any(isinstance(each, str) and each in _FINAL for each in parameters)
        self._pass_point(Point.BEFORE_COMMIT)
        if is_settling:
            self._pass_point(Point.BEFORE_SETTLING)
        fault = self.faults.pop(self.commits, None)
        if fault is not None:
            self._note(f"commit {self.commits} fails: {fault}")
            self._fail(connection, sql, parameters, fault)
        before = self._wal_bytes()
        cursor = connection.execute(sql, parameters)
        is_torn = self._is_due(Point.INSIDE_COMMIT)
        if is_torn:
            self._torn = before, self._wal_bytes()
        else:
            self._committed(connection)
        self._pass_point(Point.INSIDE_COMMIT)
        self._pass_point(Point.AFTER_COMMIT)
        if is_settling:
            self._pass_point(Point.AFTER_SETTLING)
        return cursor

    def _fail(
        self, connection: sqlite3.Connection, sql: str, parameters: Sequence[Any], fault: Fault
    ) -> None:
        if fault is Fault.UNTOLD:
            connection.execute(sql, parameters)
            self._committed(connection)
        elif fault is Fault.FULL and connection.in_transaction:
            connection.execute("ROLLBACK")
        words, name, code = _CODES[fault]
        error = sqlite3.OperationalError(words)
        error.sqlite_errorname, error.sqlite_errorcode = name, code
        raise error

    def crash(self, connections: Sequence[sqlite3.Connection]) -> None:
        """Leave the files as a process that stops now leaves them."""
        kept = []
        for path in (self.database, self._wal):
            copy = path.with_name(f"{path.name}.crashed")
            with suppress(FileNotFoundError):  # not made yet
                shutil.copyfile(path, copy)
                kept.append((copy, path))
        if self._torn is not None and len(kept) > 1:
            with open(kept[1][0], "r+b") as wal:
                wal.truncate(self._chance.randint(*self._torn))
        for connection in connections:
            connection.close()
        for path in (self.database, self._wal, self.database.with_name("workstate.db-shm")):
            path.unlink(missing_ok=True)
        for copy, path in kept:
            copy.rename(path)

    @property
    def was_torn(self) -> bool:
        """Whether the last crash was inside a commit."""
        return self._torn is not None

    def _wal_bytes(self) -> int:
        try:
            return self._wal.stat().st_size
        except FileNotFoundError:
            return 0


class _FaultyConnection(ThreadConnection):
    """A connection each of whose commits asks the disk."""

    def __init__(self, uri: str, prepare: Callable[[sqlite3.Connection], None], disk: Disk) -> None:
        self._disk = disk
        super().__init__(uri, prepare=prepare)

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function on a connection that may fail it."""
        return await super().run(
            lambda connection: function(
                cast("sqlite3.Connection", _Statements(connection, self._disk))
            )
        )


class _Statements:
    """What the writer uses of a connection."""

    def __init__(self, connection: sqlite3.Connection, disk: Disk) -> None:
        self._connection = connection
        self._disk = disk

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    @property
    def total_changes(self) -> int:
        return self._connection.total_changes

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        is_in = self._connection.in_transaction
        if sql == "COMMIT" or (not is_in and sql.lstrip().startswith(_WRITES)):
            return self._disk.execute(self._connection, sql, parameters)
        return self._connection.execute(sql, parameters)
