"""The machine under FakeEngine: its load and the semaphore, as the test sets them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal

from aisquad_core.api import EngineState, EngineView, Load, NodeView, Resized, Sampled
from aisquad_core.load.backpressure import StorageBackpressure
from aisquad_core.version import __version__

if TYPE_CHECKING:
    from aisquad_core.api import StatusCounts
    from aisquad_core.events import EventHub
    from aisquad_core.testing.clock import FakeClock
    from aisquad_core.testing.work import FakeWork

_HISTORY = 120


class FakeBacklog:
    """A writer of which a test says how many writes wait."""

    def __init__(self) -> None:
        self.backlog = 0
        self.stalled_s = 0.0


class FakeMachine:
    """Holds what is not work: the load, the size and why, the engine's phase and trouble.

    Args:
        clock: What time it is.
        hub: Where changes are told.
        work: What the size applies to.
        pid: What the engine says it is.
        cpu_count: Cores that there are.
        memory_bytes: Memory that there is.
    """

    def __init__(
        self,
        *,
        clock: FakeClock,
        hub: EventHub,
        work: FakeWork,
        pid: int,
        cpu_count: float,
        memory_bytes: int,
    ) -> None:
        self.history: deque[Load] = deque(maxlen=_HISTORY)
        self.phase: Literal["running", "stopping", "stopped"] = "running"
        self.trouble: str | None = None
        self.waiting: str | None = None
        self.pid = pid
        self._cpu_count = cpu_count
        self._memory_bytes = memory_bytes
        self._clock = clock
        self._hub = hub
        self._work = work
        self._started_at = clock.now()
        self._auto_size = work.parallelism
        self._is_pinned = False
        self._resized_from: int | None = None
        self._reason = "set by the test"
        self._backlog = FakeBacklog()
        self.backpressure = StorageBackpressure(clock=clock)
        """What launches must pass."""
        self.backpressure.watch(self._backlog)

    def set_backlog(self, pending: int, drained_per_s: float) -> None:
        """Let so many writes wait for the disk."""
        self._backlog.backlog = pending
        self.backpressure.note_drain(round(drained_per_s), 1.0)

    def set_load(self, cpu_percent: float, memory_percent: float, throttle: float) -> None:
        """Tell one tick."""
        load = Load(
            at=self._clock.now(),
            cpu_percent=cpu_percent,
            memory_percent=memory_percent,
            parallelism=self._work.parallelism,
            throttle=throttle,
            cpu_count=self._cpu_count,
            memory_bytes=self._memory_bytes,
        )
        self.history.append(load)
        self._hub.publish(Sampled(seq=self._hub.next_seq(), load=load))

    def tune(self, parallelism: int, reason: str) -> None:
        """Let auto tuning come to a size; a pinned one stays."""
        self._auto_size = parallelism
        if not self._is_pinned:
            self._resize(parallelism, reason, is_pinned=False)

    def pin(self, parallelism: int | None) -> None:
        """Fix the size by hand, or give it back to auto tuning."""
        if parallelism is None:
            self._resize(self._auto_size, "auto", is_pinned=False)
        else:
            self._resize(parallelism, f"set to {parallelism} by hand", is_pinned=True)

    def announce(self) -> None:
        """Tell the state of the engine itself."""
        self._hub.publish(EngineState(seq=self._hub.next_seq(), engine=self.view()))

    def node(self) -> NodeView:
        """Return the one machine."""
        return NodeView(
            name="local",
            parallelism=self._work.parallelism,
            running=len(self._work.running()),
            cpu_count=self._cpu_count,
            memory_bytes=self._memory_bytes,
        )

    def view(self) -> EngineView:
        """Return the engine as operators see it."""
        load = self.history[-1] if self.history else None
        counts: StatusCounts = self._work.counts()
        writes = self.backpressure.get_stats()
        return EngineView(
            pid=self.pid,
            version=__version__,
            sqlite_version="none",
            state_dir="/fake/.ai_squad",
            started_at=self._started_at,
            parallelism=self._work.parallelism,
            baseline=5,
            max=20,
            auto=not self._is_pinned,
            running=counts.running,
            queued=counts.queued,
            cpu_percent=load.cpu_percent if load else 0.0,
            memory_percent=load.memory_percent if load else 0.0,
            cpu_threshold=80.0,
            memory_threshold=80.0,
            throttle=load.throttle if load else 0.0,
            reason=self._reason,
            waiting=self.waiting,
            phase=self.phase,
            trouble=self.trouble,
            resized_from=self._resized_from,
            writes_pending=writes["pending"],
            writes_capacity=writes["capacity"],
            writes_threshold=writes["threshold"],
            writes_per_s=writes["drain_per_s"],
            launches_waiting=writes["waiting"],
            launches_refused=writes["refused"],
        )

    def _resize(self, parallelism: int, reason: str, *, is_pinned: bool) -> None:
        previous = self._work.parallelism
        if (previous, self._is_pinned) == (parallelism, is_pinned):
            return
        self._work.parallelism = parallelism
        if previous != parallelism:
            self._resized_from = previous
        self._is_pinned, self._reason = is_pinned, reason
        resized = Resized(
            seq=self._hub.next_seq(),
            at=self._clock.now(),
            previous=previous,
            parallelism=parallelism,
            auto=not is_pinned,
            reason=reason,
        )
        self._hub.publish(resized)
        self._work.pump()
