"""Questions to the metrics: read-only, with or without an engine, whether or not they exist yet.

Every answer is one row, of JSON: each row of a result is a call into SQLite, and each of those may
wait for the interpreter lock while a loop is busy.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aisquad_core.api import (
    AgentFigures,
    History,
    LoadPoint,
    ResizeNote,
    SlowOperation,
    ThroughputPoint,
    check_history,
)
from aisquad_core.clock import SystemClock
from aisquad_core.errors import InputError, StorageError
from aisquad_core.model import ConvoyStatus, ItemKey, WorkStatus
from aisquad_core.state.connection_pool import ConnectionPool
from aisquad_core.state.metrics.bins import histogram, pack, percentile_s, unpack
from aisquad_core.state.metrics.figures import (
    ConvoyMetrics,
    ConvoyStats,
    DurationFigures,
    OperationFailure,
    ResourceMetrics,
)
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
from aisquad_core.state.metrics.spans import cut, from_us, to_us
from aisquad_core.state.metrics.sums import Sum

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from aisquad_core.clock import Clock

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
        (rows,) = await self._ask(RECENT_CONVOYS, {"limit": _checked(limit)})
        return tuple(_convoy(row) for row in rows)

    async def get_unfinished_convoys(self) -> tuple[str, ...]:
        """Return the ids of the convoys of which no end was recorded."""
        (convoy_ids,) = await self._ask(UNFINISHED, {})
        return tuple(convoy_ids)

    async def get_convoy_stats(self, time_range_minutes: float = 60.0) -> ConvoyStats:
        """Sum up the convoys and operations of the last minutes.

        Percentiles are off by at most 2 % of their value, and by at most 1 ms below 1 ms.
        """
        start, end = self._last(time_range_minutes * 60)
        unfinished, *ends = await self._ask(STATS, _cut(start, end), columns=7)
        ended, convoy_durations = _sum_up(*ends[:3])
        operations, operation_durations = _sum_up(*ends[3:])
        del operations["retried"]
        convoys = Counter(dict(unfinished)) + ended
        tried = operations["completed"] + operations["failed"] + operations["lost"]
        return ConvoyStats(
            total_convoys=convoys.total(),
            convoys={ConvoyStatus(status): count for status, count in convoys.items()},
            success_rate=ended["completed"] / (ended.total() or 1),
            convoy_durations=_durations(convoy_durations),
            operations={WorkStatus(status): count for status, count in operations.items()},
            operation_success_rate=operations["completed"] / (tried or 1),
            operation_durations=_durations(operation_durations),
        )

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
        (rows,) = await self._ask(FAILURES, {"limit": _checked(limit)})
        return tuple(_failure(row) for row in rows)

    async def get_agent_stats(self, time_range_minutes: float = 60.0) -> tuple[AgentFigures, ...]:
        """Sum up the operations of the last minutes by agent, the busiest first."""
        start, end = self._last(time_range_minutes * 60)
        (rows,) = await self._ask(AGENTS, _cut(start, end))
        return _agents(rows)

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
        throughput, *ends, agents, slowest = await self._ask(query, values, columns=6)
        _, total = _sum_up(*ends)
        durations = _durations(total)
        return History(
            is_recorded=True,
            start=start,
            end=end,
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
            throughput=tuple(
                ThroughputPoint(
                    at=start + number * (end - start) / points, completed=completed, failed=failed
                )
                for number, completed, failed in throughput
            ),
            durations=histogram(unpack(total.packed)),
            mean_s=durations.mean_s,
            p50_s=durations.p50_s,
            p95_s=durations.p95_s,
            p99_s=durations.p99_s,
            slowest=tuple(_slow(row) for row in slowest),
            agents=_agents(agents),
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
        (rows,) = await self._ask(query, _stretches(start, end, points))
        return tuple(
            ResourceMetrics(
                timestamp=start + number * (end - start) / points,
                cpu_percent=cpu_percent,
                memory_percent=memory_percent,
                active_workers=active_workers,
                queue_depth=queue_depth,
                parallelism=parallelism,
                throttle=throttle,
            )
            for (
                number,
                cpu_percent,
                memory_percent,
                active_workers,
                queue_depth,
                parallelism,
                throttle,
            ) in rows
        )

    async def _resizes(self, start: datetime, end: datetime, limit: int) -> tuple[ResizeNote, ...]:
        (rows,) = await self._ask(
            RESIZES, {"start": to_us(start), "end": to_us(end), "limit": limit}
        )
        return tuple(
            ResizeNote(
                at=from_us(at_us),
                previous=previous,
                parallelism=parallelism,
                auto=bool(is_auto),
                reason=reason,
            )
            for at_us, previous, parallelism, is_auto, reason in reversed(rows)
        )

    async def _ask(self, query: str, values: dict[str, Any], *, columns: int = 1) -> list[Any]:
        """Return the lists that a query answers with; empty ones if there is no database yet."""

        def read(connection: sqlite3.Connection) -> tuple[str, ...]:
            [row] = connection.execute(query, values).fetchall()
            return tuple(row)

        try:
            return [json.loads(text) for text in await self._pool.run(read)]
        except FileNotFoundError:
            return [[] for _ in range(columns)]
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


def _sum_up(
    singly: Sequence[tuple[str, int, int, int]],
    sums: Sequence[tuple[str, int, int]],
    bins: Sequence[str],
) -> tuple[Counter[str], Sum]:
    """Return how much ended with each outcome, and the durations of all together."""
    counts, timed = Counter[str](), Counter[int]()
    total = Sum()
    for outcome, number, count, sum_us in singly:
        counts[outcome] += count
        total.count += count
        if number >= 0:
            timed[number] += count
            total.sum_us += sum_us
    total.packed = pack(timed)
    for outcome, count, sum_us in sums:
        counts[outcome] += count
        total.count += count
        total.sum_us += sum_us
    total.packed += sum(int(digits or "0", 16) for digits in bins)
    return +counts, total


def _durations(total: Sum) -> DurationFigures:
    counts = unpack(total.packed)
    count = sum(counts.values())
    if not count:
        return DurationFigures()
    return DurationFigures(
        count=count,
        mean_s=total.sum_us / count / 1e6,
        p50_s=percentile_s(counts, 50),
        p95_s=percentile_s(counts, 95),
        p99_s=percentile_s(counts, 99),
    )


def _agents(rows: Sequence[tuple[str, int, int, int, int]]) -> tuple[AgentFigures, ...]:
    return tuple(
        AgentFigures(
            agent_id=agent_id,
            completed=completed,
            failed=failed,
            mean_s=sum_us / (timed or 1) / 1e6,
        )
        for agent_id, completed, failed, timed, sum_us in rows
    )


def _convoy(row: Sequence[Any]) -> ConvoyMetrics:
    (
        convoy_id, name, status, start_us, end_us, operations, completed, failed, cancelled,
        skipped, attempts, attempts_us,
    ) = row  # fmt: skip
    return ConvoyMetrics(
        convoy_id=convoy_id,
        name=name,
        status=ConvoyStatus(status),
        start_time=from_us(start_us),
        end_time=None if end_us is None else from_us(end_us),
        operations=operations,
        completed=completed,
        failed=failed,
        cancelled=cancelled,
        skipped=skipped,
        avg_duration=attempts_us / (attempts or 1) / 1e6,
    )


def _failure(row: Sequence[Any]) -> OperationFailure:
    convoy_id, item_id, agent_id, status, attempt, exit_code, error, ended_us, duration_us = row
    return OperationFailure(
        key=ItemKey(convoy_id, item_id),
        agent_id=agent_id,
        status=WorkStatus(status),
        attempt=attempt,
        exit_code=exit_code,
        error=error,
        finished_at=from_us(ended_us),
        duration_s=duration_us / 1e6,
    )


def _slow(row: Sequence[Any]) -> SlowOperation:
    convoy_id, item_id, agent_id, status, duration_us, ended_us = row
    return SlowOperation(
        key=ItemKey(convoy_id, item_id),
        agent_id=agent_id,
        status=WorkStatus(status),
        duration_s=duration_us / 1e6,
        finished_at=from_us(ended_us),
    )
