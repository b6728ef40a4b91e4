"""Compare-and-set of many work items by one statement, whose failures are sorted out one by one.

One statement, because each call into SQLite gives up the interpreter lock and may wait 5 ms to
have it back while the loop is busy: a batch of 200 took 7 ms so, and 100 ms to 1 s row by row.
"""

from __future__ import annotations

import json
import math
import sqlite3
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from aisquad_core.errors import ConcurrentUpdateError, IllegalTransitionError, StateError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SQLValue = str | int | float | bytes | None
Row = tuple[SQLValue, ...]
"""Convoy id, item id, expected version, the statuses that may come before (in one text), the new
status, then a value for each column of the update."""

MAX_ROWS = 512
"""Rows of one statement at most."""

_NULL = math.nan
"""What None is bound as: NaN is NULL to SQLite (sqlite.org/floatingpoint.html). For None itself
Python looks for an adapter each time, which takes 300 ns instead of 20 and holds the lock."""

_KEY_WIDTH = 5
"""Values of a row before those of the columns."""

_APPEND = "{0} = CASE WHEN {1} IS NULL THEN w.{0} ELSE json_insert(w.{0}, '$[#]', json({1})) END"

_STORED = """
SELECT json_group_array(json_array(v.key, w.version, w.status))
FROM json_each(?) AS v
LEFT JOIN work_items AS w ON w.convoy_id = v.value->>0 AND w.id = v.value->>1
"""
"""Version and status of many items, as one row (a row is a call into SQLite)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkUpdate:
    """One way to change work items: which columns get the values of a row."""

    columns: tuple[str, ...]
    """Those after the status. `name+`: the value is appended to a JSON list, unless it is None."""
    assumed: frozenset[str] = frozenset()
    """Columns taken to have the row's value already. Where one has not, it gets it all the same,
    after a detour: SQLite writes every index of a column that is set, changed or not."""

    def run(
        self, connection: sqlite3.Connection, rows: Sequence[Row], assumed: frozenset[str]
    ) -> int:
        """Change all rows whose item exists if all of those can be changed, else none.

        Args:
            connection: The writer's; outside a transaction the change commits by itself.
            rows: At most `MAX_ROWS`, each of another item.
            assumed: Columns that are compared and not set.

        Returns:
            How many were changed; 0 if one that exists has another version or status, or another
            value of a column that was assumed.
        """
        size = padded_size(len(rows))
        statement = _statement(self.columns, assumed, size)
        try:
            return connection.execute(statement, parameters(rows, size)).rowcount
        except sqlite3.IntegrityError:
            return 0

    def settle_alone(
        self, connection: sqlite3.Connection, rows: Sequence[Row]
    ) -> Mapping[int, Exception] | None:
        """Change all rows by one statement, which outside a transaction commits by itself.

        Returns:
            The index of each row whose item is gone; or None when nothing was changed because
            the rows need to be sorted out.
        """
        if len({row[:2] for row in rows}) < len(rows):
            return None
        try:
            changed = self.run(connection, rows, self.assumed)
        except (UnicodeEncodeError, OverflowError):
            return None
        if changed == len(rows):
            return {}
        if changed == 0:
            return None
        stored = _read_stored(connection, dict(enumerate(rows)))
        return {
            index: ConcurrentUpdateError(str(row[1]), _expected(row), None)
            for index, row in enumerate(rows)
            if stored[index] is None
        }

    def look_up(
        self, connection: sqlite3.Connection, rows: Sequence[Row]
    ) -> Mapping[int, Exception] | None:
        """Find out what became of a `settle_alone` that nobody knows the end of.

        Returns:
            As `settle_alone`; None: nothing of it was committed.
        """
        stored = _read_stored(connection, dict(enumerate(rows)))
        gone = {
            index: ConcurrentUpdateError(str(row[1]), _expected(row), None)
            for index, row in enumerate(rows)
            if stored[index] is None
        }
        for index, row in enumerate(rows):
            if (found := stored[index]) is not None:
                [(updated_at,)] = connection.execute(
                    "SELECT updated_at FROM work_items WHERE convoy_id = ? AND id = ?", row[:2]
                ).fetchall()
                is_changed = found == (_expected(row) + 1, row[4]) and updated_at == row[-1]
                return gone if is_changed else None  # all of them, or none
        return gone

    def settle(
        self, connection: sqlite3.Connection, rows: Sequence[Row], *, is_refused: bool = False
    ) -> Mapping[int, Exception]:
        """Change those rows that can be changed, within a transaction; first come, first served.

        Args:
            connection: In a transaction.
            rows: At most `MAX_ROWS`.
            is_refused: Whether `settle_alone` has done nothing for them just now.

        Returns:
            The index of each row that could not be changed, and why.
        """
        if not is_refused and (gone := self.settle_alone(connection, rows)) is not None:
            return gone
        failures: dict[int, Exception] = {}
        waiting: dict[int, Row] = {}
        for index, row in enumerate(rows):
            if (unusable := find_unusable(row)) is None:
                waiting[index] = row
            else:
                failures[index] = unusable
        while waiting:
            firsts: dict[Row, int] = {}
            for index, row in waiting.items():
                firsts.setdefault(row[:2], index)
            candidates = {index: waiting.pop(index) for index in firsts.values()}
            stored = _read_stored(connection, candidates)
            winners: list[Row] = []
            for index, row in candidates.items():
                if (mismatch := _compare(row, stored[index])) is None:
                    winners.append(row)
                else:
                    failures[index] = mismatch
            if winners and not self._run_all(connection, winners):
                raise StateError("work items changed under their only writer")
        return failures

    def _run_all(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> bool:
        """Change rows whose version and status were compared; return whether that is done.

        First as most are: setting the indexed columns of all because of a single row, or because
        another caller lost, takes three times as long.
        """
        changed = self.run(connection, rows, self.assumed)
        return (changed or self.run(connection, rows, frozenset())) == len(rows)


def padded_size(count: int) -> int:
    """Return how many rows to pad to, so that few different statements need be prepared."""
    return 1 << (count - 1).bit_length() if count <= 32 else (count + 63) // 64 * 64


def parameters(rows: Sequence[Row], size: int) -> list[SQLValue]:
    """Return the values of all rows, as many as one statement takes, the missing ones all NULL."""
    values: list[SQLValue] = [_NULL if value is None else value for row in rows for value in row]
    values += [_NULL] * (len(rows[0]) * (size - len(rows)))
    return values


@cache
def _statement(columns: tuple[str, ...], assumed: frozenset[str], count: int) -> str:
    """Build the statement for `count` rows.

    A row that does not match makes its version NULL, which the table refuses, so that nothing
    changes at all. A padding row, all NULL, finds no item.
    """
    marks = f"({','.join('?' * (_KEY_WIDTH + len(columns)))})"
    values = {"status": "v.column5"} | {
        column: f"v.column{place}" for place, column in enumerate(columns, start=_KEY_WIDTH + 1)
    }
    same = "".join(f" AND w.{column} IS {values.pop(column)}" for column in sorted(assumed))
    sets = ", ".join(
        (_APPEND if column.endswith("+") else "{0} = {1}").format(column.removesuffix("+"), value)
        for column, value in values.items()
    )
    return (
        "UPDATE work_items AS w SET version = CASE WHEN w.version = v.column3"
        f" AND instr(v.column4, w.status){same} THEN w.version + 1 END,"
        f" {sets} FROM (VALUES {','.join([marks] * count)}) AS v"
        " WHERE w.convoy_id = v.column1 AND w.id = v.column2"
    )


def _read_stored(
    connection: sqlite3.Connection, rows: Mapping[int, Row]
) -> dict[int, tuple[int, str] | None]:
    """Return the version and status of each row's item; None where it is gone."""
    keys = json.dumps([row[:2] for row in rows.values()])
    [(found,)] = connection.execute(_STORED, (keys,)).fetchall()
    stored: Iterable[tuple[int, int | None, str]] = json.loads(found)
    by_place = {
        place: None if version is None else (version, status) for place, version, status in stored
    }
    return {index: by_place[place] for place, index in enumerate(rows)}


def _compare(row: Row, stored: tuple[int, str] | None) -> Exception | None:
    item_id, expected = str(row[1]), _expected(row)
    if stored is None:
        return ConcurrentUpdateError(item_id, expected, None)
    version, status = stored
    if version != expected:
        return ConcurrentUpdateError(item_id, expected, version)
    if status not in str(row[3]):
        return IllegalTransitionError(item_id, status, str(row[4]))
    return None


def _expected(row: Row) -> int:
    version = row[2]
    if not isinstance(version, int):
        raise TypeError(f"a version is a whole number, not {version!r}")
    return version


def find_unusable(row: Row) -> Exception | None:
    """Return why SQLite cannot take a value of the row, or None."""
    for value in row:
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError as error:
                return error
        elif isinstance(value, int) and value.bit_length() > 63:
            return OverflowError(f"{value} is too large for SQLite")
    return None
