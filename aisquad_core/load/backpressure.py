"""How many writes may wait for the disk before new work has to wait, or is refused.

It counts and decides; it writes nothing and drops nothing. What has been accepted keeps its place
until it is done, and what an engine must write to settle its work asks nobody.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol, TypedDict

from aisquad_core.clock import SystemClock
from aisquad_core.errors import BackpressureError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisquad_core.clock import Clock

CAPACITY = 1_000
"""Writes that may wait at once, unless somebody says otherwise."""

_DRAINS_KEPT = 64
"""Commits (or ended places) by which the drain rate is measured."""
_GUESS_S = 1.0
"""What to wait before anything was measured."""
_LEAST_RETRY_S = 0.1
_MOST_RETRY_S = 60.0


class BackpressureStats(TypedDict):
    """What the queue of writes is like now, and has been so far."""

    capacity: int
    """How many writes may wait."""
    threshold: float
    """The utilization over which new work is refused, 0 to 1."""
    pending: int
    """Writes that wait now; an engine's own may go beyond the capacity."""
    utilization: float
    """Those as a fraction of the capacity, 0 to 1."""
    waiting: int
    """Callers that wait for a place."""
    admitted: int
    """Places that were given so far."""
    refused: int
    """Times that new work was refused so far."""
    drain_per_s: float | None
    """Writes that lately ended in a second of work; None: nothing was measured yet."""
    retry_after_s: float
    """Seconds after which the queue should be under the threshold; 0: it is."""


class Backlog(Protocol):
    """A writer whose callers hold no places."""

    @property
    def backlog(self) -> int:
        """Writes that it has accepted and not acknowledged yet."""
        ...

    @property
    def stalled_s(self) -> float:
        """Seconds that it has worked on its present commit so far; 0: it does nothing."""
        ...


