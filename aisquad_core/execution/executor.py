"""Runs what the scheduler picks: admission, starts, ends, retries, timeouts.

One dispatcher takes a free slot and then picks; each start then lives in a task of its own, which
alone writes its item while it runs. How an operation ends is a recorded outcome, never an exception
here.
"""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING

from aisquad_core.errors import RunnerError
from aisquad_core.execution import updates
from aisquad_core.execution.outcome import judge, retry_delay_s
from aisquad_core.execution.run import Run, StopRequest
from aisquad_core.execution.runner import Exit, Finding, StartRequest
from aisquad_core.model import FAILURE_STATUSES, StopReason, WorkStatus
from aisquad_core.sanitise import one_line
from aisquad_core.state.operation_text import decode_operation

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from aisquad_core.clock import Clock
    from aisquad_core.execution.environment import EnvironmentStore
    from aisquad_core.execution.governor import Governor
    from aisquad_core.execution.ledger import Ledger
    from aisquad_core.execution.outcome import Verdict
    from aisquad_core.execution.runner import Contest, Runner
    from aisquad_core.execution.scheduler import Scheduler, Task
    from aisquad_core.load.semaphore import AdaptiveSemaphore
    from aisquad_core.model import Operation

_PICKS_A_PASS = 16
"""Starts after which the dispatcher lets the loop do other things."""
_START_RETRY_S = 1.0
"""Seconds before a start is tried again for which there was no room in the machine."""
_RETRY_DELAY_S = 1.0
"""Before the retry of what is no longer known (an async callable of an earlier engine)."""


