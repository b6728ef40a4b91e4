"""Which ready operation is next: dependencies, priority, fairness between convoys, agents' limits.

Pure bookkeeping in memory: no I/O, no clock of its own, no tasks. The executor tells it what was
committed and asks it what to start; it never decides anything that has to be durable first.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from aisquad_core.model import ConvoyStatus, ItemKey, WorkStatus

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

    from aisquad_core.model import ConvoyRecord, RunUpdate

_RATE_WINDOW_S = 60
_NAMES_SHOWN = 3
_SURVEYED = 100
"""Tasks of each convoy that a summary asks."""

_Entry = tuple[int, int, int, "Task"]
"""A place in a queue: (-priority, position, ticket, task). It is void once the task has been picked
or queued anew (its ticket moved on) or is no longer pending."""


class Task:
    """What the engine keeps in memory of one work item, small because there may be 100,000."""

    __slots__ = (
        "agent_id",
        "attempt",
        "call",
        "convoy",
        "dependents",
        "is_live",
        "item_id",
        "needs",
        "not_before_s",
        "open_needs",
        "operation",
        "position",
        "priority",
        "reason",
        "retries",
        "run",
        "status",
        "ticket",
        "version",
    )

    def __init__(
        self,
        convoy: ConvoyState,
        item_id: str,
        *,
        position: int,
        agent_id: str,
        priority: int = 0,
        retries: int = 0,
        needs: tuple[str, ...] = (),
        status: WorkStatus = WorkStatus.PENDING,
        version: int = 1,
        attempt: int = 1,
        operation: str | None = None,
        call: Callable[[], Awaitable[object]] | None = None,
        reason: str | None = None,
    ) -> None:
        self.convoy = convoy
        self.item_id = item_id
        self.position = position
        self.agent_id = agent_id
        self.priority = priority
        self.retries = retries
        self.needs = needs
        self.status = status
        self.version = version
        self.attempt = attempt
        self.operation = operation
        self.call = call
        self.reason = reason
        self.open_needs = 0
        self.dependents: list[Task] | None = None
        self.not_before_s = 0.0
        self.ticket = 0
        self.is_live = False
        """Whether a run has it: from its pick until its end is committed."""
        self.run: RunUpdate | None = None
        """What was last written while it runs."""

    @property
    def key(self) -> ItemKey:
        """The work item's name across convoys."""
        return ItemKey(self.convoy.record.id, self.item_id)

    @property
    def max_attempts(self) -> int:
        """Attempts that are made without anybody asking."""
        return self.retries + 1


@dataclass(slots=True, eq=False)
class ConvoyState:
    """An unfinished convoy in memory."""

    record: ConvoyRecord
    tasks: dict[str, Task] = field(default_factory=dict)
    counts: Counter[WorkStatus] = field(default_factory=Counter)
    hold: str | None = None
    """Why nothing of it may start though it is not paused (`interrupted`); None: it may."""
    is_closing: bool = False
    """Whether it is being cancelled, stopped after a failure or out of time: nothing more starts,
    nothing is tried again."""
    is_reopening: bool = False
    """Whether a retry has begun to put ended items back: until all are, it must not end. So it
    stays where the engine is left meanwhile, for what was committed then is not known here."""
    begun_s: float | None = None
    """Monotonic second of its first start; None before."""
    running: int = 0
    """Slots that it holds now."""
    served: float = 0.0
    """Starts so far, on the scale on which convoys are compared; the least served goes next."""
    served_by: dict[str, float] = field(default_factory=dict)
    """The same for each agent, compared where an agent cannot serve all who want it."""
    ready: dict[str, list[_Entry]] = field(default_factory=dict)
    """A heap by agent."""
    ends: deque[tuple[int, int]] = field(default_factory=deque)
    """(second, operations ended in it) over the rate's window."""
    moves: set[Future[None]] = field(default_factory=set)
    """Each done when tasks of it that are being moved have been."""

    @property
    def is_paused(self) -> bool:
        """Whether an operator has paused it."""
        return self.record.status is ConvoyStatus.PAUSED

    @property
    def unfinished(self) -> int:
        """Items to which something may still happen."""
        counts = self.counts
        return (
            counts[WorkStatus.PENDING] + counts[WorkStatus.BLOCKED] + counts[WorkStatus.IN_PROGRESS]
        )

    def set_status(self, task: Task, status: WorkStatus) -> None:
        """Move a task to a committed status, keeping the counts."""
        self.counts[task.status] -= 1
        self.counts[status] += 1
        task.status = status

    def record_end(self, now_s: float) -> None:
        """Note that an operation ended, for the rate."""
        second = int(now_s)
        if self.ends and self.ends[-1][0] == second:
            self.ends[-1] = (second, self.ends[-1][1] + 1)
        else:
            self.ends.append((second, 1))
        while self.ends[0][0] <= second - _RATE_WINDOW_S:
            self.ends.popleft()

    def rate_per_s(self, now_s: float) -> float | None:
        """Return operations ended a second over the last minute; None when none ended."""
        recent = [(second, ended) for second, ended in self.ends if second > now_s - _RATE_WINDOW_S]
        if not recent:
            return None
        return sum(ended for _, ended in recent) / max(1.0, now_s - recent[0][0])


