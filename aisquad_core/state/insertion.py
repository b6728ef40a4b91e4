"""Adding many work items, each for itself, in a few statements; failures are sorted out one by one.

Six statements for each item kept a batch of 200 callers waiting for the interpreter lock longer
than for the disk.
"""

from __future__ import annotations

import json
import sqlite3
from functools import cache
from typing import TYPE_CHECKING

from aisquad_core.errors import DuplicateItemError
from aisquad_core.state.bulk import find_unusable, padded_size, parameters
from aisquad_core.state.conditions import place_range
from aisquad_core.state.rows import INSERTED_COLUMNS, PLACE_BITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aisquad_core.state.bulk import Row

_CONVOY_ID = INSERTED_COLUMNS.index("convoy_id")
_ITEM_ID = INSERTED_COLUMNS.index("id")
_POSITION = INSERTED_COLUMNS.index("position")

_NEWEST = f"""
SELECT json_group_array(json_array(l.convoy_id, l.number, (
    SELECT max(w.place) FROM work_items AS w
    WHERE w.place BETWEEN -(l.number << {PLACE_BITS})
        AND -(l.number << {PLACE_BITS}) + (1 << {PLACE_BITS}) - 1)))
FROM launches AS l WHERE l.convoy_id IN (SELECT value FROM json_each(?))
"""
_TAKEN = """
SELECT json_group_array(place) FROM work_items WHERE place IN (SELECT value FROM json_each(?))
"""


class BulkInsert:
    """Adds work items, each at its position in its convoy, or behind the last if that is taken.

    Its rows are the values of `INSERTED_COLUMNS`, and the stamp of their batch, which is not used.
    """

    def settle_alone(
        self, connection: sqlite3.Connection, rows: Sequence[Row]
    ) -> Mapping[int, Exception] | None:
        """Return None: it takes more than one statement."""
        del connection, rows
        return None

    def look_up(
        self, connection: sqlite3.Connection, rows: Sequence[Row]
    ) -> Mapping[int, Exception] | None:
        """Return None: nothing is done by one statement."""
        del connection, rows
        return None

    def settle(
        self, connection: sqlite3.Connection, rows: Sequence[Row], *, is_refused: bool = False
    ) -> Mapping[int, Exception]:
        """Add what can be added, within a transaction; first come, first served.

        Returns:
            The index of each row that could not be added, and why.
        """
        del is_refused  # it always is
        if _insert_at_positions(connection, rows):
            return {}
        failures: dict[int, Exception] = {}
        usable: dict[int, Row] = {}
        for index, row in enumerate(rows):
            if (unusable := find_unusable(row)) is None:
                usable[index] = row[:-1]
            else:
                failures[index] = unusable
        places = _find_places(connection, usable)
        waiting: list[tuple[int, Row]] = []
        for index, row in usable.items():
            if (place := places[index]) is None:
                message = f"{row[_CONVOY_ID]!s} has more than {1 << PLACE_BITS} work items"
                failures[index] = ValueError(message)
            else:
                waiting.append((index, (place, *row)))
        done = 0
        while done < len(waiting):  # powers of two, so that few different statements are prepared
            count = 1 << ((len(waiting) - done).bit_length() - 1)
            chunk = waiting[done : done + count]
            if not insert_rows(connection, [row for _, row in chunk]):
                failures |= {
                    index: DuplicateItemError(str(row[1 + _ITEM_ID]))
                    for index, row in chunk
                    if not insert_rows(connection, [row])
                }
            done += count
        return failures


def _insert_at_positions(connection: sqlite3.Connection, rows: Sequence[Row]) -> bool:
    """Add all at their positions by one statement if that can be done, else none.

    One at position 0 is the first of its convoy, which has no places yet, or nobody said its
    position: neither would succeed.
    """
    if not all(row[_POSITION] for row in rows):
        return False
    size = padded_size(len(rows))
    try:
        connection.execute(_statement_at_positions(size), parameters(rows, size))
    except (sqlite3.IntegrityError, UnicodeEncodeError, OverflowError):
        return False
    return True


