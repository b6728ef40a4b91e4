"""Commits what the engine decided, and only then moves the tasks in memory and tells observers.

Facts that have already happened are committed for as long as storage refuses; `trouble` then says
so. An item that runs is written by its own run alone, everything else goes through here.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from aisquad_core.errors import ConcurrentUpdateError, RunnerError, StorageError
from aisquad_core.execution import dependencies
from aisquad_core.model import FAILURE_STATUSES, ConvoyStatus, WorkStatus
from aisquad_core.state.finishing import unbroken

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aisquad_core.clock import Clock
    from aisquad_core.execution.environment import EnvironmentStore
    from aisquad_core.execution.scheduler import ConvoyState, Scheduler, Task
    from aisquad_core.model import ConvoyRecord, RunUpdate
    from aisquad_core.state.workstate import WorkState

_STORAGE_RETRY_S = 1.0
_MOVED_AT_ONCE = 500
"""Tasks of a bulk move between which the loop does other things."""
_Stored = TypeVar("_Stored")
logger = logging.getLogger(__name__)
_QUEUED = (WorkStatus.PENDING, WorkStatus.BLOCKED)


class Observer(Protocol):
    """Is told what has been committed."""

    def item_changed(self, task: Task, update: RunUpdate | None) -> None:
        """An item's state changed; `update` is what was written if it has run."""
        ...

    def convoy_changed(self, convoy: ConvoyState) -> None:
        """A convoy's record changed."""
        ...

    def convoy_ended(self, convoy: ConvoyState) -> None:
        """A convoy has ended and leaves the memory."""
        ...


