"""Questions to the work state: over the pool of an engine, or on their own where there is none.

Every answer is of one moment and of what is committed. No database yet reads as an empty one.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aisquad_core.api import ItemPage, ItemSort, RelatedItem, StatusCounts
from aisquad_core.errors import NotFoundError
from aisquad_core.model import ConvoyStatus, ItemKey, WorkStatus
from aisquad_core.state import pattern, resolve
from aisquad_core.state.conditions import filter_conditions, place_range
from aisquad_core.state.connection_pool import ConnectionPool
from aisquad_core.state.explanation import explain_blocked
from aisquad_core.state.item_query import (
    count_before,
    count_items,
    encode_key,
    find_item,
    page_rows,
    row_segments,
    segments,
)
from aisquad_core.state.operation_text import encode_json
from aisquad_core.state.records import (
    CONVOY_COLUMNS,
    ENGINE_COLUMNS,
    convoy_from_row,
    engine_from_row,
)
from aisquad_core.state.rows import (
    ITEM_COLUMNS,
    PLACE_BITS,
    RUN_COLUMNS,
    VIEW_COLUMNS,
    item_from_row,
    run_row_from_row,
    view_from_row,
)
from aisquad_core.state.schema import migrate
from aisquad_core.state.spans import is_spanned, row_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from aisquad_core.api import ItemFilter, ItemView
    from aisquad_core.model import ConvoyRecord, WorkItem
    from aisquad_core.state.bulk import SQLValue
    from aisquad_core.state.records import EngineFacts
    from aisquad_core.state.rows import RunRow as RunRow  # noqa: PLC0414 - importers have it from here

T = TypeVar("T")

_UNFINISHED = [status.value for status in ConvoyStatus if not status.is_final]


class Reader:
    """Reads the work state through a pool.

    Args:
        pool: Lends the connections; whoever made it closes it.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator[Reader]:
        """Read a database on its own, with or without an engine, whether or not it exists yet."""
        pool = ConnectionPool(path, size=2)
        try:
            yield cls(pool)
        finally:
            await pool.close()

    async def items(
        self,
        item_filter: ItemFilter,
        *,
        sort: ItemSort = ItemSort.POSITION,
        is_reversed: bool = False,
        after: str | None = None,
        offset: int = 0,
        limit: int = 100,
        is_counted: bool = True,
        known_total: int | None = None,
    ) -> ItemPage:
        """Return one window of items.

        Args:
            item_filter: Which items.
            sort: Their order; those never started (finished) come last in either direction.
            is_reversed: Whether the order is turned around, ties included.
            after: `next_after` of the page before; with it a page costs the same anywhere.
            offset: How many items to leave out at the beginning.
            limit: How many to return at most.
            is_counted: Whether to say how many fit.
            known_total: How many fit the filter, if the caller knows: counting a million takes
                tens of milliseconds.

        Raises:
            InputError: `after` is not the key of a page in this order, or a term's regular
                expression is none or could take very long.
        """
        pattern.check(item_filter.terms)
        parts = segments(sort, is_reversed=is_reversed, after=after)
        is_by_place = sort is ItemSort.POSITION and after is None and is_spanned(item_filter)

        def read(connection: sqlite3.Connection) -> ItemPage:
            fitting = filter_conditions(connection, item_filter, hidden=_incomplete(connection))
            total = known_total
            if is_counted and total is None:
                total = count_items(connection, item_filter, fitting)
            wanted, skipped = parts, offset
            if offset and is_by_place:
                wanted, skipped = row_segments(
                    connection, offset, item_filter.convoy_ids, is_reversed=is_reversed
                )
            rows = page_rows(
                connection,
                sort,
                wanted,
                fitting,
                offset=skipped,
                limit=limit + 1,  # one more, to know whether there is a next page
            )
            next_after = None
            if len(rows) > limit > 0:
                value, place = rows[limit - 1][:2]
                next_after = encode_key(sort, value, place)
            views = [view_from_row(row[2:]) for row in rows[:limit]]
            return ItemPage(
                items=tuple(explain_blocked(connection, views)), total=total, next_after=next_after
            )

        return await self._read(read)

    async def offset_of(
        self,
        item_filter: ItemFilter,
        key: ItemKey,
        *,
        sort: ItemSort = ItemSort.POSITION,
        is_reversed: bool = False,
    ) -> int | None:
        """Return how many items stand before this one; None if it does not fit or is none.

        Raises:
            InputError: A term's regular expression is none, or could take very long.
        """
        pattern.check(item_filter.terms)

        def read(connection: sqlite3.Connection) -> int | None:
            fitting = filter_conditions(connection, item_filter, hidden=_incomplete(connection))
            found = find_item(connection, sort, key, fitting)
            if found is None:
                return None
            if sort is ItemSort.POSITION and is_spanned(item_filter):
                convoy_ids = item_filter.convoy_ids
                return row_of(connection, found[1], convoy_ids, is_reversed=is_reversed)
            return count_before(connection, sort, found, fitting, is_reversed=is_reversed)

        return await self._read(read)

    async def tokens(self, keys: Sequence[ItemKey]) -> dict[ItemKey, tuple[int, str]]:
        """Return the attempt and token of the last start of each item that had one."""
        rows = await self._read(
            _query(
                "SELECT w.convoy_id, w.id, w.attempt, w.token FROM json_each(?) AS v"
                " CROSS JOIN work_items AS w"
                " ON w.convoy_id = v.value->>0 AND w.id = v.value->>1 WHERE w.token IS NOT NULL",
                (encode_json(keys),),
            )
        )
        return {ItemKey(row[0], row[1]): (row[2], row[3]) for row in rows}

    async def item(self, key: ItemKey) -> WorkItem:
        """Return one item.

        Raises:
            NotFoundError: There is none.
        """
        rows = await self._read(
            lambda connection: connection.execute(
                f"SELECT {ITEM_COLUMNS} FROM work_items WHERE convoy_id = ? AND id = ?", key
            ).fetchall()
        )
        if not rows:
            raise NotFoundError(f"no work item {key}")
        return item_from_row(rows[0])

    async def view(self, key: ItemKey) -> ItemView:
        """Return one item as a row of a table.

        Raises:
            NotFoundError: There is none.
        """

        def read(connection: sqlite3.Connection) -> list[ItemView]:
            rows = connection.execute(
                f"SELECT {VIEW_COLUMNS} FROM work_items WHERE convoy_id = ? AND id = ?", key
            ).fetchall()
            return explain_blocked(connection, [view_from_row(row) for row in rows])

        views = await self._read(read)
        if not views:
            raise NotFoundError(f"no work item {key}")
        return views[0]

    async def dependencies(self, key: ItemKey) -> tuple[RelatedItem, ...]:
        """Return the items that this one needs, in its own order."""
        return await self._related(
            "SELECT w.id, w.status FROM work_items AS own"
            " CROSS JOIN json_each(own.dependencies) AS needed"
            " CROSS JOIN work_items AS w ON w.convoy_id = own.convoy_id AND w.id = needed.value"
            " WHERE own.convoy_id = ? AND own.id = ? ORDER BY needed.key",
            key,
        )

    async def dependents(self, key: ItemKey) -> tuple[RelatedItem, ...]:
        """Return the items that need this one, in the order of their convoy."""
        return await self._related(
            "SELECT id, status FROM work_items WHERE convoy_id = ? AND instr(dependencies, ?)"
            " ORDER BY place",
            (key.convoy_id, encode_json(key.item_id)),
        )

    async def counts(self, convoy_id: str | None = None) -> StatusCounts:
        """Return how many items of a convoy (None: of all) stand where."""
        return _sum_up(await self._read(_query(*_counts_query(convoy_id))))

    async def counts_by_convoy(self) -> dict[str, StatusCounts]:
        """Return the counts of each convoy."""
        by_convoy: dict[str, list[Sequence[Any]]] = {}
        for row in await self._read(_query(*_counts_query(None))):
            by_convoy.setdefault(row[0], []).append(row)
        return {convoy_id: _sum_up(rows) for convoy_id, rows in by_convoy.items()}

    async def convoys(
        self, statuses: Sequence[ConvoyStatus] = (), *, limit: int | None = None
    ) -> list[ConvoyRecord]:
        """Return the convoys (of these statuses, if any are named), newest first."""
        values = [status.value for status in statuses or ConvoyStatus]
        return await self._convoys(values, "DESC", -1 if limit is None else limit)

    async def unfinished_convoys(self) -> list[ConvoyRecord]:
        """Return the convoys that have not ended, oldest first."""
        return await self._convoys(_UNFINISHED, "ASC", -1)

    async def convoy(self, convoy_id: str) -> ConvoyRecord:
        """Return one convoy.

        Raises:
            NotFoundError: There is none.
        """
        rows = await self._read(
            lambda connection: connection.execute(
                f"SELECT {CONVOY_COLUMNS} FROM convoys WHERE id = ?", (convoy_id,)
            ).fetchall()
        )
        if not rows:
            raise NotFoundError(f"no convoy {convoy_id}")
        return convoy_from_row(rows[0])

    async def resolve_convoy(self, prefix: str) -> str:
        """Return the id of the one convoy that the text names or begins.

        Raises:
            NotFoundError: None fits, or more than one; says which.
        """
        return await self._read(lambda connection: resolve.find_convoy(connection, prefix))

    async def resolve_item(self, text: str) -> ItemKey:
        """Return the item that the text names: `CONVOY/ITEM`, each a unique prefix, or an item.

        An item alone is an id, else a prefix that fits one id only, in the newest convoy that has
        it.

        Raises:
            NotFoundError: None fits, or more than one; says which.
        """
        return await self._read(lambda connection: resolve.find_item(connection, text))

    async def item_ids(self, prefix: str, *, limit: int) -> list[str]:
        """Return ids that begin so, each once, in their order."""
        return await self._read(
            lambda connection: resolve.item_ids(connection, prefix, limit=limit)
        )

    async def engine_facts(self) -> EngineFacts | None:
        """Return what the present or last engine wrote about itself; None before the first."""
        rows = await self._read(
            lambda connection: connection.execute(f"SELECT {ENGINE_COLUMNS} FROM engine").fetchall()
        )
        return engine_from_row(rows[0]) if rows else None

    async def run_rows(
        self, convoy_id: str, *, page_size: int = 1_000
    ) -> AsyncIterator[list[RunRow]]:
        """Yield pages of what a scheduler needs to know of a convoy's items, in their order."""
        numbers = await self._read(
            lambda connection: connection.execute(
                "SELECT number FROM launches WHERE convoy_id = ?", (convoy_id,)
            ).fetchall()
        )
        if not numbers:
            return
        first, last = place_range(numbers[0][0])
        sql = (
            f"SELECT place, {RUN_COLUMNS} FROM work_items"
            " WHERE place BETWEEN ? AND ? ORDER BY place LIMIT ?"
        )
        while True:
            rows = await self._read(_query(sql, (first, last, page_size)))
            if rows:
                yield [run_row_from_row(row[1:]) for row in rows]
            if len(rows) < page_size:
                return
            first = rows[-1][0] + 1

    async def _convoys(
        self, statuses: Sequence[str], direction: str, limit: int
    ) -> list[ConvoyRecord]:
        rows = await self._read(
            lambda connection: connection.execute(
                f"SELECT {CONVOY_COLUMNS} FROM convoys"
                " WHERE status IN (SELECT value FROM json_each(?))"
                f" ORDER BY number {direction} LIMIT ?",
                (encode_json(statuses), limit),
            ).fetchall()
        )
        return [convoy_from_row(row) for row in rows]

    async def _related(self, sql: str, parameters: tuple[str, str]) -> tuple[RelatedItem, ...]:
        rows = await self._read(lambda connection: connection.execute(sql, parameters).fetchall())
        return tuple(RelatedItem(id=item_id, status=WorkStatus(status)) for item_id, status in rows)

    async def _read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await self._pool.run(function)
        except FileNotFoundError:
            return await asyncio.to_thread(_read_nothing, function)


