"""Pasts for the tests of the history's views, the same on every machine."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from aisquad_core.api import History, LoadPoint, ThroughputPoint
from aisquad_tui.views.timeline import Past
from tests.unit.tui.pictures import NOW


def make_past(period_s: float = 3600, points: int = 60, **changes: object) -> Past:
    """Return an empty past that ends now."""
    start = NOW - timedelta(seconds=period_s)
    history = History(is_recorded=True, start=start, end=NOW)
    changed = replace(history, **changes)  # type: ignore[arg-type]  # names are checked at run time
    return Past(changed, points)


def point(age_s: float, cpu: float = 50, **changes: object) -> LoadPoint:
    """Return a stretch of the load that began so many seconds ago."""
    made = LoadPoint(
        at=NOW - timedelta(seconds=age_s),
        cpu_percent=cpu,
        memory_percent=30,
        parallelism=12,
        active_workers=10,
        queue_depth=100,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # names are checked at run time


def ended(age_s: float, completed: int, failed: int = 0) -> ThroughputPoint:
    """Return what ended in a stretch that began so many seconds ago."""
    at = NOW - timedelta(seconds=age_s)
    return ThroughputPoint(at=at, completed=completed, failed=failed)


def loads_of(*values: float | None, period_s: float = 3600) -> Past:
    """Return a past with one stretch for each value, oldest first; None: nothing was sampled."""
    step_s = period_s / len(values)
    load = tuple(
        point(period_s - place * step_s, value)
        for place, value in enumerate(values)
        if value is not None
    )
    return make_past(period_s, len(values), load=load)
