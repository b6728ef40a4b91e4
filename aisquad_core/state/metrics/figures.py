"""What the metrics hold, as frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from aisquad_core.model import ConvoyStatus, ItemKey, WorkStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvoyMetrics:
    """One convoy."""

    convoy_id: str
    start_time: datetime
    status: ConvoyStatus
    operations: int
    """How many it has."""
    completed: int
    failed: int
    """Failed or lost, for good."""
    avg_duration: float
    """Mean seconds of its attempts that completed or failed; 0 when there is none."""
    name: str = ""
    end_time: datetime | None = None
    """None until it has ended."""
    cancelled: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceMetrics:
    """The machine and the engine at one moment, or their means over a stretch of time."""

    timestamp: datetime
    """The moment, or where the stretch begins."""
    cpu_percent: float
    """0 to 100, of what the engine may use."""
    memory_percent: float
    """0 to 100, of what the engine may use."""
    active_workers: float
    """Operations that run."""
    queue_depth: float
    """Operations that wait for their start."""
    parallelism: float = 0.0
    """Size of the semaphore."""
    throttle: float = 0.0
    """0 (none) to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationFigures:
    """Durations summed up; percentiles are off by at most 2 % (1 ms below 1 ms)."""

    count: int = 0
    mean_s: float | None = None
    """Seconds, exact; None, as the others, when nothing was counted."""
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvoyStats:
    """The convoys that were at work in a stretch of time, and the operations that ended in it."""

    total_convoys: int
    """Those that ended in it, and those that have not ended."""
    convoys: Mapping[ConvoyStatus, int] = field(default_factory=dict)
    """The same by status."""
    success_rate: float
    """Completed convoys of those that ended, 0 to 1; 0 when none ended."""
    convoy_durations: DurationFigures
    """From launch to end, of those that were not cancelled."""
    operations: Mapping[WorkStatus, int] = field(default_factory=dict)
    """Operations that ended for good, by status."""
    operation_success_rate: float
    """Completed operations of those that completed, failed or were lost, 0 to 1; 0 for none."""
    operation_durations: DurationFigures
    """Of every attempt that completed or failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationFailure:
    """One operation that failed or was lost, for good."""

    key: ItemKey
    agent_id: str
    status: WorkStatus
    attempt: int
    exit_code: int | None
    """0 to 255; None if unknown."""
    error: str | None
    """What went wrong, in one sanitised line."""
    finished_at: datetime
    duration_s: float
    """Seconds of the last attempt."""
