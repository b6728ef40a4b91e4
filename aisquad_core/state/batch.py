"""What one transaction does: rows of bulk changes and functions, committed or refused together.

A function under a savepoint of its own fails alone, and so does a row. When nobody knows whether a
COMMIT reached the database, the batch finds that out.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from aisquad_core.errors import StorageError
from aisquad_core.state.connection import as_storage_error, primary_code

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from aisquad_core.state.bulk import Row

T = TypeVar("T")

_HARMLESS = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY})
"""Failures after which a connection is as good as before."""


class Witness(Protocol):
    """A number in the database that every transaction of functions counts up with it."""

    def count(self, connection: sqlite3.Connection) -> int:
        """Count one further, within a transaction, and return the number."""
        ...

    def counted(self, connection: sqlite3.Connection) -> int:
        """Return the number that was committed last."""
        ...


class BulkChange(Protocol):
    """What is done to many rows at once, each for a caller of its own."""

    def settle_alone(
        self, connection: sqlite3.Connection, rows: Sequence[Row]
    ) -> Mapping[int, Exception] | None:
        """Do it in a transaction of its own, which is one statement.

        Returns:
            The index of each row with which it failed, and why; None: nothing was done.
        """
        ...

    def settle(
        self, connection: sqlite3.Connection, rows: Sequence[Row], *, is_refused: bool = False
    ) -> Mapping[int, Exception]:
        """Do it within a transaction; return the index of each row with which it failed.

        Args:
            connection: In a transaction.
            rows: What to do.
            is_refused: Whether `settle_alone` has done nothing for them just now.
        """
        ...

    def look_up(
        self, connection: sqlite3.Connection, rows: Sequence[Row]
    ) -> Mapping[int, Exception] | None:
        """Find out what became of a `settle_alone` that nobody knows the end of."""
        ...


@dataclass(slots=True)
class Lane:
    """The rows of one bulk change in a batch, and who waits for each."""

    change: BulkChange
    rows: list[Row] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    """What each row's version becomes."""
    futures: list[asyncio.Future[int]] = field(default_factory=list)
    """Get the new version."""
    failures: Mapping[int, Exception] = field(default_factory=dict)


@dataclass(slots=True)
class Job(Generic[T]):
    """A function that reads and writes within the batch's transaction, under a savepoint."""

    function: Callable[[sqlite3.Connection], T]
    future: asyncio.Future[T]
    results: list[T] = field(default_factory=list)
    failure: Exception | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        """Run it; undo what it did if it fails.

        Raises:
            sqlite3.Error: The database as a whole failed.
        """
        connection.execute("SAVEPOINT job")
        try:
            self.results.append(self.function(connection))
        except Exception as error:
            if as_storage_error(error) is not None:
                raise
            self.failure = error
            connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")

    def settle(self, failure: Exception | None) -> None:
        """Tell the caller, on the loop."""
        if self.future.done():
            return
        if (failure := failure or self.failure) is not None:
            self.future.set_exception(failure)
        else:
            self.future.set_result(self.results[0])


class Batch:
    """Everything that one transaction does, and what became of it."""

    __slots__ = (
        "_alone",
        "_witness",
        "_witnessed",
        "counted",
        "failure",
        "is_connection_suspect",
        "is_doubtful",
        "jobs",
        "lanes",
        "opened_at",
        "stamp",
    )

    def __init__(
        self, changes: tuple[BulkChange, ...], opened_at: datetime, witness: Witness
    ) -> None:
        self._witness = witness
        self._witnessed: int | None = None
        """What the witness counts if the transaction is in the database."""
        self._alone: Lane | None = None
        """The lane that was all of the transaction, of which its rows tell."""
        self.lanes = tuple(Lane(change) for change in changes)
        self.jobs: list[Job[Any]] = []
        self.counted = 0
        """How many of its writes count as unacknowledged."""
        self.opened_at = opened_at
        """When the first caller came: the `updated_at` of its changes."""
        self.stamp = opened_at.isoformat(timespec="microseconds")
        """The same as text."""
        self.failure: Exception | None = None
        """Why nothing of it was committed."""
        self.is_connection_suspect = False
        """Whether the connection must be opened anew before anything else is written."""
        self.is_doubtful = False
        """Whether it may be in the database although it failed; `look_up` tells."""

    @property
    def size(self) -> int:
        """How many writes it has."""
        return len(self.jobs) + sum([len(lane.rows) for lane in self.lanes])

    def commit(self, connection: sqlite3.Connection) -> None:
        """Do everything and commit, on the connection's thread; never raises."""
        try:
            alone = self._find_alone()
            if alone is None or not self._commit_one_statement(connection, alone):
                self._commit_transaction(connection, refused=alone)
        except Exception as error:  # each caller of the batch gets it
            self.failure = as_storage_error(error) or error
            code = primary_code(error)
            self.is_connection_suspect = code not in _HARMLESS
            was_committing = self._alone is not None or self._witnessed is not None
            self.is_doubtful = code == sqlite3.SQLITE_IOERR and was_committing
            try:
                if connection.in_transaction:  # after FULL, SQLite may have rolled back already
                    connection.execute("ROLLBACK")
            except sqlite3.Error:
                self.is_connection_suspect = True

    def _find_alone(self) -> Lane | None:
        busy_lanes = [lane for lane in self.lanes if lane.rows]
        return None if self.jobs or len(busy_lanes) != 1 else busy_lanes[0]

    def _commit_one_statement(self, connection: sqlite3.Connection, lane: Lane) -> bool:
        self._alone = lane
        failures = lane.change.settle_alone(connection, lane.rows)
        if failures is None:
            self._alone = None
            return False
        lane.failures = failures
        return True

    def _commit_transaction(self, connection: sqlite3.Connection, *, refused: Lane | None) -> None:
        connection.execute("BEGIN IMMEDIATE")
        changes = connection.total_changes
        for lane in self.lanes:
            if lane.rows:
                is_refused = lane is refused
                lane.failures = lane.change.settle(connection, lane.rows, is_refused=is_refused)
        for job in self.jobs:
            job.run(connection)
        if connection.total_changes != changes:  # a full disk refuses nothing that only reads
            self._witnessed = self._witness.count(connection)
        connection.execute("COMMIT")

    def look_up(self, connection: sqlite3.Connection) -> None:
        """Find out whether it was committed although COMMIT failed, on a new connection's thread.

        Raises:
            sqlite3.Error: It cannot be told yet.
        """
        if self._alone is not None:
            failures = self._alone.change.look_up(connection, self._alone.rows)
            self._alone.failures = failures or {}
            is_committed = failures is not None
        else:
            is_committed = self._witness.counted(connection) == self._witnessed
        if is_committed:
            self.failure = None

    def settle(self) -> None:
        """Tell every caller, on the loop."""
        for lane in self.lanes:
            if self.failure is not None:
                for future in lane.futures:
                    if not future.done():
                        future.set_exception(_copy(self.failure))
                continue
            for index, failure in lane.failures.items():
                if not lane.futures[index].done():
                    lane.futures[index].set_exception(failure)
            for future, version in zip(lane.futures, lane.versions, strict=True):
                if not future.done():  # else it failed, or its caller was cancelled
                    future.set_result(version)
        for job in self.jobs:
            job.settle(None if self.failure is None else _copy(self.failure))


def _copy(failure: Exception) -> Exception:
    """Return an error for one caller; raising one object in many tasks would mix tracebacks."""
    copied = StorageError(str(failure))
    copied.__cause__ = failure
    return copied