@cache
def _statement_at_positions(count: int) -> str:
    """Build the statement for `count` rows of a batch, their stamp among the values.

    A row that has no place makes its convoy NULL, which the table refuses, so that nothing is
    added at all. A padding row, all NULL, is left out.
    """
    marks = f"({','.join('?' * (len(INSERTED_COLUMNS) + 1))})"
    values = {column: f"v.column{place}" for place, column in enumerate(INSERTED_COLUMNS, start=1)}
    position, convoy_id = values["position"], values["convoy_id"]
    has_place = f"l.number AND {position} BETWEEN 0 AND {(1 << PLACE_BITS) - 1}"
    selected = values | {"convoy_id": f"CASE WHEN {has_place} THEN {convoy_id} END"}
    return (
        f"INSERT INTO work_items (place, {', '.join(selected)})"
        f" SELECT {position} - (l.number << {PLACE_BITS}), {', '.join(selected.values())}"
        f" FROM (VALUES {','.join([marks] * count)}) AS v"
        f" LEFT JOIN launches AS l ON l.convoy_id = {convoy_id} WHERE {convoy_id} IS NOT NULL"
    )


def insert_rows(connection: sqlite3.Connection, rows: Sequence[Row]) -> bool:
    """Add items with their places before them by one statement; all, or none if one exists."""
    try:
        connection.execute(_statement(len(rows)), parameters(rows, len(rows)))
    except sqlite3.IntegrityError:
        return False
    return True


@cache
def _statement(count: int) -> str:
    marks = f"({','.join('?' * (1 + len(INSERTED_COLUMNS)))})"
    return (
        f"INSERT INTO work_items (place, {', '.join(INSERTED_COLUMNS)})"
        f" VALUES {','.join([marks] * count)}"
    )


def _find_places(connection: sqlite3.Connection, rows: Mapping[int, Row]) -> dict[int, int | None]:
    """Return where each item goes; None where its convoy is full."""
    convoys = _find_convoys(connection, {str(row[_CONVOY_ID]) for row in rows.values()})
    wanted: dict[int, int] = {}
    doubtful: set[int] = set()
    for index, row in rows.items():
        first, newest = convoys[str(row[_CONVOY_ID])]
        position = row[_POSITION]
        is_position = isinstance(position, int) and 0 <= position < 1 << PLACE_BITS
        wanted[index] = first + position if is_position and isinstance(position, int) else newest
        if wanted[index] <= newest:
            doubtful.add(wanted[index])
    taken = _find_taken(connection, doubtful)
    places: dict[int, int | None] = {}
    for index, row in rows.items():
        convoy_id = str(row[_CONVOY_ID])
        first, newest = convoys[convoy_id]
        place = wanted[index] if wanted[index] not in taken else newest + 1
        if place >= first + (1 << PLACE_BITS):
            places[index] = None
            continue
        taken.add(place)
        convoys[convoy_id] = first, max(newest, place)
        places[index] = place
    return places


def _find_convoys(
    connection: sqlite3.Connection, convoy_ids: set[str]
) -> dict[str, tuple[int, int]]:
    """Return the first place of each convoy and its last that is taken; give it places first."""
    found = _ask_convoys(connection, convoy_ids)
    if missing := convoy_ids - found.keys():
        connection.execute(
            "INSERT INTO launches (convoy_id, is_complete) SELECT value, 1 FROM json_each(?)",
            (json.dumps(sorted(missing)),),
        )
        found |= _ask_convoys(connection, missing)
    return found


def _ask_convoys(
    connection: sqlite3.Connection, convoy_ids: Iterable[str]
) -> dict[str, tuple[int, int]]:
    [(text,)] = connection.execute(_NEWEST, (json.dumps([*convoy_ids]),)).fetchall()
    convoys: list[tuple[str, int, int | None]] = json.loads(text)
    found = {}
    for convoy_id, number, newest in convoys:
        first, _ = place_range(number)
        found[convoy_id] = first, first - 1 if newest is None else newest
    return found


def _find_taken(connection: sqlite3.Connection, places: set[int]) -> set[int]:
    if not places:
        return set()
    [(text,)] = connection.execute(_TAKEN, (json.dumps([*places]),)).fetchall()
    return set(json.loads(text))
