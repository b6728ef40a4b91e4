"""Questions to the metrics: read-only, with or without an engine, whether or not they exist yet.

Every answer is one row, of JSON: each row of a result is a call into SQLite, and each of those may
wait for the interpreter lock while a loop is busy.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from aisquad_core.api import LoadPoint, check_history
from aisquad_core.clock import SystemClock
from aisquad_core.errors import InputError, StorageError
from aisquad_core.state.connection_pool import ConnectionPool
from aisquad_core.state.metrics.answers import (
    as_agents,
    as_convoys,
    as_failures,
    as_past,
    as_resizes,
    as_resources,
    as_stats,
)
from aisquad_core.state.metrics.kept_bins import KeptBins
from aisquad_core.state.metrics.queries import (
    AGENTS,
    CONVOY_PAST,
    FAILURES,
    FINE_PAST,
    HOURLY_PAST,
    HOURS,
    MINUTES,
    RECENT_CONVOYS,
    RESIZES,
    SAMPLES,
    STATS,
    UNFINISHED,
)
from aisquad_core.state.metrics.spans import cut, to_us
from aisquad_core.state.operation_text import decode_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from aisquad_core.api import AgentFigures, History, ResizeNote
    from aisquad_core.clock import Clock
    from aisquad_core.state.metrics.figures import (
        ConvoyMetrics,
        ConvoyStats,
        OperationFailure,
        ResourceMetrics,
    )

T = TypeVar("T")

_MOST_ROWS = 10_000
_SLOWEST = 10
_RESIZES_SHOWN = 200


class MetricsReader:
    """Reads the metrics database: an async context manager that never writes.

    Args:
        path: The database; until it exists every answer is empty.
        clock: Says what "the last minutes" are; None: the machine's.
    """

    def __init__(self, path: Path, *, clock: Clock | None = None) -> None:
        self._path = path
        self._clock = clock or SystemClock()
        self._pool = ConnectionPool(path, size=2, database="metrics", clock=self._clock)
        self._bins = KeptBins()

    async def __aenter__(self) -> Self:
        """Begin; nothing is opened before the first question."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Close what was opened."""
        await self._pool.close()

    async def get_recent_convoy_metrics(self, limit: int = 20) -> tuple[ConvoyMetrics, ...]:
        """Return the convoys that began last, newest first."""
        return await self._ask(RECENT_CONVOYS, {"limit": _checked(limit)}, as_convoys)

    async def get_unfinished_convoys(self) -> tuple[str, ...]:
        """Return the ids of the convoys of which no end was recorded."""
        return await self._ask(UNFINISHED, {}, tuple[str, ...])

    async def get_convoy_stats(self, time_range_minutes: float = 60.0) -> ConvoyStats:
        """Sum up the convoys and operations of the last minutes.

        Percentiles are off by at most 2 % of their value, and by at most 1 ms below 1 ms.
        """
        start, end = self._last(time_range_minutes * 60)
        return await self._ask_ends(STATS, _cut(start, end), as_stats, columns=5)

    async def get_resource_metrics(
        self, time_range_minutes: float = 60.0, points: int = 120
    ) -> tuple[ResourceMetrics, ...]:
        """Return the samples of the last minutes as means, at most `points`, oldest first.

        Stretches are equally long; one without a sample is left out. Where they are a minute (an
        hour) or longer, all samples of a minute (an hour) count for the stretch in which it begins.
        """
        start, end = self._last(time_range_minutes * 60, points)
        return await self._resources(start, end, points)

    async def get_recent_failures(self, limit: int = 20) -> tuple[OperationFailure, ...]:
        """Return the operations that failed or were lost last, newest first."""
        return await self._ask(FAILURES, {"limit": _checked(limit)}, as_failures)

    async def get_agent_stats(self, time_range_minutes: float = 60.0) -> tuple[AgentFigures, ...]:
        """Sum up the operations of the last minutes by agent, the busiest first."""
        start, end = self._last(time_range_minutes * 60)
        return await self._ask(AGENTS, _cut(start, end), as_agents)

    async def get_resizes(
        self, time_range_minutes: float = 60.0, limit: int = 200
    ) -> tuple[ResizeNote, ...]:
        """Return the latest changes of the parallelism in the last minutes, oldest first."""
        start, end = self._last(time_range_minutes * 60)
        return await self._resizes(start, end, _checked(limit))

    async def history(
        self, *, period_s: float = 3600.0, points: int = 120, convoy_id: str | None = None
    ) -> History:
        """Return what `EngineAPI.history` says.

        Raises:
            InputError: `period_s` or `points` is not positive, or there are over 2,000 points.
            StorageError: The metrics cannot be read.
        """
        start, end = self._last(period_s, points)
        values = {
            **_cut(start, end),
            **_stretches(start, end, points),
            "convoy": convoy_id,
            "slowest": _SLOWEST,
        }
        if convoy_id is not None:
            query = CONVOY_PAST
        elif (end - start) >= points * timedelta(hours=1):
            query = HOURLY_PAST
        else:
            query = FINE_PAST
        digest = partial(as_past, start, end, points)
        past = await self._ask_ends(query, values, digest, columns=5)
        return replace(
            past,
            load=tuple(
                LoadPoint(
                    at=point.timestamp,
                    cpu_percent=point.cpu_percent,
                    memory_percent=point.memory_percent,
                    parallelism=point.parallelism,
                    active_workers=point.active_workers,
                    queue_depth=point.queue_depth,
                )
                for point in await self._resources(start, end, points)
            ),
            resizes=await self._resizes(start, end, _RESIZES_SHOWN),
        )

    def _last(self, period_s: float, points: int = 1) -> tuple[datetime, datetime]:
        """Return the period that ends now, if it is one."""
        check_history(period_s, points)
        end = self._clock.now()
        return end - timedelta(seconds=period_s), end

    async def _resources(
        self, start: datetime, end: datetime, points: int
    ) -> tuple[ResourceMetrics, ...]:
        if end - start >= points * timedelta(hours=1):
            query = HOURS
        elif end - start >= points * timedelta(minutes=1):
            query = MINUTES
        else:
            query = SAMPLES
        return await self._ask(
            query, _stretches(start, end, points), partial(as_resources, start, end, points)
        )

    async def _resizes(self, start: datetime, end: datetime, limit: int) -> tuple[ResizeNote, ...]:
        values = {"start": to_us(start), "end": to_us(end), "limit": limit}
        return await self._ask(RESIZES, values, as_resizes)

    async def _ask(
        self,
        query: str,
        values: dict[str, Any],
        digest: Callable[..., T],
        *,
        columns: int = 1,
    ) -> T:
        """Return what `digest` makes of the lists that a query answers with.

        It is called on the reader's thread, or the loop would stand still meanwhile. It gets empty
        lists if there is no database yet.
        """
        return await self._read(query, values, lambda _, *lists: digest(*lists), columns)

    async def _ask_ends(
        self, query: str, values: dict[str, Any], digest: Callable[..., T], *, columns: int
    ) -> T:
        """Do the same for a `digest` that first gets what tells the bins of sums."""
        return await self._read(
            query,
            values,
            lambda connection, *lists: digest(partial(self._bins.total, connection), *lists),
            columns,
        )

    async def _read(
        self, query: str, values: dict[str, Any], digest: Callable[..., T], columns: int
    ) -> T:
        def read(connection: sqlite3.Connection) -> T:
            [texts] = connection.execute(query, values).fetchall()
            return digest(connection, *[decode_json(text) for text in texts])

        try:
            return await self._pool.run(read)
        except FileNotFoundError:
            return digest(None, *[[] for _ in range(columns)])
        except (sqlite3.Error, ValueError) as error:
            raise StorageError(f"{self._path}: {error}") from error


def _checked(limit: int) -> int:
    if not 0 < limit <= _MOST_ROWS:
        raise InputError(f"limit {limit!r}: expected a whole number from 1 to {_MOST_ROWS}")
    return limit


def _cut(start: datetime, end: datetime) -> dict[str, int]:
    """Return the parts of a stretch as a query names them."""
    spans = cut(to_us(start) + 1, to_us(end) + 1)
    ranges = (spans.singly, spans.surplus, *spans.hours, spans.days)
    return {
        f"{edge}{number}": value
        for number, stretch in enumerate(ranges)
        for edge, value in zip("ab", stretch, strict=True)
    }


def _stretches(start: datetime, end: datetime, points: int) -> dict[str, int]:
    return {"start": to_us(start), "end": to_us(end), "points": points}
