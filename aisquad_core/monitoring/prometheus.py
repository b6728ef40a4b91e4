"""The figures as Prometheus reads them: base units, fractions from 0 to 1, counters in `_total`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from aisquad_core.api import StatusCounts
from aisquad_core.monitoring.answer import Answer
from aisquad_core.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client import Metric

    from aisquad_core.monitoring.live import Load, Writes
    from aisquad_core.state.metrics.ended import EndedTotals

_STATUSES = tuple(field.name for field in fields(StatusCounts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """What is exposed, of one moment; None: that part cannot be read now."""

    parts: Mapping[str, bool]
    """Part to whether it is well."""
    uptime_s: float
    load: Load | None
    counts: StatusCounts | None
    ended: EndedTotals | None
    has_names: bool
    """Whether agents are named; else their figures are summed up."""


def expose(scrape: Scrape, accept: str) -> Answer:
    """Answer in the format that the Accept header asks for."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(scrape))
    encode, content_type = choose_encoder(accept)
    return Answer(body=encode(registry), content_type=content_type)


class _Figures(Collector):
    def __init__(self, scrape: Scrape) -> None:
        self._scrape = scrape

    def describe(self) -> Iterator[Metric]:
        """Name nothing ahead: the registry is this scrape's alone."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield every figure."""
        scrape = self._scrape
        yield InfoMetricFamily("aisquad", "This aisquad.", value={"version": __version__})
        yield GaugeMetricFamily(
            "aisquad_monitoring_uptime_seconds",
            "Seconds since the monitoring API began.",
            value=scrape.uptime_s,
        )
        well = GaugeMetricFamily(
            "aisquad_part_up", "Whether a part can be read and is well.", labels=["part"]
        )
        for part, is_well in scrape.parts.items():
            well.add_metric([part], float(is_well))
        yield well
        if scrape.load is not None:
            yield from _load(scrape.load)
        if scrape.counts is not None:
            items = GaugeMetricFamily(
                "aisquad_operations", "Work items by status, all that there are.", labels=["status"]
            )
            for status in _STATUSES:
                items.add_metric([status], getattr(scrape.counts, status))
            yield items
        if scrape.ended is not None:
            yield from _ended(scrape.ended, has_names=scrape.has_names)


def _load(load: Load) -> Iterator[Metric]:
    figures = (
        ("cpu_usage_ratio", "CPU in use, of what may be used.", load.cpu_percent / 100),
        ("memory_usage_ratio", "Memory in use, of what may be used.", load.memory_percent / 100),
        (
            "cpu_threshold_ratio",
            "CPU above which only the baseline runs.",
            load.cpu_threshold / 100,
        ),
        (
            "memory_threshold_ratio",
            "Memory above which only the baseline runs.",
            load.memory_threshold / 100,
        ),
        ("cpu_cores", "Processors that may be used.", load.cpu_count),
        ("memory_limit_bytes", "Memory that may be used.", load.memory_bytes),
        ("engine_up", "Whether an engine runs.", float(load.is_engine_running)),
        ("parallelism", "Operations that may run at once, now.", load.parallelism),
        ("parallelism_baseline", "The same under load.", load.baseline),
        ("parallelism_max", "The same at most.", load.max),
        ("parallelism_auto", "Whether it follows the load.", float(load.auto)),
        ("throttle_ratio", "How much starts are held back, 0 to 1.", load.throttle),
        ("operations_running", "Operations that run.", load.running),
        ("operations_queued", "Operations that wait for their start.", load.queued),
    )
    for name, help_text, value in figures:
        yield GaugeMetricFamily(f"aisquad_{name}", help_text, value=value)
    if load.writes is not None:
        yield from _writes(load.writes)
    if load.engine_started_at is not None:
        yield GaugeMetricFamily(
            "aisquad_engine_start_time_seconds",
            "When the engine began, in seconds since 1970.",
            value=load.engine_started_at.timestamp(),
        )


def _writes(writes: Writes) -> Iterator[Metric]:
    for name, help_text, value in (
        ("writes_pending", "Writes that wait for the disk.", writes.pending),
        ("writes_capacity", "How many of them may wait.", writes.capacity),
        (
            "writes_threshold_ratio",
            "Part of the capacity above which launches are refused or wait.",
            writes.threshold,
        ),
        ("launches_waiting", "Launches that wait for room.", writes.launches_waiting),
    ):
        yield GaugeMetricFamily(f"aisquad_{name}", help_text, value=value)
    yield CounterMetricFamily(
        "aisquad_launches_refused",
        "Launches that were refused for want of room since the engine began.",
        value=writes.launches_refused,
    )


def _ended(totals: EndedTotals, *, has_names: bool) -> Iterator[Metric]:
    names = ["agent"] if has_names else []
    ended = CounterMetricFamily(
        "aisquad_operations_ended",
        "Operations that ended for good since this API began.",
        labels=[*names, "status"],
    )
    durations = SummaryMetricFamily(
        "aisquad_operation_duration_seconds",
        "How long they took, the last attempt of each.",
        labels=names,
    )
    by_status: dict[tuple[str, ...], int] = {}
    by_agent: dict[tuple[str, ...], tuple[int, float]] = {}
    for (agent_id, status), total in totals.items():
        agent = (agent_id,) if has_names else ()
        by_status[(*agent, status)] = by_status.get((*agent, status), 0) + total.count
        count, sum_s = by_agent.get(agent, (0, 0.0))
        by_agent[agent] = count + total.timed, sum_s + total.sum_s
    for labels, number in by_status.items():
        ended.add_metric(labels, number)
    for labels, (count, sum_s) in by_agent.items():
        durations.add_metric(labels, count_value=count, sum_value=sum_s)
    yield ended
    yield durations
