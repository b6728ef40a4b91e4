"""Brings convoys from the work state into memory and decides what became of their last starts.

An engine that begins on a state folder whose engine died contests every `in_progress` item before
anything new starts: it settles what ended, adopts what runs, queues what never ran, and marks the
rest as lost. What cannot be told holds up its own item alone, which counts as running, with a slot,
and is contested again and again while others start.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from aisquad_core.errors import RunnerError
from aisquad_core.execution import dependencies
from aisquad_core.execution.admission import keep_out_of_collections
from aisquad_core.execution.run import Run, StopRequest
from aisquad_core.execution.runner import Contest, Exit, Finding
from aisquad_core.execution.scheduler import ConvoyState, Task
from aisquad_core.model import FAILURE_STATUSES, StopReason, WorkStatus

if TYPE_CHECKING:
    from aisquad_core.clock import Clock
    from aisquad_core.execution.executor import ConvoyExecutor
    from aisquad_core.execution.ledger import Ledger
    from aisquad_core.execution.runner import Runner
    from aisquad_core.execution.scheduler import Scheduler
    from aisquad_core.execution.steering import Steering
    from aisquad_core.model import ConvoyRecord
    from aisquad_core.state.rows import RunRow
    from aisquad_core.state.workstate import WorkState

_CONTESTS_AT_ONCE = 16
_ASK_AGAIN_S = 1.0


class Recovery:
    """Takes over what earlier engines left.

    Args:
        state: Where it is written.
        ledger: Commits.
        scheduler: Where it goes.
        executor: Adopts what still runs.
        steering: Finishes a cancel that was under way.
        runner: Finds out what became of a start.
        clock: Time.
    """

    def __init__(
        self,
        *,
        state: WorkState,
        ledger: Ledger,
        scheduler: Scheduler,
        executor: ConvoyExecutor,
        steering: Steering,
        runner: Runner,
        clock: Clock,
    ) -> None:
        self._state = state
        self._ledger = ledger
        self._scheduler = scheduler
        self._executor = executor
        self._steering = steering
        self._runner = runner
        self._clock = clock
        self._doubts: dict[Task, str] = {}
        """What cannot be told yet, and why."""

    @property
    def trouble(self) -> str | None:
        """What cannot be told yet, and why, in words; None when all is decided."""
        for task, reason in self._doubts.items():
            others = len(self._doubts) - 1
            said = f"{task.item_id}: {reason}; trying again"
            return f"{said} (and {others} more)" if others else said
        return None

    async def load(self, record: ConvoyRecord, *, hold: str | None = None) -> ConvoyState:
        """Bring a convoy into the scheduler, held if `hold` says why; its starts stay undecided."""
        convoy = ConvoyState(record=record, hold=hold, begun_s=self._begun_s(record))
        unsettled: list[tuple[Task, RunRow]] = []
        async for page in self._state.reader.run_rows(record.id):
            for row in page:
                task = Task(
                    convoy,
                    row.id,
                    position=row.position,
                    agent_id=row.agent_id,
                    priority=row.priority,
                    retries=row.retries,
                    needs=row.dependencies,
                    status=row.status,
                    version=row.version,
                    attempt=row.attempt,
                    operation=None if row.status is WorkStatus.COMPLETED else row.operation,
                    reason=row.reason,
                )
                convoy.tasks[row.id] = task
                if row.status is WorkStatus.IN_PROGRESS:
                    unsettled.append((task, row))
        await asyncio.to_thread(self._scheduler.link, convoy)
        self._scheduler.add(convoy)
        keep_out_of_collections(convoy)
        convoy.is_closing = record.stopping is not None or (
            record.stop_on_first_failure
            and any(convoy.counts[status] for status in FAILURE_STATUSES)
        )
        await self._decide_all(unsettled)
        return convoy

    def _begun_s(self, record: ConvoyRecord) -> float | None:
        """Return when a convoy began, of which for earlier engines only the wall clock tells."""
        if record.started_at is None:
            return None
        running_s = (self._clock.now() - record.started_at).total_seconds()
        return self._clock.monotonic() - max(0.0, running_s)

    async def reconcile(self, convoy: ConvoyState) -> None:
        """Finish what a crash left half done between two commits."""
        if convoy.record.stopping is StopReason.CANCEL:
            await (await self._steering.cancel_convoy(convoy)).finish()
            return
        early = [
            task
            for task in convoy.tasks.values()
            if task.status is WorkStatus.PENDING and task.open_needs
        ]
        await self._ledger.wait_again(early)
        for task in list(convoy.tasks.values()):
            if task.status.is_final and task.status is not WorkStatus.COMPLETED:
                await self._ledger.follow_up(task)
        freed = [
            task
            for task in convoy.tasks.values()
            if task.status is WorkStatus.BLOCKED and not task.open_needs
        ]
        if freed:
            await self._ledger.move(freed, WorkStatus.PENDING)
        await self._ledger.finish_if_done(convoy)

    async def _decide_all(self, unsettled: list[tuple[Task, RunRow]]) -> None:
        gate = asyncio.Semaphore(_CONTESTS_AT_ONCE)

        async def decide(task: Task, row: RunRow) -> None:
            async with gate:
                await self._decide(task, row)

        async with asyncio.TaskGroup() as contests:
            for task, row in unsettled:
                contests.create_task(decide(task, row))

    async def _decide(self, task: Task, row: RunRow) -> None:
        """Contest one start; what cannot be told now is found out later."""
        token = row.token or ""
        run = Run(task, token, started_at=row.started_at)
        if row.stopping is not None:
            run.request = StopRequest(row.stopping, self._executor.grace_s)
        found = await self._contest(run, row)
        if found.finding is Finding.UNKNOWN:
            run.is_signalled = row.stopping is not None  # by the engine before
            self._executor.adopt_undecided(run, partial(self._find_out, run, row, found))
            return
        if found.finding is Finding.ALIVE:
            self._executor.adopt(run, running_for_s=found.running_for_s)
            if row.stopping is not None:
                self._executor.request_stop(run, row.stopping)
            return
        if found.finding is Finding.NEVER_RAN and row.stopping is not StopReason.CANCEL:
            run.request = StopRequest(StopReason.INTERRUPT, 0.0)
        end = found.exit or Exit(token=token, exit_code=None, error=found.reason)
        await self._executor.settle(run, end)
        if task.status is WorkStatus.COMPLETED:
            dependencies.complete(task)  # `reconcile` frees what has nothing more to wait for

    async def _find_out(self, run: Run, row: RunRow, found: Contest) -> Contest:
        """Contest a start again and again until it can be told what became of it."""
        task = run.task
        while found.finding is Finding.UNKNOWN:
            task.reason = self._doubts[task] = f"cannot tell whether it ran: {found.reason}"
            await self._clock.sleep(_ASK_AGAIN_S)
            found = await self._contest(run, row)
        task.reason = None
        del self._doubts[task]
        return found

    async def _contest(self, run: Run, row: RunRow) -> Contest:
        if row.token is None:
            return Contest(
                finding=Finding.LOST, reason="its process ended while it ran an async callable"
            )
        try:
            return await self._runner.contest(run.ref, boot_id=row.boot_id)
        except RunnerError as error:
            return Contest(finding=Finding.UNKNOWN, reason=str(error))
