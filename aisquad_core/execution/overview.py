"""The engine at one moment: its own view, the facts for other processes, the whole snapshot."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

from aisquad_core.api import EngineView, NodeView, Snapshot, add_counts
from aisquad_core.state.records import EngineFacts
from aisquad_core.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from aisquad_core.clock import Clock
    from aisquad_core.execution.executor import ConvoyExecutor
    from aisquad_core.execution.governor import Governor
    from aisquad_core.execution.picture import Picture
    from aisquad_core.execution.scheduler import Scheduler
    from aisquad_core.execution.stage import Phase
    from aisquad_core.load.backpressure import StorageBackpressure
    from aisquad_core.load.resource_monitor import ResourceMonitor
    from aisquad_core.load.semaphore import AdaptiveSemaphore
    from aisquad_core.load.tuning import Policy
    from aisquad_core.state.workstate import WorkState

_STILL_AFTER_S = 60.0
"""Seconds without a start, though work waits, after which the engine says why."""


class Overview:
    """Puts together what the parts know of themselves.

    Args:
        state_dir: The state folder.
        boot_id: The kernel's boot id, told to other processes.
        policy: What the operator allows.
        monitor: The load.
        governor: What was decided of it.
        semaphore: The slots.
        scheduler: What waits.
        executor: What runs.
        picture: The convoys.
        clock: Time.
        grace_s: Seconds between TERM and KILL.
        state: The work state.
        backpressure: Counts the writes that wait for it.
    """

    def __init__(
        self,
        *,
        state_dir: Path,
        boot_id: str,
        policy: Policy,
        monitor: ResourceMonitor,
        governor: Governor,
        semaphore: AdaptiveSemaphore,
        scheduler: Scheduler,
        executor: ConvoyExecutor,
        picture: Picture,
        clock: Clock,
        grace_s: float,
        state: WorkState,
        backpressure: StorageBackpressure,
    ) -> None:
        self._backpressure = backpressure
        self._state = state
        self._grace_s = grace_s
        self._state_dir = state_dir
        self._boot_id = boot_id
        self._policy = policy
        self._monitor = monitor
        self._governor = governor
        self._semaphore = semaphore
        self._scheduler = scheduler
        self._executor = executor
        self._picture = picture
        self._clock = clock
        self._started_at = clock.now()

    def view(self, phase: Phase, trouble: str | None) -> EngineView:
        """Return the engine as operators see it."""
        sample = self._monitor.get_current_metrics()
        decision = self._governor.decision
        thresholds = self._policy.thresholds
        convoys = self._scheduler.convoys.values()
        writes = self._backpressure.get_stats()
        queued = sum(convoy.unfinished - convoy.running for convoy in convoys)
        return EngineView(
            pid=os.getpid(),
            version=__version__,
            sqlite_version=sqlite3.sqlite_version,
            state_dir=str(self._state_dir),
            started_at=self._started_at,
            parallelism=self._semaphore.size,
            baseline=self._policy.baseline,
            max=self._policy.max_parallelism,
            auto=decision.is_auto,
            running=len(self._executor.runs),
            queued=queued,
            cpu_percent=sample.cpu_percent if sample else 0.0,
            memory_percent=sample.memory_percent if sample else 0.0,
            cpu_threshold=thresholds.cpu_percent,
            memory_threshold=thresholds.memory_percent,
            throttle=decision.throttle,
            reason=decision.reason,
            waiting=self._waiting() if queued else None,
            phase=phase,
            trouble=trouble,
            resized_from=self._governor.resized_from,
            grace_s=self._grace_s,
            wal_bytes=self._state.wal_bytes,
            oldest_reader_s=self._state.pool.oldest_reader_s,
            writes_pending=writes["pending"],
            writes_capacity=writes["capacity"],
            writes_threshold=writes["threshold"],
            writes_per_s=writes["drain_per_s"],
            launches_waiting=writes["waiting"],
            launches_refused=writes["refused"],
        )

    def facts(self) -> EngineFacts:
        """Return what commands in other processes read of this engine."""
        decision = self._governor.decision
        return EngineFacts(
            pid=os.getpid(),
            boot_id=self._boot_id,
            version=__version__,
            started_at=self._started_at,
            parallelism=self._semaphore.size,
            baseline=self._policy.baseline,
            max=self._policy.max_parallelism,
            auto=decision.is_auto,
            throttle=decision.throttle,
            reason=decision.reason,
            updated_at=self._clock.now(),
        )

    def snapshot(self, seq: int, engine: EngineView) -> Snapshot:
        """Return the whole picture at a sequence number."""
        sample = self._monitor.get_current_metrics()
        convoys = self._picture.convoys()
        return Snapshot(
            seq=seq,
            at=self._clock.now(),
            engine=engine,
            nodes=(
                NodeView(
                    name="local",
                    parallelism=engine.parallelism,
                    running=engine.running,
                    cpu_count=sample.cpu_count if sample else 0.0,
                    memory_bytes=sample.memory_bytes if sample else 0,
                ),
            ),
            convoys=convoys,
            counts=add_counts(convoy.counts for convoy in convoys),
            history=tuple(self._governor.loads),
        )

    def _waiting(self) -> str | None:
        """Say why nothing has started for a minute though work waits."""
        now_s = self._clock.monotonic()
        if now_s - self._executor.last_start_s < _STILL_AFTER_S:
            return None
        if self._semaphore.in_use >= self._semaphore.size:
            return f"all {self._semaphore.size} slots are taken"
        return self._scheduler.summary(now_s)
