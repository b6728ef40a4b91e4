"""A clock that tests move."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta


class FakeClock:
    """A clock that stands still until a test advances it.

    Args:
        now: The wall clock's first value, aware UTC.
    """

    def __init__(self, now: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) -> None:
        self._start = now
        self._elapsed_s = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def monotonic(self) -> float:
        """Return the seconds advanced so far."""
        return self._elapsed_s

    def now(self) -> datetime:
        """Return the first value plus what was advanced."""
        return self._start + timedelta(seconds=self._elapsed_s)

    async def sleep(self, seconds: float) -> None:
        """Wait until a test has advanced the clock that far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wakened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._elapsed_s + seconds, self._count, wakened))
        await wakened

    @property
    def sleepers(self) -> int:
        """How many tasks wait for the clock."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def advance(self, seconds: float) -> None:
        """Move time on, waking sleepers in the order of their time, each before the next."""
        target = self._elapsed_s + seconds
        while self._sleepers and self._sleepers[0][0] <= target:
            self._elapsed_s, _, wakened = heapq.heappop(self._sleepers)
            if not wakened.done():
                wakened.set_result(None)
                await self.settle()
        self._elapsed_s = target
        await self.settle()

    async def settle(self, rounds: int = 20) -> None:
        """Let ready tasks run; `rounds` passes of the loop."""
        for _ in range(rounds):
            await asyncio.sleep(0)
