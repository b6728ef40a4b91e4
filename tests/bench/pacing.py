"""Waking many tasks at their times by one timer: one for each costs more than what is measured.

The loop's timers go off up to a millisecond late, in which epoll counts; that would be half a
millisecond of each answer and nothing of the stack's. So who is due within one is woken early.
"""

from __future__ import annotations

import asyncio
import time
from heapq import heappop, heappush
from itertools import count

_RESOLUTION_S = 0.001


class Pacer:
    """Wakes whoever waits for a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        """A heap of times, each with who waits for it."""
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None
        self.worst_late_s = 0.0
        """How long after his time somebody was woken: the loop was at something else."""

    def reach(self, due_s: float) -> asyncio.Future[None]:
        """Return what is done when `time.perf_counter` comes to a time, or up to 1 ms before."""
        woken = self._loop.create_future()
        heappush(self._waiting, (due_s, next(self._numbers), woken))
        if self._waiting[0][2] is woken:
            self._set_timer()
        return woken

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wait_s = self._waiting[0][0] - _RESOLUTION_S - time.perf_counter()
        self._timer = self._loop.call_later(wait_s, self._wake)

    def _wake(self) -> None:
        self._timer = None
        now_s = time.perf_counter()
        until_s = now_s + _RESOLUTION_S
        self.worst_late_s = max(self.worst_late_s, now_s - self._waiting[0][0])
        while self._waiting and self._waiting[0][0] <= until_s:
            _, _, woken = heappop(self._waiting)
            if not woken.done():
                woken.set_result(None)
        if self._waiting:
            self._set_timer()
