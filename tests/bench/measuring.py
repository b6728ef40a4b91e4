"""What the benchmarks share: stalls of the loop, memory, percentiles, the last line."""

from __future__ import annotations

import asyncio
import json
import math
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

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


class Measure(Protocol):
    """Runs one turn in a new folder, with metrics or not.

    Returns its `ops_per_s`, `errors` and processor time: `cpu_s` of the process, `loop_cpu_s` of
    the loop's thread.
    """

    def __call__(
        self, folder: Path, *, has_metrics: bool
    ) -> Coroutine[object, object, Mapping[str, float]]:
        """Run it."""
        ...


def compare_metrics(name: str, measure: Measure, *, turns: int) -> dict[str, object]:
    """Measure in turns with and without metrics; return what they cost.

    Args:
        name: Of the benchmark.
        measure: Runs one turn.
        turns: Pairs of turns; which of a pair is first alternates.
    """
    taken: dict[bool, list[Mapping[str, float]]] = {True: [], False: []}
    # Removed when all is measured: the disk would still be at it in the next turn.
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        for turn in range(turns):
            for has_metrics in (True, False) if turn % 2 else (False, True):
                place = Path(folder) / f"{turn}-{has_metrics}"
                place.mkdir()
                os.sync()
                taken[has_metrics].append(asyncio.run(measure(place, has_metrics=has_metrics)))

    def ratios(figure: str) -> list[float]:
        pairs = zip(taken[True], taken[False], strict=True)
        return sorted(having[figure] / lacking[figure] for having, lacking in pairs)

    speeds = ratios("ops_per_s")
    return {
        "name": name,
        "ops_per_s": statistics.median(each["ops_per_s"] for each in taken[True]),
        "baseline": "the same without metrics",
        "baseline_ops_per_s": statistics.median(each["ops_per_s"] for each in taken[False]),
        "ratio": statistics.median(speeds),
        "ratios": [round(ratio, 3) for ratio in speeds],
        "loop_cpu_ratio": statistics.median(ratios("loop_cpu_s")),
        "loop_cpu_ratios": [round(ratio, 3) for ratio in ratios("loop_cpu_s")],
        "cpu_ratio": statistics.median(ratios("cpu_s")),
        "cpu_ratios": [round(ratio, 3) for ratio in ratios("cpu_s")],
        "rss_mb": peak_rss_mb(),
        "errors": sum(each["errors"] for each in (*taken[True], *taken[False])),
    }


def peak_rss_mb() -> float:
    """Return the most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def print_result(result: Mapping[str, object]) -> None:
    """Print a benchmark's last line: one JSON object, its figures rounded."""
    rounded = {
        key: round(value, 3) if isinstance(value, float) else value for key, value in result.items()
    }
    print(json.dumps(rounded))
