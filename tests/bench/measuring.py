"""What the benchmarks share: stalls of the loop, memory, percentiles, the last line."""

from __future__ import annotations

import asyncio
import json
import math
import resource
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_STEP_S = 0.001
"""Between looks; a stall may be under-reported by as much."""


class StallMeter:
    """Measures, while it is entered, the longest time that the loop ran nothing else."""

    def __init__(self) -> None:
        self.worst_ms = 0.0
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        """Begin to measure."""
        await self._tasks.__aenter__()
        self._measuring = self._tasks.create_task(self._measure())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """End it."""
        self._measuring.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def _measure(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(_STEP_S)
            late_s = time.perf_counter() - before - _STEP_S
            self.worst_ms = max(self.worst_ms, late_s * 1_000)


def percentile(sorted_values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile of sorted values."""
    rank = max(1, math.ceil(percent / 100 * len(sorted_values)))
    return sorted_values[rank - 1]


def peak_rss_mb() -> float:
    """Return the most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def print_result(result: Mapping[str, object]) -> None:
    """Print a benchmark's last line: one JSON object, its figures rounded."""
    rounded = {
        key: round(value, 3) if isinstance(value, float) else value for key, value in result.items()
    }
    print(json.dumps(rounded))