class Ledger:
    """The engine's way to the work state.

    Args:
        state: Where facts become durable.
        scheduler: The tasks in memory.
        environments: Each convoy's kept environment, dropped at its end.
        observers: Are told of committed changes, in this order.
        clock: Time.
        before_end: Awaited with a convoy's id before its end is committed.
    """

    def __init__(
        self,
        *,
        state: WorkState,
        scheduler: Scheduler,
        environments: EnvironmentStore,
        observers: Sequence[Observer],
        clock: Clock,
        before_end: Callable[[str], Awaitable[None]],
    ) -> None:
        self.trouble: str | None = None
        """Why nothing can be committed just now; None when well."""
        self.startable = asyncio.Event()
        """Set when something may have become startable; the dispatcher clears it."""
        self.retimed = asyncio.Event()
        """Set when something waits for a time; the timekeeper clears it."""
        self.convoy_ends = asyncio.Lock()
        """Held while a convoy ends or is opened again."""
        self._refused = asyncio.Lock()
        """Held in turn by writes that storage has refused, in the order of the refusals."""
        self._state = state
        self._scheduler = scheduler
        self._environments = environments
        self._observers = tuple(observers)
        self._clock = clock
        self._before_end = before_end

    async def commit_start(self, task: Task, update: RunUpdate) -> bool:
        """Commit the intent to start; False if that cannot be, and the task waits anew."""
        try:
            task.version = await self._state.run_update(update)
        except (StorageError, ConcurrentUpdateError) as error:
            if isinstance(error, StorageError):
                self.trouble = str(error)
            elif error.actual_version is not None:
                task.version = error.actual_version
            self.requeue(task, delay_s=_STORAGE_RETRY_S, reason=str(error))
            return False
        self.trouble = None
        task.reason = None
        self._take(task, update)
        convoy = task.convoy
        if convoy.record.started_at is None:
            convoy.begun_s = self._clock.monotonic()
            status = ConvoyStatus.PAUSED if convoy.is_paused else ConvoyStatus.RUNNING
            started = replace(convoy.record, started_at=update.started_at, status=status)
            await self.update_convoy(convoy, started)
        return True

    async def commit(self, task: Task, update: RunUpdate) -> None:
        """Commit what has already happened to an item that runs, for as long as it takes."""

        async def write() -> int:
            nonlocal update
            try:
                return await self._state.run_update(update)
            except ConcurrentUpdateError as error:
                if error.actual_version is None:
                    raise
                # Somebody wrote to a running item; what its process did is the later truth.
                update = msgspec.structs.replace(update, expected_version=error.actual_version)
                return await self._state.run_update(update)

        task.version = await self.until_stored(write)
        self._take(task, update)

    async def move(
        self, tasks: Sequence[Task], status: WorkStatus, reason: str | None = None
    ) -> None:
        """Commit another status for tasks of one convoy that do not run.

        A task that went another way meanwhile is left alone.
        """
        if not tasks:
            return
        for task in tasks:
            task.ticket = 0
        moves = tasks[0].convoy.moves
        moves.add(done := asyncio.get_running_loop().create_future())
        try:
            for start in range(0, len(tasks), _MOVED_AT_ONCE):
                await self._move(tasks[start : start + _MOVED_AT_ONCE], status, reason)
        finally:
            moves.remove(done)
            done.set_result(None)

    async def until_moved(self, convoy: ConvoyState) -> None:
        """Return when no tasks of a convoy are being moved."""
        while convoy.moves:
            await asyncio.wait(convoy.moves)

    async def _move(self, tasks: Sequence[Task], status: WorkStatus, reason: str | None) -> None:
        convoy = tasks[0].convoy
        versions = [(task.item_id, task.version) for task in tasks]
        finished_at = self._clock.now() if status.is_final else None

        async def attempt() -> None:
            stale = set(
                await self._state.transition(
                    convoy.record.id,
                    versions,
                    status=status,
                    reason=reason,
                    finished_at=finished_at,
                )
            )
            for task in tasks:
                if task.item_id in stale:
                    continue
                task.version += 1
                task.reason = reason
                convoy.set_status(task, status)
                for observer in self._observers:
                    observer.item_changed(task, None)
                if status is WorkStatus.PENDING:
                    self.requeue(task)

        # Whoever is cancelled meanwhile must not leave in memory what is no longer so: others,
        # who are not, would move it again and again.
        await self.until_stored(lambda: unbroken(attempt()))

    async def clear_queue(self, convoy: ConvoyState, status: WorkStatus, reason: str) -> None:
        """Give everything of a closing convoy that has not started a final status."""
        while queued := [
            task for task in convoy.tasks.values() if task.status in _QUEUED and not task.is_live
        ]:
            await self.move(queued, status, reason)

    async def follow_up(self, task: Task) -> None:
        """Free, skip or finish what depended on the committed end of a task."""
        convoy = task.convoy
        if task.status is WorkStatus.COMPLETED:
            task.operation = None
            freed = dependencies.complete(task)
            if freed:
                await self.move(freed, WorkStatus.PENDING)
        elif convoy.record.stop_on_first_failure or dependencies.doomed_by(task):
            async with self.convoy_ends:  # a retry comes before all of this, or after it
                await self._skip_after(task)
        await self.finish_if_done(convoy)

    async def follow_return(self, task: Task) -> None:
        """See to what has come back to the queue, which is not what it was when it left it.

        A failure may have stopped its convoy meanwhile, or what it needs may have been retried.
        """
        convoy = task.convoy
        if convoy.is_closing and convoy.record.stop_on_first_failure:
            failed = (each for each in convoy.tasks.values() if each.status in FAILURE_STATUSES)
            if (first := next(failed, None)) is not None:
                await self.follow_up(first)
        elif task.open_needs:
            await self.wait_again([task])

    async def wait_again(self, tasks: Sequence[Task]) -> None:
        """Let queued tasks of a convoy wait once more for what they need."""
        await self.move(tasks, WorkStatus.BLOCKED)
        # What they need may have ended meanwhile.
        blocked = [task for task in tasks if task.status is WorkStatus.BLOCKED]
        await self.move([task for task in blocked if not task.open_needs], WorkStatus.PENDING)
        needs = {need: task.convoy.tasks[need] for task in blocked for need in task.needs}
        for need in needs.values():
            if need.status.is_final and need.status is not WorkStatus.COMPLETED:
                await self.follow_up(need)

    async def _skip_after(self, task: Task) -> None:
        """Skip what can no longer run since a task did not complete, unless it was retried."""
        convoy = task.convoy
        if not task.status.is_final:
            return
        if not convoy.is_closing and (doomed := dependencies.doomed_by(task)):
            reason = f"needs {task.item_id}, which {describe_end(task.status)}"
            await self.move(doomed, WorkStatus.SKIPPED, reason)
        if task.status in FAILURE_STATUSES and convoy.record.stop_on_first_failure:
            convoy.is_closing = True
            reason = f"stopped after the first failure, of {task.item_id}"
            await self.clear_queue(convoy, WorkStatus.SKIPPED, reason)

    async def finish_if_done(self, convoy: ConvoyState) -> None:
        """Commit the end of a convoy of which nothing is left to do, and let it go."""
        if convoy.unfinished:
            return
        async with self.convoy_ends:
            convoy_id = convoy.record.id
            if convoy.unfinished or convoy.is_reopening:
                return
            if self._scheduler.convoys.get(convoy_id) is not convoy:
                return
            await self._before_end(convoy_id)
            ended = replace(
                convoy.record,
                status=final_status(convoy),
                finished_at=self._clock.now(),
                stopping=None,
            )
            await self.update_convoy(convoy, ended)
            for observer in self._observers:
                observer.convoy_ended(convoy)
            self.put_away(convoy)
            try:
                await self._environments.forget(convoy_id)
            except RunnerError as error:  # it goes with the convoy's folder, when that is pruned
                logger.warning("%s", error)

    def put_away(self, convoy: ConvoyState) -> None:
        """Forget a convoy that has ended."""
        self._scheduler.remove(convoy)
        if not self._scheduler.convoys:
            gc.unfreeze()

    async def update_convoy(self, convoy: ConvoyState, record: ConvoyRecord) -> None:
        """Commit a convoy's record."""
        # Set before the commit, so that of two changes under way neither undoes the other.
        convoy.record = replace(record, updated_at=self._clock.now())
        await self.until_stored(lambda: self._state.update_convoy(convoy.record))
        for observer in self._observers:
            observer.convoy_changed(convoy)

    def requeue(self, task: Task, *, delay_s: float = 0.0, reason: str | None = None) -> None:
        """Queue a pending task, after a delay if there is one, for which `reason` is shown."""
        task.reason = reason
        not_before_s = self._clock.monotonic() + delay_s if delay_s > 0 else 0.0
        self._scheduler.enqueue(task, not_before_s=not_before_s)
        self.startable.set()
        if not_before_s:
            self.retimed.set()

    def _take(self, task: Task, update: RunUpdate) -> None:
        task.run = None if update.status.is_final else update
        task.attempt = update.attempt
        task.convoy.set_status(task, update.status)
        for observer in self._observers:
            observer.item_changed(task, update)

    async def until_stored(self, write: Callable[[], Awaitable[_Stored]]) -> _Stored:
        """Write what has already happened, again and again until storage takes it.

        What was refused is written in the order in which it was, one attempt a second.
        """
        if not self._refused.locked():
            try:
                return await self._try(write)
            except StorageError:
                pass  # it waits for its turn from here on, and `trouble` says why
        async with self._refused:
            while True:
                if self.trouble is not None:
                    await self._clock.sleep(_STORAGE_RETRY_S)
                try:
                    return await self._try(write)
                except StorageError:
                    continue

    async def _try(self, write: Callable[[], Awaitable[_Stored]]) -> _Stored:
        try:
            stored = await write()
        except StorageError as error:
            self.trouble = str(error)
            raise
        self.trouble = None
        return stored


def final_status(convoy: ConvoyState) -> ConvoyStatus:
    """Return what a convoy has ended as."""
    counts = convoy.counts
    if convoy.record.stopping is not None:
        return ConvoyStatus.CANCELLED
    completed = counts[WorkStatus.COMPLETED]
    if completed == counts.total():
        return ConvoyStatus.COMPLETED
    if completed:
        return ConvoyStatus.PARTIAL
    if counts[WorkStatus.CANCELLED] == counts.total():
        return ConvoyStatus.CANCELLED
    return ConvoyStatus.FAILED


def describe_end(status: WorkStatus) -> str:
    """Return a final status as the end of a sentence about an operation."""
    if status in (WorkStatus.FAILED, WorkStatus.COMPLETED):
        return status.value
    return f"was {status.value}"
