"""Carries out what the load allows: each tick samples, decides, resizes, throttles."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from aisquad_core.api import Load
from aisquad_core.errors import InputError
from aisquad_core.load.tuning import decide

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aisquad_core.clock import Clock
    from aisquad_core.load.resource_monitor import ResourceMonitor
    from aisquad_core.load.semaphore import AdaptiveSemaphore
    from aisquad_core.load.tuning import Decision, Policy

_LOADS_KEPT = 300
_MOST_PINNED = 10_000
THROTTLE_S = 5.0
"""Seconds between starts at a throttle factor of 1."""


class Governor:
    """Owns the semaphore's size and the delay between starts.

    Args:
        monitor: Samples the machine.
        semaphore: Is resized.
        policy: What the operator allows.
        clock: Time.
        on_resize: Is awaited after each resize, with the size before.
    """

    def __init__(
        self,
        *,
        monitor: ResourceMonitor,
        semaphore: AdaptiveSemaphore,
        policy: Policy,
        clock: Clock,
        on_resize: Callable[[int], Awaitable[None]],
    ) -> None:
        self.decision: Decision = decide(None, policy, current=None)
        """What the last tick, or the operator, decided."""
        self.loads: deque[Load] = deque(maxlen=_LOADS_KEPT)
        """What the last ticks saw, oldest first."""
        self.resized_from: int | None = None
        """The size before the last resize; None before the first."""
        self._monitor = monitor
        self._semaphore = semaphore
        self._policy = policy
        self._clock = clock
        self._on_resize = on_resize
        self._pinned: int | None = None
        self._eased = asyncio.Event()
        """Set when a start that is delayed may be looked at again."""

    async def tick(self) -> Load:
        """Look at the machine once and act on it."""
        sample = await self._monitor.sample()
        await self._decide()
        load = Load(
            at=sample.at,
            cpu_percent=sample.cpu_percent,
            memory_percent=sample.memory_percent,
            parallelism=self._semaphore.size,
            throttle=self.decision.throttle,
            cpu_count=sample.cpu_count,
            memory_bytes=sample.memory_bytes,
        )
        self.loads.append(load)
        return load

    async def pin(self, parallelism: int | None) -> int:
        """Fix the size by hand, or with None give it back to the load; return it.

        Raises:
            InputError: Not a whole number from 1 to 10,000.
        """
        is_whole = type(parallelism) is int and 1 <= parallelism <= _MOST_PINNED
        if parallelism is not None and not is_whole:
            raise InputError(
                f"parallelism {parallelism}: expected a whole number from 1 to {_MOST_PINNED}"
            )
        self._pinned = parallelism
        await self._decide()
        return self._semaphore.size

    async def wait_for_calm(self, *, last_start_s: float) -> None:
        """Delay a start while the machine is over its thresholds.

        Never while fewer than the baseline run; the first calm tick ends the delay.

        Args:
            last_start_s: When (monotonic) the last operation started.
        """
        while self.decision.throttle and self._semaphore.in_use >= self._policy.baseline:
            due_s = last_start_s + self.decision.throttle * THROTTLE_S
            wait_s = due_s - self._clock.monotonic()
            if wait_s <= 0:
                return
            self._eased.clear()
            async with asyncio.TaskGroup() as waits:
                first = [
                    waits.create_task(self._clock.sleep(wait_s)),
                    waits.create_task(self._eased.wait()),
                ]
                await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
                for wait in first:
                    wait.cancel()

    def note_end(self) -> None:
        """Take note that a slot came back."""
        self._eased.set()

    async def _decide(self) -> None:
        previous = self._semaphore.size
        self.decision = decide(
            self._monitor.get_current_metrics(),
            self._policy,
            current=previous,
            pinned=self._pinned,
        )
        self._eased.set()
        if self.decision.parallelism != previous:
            self.resized_from = previous
            self._semaphore.resize(self.decision.parallelism)
            await self._on_resize(previous)
