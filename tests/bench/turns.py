"""Short turns of one run, with metrics and without, compared each with its neighbour."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.bench.measuring import peak_rss_mb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


@dataclass(frozen=True)
class Turn:
    """What was got done in a stretch of time."""

    ops_per_s: float
    cpu_us: float
    """Processor time for each, in microseconds."""


class Begun:
    """A turn that lasts from when this is made.

    Args:
        count: Tells how much is done by now.
    """

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self._done = count()
        self._cpu_s = time.process_time()
        self._begun_s = time.perf_counter()

    def end(self) -> Turn:
        """End it."""
        done = self._count() - self._done
        return Turn(
            ops_per_s=done / (time.perf_counter() - self._begun_s),
            cpu_us=(time.process_time() - self._cpu_s) / done * 1e6,
        )


def compare_turns(taken: Mapping[bool, Sequence[Turn]], recorded: int) -> dict[str, object]:
    """Return what turns with metrics got done against those without, each with its neighbour."""
    pairs = list(zip(taken[True], taken[False], strict=True))
    ratio, ratio_error = mean(having.ops_per_s / lacking.ops_per_s for having, lacking in pairs)
    cpu_ratio, cpu_error = mean(having.cpu_us / lacking.cpu_us for having, lacking in pairs)
    return {
        "ops_per_s": statistics.median(turn.ops_per_s for turn in taken[True]),
        "baseline": "the same without metrics, in turns of the same run",
        "baseline_ops_per_s": statistics.median(turn.ops_per_s for turn in taken[False]),
        "ratio": ratio,
        "ratio_error": ratio_error,
        "recorded": recorded,
        "cost_percent": (1 - ratio) / recorded * 100,
        "cpu_ratio": cpu_ratio,
        "cpu_ratio_error": cpu_error,
        "rss_mb": peak_rss_mb(),
    }


def mean(values: Iterable[float]) -> tuple[float, float]:
    """Return the mean and its standard error."""
    taken = list(values)
    return statistics.fmean(taken), statistics.stdev(taken) / math.sqrt(len(taken))
