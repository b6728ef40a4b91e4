"""Time as the engine sees it, injected so that tests decide what time it is."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Monotonic seconds for durations, aware UTC for stamps that people read."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start that never go back."""
        ...

    def now(self) -> datetime:
        """Return the wall clock, aware, in UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that many monotonic seconds; zero or less gives way once."""
        ...


class SteadyWall:
    """The wall clock by which things grow old: whoever sets it forward makes nothing old at once.

    It goes on by monotonic seconds from what the wall clock was when this was made, and is never
    ahead of it.

    Args:
        clock: Time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begun_at = clock.now()
        self._begun_s = clock.monotonic()

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        passed = timedelta(seconds=self._clock.monotonic() - self._begun_s)
        return min(self._clock.now(), self._begun_at + passed)


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        """Return `time.monotonic()`."""
        return time.monotonic()

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait on the running loop."""
        await asyncio.sleep(max(0.0, seconds))
