"""The formula, the limits of growth, and the words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aisquad_core.load.tuning import (
    Policy,
    Sample,
    Thresholds,
    decide,
    optimal_parallelism,
    throttle_factor,
)

PERCENT = st.floats(0, 100)
SIZE = st.integers(1, 500)
POLICIES = st.builds(
    Policy,
    baseline=SIZE,
    max_parallelism=SIZE,
    thresholds=st.builds(
        Thresholds, cpu_percent=st.floats(1, 100), memory_percent=st.floats(1, 100)
    ),
)


def sample(cpu: float, memory: float, *, problem: str | None = None) -> Sample:
    return Sample(
        at=datetime(2026, 1, 2, tzinfo=UTC),
        monotonic_s=0.0,
        cpu_percent=cpu,
        memory_percent=memory,
        cpu_count=2.0,
        memory_bytes=8_000_000_000,
        problem=problem,
    )


def optimal(cpu: float, memory: float, policy: Policy = Policy()) -> int:  # noqa: B008  # frozen
    return optimal_parallelism(
        sample(cpu, memory),
        baseline=policy.baseline,
        max_parallelism=policy.max_parallelism,
        thresholds=policy.thresholds,
    )


@pytest.mark.parametrize(
    ("cpu", "memory", "expected"),
    [
        (0, 0, 20),
        (39.9, 39.9, 20),
        (40, 39.9, 14),  # 5 + 15 * (0.6 * 0.6 + 0.4 * 0.601) = 14.006
        (10, 50, 16),  # 5 + 15 * (0.54 + 0.2) = 16.1
        (50, 50, 12),  # 5 + 15 * 0.5 = 12.5
        (80, 80, 8),  # 5 + 15 * 0.2: on the threshold is not over it
        (80.1, 10, 5),
        (10, 80.1, 5),
        (100, 100, 5),
    ],
)
def test_the_size_follows_the_formula(cpu: float, memory: float, expected: int) -> None:
    assert optimal(cpu, memory) == expected


@given(PERCENT, PERCENT, POLICIES)
def test_the_size_stays_between_the_baseline_and_the_maximum(
    cpu: float, memory: float, policy: Policy
) -> None:
    lowest = min(policy.baseline, policy.max_parallelism)
    assert lowest <= optimal(cpu, memory, policy) <= policy.max_parallelism


@given(PERCENT, PERCENT, PERCENT, PERCENT, POLICIES)
def test_more_load_never_gives_more(
    cpu: float, more_cpu: float, memory: float, more_memory: float, policy: Policy
) -> None:
    cpu, more_cpu = sorted((cpu, more_cpu))
    memory, more_memory = sorted((memory, more_memory))
    assert optimal(more_cpu, more_memory, policy) <= optimal(cpu, memory, policy)


def test_a_threshold_of_100_is_never_exceeded() -> None:
    policy = Policy(thresholds=Thresholds(cpu_percent=100, memory_percent=100))
    assert optimal(100, 100, policy) == 5
    assert optimal(100, 0, policy) == 11
    assert throttle_factor(sample(100, 100), policy.thresholds) == 0.0


def test_a_threshold_below_the_calm_wins_over_the_calm() -> None:
    assert optimal(30, 10, Policy(thresholds=Thresholds(cpu_percent=20))) == 5


@pytest.mark.parametrize(
    ("cpu", "memory", "expected"),
    [(80, 80, 0.0), (90, 50, 0.7), (0, 100, 0.5), (100, 100, 1.0)],
)
def test_the_throttle_is_the_mean_load_once_over_a_threshold(
    cpu: float, memory: float, expected: float
) -> None:
    assert throttle_factor(sample(cpu, memory), Thresholds()) == pytest.approx(expected)


@given(PERCENT, PERCENT, POLICIES, SIZE)
def test_a_tick_grows_by_two_at_most_and_shrinks_at_once(
    cpu: float, memory: float, policy: Policy, current: int
) -> None:
    decision = decide(sample(cpu, memory), policy, current=current)
    target = optimal(cpu, memory, policy)
    assert decision.parallelism == (target if target <= current else min(target, current + 2))
    assert 0 <= decision.throttle <= 1
    assert decision.is_auto


@given(PERCENT, PERCENT, POLICIES)
def test_under_a_steady_load_the_size_arrives_and_stays(
    cpu: float, memory: float, policy: Policy
) -> None:
    size = decide(None, policy, current=None).parallelism
    for _ in range(policy.max_parallelism):
        size = decide(sample(cpu, memory), policy, current=size).parallelism
    assert size == optimal(cpu, memory, policy)
    assert "growing" not in decide(sample(cpu, memory), policy, current=size).reason


@given(st.one_of(st.none(), st.builds(sample, PERCENT, PERCENT)), POLICIES, SIZE, SIZE)
def test_a_pin_counts_whatever_the_load_and_switches_the_throttle_off(
    seen: Sample | None, policy: Policy, current: int, pinned: int
) -> None:
    decision = decide(seen, policy, current=current, pinned=pinned)
    assert (decision.parallelism, decision.throttle, decision.is_auto) == (pinned, 0.0, False)


@given(PERCENT, PERCENT, SIZE)
def test_without_auto_tuning_it_is_the_baseline_without_throttle(
    cpu: float, memory: float, current: int
) -> None:
    decision = decide(sample(cpu, memory), Policy(is_auto=False), current=current)
    assert (decision.parallelism, decision.throttle, decision.is_auto) == (5, 0.0, False)


@given(st.floats(80, 100, exclude_min=True))
def test_a_load_over_its_threshold_reads_as_more_than_it(cpu: float) -> None:
    words = decide(sample(cpu, 10), Policy(), current=5).reason
    assume(words.startswith("CPU "))
    assert float(words.split()[1]) > 80


@pytest.mark.parametrize(
    ("seen", "policy", "current", "pinned", "reason"),
    [
        (None, Policy(), None, None, "starting at baseline 5"),
        (sample(1, 1), Policy(), None, None, "starting at baseline 5"),
        (None, Policy(baseline=30), None, None, "starting at baseline 20"),
        (sample(91, 10), Policy(), 9, None, "CPU 91 % over 80 %: baseline 5"),
        (
            sample(90.2, 85),
            Policy(thresholds=Thresholds(cpu_percent=72.5)),
            9,
            None,
            "CPU 91 % over 72.5 %, memory 85 % over 80 %: baseline 5",
        ),
        (sample(12, 30), Policy(), 5, None, "CPU 12 %, memory 30 %: up to 20, growing by 2"),
        (sample(12, 30), Policy(), 20, None, "CPU 12 %, memory 30 %: up to 20"),
        (sample(50, 50), Policy(), 20, None, "CPU 50 %, memory 50 %: up to 12"),
        (sample(99, 99), Policy(), 9, 8, "pinned by hand at 8"),
        (sample(99, 99), Policy(is_auto=False), 9, None, "auto tuning off: baseline 5"),
        (
            sample(1, 1, problem="Too many open files"),
            Policy(),
            20,
            None,
            "load unknown (Too many open files): baseline 5",
        ),
    ],
)
def test_every_decision_says_why(
    seen: Sample | None, policy: Policy, current: int | None, pinned: int | None, reason: str
) -> None:
    assert decide(seen, policy, current=current, pinned=pinned).reason == reason


def test_an_unreadable_machine_runs_the_baseline_unthrottled() -> None:
    decision = decide(sample(95, 95, problem="gone"), Policy(), current=20)
    assert (decision.parallelism, decision.throttle) == (5, 0.0)
