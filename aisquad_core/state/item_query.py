"""SQL for windows of work items: filters, sorts, and pages by key.

A sort is a row of segments, each in the order of one index, so that a page costs what it shows:
SQLite walks the index from the key of the page before. `place`, the rowid, ends every index.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from aisquad_core.api import ItemSort
from aisquad_core.errors import InputError
from aisquad_core.model import WorkStatus
from aisquad_core.state.conditions import Condition, is_among, where
from aisquad_core.state.rows import VIEW_COLUMNS
from aisquad_core.state.spans import find_row, is_spanned

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from aisquad_core.api import ItemFilter
    from aisquad_core.model import ItemKey
    from aisquad_core.state.bulk import SQLValue

STATUS_ORDER = (
    WorkStatus.IN_PROGRESS,
    WorkStatus.FAILED,
    WorkStatus.LOST,
    WorkStatus.PENDING,
    WorkStatus.BLOCKED,
    WorkStatus.CANCELLED,
    WorkStatus.SKIPPED,
    WorkStatus.COMPLETED,
)

_COLUMNS = {
    ItemSort.STATUS: "status",
    ItemSort.ID: "id",
    ItemSort.AGENT: "agent_id",
    ItemSort.STARTED: "started_at",
    ItemSort.FINISHED: "finished_at",
}
_SPARSE = frozenset({ItemSort.STARTED, ItemSort.FINISHED})
"""Sorts by a column that may be NULL; such items come last in either direction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of the sorted items, in the order of one index."""

    condition: Condition
    order: str


def segments(sort: ItemSort, *, is_reversed: bool, after: str | None) -> list[Segment]:
    """Return what is left of the sorted items after a key, in order.

    Raises:
        InputError: `after` is no key of a page in this order.
    """
    direction, beyond = ("DESC", "<") if is_reversed else ("ASC", ">")
    by_place = f"w.place {direction}"
    value, place = (None, None) if after is None else _decode_key(after, sort)

    def segment(sql: str, *parameters: SQLValue, order: str = by_place) -> Segment:
        return Segment(condition=Condition(sql=sql, parameters=parameters), order=order)

    if sort is ItemSort.POSITION:
        return [segment("TRUE") if place is None else segment(f"w.place {beyond} ?", place)]
    if sort is ItemSort.STATUS:
        order = [s.value for s in (reversed(STATUS_ORDER) if is_reversed else STATUS_ORDER)]
        if place is None:
            return [segment("w.status = ?", status) for status in order]
        later = order[order.index(str(value)) + 1 :]
        return [
            segment(f"w.status = ? AND w.place {beyond} ?", value, place),
            *(segment("w.status = ?", status) for status in later),
        ]
    column = f"w.{_COLUMNS[sort]}"
    if place is not None and value is None:
        return [segment(f"{column} IS NULL AND w.place {beyond} ?", place)]
    by_column = f"{column} {direction}, {by_place}"
    known = (
        segment(f"{column} IS NOT NULL", order=by_column)
        if place is None
        else segment(
            f"{column} IS NOT NULL AND ({column}, w.place) {beyond} (?, ?)",
            value,
            place,
            order=by_column,
        )
    )
    return [known, segment(f"{column} IS NULL")] if sort in _SPARSE else [known]


def count_items(
    connection: sqlite3.Connection, item_filter: ItemFilter, fitting: Sequence[Condition]
) -> int:
    """Return how many items fit, by the index of statuses if convoys alone restrict them."""
    conditions = list(fitting)
    if is_spanned(item_filter):
        conditions.append(is_among("w.status", [status.value for status in WorkStatus]))
    return _count(connection, conditions)


def row_segments(
    connection: sqlite3.Connection, offset: int, convoy_ids: Sequence[str], *, is_reversed: bool
) -> tuple[list[Segment], int]:
    """Return what is left of whole convoys in their order from a row on, and what to skip of it."""
    found = find_row(connection, offset, convoy_ids, is_reversed=is_reversed)
    if found is None:
        return [], 0
    place, skipped = found
    direction, beyond = ("DESC", "<=") if is_reversed else ("ASC", ">=")
    condition = Condition(sql=f"w.place {beyond} ?", parameters=(place,))
    return [Segment(condition=condition, order=f"w.place {direction}")], skipped


def find_item(
    connection: sqlite3.Connection, sort: ItemSort, key: ItemKey, fitting: Sequence[Condition]
) -> tuple[str | None, int] | None:
    """Return the value that the sort goes by and the place of an item; None if it does not fit."""
    own = Condition(sql="w.convoy_id = ? AND w.id = ?", parameters=key)
    clause, parameters = where([own, *fitting])
    rows = connection.execute(
        f"SELECT {_sort_column(sort)}, w.place FROM work_items AS w {clause}", parameters
    ).fetchall()
    return (rows[0][0], rows[0][1]) if rows else None


def count_before(
    connection: sqlite3.Connection,
    sort: ItemSort,
    found: tuple[str | None, int],
    fitting: Sequence[Condition],
    *,
    is_reversed: bool,
) -> int:
    """Return how many fitting items stand before one that `find_item` found."""
    value, place = found
    # What comes after it in the opposite order, but for items that are last in either.
    after = encode_key(sort, value, place)
    parts = [part.condition for part in segments(sort, is_reversed=not is_reversed, after=after)]
    if sort in _SPARSE:
        parts = parts[:1]
        if value is None:
            parts.append(Condition(sql=f"w.{_COLUMNS[sort]} IS NOT NULL"))
    return sum(_count(connection, [*fitting, part]) for part in parts)


def _count(connection: sqlite3.Connection, conditions: Sequence[Condition]) -> int:
    clause, parameters = where(conditions)
    [(count,)] = connection.execute(
        f"SELECT count(*) FROM work_items AS w {clause}", parameters
    ).fetchall()
    return int(count)


def page_rows(
    connection: sqlite3.Connection,
    sort: ItemSort,
    parts: Iterable[Segment],
    fitting: Sequence[Condition],
    *,
    offset: int,
    limit: int,
) -> list[Sequence[Any]]:
    """Return rows of a page: the value that the sort goes by, the place, then `VIEW_COLUMNS`."""
    rows: list[Sequence[Any]] = []
    for part in parts:
        clause, parameters = where([*fitting, part.condition])
        # The window is found by key and place alone, often in an index, and sorts small rows.
        found = connection.execute(
            f"SELECT page.key, w.place, {VIEW_COLUMNS} FROM (SELECT {_sort_column(sort)} AS key,"
            f" w.place FROM work_items AS w {clause} ORDER BY {part.order} LIMIT ? OFFSET ?)"
            f" AS page CROSS JOIN work_items AS w ON w.place = page.place ORDER BY {part.order}",
            (*parameters, limit - len(rows), offset),
        ).fetchall()
        rows += found
        if len(rows) == limit:
            break
        if found:
            offset = 0
        elif offset:
            offset -= _count(connection, [*fitting, part.condition])
    return rows


def _sort_column(sort: ItemSort) -> str:
    """Return the expression whose value begins the key of a row."""
    return "NULL" if sort is ItemSort.POSITION else f"w.{_COLUMNS[sort]}"


def encode_key(sort: ItemSort, value: SQLValue, place: int) -> str:
    """Return the opaque key after which the next page begins."""
    return base64.urlsafe_b64encode(msgspec.json.encode((sort.value, value, place))).decode()


def _decode_key(text: str, sort: ItemSort) -> tuple[str | None, int]:
    try:
        name, value, place = msgspec.json.decode(
            base64.urlsafe_b64decode(text), type=tuple[str, str | None, int]
        )
    except (ValueError, binascii.Error) as error:
        raise InputError(f"{text!r} is not the key of a page of items") from error
    is_value_needed = sort is not ItemSort.POSITION and sort not in _SPARSE
    if (
        name != sort.value
        or (is_value_needed and value is None)
        or (sort is ItemSort.STATUS and value not in [s.value for s in WorkStatus])
    ):
        raise InputError(f"{text!r} is not the key of a page of items sorted by {sort.value}")
    return value, place