class Rate(Protocol):
    """What the scheduler asks of the rate limiter."""

    def try_acquire(self, agent_id: str) -> bool:
        """Spend a token if there is one."""
        ...

    def get_wait_time(self, agent_id: str) -> float:
        """Return the seconds until there is a token."""
        ...


class Scheduler:
    """Holds every unfinished convoy and picks what starts next.

    Higher priority goes first, everywhere. Among equals the convoy that was served least goes
    first, so that a small convoy beside one of 10,000 operations takes every other free slot. What
    an agent has too little of (its tokens, its places) goes in turn to the convoys that want that
    agent, whatever else they start.

    Args:
        rate: Tokens of each agent; one is spent by a pick.
        agent_limits: `max_parallel` by agent; missing: no limit.
    """

    def __init__(self, rate: Rate, agent_limits: Mapping[str, int]) -> None:
        self._rate = rate
        self._agent_limits = agent_limits
        self._agent_running: Counter[str] = Counter()
        self._delayed: list[tuple[float, int, int, Task]] = []
        self._tickets = itertools.count(1)
        self.convoys: dict[str, ConvoyState] = {}

    def link(self, convoy: ConvoyState) -> None:
        """Make a convoy ready for `add`: link its tasks, count them, queue what may start.

        Touches nothing else, so that a large convoy can be linked on another thread.
        """
        tasks = convoy.tasks
        for task in tasks.values():
            for need in task.needs:
                needed = tasks[need]
                if needed.dependents is None:
                    needed.dependents = []
                needed.dependents.append(task)
                task.open_needs += needed.status is not WorkStatus.COMPLETED
        convoy.counts = Counter(task.status for task in tasks.values())
        for task in tasks.values():
            if task.status is WorkStatus.PENDING:
                self._push(task)

    def add(self, convoy: ConvoyState) -> None:
        """Take a linked convoy."""
        self.join(convoy)
        self.convoys[convoy.record.id] = convoy

    def join(self, convoy: ConvoyState) -> None:
        """Let a convoy that is new, or was held back, compete from now on as the others do.

        It stands beside the least served, so that it neither waits nor catches up on the rest.
        """
        convoy.served = max(convoy.served, self._least_served(convoy))
        for agent_id in convoy.ready:
            self._join(convoy, agent_id)

    def remove(self, convoy: ConvoyState) -> None:
        """Forget a convoy that has ended; its cycles are broken, for frozen ones would stay."""
        del self.convoys[convoy.record.id]
        for task in convoy.tasks.values():
            task.dependents = None
        convoy.tasks.clear()
        convoy.ready.clear()

    def get(self, key: ItemKey) -> Task | None:
        """Return the task of an unfinished convoy; None when it is not in memory."""
        convoy = self.convoys.get(key.convoy_id)
        return None if convoy is None else convoy.tasks.get(key.item_id)

    def enqueue(self, task: Task, *, not_before_s: float = 0.0) -> None:
        """Queue a pending task; with `not_before_s` (monotonic) it waits for its backoff first."""
        task.not_before_s = not_before_s
        if not_before_s:
            task.ticket = next(self._tickets)
            heapq.heappush(self._delayed, (not_before_s, task.position, task.ticket, task))
            return
        convoy = task.convoy
        if not any(convoy.ready.values()):
            convoy.served = max(convoy.served, self._least_served(convoy))
        if not convoy.ready.get(task.agent_id):
            self._join(convoy, task.agent_id)
        self._push(task)

    def pick(self) -> Task | None:
        """Return the next task to start, or None; its slot, share and rate token are taken."""
        best: tuple[tuple[int, float, int], ConvoyState, list[_Entry]] | None = None
        refused: set[str] = set()
        for convoy in self._startable():
            for agent_id, heap in convoy.ready.items():
                if agent_id in refused or not _drop_void(heap):
                    continue
                rank = (heap[0][0], convoy.served, convoy.running)
                if best is not None and best[0] <= rank:
                    continue
                if self._is_full(agent_id) or self._rate.get_wait_time(agent_id) > 0:
                    refused.add(agent_id)
                    continue
                best = (rank, convoy, heap)
        if best is None:
            return None
        _, convoy, heap = best
        agent_id = heap[0][3].agent_id
        if not self._rate.try_acquire(agent_id):
            return None
        if self._rate.get_wait_time(agent_id) > 0 or self._is_full(agent_id, besides=1):
            convoy = self._next_of(agent_id, convoy)
        task = heapq.heappop(convoy.ready[agent_id])[3]
        task.ticket = 0
        convoy.served += 1
        convoy.served_by[agent_id] += 1
        self.occupy(task)
        return task

    def occupy(self, task: Task) -> None:
        """Count a task as running (a pick does so itself; adopted ones need it)."""
        task.convoy.running += 1
        self._agent_running[task.agent_id] += 1

    def vacate(self, task: Task) -> None:
        """Count a task as no longer running."""
        task.convoy.running -= 1
        self._agent_running[task.agent_id] -= 1

    def wake_delayed(self, now_s: float) -> bool:
        """Queue the tasks whose backoff is over; return whether there were any."""
        has_woken = False
        while self._delayed and self._delayed[0][0] <= now_s:
            _, _, ticket, task = heapq.heappop(self._delayed)
            if task.ticket == ticket and task.status is WorkStatus.PENDING:
                self.enqueue(task)
                has_woken = True
        return has_woken

    def next_due_s(self, now_s: float) -> float | None:
        """Return when (monotonic) the next wait for backoff or tokens ends, if there is one."""
        due = self._delayed[0][0] if self._delayed else math.inf
        for convoy in self._startable():
            for agent_id, heap in convoy.ready.items():
                if _drop_void(heap) and not self._is_full(agent_id):
                    wait_s = self._rate.get_wait_time(agent_id)
                    if wait_s > 0:
                        due = min(due, now_s + wait_s)
        return None if math.isinf(due) else due

    def why(self, task: Task, now_s: float) -> str | None:
        """Say in words why a task does not run; None when it runs or has ended well."""
        convoy = task.convoy
        if task.status is WorkStatus.BLOCKED:
            return "needs " + name_some(
                need for need in task.needs if convoy.tasks[need].status is not WorkStatus.COMPLETED
            )
        if task.status is not WorkStatus.PENDING:
            return task.reason
        if convoy.is_paused:
            return "convoy paused"
        return convoy.hold or self._why_pending(task, now_s)

    def summary(self, now_s: float) -> str | None:
        """Say in words what most of the queued work waits for; None when none is queued."""
        reasons = Counter(
            self.why(task, now_s)
            for convoy in self.convoys.values()
            for task in itertools.islice(
                (task for task in convoy.tasks.values() if not task.status.is_final), _SURVEYED
            )
        )
        reasons.pop(None, None)
        return reasons.most_common(1)[0][0] if reasons else None

    def _why_pending(self, task: Task, now_s: float) -> str:
        if task.is_live:
            return "starting"
        if task.not_before_s > now_s:
            wait_s = math.ceil(task.not_before_s - now_s)
            if task.reason is not None:
                return f"{task.reason}; again in {wait_s} s"
            return f"retry {task.attempt - 1} of {task.retries} in {wait_s} s"
        if self._is_full(task.agent_id):
            return f"agent {task.agent_id} at its limit of {self._agent_limits[task.agent_id]}"
        wait_s = math.ceil(self._rate.get_wait_time(task.agent_id))
        return f"rate limit: {wait_s} s" if wait_s > 0 else "waits for a free slot"

    def _push(self, task: Task) -> None:
        task.ticket = next(self._tickets)
        heap = task.convoy.ready.setdefault(task.agent_id, [])
        heapq.heappush(heap, (-task.priority, task.position, task.ticket, task))

    def _startable(self) -> Iterator[ConvoyState]:
        return (
            convoy
            for convoy in self.convoys.values()
            if convoy.ready
            and convoy.hold is None
            and not convoy.is_closing
            and not convoy.is_paused
        )

    def _least_served(self, newcomer: ConvoyState) -> float:
        """Return how much the least served of the other convoys that compete was served."""
        return min(
            (
                convoy.served
                for convoy in self._startable()
                if convoy is not newcomer and any(convoy.ready.values())
            ),
            default=0.0,
        )

    def _join(self, convoy: ConvoyState, agent_id: str) -> None:
        """Let a convoy want an agent, beside the one that it has served least."""
        least = min(
            (
                each.served_by[agent_id]
                for each in self._startable()
                if each is not convoy and each.ready.get(agent_id)
            ),
            default=0.0,
        )
        convoy.served_by[agent_id] = max(convoy.served_by.get(agent_id, 0.0), least)

    def _next_of(self, agent_id: str, convoy: ConvoyState) -> ConvoyState:
        """Return whose turn it is among those of a convoy's rank that want an agent."""
        priority = convoy.ready[agent_id][0][0]
        rivals = [
            each
            for each in self._startable()
            if (heap := each.ready.get(agent_id)) and _drop_void(heap) and heap[0][0] == priority
        ]
        return min(rivals, key=lambda each: (each.served_by[agent_id], each is not convoy))

    def _is_full(self, agent_id: str, *, besides: int = 0) -> bool:
        limit = self._agent_limits.get(agent_id)
        return limit is not None and self._agent_running[agent_id] + besides >= limit


def name_some(ids: Iterable[str]) -> str:
    """Join ids for people: the first three, and how many more."""
    every = list(ids)
    shown = ", ".join(every[:_NAMES_SHOWN])
    more = len(every) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _drop_void(heap: list[_Entry]) -> bool:
    """Drop void entries from the top; return whether any entry is left."""
    while heap and not (
        heap[0][3].ticket == heap[0][2] and heap[0][3].status is WorkStatus.PENDING
    ):
        heapq.heappop(heap)
    return bool(heap)
