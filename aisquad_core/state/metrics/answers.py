"""What the queries' rows say: each function makes figures of the lists that one answers with."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from aisquad_core.api import (
    AgentFigures,
    History,
    ResizeNote,
    SlowOperation,
    ThroughputPoint,
)
from aisquad_core.model import ConvoyStatus, ItemKey, WorkStatus
from aisquad_core.state.metrics.bins import histogram, pack, percentile_s, unpack
from aisquad_core.state.metrics.figures import (
    ConvoyMetrics,
    ConvoyStats,
    DurationFigures,
    OperationFailure,
    ResourceMetrics,
)
from aisquad_core.state.metrics.spans import from_us
from aisquad_core.state.metrics.sums import Sum

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from aisquad_core.state.metrics.kept_bins import Stored

    BinsOf = Callable[[Sequence[Stored]], int]


def as_stats(
    bins_of: BinsOf, unfinished: Sequence[tuple[str, int]], *ends: Sequence[Any]
) -> ConvoyStats:
    """Sum up what ended by `STATS`: first the convoys, then the operations."""
    ended, convoy_durations = _sum_up(bins_of, *ends[:2])
    operations, operation_durations = _sum_up(bins_of, *ends[2:])
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


def as_past(
    start: datetime,
    end: datetime,
    points: int,
    bins_of: BinsOf,
    throughput: Sequence[tuple[int, int, int]],
    *rows: Sequence[Any],
) -> History:
    """Return a history but for what `as_resources` and `as_resizes` have of it.

    Args:
        start: Of the period.
        end: Of the period.
        points: How many stretches it has.
        bins_of: Reads the bins of sums.
        throughput: What ended in each of those.
        rows: What ended, the agents, and the slowest operations.
    """
    *ends, agents, slowest = rows
    _, total = _sum_up(bins_of, *ends)
    durations = _durations(total)
    return History(
        is_recorded=True,
        start=start,
        end=end,
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
        agents=as_agents(agents),
    )


def as_resources(
    start: datetime, end: datetime, points: int, rows: Sequence[Sequence[Any]]
) -> tuple[ResourceMetrics, ...]:
    """Return the means of a period's stretches."""
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


def as_resizes(rows: Sequence[Sequence[Any]]) -> tuple[ResizeNote, ...]:
    """Return changes of the parallelism, the newest of which is the first row."""
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


def as_agents(rows: Sequence[tuple[str, int, int, int, int]]) -> tuple[AgentFigures, ...]:
    """Return what ended by agent."""
    return tuple(
        AgentFigures(
            agent_id=agent_id,
            completed=completed,
            failed=failed,
            mean_s=sum_us / (timed or 1) / 1e6,
        )
        for agent_id, completed, failed, timed, sum_us in rows
    )


def as_convoys(rows: Sequence[Sequence[Any]]) -> tuple[ConvoyMetrics, ...]:
    """Return convoys in the order of the rows."""
    return tuple(_convoy(row) for row in rows)


def as_failures(rows: Sequence[Sequence[Any]]) -> tuple[OperationFailure, ...]:
    """Return operations in the order of the rows."""
    return tuple(_failure(row) for row in rows)


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


def _sum_up(
    bins_of: BinsOf,
    singly: Sequence[tuple[str, int, int, int]],
    sums: Sequence[Stored],
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
    for _, outcome, count, sum_us in sums:
        counts[outcome] += count
        total.count += count
        total.sum_us += sum_us
    total.packed += bins_of(sums)
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


def _slow(row: Sequence[Any]) -> SlowOperation:
    convoy_id, item_id, agent_id, status, duration_us, ended_us = row
    return SlowOperation(
        key=ItemKey(convoy_id, item_id),
        agent_id=agent_id,
        status=WorkStatus(status),
        duration_s=duration_us / 1e6,
        finished_at=from_us(ended_us),
    )
