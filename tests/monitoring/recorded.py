"""A past to look at: what metrics an engine would have kept of an hour of the scripted night."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from aisquad_core.api import ResizeNote
from aisquad_core.model import ConvoyStatus, ItemKey, RunUpdate, WorkStatus
from aisquad_core.state.metrics import MetricsCollector, ResourceMetrics

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from aisquad_core.clock import Clock

_SAMPLE_S = 5
_FAILURES = (
    ("nightly-review-k3f9", "fix-db-001", "engineer", 300, 130, 1,
     "exit 1: AssertionError: migration 0042 is missing"),
    ("nightly-review-k3f9", "fix-db-002", "engineer", 340, 12, 127,
     "exit 127: command not found: psql"),
    ("dep-upgrades-h2m1", "bump-pandas", "engineer", 1260, 41, 1,
     "exit 1: ERROR: ResolutionImpossible"),
    ("api-docs-p7q2", "page-017", "reviewer", 2470, 1800, None, "timed out after 30 min"),
)  # fmt: skip


async def record_hour(path: Path, clock: Clock) -> None:
    """Record the hour that ends now."""
    now = clock.now()
    async with MetricsCollector(path, clock=clock) as metrics:
        _record_load(metrics, now)
        _record_convoys(metrics, now)
        _record_operations(metrics, now)
        await metrics.flush()


def _record_load(metrics: MetricsCollector, now: datetime) -> None:
    size = 5
    samples = 3600 // _SAMPLE_S
    for n in range(samples):
        left = n - samples
        at = now + timedelta(seconds=left * _SAMPLE_S)
        cpu = 58 + 20 * math.sin(left / 60 + 0.9) + 8 * math.sin(left / 11 + 0.6)
        memory = 25 + 6 * math.sin(left / 130) - left / 90
        wanted = 5 if cpu > 80 else min(20, 5 + round(15 * (100 - cpu) / 47))
        wanted = min(wanted, size + 2)
        if wanted != size and n % 6 == 0:
            why = f"CPU {cpu:.0f} %, memory {memory:.0f} %"
            if cpu > 80:
                why = f"CPU {cpu:.0f} % over 80 %: baseline 5"
            metrics.record_resize(
                ResizeNote(at=at, previous=size, parallelism=wanted, auto=True, reason=why)
            )
            size = wanted
        metrics.record_resource_snapshot(
            ResourceMetrics(
                timestamp=at,
                cpu_percent=max(2.0, min(97.0, cpu)),
                memory_percent=memory,
                active_workers=max(0, size - n % 3 // 2),
                queue_depth=max(0, 260 - n // 4),
                parallelism=size,
            )
        )


def _record_convoys(metrics: MetricsCollector, now: datetime) -> None:
    running, completed, partial = (
        ConvoyStatus.RUNNING,
        ConvoyStatus.COMPLETED,
        ConvoyStatus.PARTIAL,
    )
    convoys = (
        ("lint-all-b4c8", "lint-all", 240, 7000, completed, 240, 0),
        ("docs-sweep-w9x3", "docs-sweep", 40, 5400, ConvoyStatus.PAUSED, 9, 0),
        ("api-docs-p7q2", "api-docs", 60, 3300, partial, 59, 1),
        ("dep-upgrades-h2m1", "dep-upgrades", 12, 2400, running, 3, 1),
        ("nightly-review-k3f9", "nightly-review", 300, 1100, running, 162, 2),
    )
    for convoy_id, name, total, age_s, status, done, failed in convoys:
        start = now - timedelta(seconds=age_s)
        metrics.record_convoy_start(convoy_id, total, name=name, start_time=start)
        if status.is_final:
            metrics.record_convoy_complete(
                convoy_id,
                status,
                completed=done,
                failed=failed,
                end_time=now - timedelta(seconds=252 if status is completed else 1500),
            )
        else:
            metrics.update_convoy_metrics(convoy_id, status=status, completed=done, failed=failed)


def _record_operations(metrics: MetricsCollector, now: datetime) -> None:
    for n in range(410):
        agent = ("engineer", "engineer", "shell", "reviewer", "engineer")[n % 5]
        took_s = {"engineer": 40, "reviewer": 28, "shell": 2}[agent] * (0.4 + (n * 37 % 100) / 70)
        ended_at = now - timedelta(seconds=8 + n * 8.5)
        key = ItemKey("nightly-review-k3f9", f"fix-api-{n:03d}")
        metrics.record_operation(
            agent, _ended(key, ended_at, took_s, WorkStatus.COMPLETED, exit_code=0, error=None)
        )
    for convoy_id, item_id, agent, ago_s, took_s, exit_code, error in _FAILURES:
        ended_at = now - timedelta(seconds=ago_s)
        key = ItemKey(convoy_id, item_id)
        metrics.record_operation(
            agent,
            _ended(key, ended_at, took_s, WorkStatus.FAILED, exit_code=exit_code, error=error),
        )


def _ended(
    key: ItemKey,
    ended_at: datetime,
    took_s: float,
    status: WorkStatus,
    *,
    exit_code: int | None,
    error: str | None,
) -> RunUpdate:
    return RunUpdate(
        convoy_id=key.convoy_id,
        item_id=key.item_id,
        expected_version=2,
        previous=WorkStatus.IN_PROGRESS,
        status=status,
        attempt=1,
        started_at=ended_at - timedelta(seconds=took_s),
        finished_at=ended_at,
        exit_code=exit_code,
        error=error,
    )
