"""What WorkState's larger changes do to the tables, each function within one transaction."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from aisquad_core.errors import DuplicateItemError
from aisquad_core.state.conditions import place_range
from aisquad_core.state.insertion import insert_rows
from aisquad_core.state.operation_text import decode_json, encode_json
from aisquad_core.state.records import CONVOY_COLUMNS, convoy_row
from aisquad_core.state.rows import PLACE_BITS, PREDECESSORS, inserted_row, stamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aisquad_core.model import ConvoyRecord, WorkItem
    from aisquad_core.state.bulk import SQLValue


def reserve_launch(connection: sqlite3.Connection, convoy_id: str) -> int:
    """Begin a launch; return its number."""
    try:
        [(number,)] = connection.execute(
            "INSERT INTO launches (convoy_id, is_complete) VALUES (?, 0) RETURNING number",
            (convoy_id,),
        ).fetchall()
    except sqlite3.IntegrityError as error:
        raise DuplicateItemError(convoy_id) from error
    return int(number)


def publish_launch(connection: sqlite3.Connection, number: int, record: ConvoyRecord) -> None:
    """End a launch: from now on its convoy can be seen."""
    row = convoy_row(record)
    connection.execute(
        f"INSERT INTO convoys (number, {CONVOY_COLUMNS}) VALUES (?{', ?' * len(row)})",
        (number, *row),
    )
    connection.execute("UPDATE launches SET is_complete = 1 WHERE number = ?", (number,))


def insert_items(
    connection: sqlite3.Connection,
    place: int,
    items: Sequence[WorkItem],
    created_at: datetime | None,
) -> None:
    """Add items at a place and those after it, in few statements."""
    last_place = place_range(-(place >> PLACE_BITS))[1]
    if place + len(items) - 1 > last_place:
        raise ValueError(f"{items[0].convoy_id} has more than {1 << PLACE_BITS} work items")
    created = None if created_at is None else stamp(created_at)
    rows = [
        (place + index, *inserted_row(item, created or stamp(item.created_at)))
        for index, item in enumerate(items)
    ]
    done = 0
    while done < len(rows):  # powers of two, so that few different statements are prepared
        count = 1 << ((len(rows) - done).bit_length() - 1)
        if not insert_rows(connection, rows[done : done + count]):
            raise DuplicateItemError(_find_duplicate(connection, place, items))
        done += count


def _find_duplicate(connection: sqlite3.Connection, place: int, items: Sequence[WorkItem]) -> str:
    """Return the id that came twice, among the items or as one of those before them."""
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            return item.id
        seen.add(item.id)
    [(item_id,)] = connection.execute(
        "SELECT id FROM work_items WHERE convoy_id = ? AND id IN (SELECT value FROM json_each(?))"
        " AND place NOT BETWEEN ? AND ? LIMIT 1",
        (items[0].convoy_id, encode_json([*seen]), place, place + len(items) - 1),
    ).fetchall()
    return str(item_id)


def transition_items(
    connection: sqlite3.Connection, convoy_id: str, chunk: str, values: tuple[SQLValue, ...]
) -> list[str]:
    """Move the items of a chunk (JSON of ids and versions); return those left alone."""
    before = PREDECESSORS[str(values[0])]
    [(stale,)] = connection.execute(
        "SELECT json_group_array(v.value->>0) FROM json_each(?) AS v LEFT JOIN work_items AS w"
        " ON w.convoy_id = ? AND w.id = v.value->>0"
        " WHERE w.version IS NOT v.value->>1 OR NOT instr(?, w.status)",
        (chunk, convoy_id, before),
    ).fetchall()
    # CROSS JOIN: the planner takes json_each for the larger table.
    connection.execute(
        "UPDATE work_items SET status = ?, reason = ?, finished_at = ?, updated_at = ?,"
        " version = version + 1 WHERE place IN (SELECT w.place FROM json_each(?) AS v"
        " CROSS JOIN work_items AS w WHERE w.convoy_id = ? AND w.id = v.value->>0"
        " AND w.version = v.value->>1 AND instr(?, w.status))",
        (*values, chunk, convoy_id, before),
    )
    ids: list[str] = decode_json(stale)
    return ids


def delete_launch(connection: sqlite3.Connection, number: int, limit: int) -> int:
    """Remove some items of a launch that is not complete; with the last ones, the launch."""
    count = connection.execute(
        "DELETE FROM work_items WHERE place IN (SELECT place FROM work_items"
        " WHERE place BETWEEN ? AND ? LIMIT ?)",
        (*place_range(number), limit),
    ).rowcount
    if count < limit:
        connection.execute("DELETE FROM launches WHERE number = ?", (number,))
    return count
