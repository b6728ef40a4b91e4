"""What bounds this process: the machine, and the container around it.

Nothing else imports psutil and proclimits, and this is imported by the first reading alone.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import proclimits
import psutil


class MemoryUse(NamedTuple):
    """Memory in use out of what there is."""

    used_bytes: int
    total_bytes: int


class LoadSource(Protocol):
    """One boundary of what this process may use; None: it sets no boundary, or cannot say now."""

    def cpu_ratio(self) -> float | None:
        """Return the share of its processors in use since the last call, 0 to 1."""
        ...

    def cpu_count(self) -> float | None:
        """Return how many processors may be used."""
        ...

    def memory(self) -> MemoryUse | None:
        """Return the memory in use and the limit that it counts against."""
        ...


class Machine:
    """The whole machine, as psutil sees it."""

    def __init__(self) -> None:
        self._previous: tuple[float, float] | None = None

    def cpu_ratio(self) -> float | None:
        """Return the busy share of all processors' time since the last call.

        Not `psutil.cpu_percent`, which remembers the last call of each thread and so answers 0.0
        to every new one.
        """
        times = psutil.cpu_times()
        # The kernel counts a guest's time in user time as well.
        total_s = sum(times) - times.guest - times.guest_nice
        busy_s = total_s - times.idle - times.iowait
        previous, self._previous = self._previous, (busy_s, total_s)
        if previous is None or total_s <= previous[1]:
            return None
        return (busy_s - previous[0]) / (total_s - previous[1])

    def cpu_count(self) -> float | None:
        """Return the number of processors of the machine."""
        return proclimits.get_machine_cpu_count() or psutil.cpu_count()

    def memory(self) -> MemoryUse | None:
        """Return the machine's memory that is not available to new work."""
        memory = psutil.virtual_memory()
        return MemoryUse(memory.total - memory.available, memory.total)


class ContainerLimits:
    """What cgroups leave this process, as proclimits reads them."""

    def __init__(self) -> None:
        self._cpu_load = proclimits.CpuLoad()

    def cpu_ratio(self) -> float | None:
        """Return the used share of the allowed processor time since the last call."""
        return self._cpu_load.sample()

    def cpu_count(self) -> float | None:
        """Return the processors that the tightest limit allows."""
        return proclimits.get_cpu_limit()

    def memory(self) -> MemoryUse | None:
        """Return the memory charged against the tightest limit."""
        budget = proclimits.get_memory_budget()
        return None if budget is None else MemoryUse(budget.used, budget.limit)


def system_sources() -> tuple[LoadSource, ...]:
    """Return the boundaries of this process, the machine first."""
    return Machine(), ContainerLimits()
