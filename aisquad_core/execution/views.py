"""The engine's memory as operators see it: tasks and convoys to the frozen views of the seam."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aisquad_core.api import ConvoyView, ItemView, StatusCounts
from aisquad_core.model import WorkStatus

if TYPE_CHECKING:
    from collections import Counter
    from datetime import datetime

    from aisquad_core.execution.scheduler import ConvoyState, Task
    from aisquad_core.model import ConvoyRecord, RunUpdate


def view_counts(counts: Counter[WorkStatus]) -> StatusCounts:
    """Return counts by status as the seam's type."""
    return StatusCounts(
        pending=counts[WorkStatus.PENDING],
        blocked=counts[WorkStatus.BLOCKED],
        running=counts[WorkStatus.IN_PROGRESS],
        completed=counts[WorkStatus.COMPLETED],
        failed=counts[WorkStatus.FAILED],
        lost=counts[WorkStatus.LOST],
        cancelled=counts[WorkStatus.CANCELLED],
        skipped=counts[WorkStatus.SKIPPED],
    )


def view_convoy(convoy: ConvoyState, now_s: float) -> ConvoyView:
    """Return a convoy in memory as operators see it; `now_s` is monotonic."""
    record = convoy.record
    rate_per_s = convoy.rate_per_s(now_s)
    eta_s = None
    if rate_per_s is not None and not record.status.is_final:
        eta_s = convoy.unfinished / rate_per_s
    return replace(
        view_record(record, view_counts(convoy.counts)),
        reason=record.reason or convoy.hold,
        is_interrupted=convoy.hold is not None,
        rate_per_s=rate_per_s,
        eta_s=eta_s,
    )


def view_record(record: ConvoyRecord, counts: StatusCounts) -> ConvoyView:
    """Return a convoy that is not in memory as operators see it."""
    return ConvoyView(
        id=record.id,
        name=record.name,
        status=record.status,
        counts=counts,
        created_at=record.created_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
        source=record.source,
        reason=record.reason,
        stop_on_first_failure=record.stop_on_first_failure,
        timeout_s=record.timeout_s,
    )


def view_task(
    task: Task, update: RunUpdate | None, *, now: datetime, reason: str | None
) -> ItemView:
    """Return a task as a row.

    Args:
        task: The task after the change.
        update: What was last written about its run; None when it has not run.
        now: When the change was committed.
        reason: Why it does not run.
    """
    convoy_id, item_id = task.key
    view = ItemView(
        id=item_id,
        convoy_id=convoy_id,
        status=task.status,
        agent_id=task.agent_id,
        attempt=task.attempt,
        max_attempts=task.max_attempts,
        priority=task.priority,
        position=task.position,
        version=task.version,
        created_at=task.convoy.record.created_at,
        updated_at=now,
        started_at=None,
        finished_at=None,
        exit_code=None,
        error=None,
        reason=reason,
    )
    if update is None:
        return view
    return replace(
        view,
        started_at=update.started_at,
        finished_at=update.finished_at,
        exit_code=update.exit_code,
        error=update.error,
    )
