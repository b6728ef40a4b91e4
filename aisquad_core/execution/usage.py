"""How much processor and memory the processes of a running start use."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from aisquad_core.execution.tree import ProcessId, Scan, Tree, read_load

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Usage(NamedTuple):
    """What the processes of one start use."""

    cpu_percent: float
    """100 is one processor, since the last question; at first, since it began."""
    rss_bytes: int


class _Reading(NamedTuple):
    at_s: float
    ticks: dict[ProcessId, int]


class UsageMeter:
    """Measures trees, and remembers the last reading of each; blocks while it reads."""

    def __init__(self) -> None:
        self._readings: dict[str, _Reading] = {}

    def read(self, tree: Tree) -> Usage | None:
        """Return what a tree uses now; None if it has no process."""
        loads = {
            member: load
            for member in Scan().members(tree)
            if (load := read_load(member)) is not None
        }
        now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        ticks = {process: load.ticks for process, load in loads.items()}
        if not ticks:
            self._readings.pop(tree.token, None)
            return None
        began_s = min(process.start_ticks for process in ticks) / _TICKS_PER_S
        before = self._readings.get(tree.token, _Reading(began_s, {}))
        self._readings[tree.token] = _Reading(now_s, ticks)
        used = sum(max(0, count - before.ticks.get(p, 0)) for p, count in ticks.items())
        passed_s = max(now_s - before.at_s, 1 / _TICKS_PER_S)
        return Usage(
            cpu_percent=100 * used / _TICKS_PER_S / passed_s,
            rss_bytes=sum(load.pages for load in loads.values()) * _PAGE_BYTES,
        )

    def forget(self, token: str) -> None:
        """Drop the reading of a start that has ended."""
        self._readings.pop(token, None)
