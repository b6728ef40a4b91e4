"""The convoys of FakeEngine: pretends to run their operations on the fake clock."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from aisquad_core.api import ConvoyChanged, ItemChanged
from aisquad_core.errors import NotFoundError
from aisquad_core.execution.outcome import judge, retry_delay_s
from aisquad_core.execution.runner import Exit
from aisquad_core.model import (
    FAILURE_STATUSES,
    ConvoyStatus,
    StopReason,
    Try,
    WorkStatus,
    check_transition,
)
from aisquad_core.testing.records import count
from aisquad_core.testing.script import ScriptedOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aisquad_core.api import ItemView, StatusCounts
    from aisquad_core.events import EventHub
    from aisquad_core.model import ItemKey, Operation
    from aisquad_core.testing.clock import FakeClock
    from aisquad_core.testing.records import FakeConvoy, FakeItem

_QUEUED = (WorkStatus.PENDING, WorkStatus.BLOCKED)


class FakeWork:
    """Starts what may start, ends it as scripted, and tells every change.

    Args:
        clock: What time it is.
        hub: Where changes are told.
        outcome: Says how each attempt of an operation goes.
        parallelism: How many may run at a time.
    """

    def __init__(
        self,
        *,
        clock: FakeClock,
        hub: EventHub,
        outcome: Callable[[Operation, int], ScriptedOutcome],
        parallelism: int,
    ) -> None:
        self.parallelism = parallelism
        self.convoys: dict[str, FakeConvoy] = {}
        """Oldest first."""
        self._clock = clock
        self._hub = hub
        self._outcome = outcome
        self._is_closed = False
        self._news = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self._timers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> FakeWork:
        """Begin."""
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """End what still pretends to run, and every wait."""
        self.close(is_detaching=True)
        for timer in self._timers:
            timer.cancel()
        await self._tasks.__aexit__(None, None, None)

    def start_nothing(self) -> None:
        """Start nothing more; what runs goes on."""
        self._is_closed = True

    def close(self, *, is_detaching: bool) -> None:
        """Start nothing more; put back what runs, or leave it as it stands."""
        self._is_closed = True
        for item in self.running():
            if item.body is not None:
                item.body.cancel()
            if not is_detaching:
                self._put_back(item, WorkStatus.PENDING)
        self._wake()

    def convoy(self, convoy_id: str) -> FakeConvoy:
        """Return a convoy.

        Raises:
            NotFoundError: There is none of that id.
        """
        if convoy_id not in self.convoys:
            raise NotFoundError(f"no convoy {convoy_id}")
        return self.convoys[convoy_id]

    def item(self, key: ItemKey) -> FakeItem:
        """Return an item.

        Raises:
            NotFoundError: There is none of that name.
        """
        items = self.convoy(key.convoy_id).items
        if key.item_id not in items:
            raise NotFoundError(f"no work item {key}")
        return items[key.item_id]

    def running(self) -> list[FakeItem]:
        """Return what runs now."""
        return [
            item
            for convoy in self.convoys.values()
            for item in convoy.with_status(WorkStatus.IN_PROGRESS)
        ]

    def counts(self) -> StatusCounts:
        """Count all items."""
        return count(item for convoy in self.convoys.values() for item in convoy.items.values())

    def shown(self, item: FakeItem) -> ItemView:
        """Return an item's view with the reason why it does not run now."""
        return replace(item.view, reason=self._why(item))

    def add(self, convoy: FakeConvoy) -> None:
        """Take a new convoy."""
        self.convoys[convoy.view.id] = convoy
        for item in convoy.with_status(WorkStatus.PENDING):
            item.view = replace(item.view, status=convoy.waiting_status(item))
        for item in convoy.with_status(WorkStatus.IN_PROGRESS):
            if item.script is not None and item.script.runs_for_s is not None:
                outcome = ScriptedOutcome(duration_s=item.script.runs_for_s)
                item.body = self._tasks.create_task(self._run(item, outcome))
        self.tell_convoy(convoy)
        self._finish_if_done(convoy)
        self.pump()

    def pump(self) -> None:
        """Start what may start now."""
        while not self._is_closed and len(self.running()) < self.parallelism:
            now_s = self._clock.monotonic()
            ready = [
                (-item.view.priority, running, item)
                for convoy in self.convoys.values()
                if convoy.view.status is not ConvoyStatus.PAUSED and not convoy.is_closing
                for running in [len(convoy.with_status(WorkStatus.IN_PROGRESS))]
                for item in convoy.with_status(WorkStatus.PENDING)
                if item.not_before_s <= now_s and not item.is_held
            ]
            if not ready:
                return
            self._start(min(ready, key=lambda entry: entry[:2])[2])

    def cancel(self, items: Sequence[FakeItem], reason: str) -> None:
        """End items that have not ended as cancelled, and only then look at what needs them."""
        now = self._clock.now()
        for item in items:
            if item.body is not None:
                item.body.cancel()
                item.body = None
            ended = replace(item.view, reason=reason, finished_at=now)
            self._change(item, replace(ended, status=WorkStatus.CANCELLED))
        for item in items:
            self._follow_up(item)

    def retry(self, item: FakeItem) -> None:
        """Put an ended item back, attempt + 1."""
        item.convoy.is_closing = item.convoy.is_cancelled = False
        self._put_back(item, item.convoy.waiting_status(item), ended_as=item.view)

    def reopen(self, convoy: FakeConvoy) -> None:
        """Let a convoy run again; free what was skipped and has nothing in its way any more."""
        has_started = convoy.view.started_at is not None
        status = ConvoyStatus.RUNNING if has_started else ConvoyStatus.PENDING
        convoy.view = replace(convoy.view, status=status, finished_at=None, reason=None)
        is_stopped = convoy.view.stop_on_first_failure and convoy.with_status(*FAILURE_STATUSES)
        while not is_stopped:
            freed = [
                item for item in convoy.with_status(WorkStatus.SKIPPED) if not convoy.unmet(item)
            ]
            if not freed:
                break
            for item in freed:
                self._put_back(item, convoy.waiting_status(item))
        self.tell_convoy(convoy)

    async def wait_for_news(self) -> None:
        """Wait until an item has changed, a timer has run out or all is closed."""
        await self._news.wait()

    def wake_after(self, seconds: float) -> None:
        """Look again, after that time, at what may start and who waits."""

        async def wake() -> None:
            await self._clock.sleep(seconds)
            self.pump()
            self._wake()

        timer = self._tasks.create_task(wake())
        self._timers.add(timer)
        timer.add_done_callback(self._timers.discard)

    def tell_convoy(self, convoy: FakeConvoy) -> None:
        """Tell how a convoy stands."""
        self._hub.publish(ConvoyChanged(seq=self._hub.next_seq(), convoy=convoy.shown()))

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _start(self, item: FakeItem) -> None:
        now, convoy = self._clock.now(), item.convoy
        if convoy.view.status is ConvoyStatus.PENDING:
            convoy.view = replace(convoy.view, status=ConvoyStatus.RUNNING, started_at=now)
        outcome = self._outcome(item.operation, item.view.attempt)
        printed = "".join(f"{line}\n" for line in outcome.lines)
        item.output[item.view.attempt] = printed.encode()
        self._change(item, replace(item.view, status=WorkStatus.IN_PROGRESS, started_at=now))
        item.body = self._tasks.create_task(self._run(item, outcome))

    async def _run(self, item: FakeItem, outcome: ScriptedOutcome) -> None:
        timeout_s = item.operation.timeout_s or math.inf
        is_late = timeout_s < outcome.duration_s
        await self._clock.sleep(min(timeout_s, outcome.duration_s))
        item.body = None
        view = item.view
        exit_code = 143 if is_late else outcome.exit_code
        verdict = judge(
            Exit(token="", exit_code=exit_code),
            stopping=StopReason.TIMEOUT if is_late else None,
            attempt=view.attempt,
            max_attempts=view.max_attempts,
            timeout=f"timed out after {timeout_s:g} s",
            may_retry=not item.convoy.is_closing,
        )
        ended = replace(view, status=verdict.ended_as, exit_code=exit_code, error=verdict.error)
        if verdict.is_retry:
            delay_s = retry_delay_s(item.operation.retry_delay_s, view.attempt, jitter=0.5)
            item.not_before_s = self._clock.monotonic() + delay_s
            self._put_back(item, WorkStatus.PENDING, ended_as=ended)
            self.wake_after(delay_s)
        else:
            self._end(item, ended)
        self.pump()

    def _end(self, item: FakeItem, view: ItemView) -> None:
        """Give an item its final status, with all that follows from it."""
        item.body = None
        self._change(item, replace(view, finished_at=self._clock.now()))
        self._follow_up(item)

    def _follow_up(self, item: FakeItem) -> None:
        """Deal with what an item's final status means for its convoy."""
        convoy, view, status = item.convoy, item.view, item.view.status
        if status is WorkStatus.COMPLETED:
            for other in convoy.with_status(WorkStatus.BLOCKED):
                if not convoy.open_needs(other):
                    self._change(other, replace(other.view, status=WorkStatus.PENDING))
        elif not convoy.is_cancelled:
            word = "failed" if status is WorkStatus.FAILED else f"was {status.value}"
            self._skip_dependents(item, f"needs {view.id}, which {word}")
        if status in FAILURE_STATUSES and convoy.view.stop_on_first_failure:
            convoy.is_closing = True
            for other in convoy.with_status(*_QUEUED):
                self._skip(other, f"stopped after the first failure, of {view.id}")
        self._finish_if_done(convoy)

    def _skip_dependents(self, item: FakeItem, reason: str) -> None:
        for other in item.convoy.with_status(WorkStatus.BLOCKED):
            if item.view.id in other.operation.needs:
                self._skip(other, reason)
                self._skip_dependents(other, reason)

    def _skip(self, item: FakeItem, reason: str) -> None:
        now = self._clock.now()
        skipped = replace(item.view, status=WorkStatus.SKIPPED, reason=reason, finished_at=now)
        self._change(item, skipped)

    def _put_back(
        self, item: FakeItem, status: WorkStatus, *, ended_as: ItemView | None = None
    ) -> None:
        """Let an item wait again; if its last attempt counts, as one more attempt."""
        view = replace(
            item.view,
            status=status,
            started_at=None,
            finished_at=None,
            exit_code=None,
            error=None,
            reason=None,
        )
        item.body = None
        if ended_as is not None:
            view = replace(view, attempt=view.attempt + 1)
            item.tries = (*item.tries, _try_of(ended_as, self._clock))
        self._change(item, view)

    def _change(self, item: FakeItem, view: ItemView) -> None:
        check_transition(view.id, item.view.status, view.status)
        item.view = replace(view, version=view.version + 1, updated_at=self._clock.now())
        item.script = None
        self._hub.publish(ItemChanged(seq=self._hub.next_seq(), item=self.shown(item)))
        self.tell_convoy(item.convoy)
        self._wake()

    def _finish_if_done(self, convoy: FakeConvoy) -> None:
        counts = convoy.shown().counts
        if counts.ended < counts.total:
            return
        if convoy.is_cancelled or counts.cancelled == counts.total:
            status = ConvoyStatus.CANCELLED
        elif counts.completed == counts.total:
            status = ConvoyStatus.COMPLETED
        else:
            status = ConvoyStatus.PARTIAL if counts.completed else ConvoyStatus.FAILED
        ended_at, convoy.ended_at = convoy.ended_at or self._clock.now(), None
        convoy.view = replace(convoy.view, status=status, finished_at=ended_at)
        self.tell_convoy(convoy)
        self._wake()

    def _why(self, item: FakeItem) -> str | None:
        view, convoy = item.view, item.convoy
        if view.status is WorkStatus.BLOCKED:
            return f"needs {', '.join(convoy.open_needs(item))}"
        if view.status is not WorkStatus.PENDING:
            return view.reason
        if convoy.view.status is ConvoyStatus.PAUSED:
            return "convoy paused"
        wait_s = math.ceil(item.not_before_s - self._clock.monotonic())
        if item.is_held:
            return view.reason
        if wait_s > 0:
            return f"retry {view.attempt - 1} of {item.operation.retries} in {wait_s} s"
        return "waits for a free slot"


def _try_of(view: ItemView, clock: FakeClock) -> Try:
    return Try(
        attempt=view.attempt,
        status=view.status,
        exit_code=view.exit_code,
        error=view.error,
        started_at=view.started_at,
        finished_at=view.finished_at or clock.now(),
        token=f"token-{view.attempt}",
    )
