"""Decides how many operations may run: pure functions of one sample, the policy and the size now.

Nothing here samples, waits, or knows the semaphore; the engine carries a `Decision` out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

CALM_PERCENT = 40.0
"""With CPU and memory both under this, everything that is allowed may run."""
GROWTH_PER_TICK = 2
"""Slots that a tick may add: twenty agents must not start before the first one's memory shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one look at the machine saw; percentages are of what this process may use."""

    at: datetime
    """Wall clock, UTC."""
    monotonic_s: float
    """The same moment on the clock that averages are computed with."""
    cpu_percent: float
    """0 to 100, since the sample before."""
    memory_percent: float
    """0 to 100."""
    cpu_count: float
    """Processors that may be used; a container's limit may be a fraction."""
    memory_bytes: int
    """Memory that may be used."""
    problem: str | None = None
    """Why the machine could not be read; the values are then those of the sample before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Percentages above which the machine counts as loaded."""

    cpu_percent: float = 80.0
    memory_percent: float = 80.0

    def is_exceeded(self, sample: Sample) -> bool:
        """Whether CPU or memory is over its threshold."""
        return sample.cpu_percent > self.cpu_percent or sample.memory_percent > self.memory_percent


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the operator allows."""

    baseline: int = 5
    """Slots under load and at the start; over `max_parallelism`, that counts instead."""
    max_parallelism: int = 20
    thresholds: Thresholds = field(default_factory=Thresholds)
    is_auto: bool = True
    """False: `baseline` whatever the load, and no throttle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one tick wants."""

    parallelism: int
    """The semaphore's next size, 1 or more."""
    throttle: float
    """0 (none) to 1: how much of the longest delay the next start waits."""
    reason: str
    """Why, in words for the operator."""
    is_auto: bool
    """Whether the load decided; False while pinned by hand or with auto tuning off."""


def optimal_parallelism(
    sample: Sample, *, baseline: int, max_parallelism: int, thresholds: Thresholds
) -> int:
    """Return the size that fits a load, between `baseline` (at most the maximum) and the maximum.

    Over a threshold it is the baseline; with both loads under 40 % the maximum; between, the CPU
    weighs 0.6 and the memory 0.4. More load never gives more.
    """
    baseline = min(baseline, max_parallelism)
    cpu, memory = sample.cpu_percent, sample.memory_percent
    if thresholds.is_exceeded(sample):
        return baseline
    if cpu < CALM_PERCENT and memory < CALM_PERCENT:
        return max_parallelism
    idle = 0.6 * (1 - cpu / 100) + 0.4 * (1 - memory / 100)
    room = baseline + (max_parallelism - baseline) * idle
    # What should be whole may be a hair less in binary: 80 % and 80 % leave room for 8, not 7.
    return max(baseline, min(max_parallelism, math.floor(room + 1e-9)))


def throttle_factor(sample: Sample, thresholds: Thresholds) -> float:
    """Return 0 while no threshold is exceeded, else the mean of both loads as a fraction."""
    if not thresholds.is_exceeded(sample):
        return 0.0
    return 0.5 * sample.cpu_percent / 100 + 0.5 * sample.memory_percent / 100


def decide(
    sample: Sample | None, policy: Policy, *, current: int | None, pinned: int | None = None
) -> Decision:
    """Return the next size of the semaphore, its throttle, and why.

    Args:
        sample: The newest; None: nothing was sampled yet.
        policy: What the operator allows.
        current: The size now; None: there is none yet, so it starts at the baseline.
        pinned: The size that an operator pinned by hand; None: not pinned.
    """
    baseline = min(policy.baseline, policy.max_parallelism)
    if pinned is not None:
        return _fixed(pinned, f"pinned by hand at {pinned}")
    if not policy.is_auto:
        return _fixed(baseline, f"auto tuning off: baseline {baseline}")
    if sample is None or current is None:
        return Decision(
            parallelism=baseline,
            throttle=0.0,
            reason=f"starting at baseline {baseline}",
            is_auto=True,
        )
    if sample.problem is not None:
        target, throttle = baseline, 0.0
        reason = f"load unknown ({sample.problem}): baseline {baseline}"
    else:
        target = optimal_parallelism(
            sample,
            baseline=baseline,
            max_parallelism=policy.max_parallelism,
            thresholds=policy.thresholds,
        )
        throttle = throttle_factor(sample, policy.thresholds)
        reason = _in_words(sample, policy.thresholds, target)
    size = min(target, current + GROWTH_PER_TICK)
    if size < target:
        reason += f", growing by {GROWTH_PER_TICK}"
    return Decision(parallelism=size, throttle=throttle, reason=reason, is_auto=True)


def _fixed(size: int, reason: str) -> Decision:
    return Decision(parallelism=size, throttle=0.0, reason=reason, is_auto=False)


def _in_words(sample: Sample, thresholds: Thresholds, target: int) -> str:
    loads = (
        ("CPU", sample.cpu_percent, thresholds.cpu_percent),
        ("memory", sample.memory_percent, thresholds.memory_percent),
    )
    # Rounded up, so that 80.2 does not read as "80 % over 80 %".
    over = [
        f"{name} {math.ceil(percent)} % over {threshold:g} %"
        for name, percent, threshold in loads
        if percent > threshold
    ]
    if over:
        return f"{', '.join(over)}: baseline {target}"
    return f"{', '.join(f'{name} {percent:.0f} %' for name, percent, _ in loads)}: up to {target}"