class ConvoyExecutor:
    """Starts operations as the semaphore allows and settles how they end.

    Args:
        ledger: Commits.
        scheduler: Says what is next.
        semaphore: How many may run; resized from outside.
        governor: Delays starts under load.
        runner: Runs processes.
        environments: Each convoy's kept environment.
        clock: Time.
        boot_id: The kernel's boot id, kept with each start.
        grace_s: Seconds between TERM and KILL.
        chance: Gives tokens and the jitter of retry delays.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        scheduler: Scheduler,
        semaphore: AdaptiveSemaphore,
        governor: Governor,
        runner: Runner,
        environments: EnvironmentStore,
        clock: Clock,
        boot_id: str,
        grace_s: float = 10.0,
        chance: random.Random,
    ) -> None:
        self.grace_s = grace_s
        self.halt: str | None = None
        """Why nothing may start at all, in words; None when it may."""
        self.trouble: str | None = None
        """Why the machine refused the last start; None when it did not."""
        self.last_start_s = clock.monotonic()
        self.runs: dict[Task, Run] = {}
        self._ledger = ledger
        self._scheduler = scheduler
        self._semaphore = semaphore
        self._governor = governor
        self._runner = runner
        self._environments = environments
        self._clock = clock
        self._boot_id = boot_id
        self._chance = chance
        self._by_token: dict[str, Run] = {}
        self._known_environments: dict[tuple[str, str], Mapping[str, str]] = {}
        self._timeouts: list[tuple[float, int, Run]] = []
        """A heap of (when, tie-breaker, run)."""
        self._tasks = asyncio.TaskGroup()
        self._watchers: list[asyncio.Task[None]] = []
        self._stops: set[asyncio.Task[None]] = set()
        """Trees that are being ended."""
        self._dispatcher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> ConvoyExecutor:
        """Begin to follow ends and timeouts; nothing starts before `open`."""
        await self._tasks.__aenter__()
        self._watchers = [
            self._tasks.create_task(self._follow_exits()),
            self._tasks.create_task(self._keep_time()),
        ]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Stop following; a process that still runs, runs on."""
        self.close()
        for task in (*self._watchers, *self._stops):
            task.cancel()
        for run in self.runs.values():
            if run.body is not None:
                run.body.cancel()
        await self._tasks.__aexit__(None, None, None)

    def open(self) -> None:
        """Let operations start."""
        self._dispatcher = self._tasks.create_task(self._dispatch())
        self._ledger.startable.set()

    def close(self) -> None:
        """Let nothing more start."""
        if self._dispatcher is not None:
            self._dispatcher.cancel()

    def forget_environment(self, convoy_id: str) -> None:
        """Read the convoy's environment anew at its next start."""
        for place in [place for place in self._known_environments if place[0] == convoy_id]:
            del self._known_environments[place]

    def request_stop(
        self,
        run: Run,
        reason: StopReason,
        *,
        grace_s: float | None = None,
        error: str | None = None,
    ) -> None:
        """Ask a run to end; the intent is committed before the first signal. A cancel stays one."""
        if run.request is not None and run.request.reason is StopReason.CANCEL:
            reason = StopReason.CANCEL
        run.request = StopRequest(reason, self.grace_s if grace_s is None else grace_s, error)
        run.noted.clear()
        if run.inbox is not None:
            run.inbox.put_nowait(run.request)
        elif run.is_calling and run.body is not None:
            run.body.cancel()

    def adopt(self, run: Run, *, running_for_s: float) -> None:
        """Watch a process that an earlier engine started; it holds a slot from now on."""
        self._take_over(run, self._watch(run))
        self._set_timeout(run, running_for_s)

    def adopt_undecided(self, run: Run, find_out: Callable[[], Awaitable[Contest]]) -> None:
        """Count a start that may run as one that does, until it is found out what became of it."""
        run.is_undecided = True
        self._take_over(run, self._watch_undecided(run, find_out))

    def _take_over(self, run: Run, ending: Coroutine[object, object, Exit]) -> None:
        slot = object()
        size = self._semaphore.size
        self._semaphore.resize(max(size, self._semaphore.in_use + 1))
        self._semaphore.acquire_nowait(slot)
        self._semaphore.resize(size)
        self._scheduler.occupy(run.task)
        run.operation = self._decode(run.task)
        run.inbox = asyncio.Queue()
        self._by_token[run.token] = run
        self._keep(run, slot, ending)

    # Admission

    async def _dispatch(self) -> None:
        picks = 0
        while True:
            await self._ledger.startable.wait()
            await self._wait_for_calm()
            slot = object()
            if not self._semaphore.acquire_nowait(slot):
                await self._semaphore.acquire(slot)
            task = self._scheduler.pick()
            if task is None:
                self._semaphore.release(slot)
                self._ledger.startable.clear()
                self._ledger.retimed.set()
                continue
            self.last_start_s = self._clock.monotonic()
            if task.call is None:
                run = Run(task, self._chance.randbytes(8).hex())
                self._keep(run, slot, self._run_process(run))
            else:
                run = Run(task, "")
                self._keep(run, slot, self._run_call(run))
            picks += 1
            if picks % _PICKS_A_PASS == 0:
                await asyncio.sleep(0)

    async def _wait_for_calm(self) -> None:
        while self.halt is not None or self._ledger.trouble is not None:
            await self._clock.sleep(_START_RETRY_S)
        if self.trouble is not None:
            await self._clock.sleep(_START_RETRY_S)
        await self._governor.wait_for_calm(last_start_s=self.last_start_s)

    def _keep(self, run: Run, slot: object, ending: Coroutine[object, object, Exit | None]) -> None:
        run.task.is_live = True
        self.runs[run.task] = run
        run.body = self._tasks.create_task(self._live(run, slot, ending))

    async def _live(
        self, run: Run, slot: object, ending: Coroutine[object, object, Exit | None]
    ) -> None:
        """Wait for a run's end, give its slot back, then settle."""
        task = run.task
        verdict = None
        try:
            try:
                end = await ending
                if end is not None:
                    verdict = self._judge(run, end)
            finally:
                self._semaphore.release(slot)
                self._governor.note_end()
                self._scheduler.vacate(task)
                self._ledger.startable.set()
                self._by_token.pop(run.token, None)
            if end is not None:
                await self.settle(run, end, verdict)
        finally:
            task.is_live = False
            del self.runs[task]
            run.noted.set()
            run.settled.set()
        if task.status.is_final:
            await self._ledger.follow_up(task)
        else:
            await self._ledger.follow_return(task)

    # Running

    async def _run_process(self, run: Run) -> Exit | None:
        """Start a process and return its end; None if it was given back to the queue."""
        run.inbox = asyncio.Queue()
        self._by_token[run.token] = run
        try:
            request = await self._start_request(run)
            await self._runner.prepare(request)
            if not await self._commit_start(run):
                return None
            if run.is_stopping():
                return Exit(token=run.token, exit_code=None)
            await self._runner.start(request)
        except RunnerError as error:
            return await self._refused(run, error)
        self.trouble = None
        self._set_timeout(run, 0.0)
        return await self._watch(run)

    async def _refused(self, run: Run, error: RunnerError) -> Exit | None:
        """Deal with a start that did not take place: queue it anew, or let it fail."""
        is_committed = run.task.status is WorkStatus.IN_PROGRESS
        if error.is_transient:
            self.trouble = one_line(str(error))
            if not is_committed:
                self._ledger.requeue(run.task, delay_s=_START_RETRY_S, reason=self.trouble)
                return None
            return Exit(token=run.token, exit_code=None, did_run=False, error=self.trouble)
        if not is_committed and not await self._commit_start(run):
            return None
        return Exit(token=run.token, exit_code=126, error=one_line(str(error)))

    async def _watch(self, run: Run) -> Exit:
        """Return the end of a started or adopted process; pass on requests to stop it."""
        inbox = run.inbox
        assert inbox is not None
        while True:
            message = await inbox.get()
            if isinstance(message, Exit):
                if not run.is_signalled:
                    run.request = None
                return message
            if not inbox.empty():
                continue
            update = updates.running(run, self._boot_id, stopping=message.reason)
            await self._ledger.commit(run.task, update)
            run.is_signalled = True
            if inbox.empty():
                run.noted.set()
            stop = self._tasks.create_task(self._runner.stop(run.ref, grace_s=message.grace_s))
            self._stops.add(stop)
            stop.add_done_callback(self._stops.discard)

    async def _watch_undecided(self, run: Run, find_out: Callable[[], Awaitable[Contest]]) -> Exit:
        """Return the end of what may run; a stop is noted at once, and carried out if it does."""
        inbox = run.inbox
        assert inbox is not None
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._watch(run))
            found = await find_out()
            run.is_undecided = False
            if found.finding is not Finding.ALIVE:
                did_run = found.finding is not Finding.NEVER_RAN
                end = Exit(token=run.token, exit_code=None, did_run=did_run, error=found.reason)
                inbox.put_nowait(found.exit or end)
            else:
                self._set_timeout(run, found.running_for_s)
                if run.request is not None:
                    inbox.put_nowait(run.request)
        return watching.result()

    async def _run_call(self, run: Run) -> Exit | None:
        """Await an async callable; None if it was given back to the queue."""
        call = run.task.call
        assert call is not None
        run.operation = self._decode(run.task)
        if not await self._commit_start(run):
            return None
        if run.is_stopping():
            return Exit(token=run.token, exit_code=None)
        self._set_timeout(run, 0.0)
        run.is_calling = True
        try:
            await call()
        except asyncio.CancelledError:
            body = asyncio.current_task()
            if body is None or not body.cancelling():
                return Exit(token=run.token, exit_code=1, error="CancelledError, from within")
            if not run.is_stopping():
                raise
            body.uncancel()
            return Exit(token=run.token, exit_code=None)
        except Exception as error:
            description = one_line(f"{type(error).__name__}: {error}")
            return Exit(token=run.token, exit_code=1, error=description)
        finally:
            run.is_calling = False
        run.request = None
        return Exit(token=run.token, exit_code=0)

    async def _commit_start(self, run: Run) -> bool:
        """Commit the intent; False if it is not to start now.

        It is then in the queue again, or left to who cancels it.
        """
        if run.request is not None:
            if run.request.reason is not StopReason.CANCEL:
                self._ledger.requeue(run.task)
            return False
        run.started_at = self._clock.now()
        return await self._ledger.commit_start(run.task, updates.running(run, self._boot_id))

    async def _start_request(self, run: Run) -> StartRequest:
        record = run.task.convoy.record
        operation = run.operation = self._decode(run.task)
        if operation is None:
            raise RunnerError("its command is no longer known", is_transient=False)
        place = (record.id, run.task.agent_id)
        env = self._known_environments.get(place)
        if env is None:
            env = await self._environments.load(*place)
            if env is None:
                raise RunnerError(
                    f"the environment of convoy {record.id} is no longer kept; retry to give yours",
                    is_transient=False,
                )
            self._known_environments[place] = env
        cwd = operation.cwd or record.cwd or "/"
        return StartRequest(ref=run.ref, operation=operation, cwd=cwd, env=env)

    @staticmethod
    def _decode(task: Task) -> Operation | None:
        return None if task.operation is None else decode_operation(task.operation)

    # Settling

    def _judge(self, run: Run, end: Exit) -> Verdict:
        """Decide what the end means; if that stops the convoy, do so before the slot is free."""
        task = run.task
        verdict = judge(
            end,
            stopping=None if run.request is None else run.request.reason,
            attempt=task.attempt,
            max_attempts=task.max_attempts,
            timeout=None if run.request is None else run.request.error,
            may_retry=not task.convoy.is_closing,
        )
        if verdict.status in FAILURE_STATUSES and task.convoy.record.stop_on_first_failure:
            task.convoy.is_closing = True
        return verdict

    async def settle(self, run: Run, end: Exit, verdict: Verdict | None = None) -> None:
        """Commit how an attempt ended; queue its item anew if that is what follows."""
        task = run.task
        verdict = verdict or self._judge(run, end)
        finished_at = end.finished_at or self._clock.now()
        update = updates.ended(run, self._boot_id, end, verdict, finished_at=finished_at)
        await self._ledger.commit(task, update)
        if verdict.status.is_final:
            task.convoy.record_end(self._clock.monotonic())
        elif verdict.is_retry:
            operation = run.operation or self._decode(task)
            base_s = operation.retry_delay_s if operation else _RETRY_DELAY_S
            delay_s = retry_delay_s(base_s, task.attempt - 1, self._chance.random())
            self._ledger.requeue(task, delay_s=delay_s)
        else:
            delay_s = 0.0 if end.did_run else _START_RETRY_S
            if run.request is None and end.error is not None:
                self.trouble = one_line(f"cannot start {task.item_id}: {end.error}")
            self._ledger.requeue(task, delay_s=delay_s, reason=end.error)

    # Time

    def _set_timeout(self, run: Run, elapsed_s: float) -> None:
        if run.operation is not None and run.operation.timeout_s is not None:
            due_s = self._clock.monotonic() + max(0.0, run.operation.timeout_s - elapsed_s)
            heapq.heappush(self._timeouts, (due_s, id(run), run))
            self._ledger.retimed.set()

    async def _keep_time(self) -> None:
        """Wake the dispatcher and end runs when their time has come."""
        while True:
            self._ledger.retimed.clear()
            now_s = self._clock.monotonic()
            while self._timeouts and self._timeouts[0][0] <= now_s:
                run = heapq.heappop(self._timeouts)[2]
                if run.operation is not None and self.runs.get(run.task) is run:
                    error = f"timed out after {run.operation.timeout_s:g} s"
                    self.request_stop(run, StopReason.TIMEOUT, error=error)
            due = [self._timeouts[0][0]] if self._timeouts else []
            if self._scheduler.wake_delayed(now_s):
                self._ledger.startable.set()
            start_s = self._scheduler.next_due_s(now_s)
            if start_s is not None:
                due.append(start_s)
            waits: list[Coroutine[object, object, object]] = [self._ledger.retimed.wait()]
            if due:
                waits.append(self._clock.sleep(min(due) - now_s))
            await self._first_of(*waits)
            if start_s is not None and start_s <= self._clock.monotonic():
                self._ledger.startable.set()

    async def _follow_exits(self) -> None:
        async for end in self._runner.exits():
            run = self._by_token.get(end.token)
            if run is not None and run.inbox is not None:
                run.inbox.put_nowait(end)

    async def _first_of(self, *waits: Coroutine[object, object, object]) -> None:
        tasks = [self._tasks.create_task(wait) for wait in waits]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