class StorageBackpressure:
    """The bound on writes under way: each takes a place for as long as it has not been committed.

    Places are given in the order of the calls; whoever is refused or cancelled holds none.

    Example:
        >>> async with backpressure.acquire():
        ...     await storage.update(item)

    Args:
        capacity: Most places.
        threshold: Utilization, 0 to 1, over which new work is refused.
        clock: Time; None: the machine's.
    """

    def __init__(
        self,
        capacity: int = CAPACITY,
        *,
        threshold: float = 0.8,
        clock: Clock | None = None,
    ) -> None:
        if capacity < 1 or not 0 < threshold <= 1:
            raise ValueError(
                f"capacity {capacity}, threshold {threshold:g}: expected 1 or more, and 0 to 1"
            )
        self._capacity = capacity
        self._threshold = threshold
        self._writer: Backlog | None = None
        self._clock: Clock = SystemClock() if clock is None else clock
        self._held = 0
        self._queue: deque[_Waiter] = deque()
        self._admitted = 0
        self._refused = 0
        self._busy_since_s = 0.0
        """Since when (monotonic) something of what is held has been waited for."""
        self._drains: deque[tuple[int, float]] = deque(maxlen=_DRAINS_KEPT)
        """The latest (writes that ended, seconds that they took together)."""

    @property
    def pending(self) -> int:
        """Writes that have not been acknowledged."""
        return self._held if self._writer is None else self._held + self._writer.backlog

    def watch(self, writer: Backlog) -> None:
        """Count a writer's backlog, too; it tells what ends of it by `note_drain`."""
        self._writer = writer

    def get_utilization(self) -> float:
        """Return how full the queue is, 0 to 1."""
        return min(1.0, self.pending / self._capacity)

    def should_reject(self) -> bool:
        """Say whether new work would be refused now: the queue is full, or over the threshold."""
        pending = self.pending
        return pending >= self._capacity or pending / self._capacity > self._threshold

    def acquire(self) -> Place:
        """Return a place for one write, to be entered; that waits while the queue is full."""
        return Place(self, is_new_work=False)

    def admit(self, *, is_patient: bool = False) -> Place:
        """Return a place for new work, to be entered.

        Args:
            is_patient: Whether entering waits until the queue is under the threshold. If not, it
                raises `BackpressureError` while the queue is over it, or others wait already.
        """
        return Place(self, is_new_work=True, is_patient=is_patient)

    def get_retry_after(self) -> float:
        """Return the seconds after which new work should be admitted, by the measured drain rate.

        0: it would be now. While nothing ends at all, it grows with the time that this has lasted.
        """
        if not self.should_reject():
            return 0.0
        rate = self._drain_per_s()
        excess = self.pending + len(self._queue) - int(self._threshold * self._capacity)
        retry_s = _GUESS_S if rate is None else max(1, excess) / rate
        retry_s = max(retry_s, self._stalled_s())
        return min(max(retry_s, _LEAST_RETRY_S), _MOST_RETRY_S)

    def get_stats(self) -> BackpressureStats:
        """Return the present figures."""
        return BackpressureStats(
            capacity=self._capacity,
            threshold=self._threshold,
            pending=self.pending,
            utilization=self.get_utilization(),
            waiting=len(self._queue),
            admitted=self._admitted,
            refused=self._refused,
            drain_per_s=self._drain_per_s(),
            retry_after_s=self.get_retry_after(),
        )

    def note_drain(self, count: int, took_s: float) -> None:
        """Take note that writes of a backlog have ended, and let waiters in.

        Args:
            count: How many.
            took_s: Seconds that the writer worked on them.
        """
        self._drains.append((count, took_s))
        self._let_in()

    def dismiss(self, make_error: Callable[[], Exception]) -> None:
        """Let all who wait for a place have an error instead."""
        while self._queue:
            turn = self._queue.popleft().turn
            if not turn.done():
                turn.set_exception(make_error())

    def _stalled_s(self) -> float:
        if self._writer is not None:
            return self._writer.stalled_s
        return self._clock.monotonic() - self._busy_since_s if self._held else 0.0

    def _drain_per_s(self) -> float | None:
        took_s = sum(took_s for _, took_s in self._drains)
        return sum(count for count, _ in self._drains) / took_s if took_s > 0 else None

    # What places do

    def refuse_if_crowded(self) -> None:
        """Refuse new work that will not wait.

        Raises:
            BackpressureError: It would have to.
        """
        if self._queue or self.should_reject():
            self._refused += 1
            raise BackpressureError(
                pending=self.pending,
                capacity=self._capacity,
                retry_after_s=self.get_retry_after() or _LEAST_RETRY_S,
            )

    def try_take(self, *, is_new_work: bool) -> bool:
        """Take a place if nobody waits for one before this caller and there is one."""
        if self._queue or not self._has_room(is_new_work=is_new_work):
            return False
        self._take()
        return True

    async def wait_for_turn(self, *, is_new_work: bool) -> None:
        """Wait in order; return with a place."""
        waiter = _Waiter(asyncio.get_running_loop().create_future(), is_new_work)
        self._queue.append(waiter)
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if waiter in self._queue:
                self._queue.remove(waiter)
                self._let_in()
            elif waiter.has_place:
                self.give_back()
            raise

    def give_back(self) -> None:
        """End a place."""
        self._held -= 1
        if self._writer is None:
            now_s = self._clock.monotonic()
            self._drains.append((1, now_s - self._busy_since_s))
            self._busy_since_s = now_s
        if self._queue:
            self._let_in()

    def _has_room(self, *, is_new_work: bool) -> bool:
        return not self.should_reject() if is_new_work else self.pending < self._capacity

    def _take(self) -> None:
        if not self._held:
            self._busy_since_s = self._clock.monotonic()
        self._held += 1
        self._admitted += 1

    def _let_in(self) -> None:
        queue = self._queue
        while queue:
            waiter = queue[0]
            if not waiter.turn.done():  # else its caller was cancelled, and is about to leave
                if not self._has_room(is_new_work=waiter.is_new_work):
                    return
                self._take()
                waiter.has_place = True
                waiter.turn.set_result(None)
            queue.popleft()


class _Waiter:
    """A caller that waits for its turn."""

    __slots__ = ("has_place", "is_new_work", "turn")

    def __init__(self, turn: asyncio.Future[None], is_new_work: bool) -> None:
        self.turn = turn
        self.is_new_work = is_new_work
        self.has_place = False


class Place:
    """One place in the queue of writes, held while it is entered; good for one time."""

    __slots__ = ("_is_new_work", "_is_patient", "_queue")

    def __init__(
        self, queue: StorageBackpressure, *, is_new_work: bool, is_patient: bool = True
    ) -> None:
        self._queue = queue
        self._is_new_work = is_new_work
        self._is_patient = is_patient

    async def __aenter__(self) -> None:
        """Take it; see `StorageBackpressure.acquire` and `admit`."""
        if not self._is_patient:
            self._queue.refuse_if_crowded()
        if not self._queue.try_take(is_new_work=self._is_new_work):
            await self._queue.wait_for_turn(is_new_work=self._is_new_work)

    async def __aexit__(self, *exc_info: object) -> None:
        """Give it back."""
        self._queue.give_back()
