"""Carries out what operators ask of convoys: cancel, retry, pause, resume; and their time-outs.

Every wish is durable before it has an effect, so that the next engine can finish it. None changes
the record of a convoy whose end is being committed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from aisquad_core.api import Outcome
from aisquad_core.execution import dependencies
from aisquad_core.model import (
    ConvoyStatus,
    ItemKey,
    RunUpdate,
    StopReason,
    Try,
    WorkStatus,
)
from aisquad_core.state.operation_text import encode_operation

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence

    from aisquad_core.clock import Clock
    from aisquad_core.execution.executor import ConvoyExecutor
    from aisquad_core.execution.ledger import Ledger
    from aisquad_core.execution.run import Run
    from aisquad_core.execution.scheduler import ConvoyState, Scheduler, Task
    from aisquad_core.model import WorkItem


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """A cancel that is durable: if this engine does not carry it out, the next one does."""

    begun: Outcome
    """What it concerns, and what it came too late for."""
    finish: Callable[[], Coroutine[object, object, Outcome]]
    """Carries it out; says what became of it when nothing of that runs any more."""


class Steering:
    """Changes what convoys do while they run.

    Args:
        ledger: Commits.
        scheduler: The tasks in memory.
        executor: What runs.
        clock: Time.
    """

    def __init__(
        self, *, ledger: Ledger, scheduler: Scheduler, executor: ConvoyExecutor, clock: Clock
    ) -> None:
        self._ledger = ledger
        self._scheduler = scheduler
        self._executor = executor
        self._clock = clock

    async def pause(self, convoy: ConvoyState) -> None:
        """Start nothing more of a convoy."""
        async with self._ledger.convoy_ends:
            if convoy.unfinished:
                record = replace(convoy.record, status=ConvoyStatus.PAUSED, reason="paused by hand")
                await self._ledger.update_convoy(convoy, record)

    async def resume(self, convoy: ConvoyState) -> None:
        """Let a paused or held convoy start again."""
        self._scheduler.join(convoy)
        convoy.hold = None
        async with self._ledger.convoy_ends:
            if convoy.is_paused and convoy.unfinished:
                has_started = convoy.record.started_at is not None
                status = ConvoyStatus.RUNNING if has_started else ConvoyStatus.PENDING
                record = replace(convoy.record, status=status, reason=None)
                await self._ledger.update_convoy(convoy, record)
        self._ledger.startable.set()

    async def cancel_convoy(self, convoy: ConvoyState, *, grace_s: float | None = None) -> Cancel:
        """Begin to cancel everything of a convoy that has not ended."""
        convoy.is_closing = True
        async with self._ledger.convoy_ends:
            convoy.is_closing = True  # a retry that had its turn before has let it go on
            if convoy.unfinished:
                record = replace(convoy.record, stopping=StopReason.CANCEL, reason="cancelled")
                await self._ledger.update_convoy(convoy, record)
        concerned = [task for task in convoy.tasks.values() if not task.status.is_final]

        async def finish() -> Outcome:
            runs = [self._executor.runs[task] for task in concerned if task.is_live]
            await self._end(runs, StopReason.CANCEL, grace_s=grace_s)
            await self._ledger.clear_queue(convoy, WorkStatus.CANCELLED, "convoy cancelled")
            await self._ledger.finish_if_done(convoy)
            return _outcome(concerned, {})

        return Cancel(begun=_outcome(concerned, {}, is_open_changed=True), finish=finish)

    async def cancel_items(
        self, tasks: Sequence[Task], *, refused: Mapping[str, str], grace_s: float | None = None
    ) -> Cancel:
        """Begin to cancel single items; what needs them is skipped.

        Args:
            tasks: Those in memory.
            refused: What else was to be cancelled, with the reason why it cannot be.
            grace_s: Seconds before what runs is killed; None: as the settings say.
        """
        concerned = [task for task in tasks if not task.status.is_final]
        runs = [self._executor.runs[task] for task in concerned if task.is_live]
        for run in runs:
            self._executor.request_stop(run, StopReason.CANCEL, grace_s=grace_s)
        await self._cancel_queued(concerned)
        for run in runs:
            await run.noted.wait()

        async def finish() -> Outcome:
            for run in runs:
                await run.settled.wait()
            await self._cancel_queued(concerned)  # what was stopped before it began
            return _outcome(tasks, refused)

        return Cancel(begun=_outcome(tasks, refused, is_open_changed=True), finish=finish)

    async def _cancel_queued(self, tasks: Sequence[Task]) -> None:
        """Cancel what waits of single items, before a slot that comes free lets it start."""
        queued = [task for task in tasks if not task.status.is_final and not task.is_live]
        for _, of_convoy in groupby(queued, key=lambda task: id(task.convoy)):
            await self._ledger.move([*of_convoy], WorkStatus.CANCELLED, "cancelled by hand")
        for task in queued:
            if task.status.is_final:
                await self._ledger.follow_up(task)

    async def interrupt(self, runs: Iterable[Run], *, grace_s: float | None = None) -> None:
        """End runs whose engine leaves; their items go back to the queue, same attempt."""
        await self._end(list(runs), StopReason.INTERRUPT, grace_s=grace_s)

    async def expire(self, convoy: ConvoyState) -> None:
        """End a convoy whose time is over: what runs fails, the rest is skipped."""
        convoy.is_closing = True
        reason = f"the convoy's time of {convoy.record.timeout_s:g} s is over"
        async with self._ledger.convoy_ends:
            convoy.is_closing = True  # a retry that had its turn before has let it go on
            if convoy.unfinished:
                await self._ledger.update_convoy(convoy, replace(convoy.record, reason=reason))
        runs = [run for run in self._executor.runs.values() if run.task.convoy is convoy]
        await self._end(runs, StopReason.TIMEOUT, error=reason)
        await self._ledger.clear_queue(convoy, WorkStatus.SKIPPED, reason)
        await self._ledger.finish_if_done(convoy)

    def expired(self) -> list[ConvoyState]:
        """Return the convoys whose time is over and that nobody is ending yet."""
        now_s = self._clock.monotonic()
        return [
            convoy
            for convoy in self._scheduler.convoys.values()
            if convoy.record.timeout_s is not None
            and convoy.begun_s is not None
            and not convoy.is_closing
            and now_s - convoy.begun_s >= convoy.record.timeout_s
        ]

    async def retry(self, convoy: ConvoyState, items: Sequence[WorkItem]) -> None:
        """Put ended items of a convoy back, attempt + 1, and free what was skipped for them.

        Args:
            convoy: In the scheduler.
            items: As they are stored, all in a final status.
        """
        convoy.is_closing, convoy.is_reopening = False, True
        retried = [convoy.tasks[item.id] for item in items]
        has_ended = not convoy.unfinished
        if has_ended:  # what is put back in it, no later engine would look for
            await self._let_run(convoy)
        await self._ledger.until_moved(convoy)  # what comes to be queued is to be blocked, too
        await self._ledger.move(self._reopen(retried), WorkStatus.BLOCKED)
        async with asyncio.TaskGroup() as commits:
            for item, task in zip(items, retried, strict=True):
                commits.create_task(self._put_back(item, task))
        freed = dependencies.freed_by_retry(convoy)
        self._reopen(freed)
        for status, tasks in _by_wanted_status(freed).items():
            await self._ledger.move(tasks, status)
        # What they need may have completed while they were being put back.
        waiting = [task for task in retried if task.status is WorkStatus.BLOCKED]
        for_nothing = [task for task in waiting if not task.open_needs]
        await self._ledger.move(for_nothing, WorkStatus.PENDING)
        if convoy.is_paused or convoy.hold is not None:
            self._scheduler.join(convoy)
        convoy.hold = None
        if not has_ended:  # a pause ends last, so that nothing starts that has to wait
            await self._let_run(convoy)
        convoy.is_reopening = False
        self._ledger.startable.set()

    async def _let_run(self, convoy: ConvoyState) -> None:
        """Commit that a convoy is neither paused nor being stopped, and has not ended."""
        has_started = convoy.record.started_at is not None
        status = ConvoyStatus.RUNNING if has_started else ConvoyStatus.PENDING
        record = replace(convoy.record, status=status, finished_at=None, stopping=None, reason=None)
        await self._ledger.update_convoy(convoy, record)

    async def _put_back(self, item: WorkItem, task: Task) -> None:
        wanted = WorkStatus.BLOCKED if task.open_needs else WorkStatus.PENDING
        if task.operation is None and item.operation is not None:
            task.operation = encode_operation(item.operation)
        ended_try = Try(
            attempt=item.attempt,
            status=item.status,
            exit_code=item.exit_code,
            error=item.error,
            started_at=item.started_at,
            finished_at=item.finished_at,
            token=item.token,
        )
        await self._ledger.commit(
            task,
            RunUpdate(
                convoy_id=item.convoy_id,
                item_id=item.id,
                expected_version=task.version,
                previous=item.status,
                status=wanted,
                attempt=item.attempt + 1,
                ended_try=ended_try,
            ),
        )
        task.run = None
        if wanted is WorkStatus.PENDING:
            self._ledger.requeue(task)

    def _reopen(self, tasks: Sequence[Task]) -> list[Task]:
        """Count anew what the tasks, and what needs them, wait for.

        Returns:
            What needs them and was queued, to be blocked once more.
        """
        dependents = [dependent for task in tasks for dependent in task.dependents or ()]
        dependencies.recount([*tasks, *dependents], frozenset(tasks))
        return [
            task
            for task in dict.fromkeys(dependents)
            if task.status is WorkStatus.PENDING and not task.is_live
        ]

    async def _end(
        self,
        runs: Sequence[Run],
        reason: StopReason,
        *,
        grace_s: float | None = None,
        error: str | None = None,
    ) -> None:
        for run in runs:
            self._executor.request_stop(run, reason, grace_s=grace_s, error=error)
        for run in runs:
            await run.settled.wait()


def _by_wanted_status(tasks: Iterable[Task]) -> dict[WorkStatus, list[Task]]:
    wanted: dict[WorkStatus, list[Task]] = {}
    for task in tasks:
        status = WorkStatus.BLOCKED if task.open_needs else WorkStatus.PENDING
        wanted.setdefault(status, []).append(task)
    return wanted


def _outcome(
    tasks: Iterable[Task], refused: Mapping[str, str], *, is_open_changed: bool = False
) -> Outcome:
    """Say which tasks a cancel has ended, and how those ended that it came too late for.

    Args:
        tasks: What it concerned.
        refused: What it did not concern, with the reason.
        is_open_changed: Whether what has not ended yet counts as ended by it.
    """
    changed: list[ItemKey] = []
    late: dict[str, str] = {}
    for task in tasks:
        is_to_end = is_open_changed and not task.status.is_final
        if is_to_end or task.status is WorkStatus.CANCELLED:
            changed.append(task.key)
        else:
            late[str(task.key)] = f"it is {task.status.word}"
    return Outcome(changed=tuple(changed), refused={**late, **refused})
