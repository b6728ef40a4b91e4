"""What the metrics are told of the engine: ends of attempts, convoys, the load, resizes.

The ends come one by one, as they are committed; of a convoy only how it stands at each tick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_core.api import ResizeNote
from aisquad_core.errors import NotFoundError
from aisquad_core.execution.views import view_counts
from aisquad_core.model import ConvoyStatus
from aisquad_core.state.metrics import ResourceMetrics

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from aisquad_core.api import EngineView, Load
    from aisquad_core.execution.scheduler import ConvoyState, Scheduler, Task
    from aisquad_core.model import RunUpdate
    from aisquad_core.state.metrics import MetricsCollector
    from aisquad_core.state.reader import Reader


class Recorder:
    """Passes on to the metrics what is committed; an observer of the ledger.

    Args:
        metrics: Where it is recorded.
        scheduler: The convoys in memory.
    """

    def __init__(self, metrics: MetricsCollector, scheduler: Scheduler) -> None:
        self._metrics = metrics
        self._scheduler = scheduler
        self._known: set[str] = set()
        """Convoys whose start was recorded."""
        self._changed: set[ConvoyState] = set()

    def item_changed(self, task: Task, update: RunUpdate | None) -> None:
        """Record an attempt if it has ended."""
        if update is not None and (update.finished_at is not None or update.ended_try is not None):
            self._metrics.record_operation(task.agent_id, update)
        self._changed.add(task.convoy)

    def convoy_changed(self, convoy: ConvoyState) -> None:
        """Take note that a convoy changed."""
        self._changed.add(convoy)

    def convoy_ended(self, convoy: ConvoyState) -> None:
        """Record the end of a convoy."""
        record = convoy.record
        self._changed.discard(convoy)
        if record.id not in self._known:
            self._begin(convoy)
        self._known.discard(record.id)
        self._metrics.record_convoy_complete(
            record.id, record.status, end_time=record.finished_at, **_counts(convoy)
        )

    def record_convoys(self) -> None:
        """Record how each convoy stands that changed since the last time."""
        convoys = self._scheduler.convoys
        for convoy_id in convoys.keys() - self._known:
            self._begin(convoys[convoy_id])
        for convoy in self._changed:
            record = convoy.record
            if not record.status.is_final:  # else its end, which follows, says all
                self._metrics.update_convoy_metrics(
                    record.id, status=record.status, **_counts(convoy)
                )
        self._changed.clear()

    def sampled(self, load: Load, engine: EngineView) -> None:
        """Record what a tick saw."""
        self._metrics.record_resource_snapshot(
            ResourceMetrics(
                timestamp=load.at,
                cpu_percent=load.cpu_percent,
                memory_percent=load.memory_percent,
                active_workers=engine.running,
                queue_depth=engine.queued,
                parallelism=load.parallelism,
                throttle=load.throttle,
            )
        )
        self.record_convoys()

    def resized(self, at: datetime, previous: int, engine: EngineView) -> None:
        """Record a change of the parallelism."""
        self._metrics.record_resize(
            ResizeNote(
                at=at,
                previous=previous,
                parallelism=engine.parallelism,
                auto=engine.auto,
                reason=engine.reason,
            )
        )

    async def catch_up(self, reader: Reader) -> None:
        """Record the ends of convoys whose end a crash kept from the metrics.

        Raises:
            StateError: The metrics or the work state cannot be read.
        """
        for convoy_id in await self._metrics.get_unfinished_convoys():
            if convoy_id in self._scheduler.convoys:
                continue
            try:
                record = await reader.convoy(convoy_id)
            except NotFoundError:  # of a work state that is no longer there
                self._metrics.record_convoy_complete(convoy_id, ConvoyStatus.CANCELLED)
                continue
            if record.status.is_final:
                counts = await reader.counts(convoy_id)
                self._metrics.record_convoy_complete(
                    convoy_id,
                    record.status,
                    end_time=record.finished_at,
                    completed=counts.completed,
                    failed=counts.failed + counts.lost,
                    cancelled=counts.cancelled,
                    skipped=counts.skipped,
                )

    def _begin(self, convoy: ConvoyState) -> None:
        record = convoy.record
        self._known.add(record.id)
        self._changed.add(convoy)
        self._metrics.record_convoy_start(
            record.id,
            record.total,
            name=record.name,
            start_time=record.created_at,
            status=record.status,
        )


def _counts(convoy: ConvoyState) -> Mapping[str, int]:
    counts = view_counts(convoy.counts)
    return {
        "completed": counts.completed,
        "failed": counts.failed + counts.lost,
        "cancelled": counts.cancelled,
        "skipped": counts.skipped,
    }
