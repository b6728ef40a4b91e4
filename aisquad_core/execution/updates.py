"""What is written of a run: that it runs, and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_core.model import RunUpdate, Try, WorkStatus

if TYPE_CHECKING:
    from datetime import datetime

    from aisquad_core.execution.outcome import Verdict
    from aisquad_core.execution.run import Run
    from aisquad_core.execution.runner import Exit
    from aisquad_core.model import StopReason


def running(run: Run, boot_id: str, *, stopping: StopReason | None = None) -> RunUpdate:
    """Return that a run begins, or that it goes on and is to be stopped."""
    task = run.task
    return RunUpdate(
        convoy_id=task.convoy.record.id,
        item_id=task.item_id,
        expected_version=task.version,
        previous=task.status,
        status=WorkStatus.IN_PROGRESS,
        attempt=task.attempt,
        token=run.token or None,
        boot_id=boot_id,
        stopping=stopping,
        started_at=run.started_at,
    )


def ended(
    run: Run, boot_id: str, end: Exit, verdict: Verdict, *, finished_at: datetime
) -> RunUpdate:
    """Return how an attempt ended, or that its item goes back to the queue."""
    task = run.task
    if verdict.status.is_final:
        return RunUpdate(
            convoy_id=task.convoy.record.id,
            item_id=task.item_id,
            expected_version=task.version,
            previous=task.status,
            status=verdict.status,
            attempt=task.attempt,
            token=run.token or None,
            boot_id=boot_id,
            exit_code=end.exit_code,
            error=verdict.error,
            started_at=run.started_at,
            finished_at=finished_at,
        )
    ended_try = Try(
        attempt=task.attempt,
        status=verdict.ended_as,
        exit_code=end.exit_code,
        error=verdict.error,
        started_at=run.started_at,
        finished_at=finished_at,
        token=run.token or None,
    )
    return RunUpdate(
        convoy_id=task.convoy.record.id,
        item_id=task.item_id,
        expected_version=task.version,
        previous=task.status,
        status=verdict.status,
        attempt=task.attempt + verdict.is_retry,
        ended_try=ended_try if verdict.is_retry else None,
    )