def _read_nothing(function: Callable[[sqlite3.Connection], T]) -> T:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, Path(":memory:"), "workstate")
        return function(connection)


def _query(
    sql: str, parameters: Sequence[SQLValue]
) -> Callable[[sqlite3.Connection], list[Sequence[Any]]]:
    return lambda connection: connection.execute(sql, parameters).fetchall()


def _incomplete(connection: sqlite3.Connection) -> list[int]:
    """Return the numbers of the convoys whose items are not all in yet."""
    rows = connection.execute("SELECT number FROM launches WHERE NOT is_complete").fetchall()
    return [number for (number,) in rows]


def _counts_query(convoy_id: str | None) -> tuple[str, list[SQLValue]]:
    """Return the query of convoy, status and count: each a range in the index of statuses."""
    sql = (
        "SELECT l.convoy_id, s.value, (SELECT count(*) FROM work_items WHERE status = s.value"
        f" AND place BETWEEN -(l.number << {PLACE_BITS}) AND ((1 - l.number) << {PLACE_BITS}) - 1)"
        " FROM launches AS l CROSS JOIN json_each(?) AS s WHERE l.is_complete"
    )
    statuses = encode_json([status.value for status in WorkStatus])
    if convoy_id is None:
        return sql, [statuses]
    return f"{sql} AND l.convoy_id = ?", [statuses, convoy_id]


def _sum_up(rows: Iterable[Sequence[Any]]) -> StatusCounts:
    counts = dict.fromkeys((status.word for status in WorkStatus), 0)
    for _, status, count in rows:
        counts[WorkStatus(status).word] += count
    return StatusCounts(**counts)
