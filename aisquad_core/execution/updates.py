"""What is written of a run: that it runs, and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from aisquad_core.model import RunUpdate, Try, WorkStatus

if TYPE_CHECKING:
    from datetime import datetime

    from aisquad_core.execution.outcome import Verdict
    from aisquad_core.execution.run import Run
    from aisquad_core.execution.runner import Exit
    from aisquad_core.model import StopReason


def running(run: Run, boot_id: str, *, stopping: StopReason | None = None) -> RunUpdate:
    """Return that a run begins, or that it goes on and is to be stopped."""
    return replace(
        _now(run, WorkStatus.IN_PROGRESS),
        token=run.token or None,
        boot_id=boot_id,
        stopping=stopping,
        started_at=run.started_at,
    )


def ended(
    run: Run, boot_id: str, end: Exit, verdict: Verdict, *, finished_at: datetime
) -> RunUpdate:
    """Return how an attempt ended, or that its item goes back to the queue."""
    update = _now(run, verdict.status)
    if verdict.status.is_final:
        return replace(
            update,
            token=run.token or None,
            boot_id=boot_id,
            exit_code=end.exit_code,
            error=verdict.error,
            started_at=run.started_at,
            finished_at=finished_at,
        )
    if not verdict.is_retry:
        return update
    ended_try = Try(
        attempt=update.attempt,
        status=verdict.ended_as,
        exit_code=end.exit_code,
        error=verdict.error,
        started_at=run.started_at,
        finished_at=finished_at,
        token=run.token or None,
    )
    return replace(update, attempt=update.attempt + 1, ended_try=ended_try)


def _now(run: Run, status: WorkStatus) -> RunUpdate:
    """Return that a run's item is in a status from now on, in the same attempt."""
    task = run.task
    return RunUpdate(
        convoy_id=task.convoy.record.id,
        item_id=task.item_id,
        expected_version=task.version,
        previous=task.status,
        status=status,
        attempt=task.attempt,
    )
