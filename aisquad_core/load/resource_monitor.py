"""Watches CPU and memory: the only module that samples the machine, and never on the event loop.

It says how much load there is and what that means for the parallelism; it resizes nothing, and
knows neither the semaphore nor the work state.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple, Protocol

import anyio
import anyio.to_thread

from aisquad_core.clock import SystemClock
from aisquad_core.load.tuning import Sample, Thresholds, optimal_parallelism, throttle_factor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_core.clock import Clock
    from aisquad_core.load.sources import LoadSource

SMALLEST_HISTORY = 60
"""Samples that a history keeps at least."""
_FIRST_WINDOW_S = 0.1
"""Length of the first measurement of CPU load, which has no sample before it to begin at."""


class Reading(NamedTuple):
    """One look at the machine, without a time."""

    cpu_percent: float
    memory_percent: float
    cpu_count: float
    memory_bytes: int


class Sampler(Protocol):
    """Reads the machine; may block, so it is called on a thread, one call at a time."""

    def read(self) -> Reading:
        """Return the load since the last call.

        Raises:
            OSError: The machine cannot be read now.
        """
        ...


class SystemSampler:
    """Reads this machine: at every boundary, whichever is closest to being used up counts.

    The first reading measures the CPU for a tenth of a second, later ones since the last.

    Args:
        sources: The boundaries; the first, the machine, always has an answer for memory and count.
            None: the machine and its container.
    """

    def __init__(self, sources: Sequence[LoadSource] | None = None) -> None:
        self._sources = () if sources is None else tuple(sources)
        self._is_primed = False

    def read(self) -> Reading:
        """Return the load since the last call."""
        if not self._sources:
            # Takes a while to import, and is wanted on this thread alone.
            from aisquad_core.load.sources import system_sources  # noqa: PLC0415

            self._sources = system_sources()
        if not self._is_primed:
            for source in self._sources:
                source.cpu_ratio()
            time.sleep(_FIRST_WINDOW_S)
            self._is_primed = True
        ratios = [source.cpu_ratio() for source in self._sources]
        counts = [source.cpu_count() for source in self._sources]
        memories = [use for source in self._sources if (use := source.memory()) and use.total_bytes]
        return Reading(
            cpu_percent=100 * max((ratio for ratio in ratios if ratio is not None), default=0.0),
            memory_percent=100
            * max((use.used_bytes / use.total_bytes for use in memories), default=0.0),
            cpu_count=min((count for count in counts if count), default=1.0),
            memory_bytes=min((use.total_bytes for use in memories), default=0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AverageLoad:
    """Means over a window of samples, each of the same weight."""

    cpu_percent: float
    memory_percent: float
    samples: int
    """How many samples there were in the window."""


class ResourceMonitor:
    """Samples, remembers, and says what the load means.

    Until the first sample it knows no load: the baseline, and no throttle.

    Args:
        sampler: Reads the machine; None: this machine.
        clock: Time; None: the machine's.
        thresholds: Percentages above which the machine counts as loaded.
        history_size: Samples kept, 60 or more; the oldest goes when it is full.
    """

    def __init__(
        self,
        sampler: Sampler | None = None,
        clock: Clock | None = None,
        *,
        thresholds: Thresholds | None = None,
        history_size: int = 300,
    ) -> None:
        if history_size < SMALLEST_HISTORY:
            raise ValueError(f"history_size must be {SMALLEST_HISTORY} or more, not {history_size}")
        self._sampler: Sampler = SystemSampler() if sampler is None else sampler
        self._clock: Clock = SystemClock() if clock is None else clock
        self.thresholds = Thresholds() if thresholds is None else thresholds
        self._history: deque[Sample] = deque(maxlen=history_size)
        # A thread of its own: no other work of the engine can delay a tick.
        self._thread = anyio.CapacityLimiter(1)
        # A cancelled call gives its thread back while the reading there still goes on.
        self._reading = threading.Lock()

    @property
    def history(self) -> tuple[Sample, ...]:
        """The samples kept, oldest first."""
        return tuple(self._history)

    async def sample(self) -> Sample:
        """Look at the machine from a thread, and remember what was seen.

        A machine that cannot be read is a sample with a `problem`. Cancelled, it remembers nothing.
        """
        try:
            reading = await anyio.to_thread.run_sync(self._read, limiter=self._thread)
        except (OSError, RuntimeError) as error:  # RuntimeError: no thread can be had for it
            problem = error.strerror if isinstance(error, OSError) else None
            sample = self._repeat(problem or str(error) or type(error).__name__)
        else:
            sample = self._take(reading)
        self._history.append(sample)
        return sample

    def get_current_metrics(self) -> Sample | None:
        """Return the newest sample; None before the first."""
        return self._history[-1] if self._history else None

    def get_average(self, window_s: float) -> AverageLoad | None:
        """Return the means of the last `window_s` seconds up to now; None without a sample in it.

        Samples with a `problem` do not count.
        """
        oldest_s = self._clock.monotonic() - window_s
        recent = takewhile(lambda sample: sample.monotonic_s >= oldest_s, reversed(self._history))
        seen = [sample for sample in recent if sample.problem is None]
        if not seen:
            return None
        return AverageLoad(
            cpu_percent=math.fsum(sample.cpu_percent for sample in seen) / len(seen),
            memory_percent=math.fsum(sample.memory_percent for sample in seen) / len(seen),
            samples=len(seen),
        )

    def calculate_optimal_parallelism(self, baseline: int = 5, max_parallelism: int = 20) -> int:
        """Return how many operations the newest sample has room for, `baseline` at least."""
        sample = self._known()
        if sample is None:
            return min(baseline, max_parallelism)
        return optimal_parallelism(
            sample, baseline=baseline, max_parallelism=max_parallelism, thresholds=self.thresholds
        )

    def should_throttle(self) -> bool:
        """Whether the newest sample is over a threshold."""
        sample = self._known()
        return sample is not None and self.thresholds.is_exceeded(sample)

    def get_throttle_factor(self) -> float:
        """Return 0 (no throttle) to 1 by the newest sample."""
        sample = self._known()
        return 0.0 if sample is None else throttle_factor(sample, self.thresholds)

    def _read(self) -> Reading:
        with self._reading:
            return self._sampler.read()

    def _known(self) -> Sample | None:
        sample = self.get_current_metrics()
        return None if sample is None or sample.problem is not None else sample

    def _take(self, reading: Reading) -> Sample:
        if not (math.isfinite(reading.cpu_percent) and math.isfinite(reading.memory_percent)):
            return self._repeat("the load is not a number")
        return Sample(
            at=self._clock.now(),
            monotonic_s=self._clock.monotonic(),
            # Counters of several processors are not read at one moment: 100.2 % does occur.
            cpu_percent=min(100.0, max(0.0, reading.cpu_percent)),
            memory_percent=min(100.0, max(0.0, reading.memory_percent)),
            cpu_count=reading.cpu_count,
            memory_bytes=reading.memory_bytes,
        )

    def _repeat(self, problem: str) -> Sample:
        previous = self.get_current_metrics()
        return Sample(
            at=self._clock.now(),
            monotonic_s=self._clock.monotonic(),
            cpu_percent=previous.cpu_percent if previous else 0.0,
            memory_percent=previous.memory_percent if previous else 0.0,
            cpu_count=previous.cpu_count if previous else 1.0,
            memory_bytes=previous.memory_bytes if previous else 0,
            problem=problem,
        )
