"""A machine whose load tests set."""

from __future__ import annotations

from aisquad_core.load.resource_monitor import Reading


class FakeSampler:
    """A machine whose load a test sets.

    Args:
        cpu_percent: Load of the processors until a test changes it.
        memory_percent: Load of the memory until a test changes it.
    """

    def __init__(self, cpu_percent: float = 10.0, memory_percent: float = 20.0) -> None:
        self.cpu_percent = cpu_percent
        self.memory_percent = memory_percent
        self.cpu_count = 2.0
        self.memory_bytes = 8_000_000_000
        self.failure: OSError | None = None
        """Raised by every reading until it is None again."""
        self.readings = 0
        """How many readings were asked for."""

    def read(self) -> Reading:
        """Return the load as it is set now."""
        self.readings += 1
        if self.failure is not None:
            raise self.failure
        return Reading(
            cpu_percent=self.cpu_percent,
            memory_percent=self.memory_percent,
            cpu_count=self.cpu_count,
            memory_bytes=self.memory_bytes,
        )
