"""Where each convoy's items lie in the order of places, so that a row is found by its number.

A launched convoy has its items at consecutive places, as many as its total. Only where single
items were added besides does finding a row take counting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from aisquad_core.model import WorkStatus
from aisquad_core.state.conditions import Condition, is_among, place_range, where
from aisquad_core.state.operation_text import encode_json
from aisquad_core.state.rows import PLACE_BITS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from aisquad_core.api import ItemFilter


class Span(NamedTuple):
    """The items of one convoy."""

    first: int
    last: int
    size: int
    """How many there are."""

    @property
    def is_dense(self) -> bool:
        """Whether there is an item at every place."""
        return self.size == self.last - self.first + 1


def is_spanned(item_filter: ItemFilter) -> bool:
    """Whether a filter lets through whole convoys."""
    f = item_filter
    return not (f.statuses or f.agent_ids or f.keys or f.text or f.terms)


def find_row(
    connection: sqlite3.Connection,
    offset: int,
    convoy_ids: Sequence[str],
    *,
    is_reversed: bool,
) -> tuple[int, int] | None:
    """Return a place and how many items from it on are to be left out to come to a row.

    Args:
        connection: To the work state.
        offset: The row's number, from 0.
        convoy_ids: The convoys to look at; empty: all.
        is_reversed: Whether rows are numbered from the last place.

    Returns:
        None if there are not that many rows.
    """
    for span in _spans(connection, convoy_ids, is_reversed=is_reversed):
        if offset < span.size:
            if not span.is_dense:
                return (span.last if is_reversed else span.first), offset
            return (span.last - offset if is_reversed else span.first + offset), 0
        offset -= span.size
    return None


def row_of(
    connection: sqlite3.Connection, place: int, convoy_ids: Sequence[str], *, is_reversed: bool
) -> int:
    """Return the number of the row at a place."""
    row = 0
    for span in _spans(connection, convoy_ids, is_reversed=is_reversed):
        if span.first <= place <= span.last:
            first, last = (place + 1, span.last) if is_reversed else (span.first, place - 1)
            return row + (last - first + 1 if span.is_dense else _count(connection, first, last))
        row += span.size
    return row


def _spans(
    connection: sqlite3.Connection, convoy_ids: Sequence[str], *, is_reversed: bool
) -> Iterator[Span]:
    """Yield the spans of complete convoys that have items, in the order of their places."""
    chosen = "AND l.convoy_id IN (SELECT value FROM json_each(?))" if convoy_ids else ""
    rows = connection.execute(
        "SELECT l.number, c.total, (SELECT max(place) FROM work_items WHERE place"
        f" BETWEEN -(l.number << {PLACE_BITS}) AND ((1 - l.number) << {PLACE_BITS}) - 1)"
        " FROM launches AS l LEFT JOIN convoys AS c ON c.number = l.number"
        f" WHERE l.is_complete {chosen} ORDER BY l.number {'ASC' if is_reversed else 'DESC'}",
        (encode_json(convoy_ids),) if convoy_ids else (),
    )
    for number, total, last in rows:
        if last is None:
            continue
        first = place_range(number)[0]
        is_dense = total == last - first + 1
        yield Span(first, last, total if is_dense else _count(connection, first, last))


def _count(connection: sqlite3.Connection, first: int, last: int) -> int:
    """Count the items at a range of places, in the index of statuses, which is small."""
    clause, parameters = where(
        [
            is_among("w.status", [status.value for status in WorkStatus]),
            Condition(sql="w.place BETWEEN ? AND ?", parameters=(first, last)),
        ]
    )
    [(count,)] = connection.execute(
        f"SELECT count(*) FROM work_items AS w {clause}", parameters
    ).fetchall()
    return int(count)
