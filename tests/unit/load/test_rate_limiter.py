"""Token buckets: never too many, never too late, one for each agent."""

from __future__ import annotations

import asyncio
import math
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisquad_core.load.rate_limiter import Quota, RateLimiter
from aisquad_core.settings import BUILT_IN_AGENTS, AgentProfile, Settings
from aisquad_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Sequence

QUOTAS = st.builds(
    Quota, per_minute=st.floats(0.1, 100_000, allow_nan=False), burst=st.integers(1, 50)
)
ATTEMPTS = st.lists(st.tuples(st.floats(0, 100), st.integers(1, 50)), min_size=1, max_size=60)


class SetClock(FakeClock):
    """A clock that a test sets without a loop."""

    time_s = 1_000.0

    def monotonic(self) -> float:
        return self.time_s


@given(QUOTAS, ATTEMPTS)
def test_no_window_has_more_than_the_burst_and_the_rate_allow(
    quota: Quota, attempts: Sequence[tuple[float, int]]
) -> None:
    clock = SetClock()
    limiter = RateLimiter(quota, clock=clock)
    spent: list[tuple[float, int]] = []
    for pause_s, tokens in attempts:
        clock.time_s += pause_s
        if limiter.try_acquire("a", min(tokens, quota.burst)):
            spent.append((clock.time_s, min(tokens, quota.burst)))
    for first, (start_s, _) in enumerate(spent):
        in_window = 0
        for end_s, tokens in spent[first:]:
            in_window += tokens
            allowed = quota.burst + quota.per_minute / 60 * (end_s - start_s)
            assert in_window <= allowed * (1 + 1e-6)


@given(QUOTAS, ATTEMPTS)
def test_a_token_is_refused_only_while_there_is_none(
    quota: Quota, attempts: Sequence[tuple[float, int]]
) -> None:
    clock = SetClock()
    limiter = RateLimiter(quota, clock=clock)
    level, before_s = float(quota.burst), clock.time_s
    for pause_s, wanted in attempts:
        tokens = min(wanted, quota.burst)
        clock.time_s += pause_s
        level = min(quota.burst, level + (clock.time_s - before_s) * quota.per_minute / 60)
        before_s = clock.time_s
        is_close = math.isclose(level, tokens, rel_tol=1e-4, abs_tol=1e-4)
        taken = limiter.try_acquire("a", tokens)
        assert taken == (level >= tokens) or is_close
        level -= tokens * taken


@given(QUOTAS, ATTEMPTS)
def test_after_the_wait_time_the_tokens_are_there(
    quota: Quota, attempts: Sequence[tuple[float, int]]
) -> None:
    clock = SetClock()
    limiter = RateLimiter(quota, clock=clock)
    for pause_s, wanted in attempts:
        tokens = min(wanted, quota.burst)
        clock.time_s += pause_s
        wait_s = limiter.get_wait_time("a", tokens)
        assert limiter.try_acquire("a", tokens) == (wait_s == 0)
        if wait_s:
            clock.time_s += wait_s
            assert limiter.get_wait_time("a", tokens) == 0
            assert limiter.try_acquire("a", tokens)


def test_a_timer_that_fires_a_nanosecond_early_suffices() -> None:
    clock = SetClock()
    limiter = RateLimiter(Quota(per_minute=60, burst=1), clock=clock)
    assert limiter.try_acquire("a")
    clock.time_s += limiter.get_wait_time("a") - 1e-9
    assert limiter.get_wait_time("a") == 0
    assert limiter.try_acquire("a")


def test_a_calm_gives_back_the_burst_and_no_more() -> None:
    clock = SetClock()
    limiter = RateLimiter(Quota(per_minute=60, burst=3), clock=clock)
    assert [limiter.try_acquire("a") for _ in range(4)] == [True, True, True, False]
    assert limiter.get_wait_time("a") == pytest.approx(1.0)
    assert limiter.get_wait_time("a", 3) == pytest.approx(3.0)
    clock.time_s += 3_600
    assert [limiter.try_acquire("a") for _ in range(4)] == [True, True, True, False]


def test_each_agent_has_tokens_of_its_own_and_may_have_another_quota() -> None:
    overrides = {"slow": Quota(per_minute=1, burst=1), "shell": None}
    limiter = RateLimiter(Quota(per_minute=60, burst=2), overrides=overrides, clock=SetClock())
    assert [limiter.try_acquire("slow") for _ in range(2)] == [True, False]
    assert [limiter.try_acquire("a") for _ in range(3)] == [True, True, False]
    assert [limiter.try_acquire("b") for _ in range(3)] == [True, True, False]
    assert all(limiter.try_acquire("shell", 1_000) for _ in range(1_000))
    assert limiter.get_wait_time("shell") == 0


def test_without_a_quota_there_is_no_limit() -> None:
    limiter = RateLimiter(None)
    assert all(limiter.try_acquire("a") for _ in range(1_000))


@pytest.mark.parametrize(("tokens", "message"), [(0, "1 or more"), (6, "more than the burst of 5")])
async def test_tokens_that_can_never_be_had_are_refused(tokens: int, message: str) -> None:
    limiter = RateLimiter(Quota(per_minute=60, burst=5))
    with pytest.raises(ValueError, match=message):
        limiter.try_acquire("a", tokens)
    with pytest.raises(ValueError, match=message):
        limiter.get_wait_time("a", tokens)
    with pytest.raises(ValueError, match=message):
        await limiter.acquire("a", tokens)


@pytest.mark.parametrize(
    ("per_minute", "burst"), [(0, 1), (-1, 1), (math.inf, 1), (math.nan, 1), (60, 0)]
)
def test_a_quota_that_never_gives_a_token_is_refused(per_minute: float, burst: int) -> None:
    with pytest.raises(ValueError, match="positive rate and burst"):
        Quota(per_minute=per_minute, burst=burst)


def test_an_agents_memory_does_not_grow_with_its_starts() -> None:
    clock = SetClock()
    limiter = RateLimiter(Quota(per_minute=600_000, burst=100), clock=clock)
    limiter.try_acquire("a")
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(2_000):
            clock.time_s += 0.001
            limiter.try_acquire("a")
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1_000


def test_agents_that_have_all_their_tokens_are_forgotten() -> None:
    clock = SetClock()
    limiter = RateLimiter(Quota(per_minute=60, burst=2), clock=clock)
    tracemalloc.start()
    try:
        for number in range(200):
            limiter.try_acquire(f"agent-{number}")
            clock.time_s += 1
        before, _ = tracemalloc.get_traced_memory()
        for number in range(20_000):
            limiter.try_acquire(f"agent-{number}")
            clock.time_s += 1
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000


@given(st.lists(st.tuples(st.integers(0, 300), st.floats(0, 0.2)), max_size=400))
def test_forgetting_gives_no_agent_a_token_too_many(starts: Sequence[tuple[int, float]]) -> None:
    clock = SetClock()
    limiter = RateLimiter(Quota(per_minute=60, burst=2), clock=clock)
    alone = {n: RateLimiter(Quota(per_minute=60, burst=2), clock=clock) for n in range(301)}
    for number, pause_s in starts:
        assert limiter.try_acquire(f"agent-{number}") == alone[number].try_acquire("only")
        clock.time_s += pause_s


async def test_who_waits_for_tokens_is_not_forgotten() -> None:
    clock = FakeClock()
    limiter = RateLimiter(Quota(per_minute=60, burst=1), clock=clock)
    served: list[str] = []

    async def start(name: str) -> None:
        await limiter.acquire("a")
        served.append(name)

    async with asyncio.TaskGroup() as tasks:
        for name in ("first", "second", "third"):
            tasks.create_task(start(name))
        await clock.settle()
        for number in range(500):
            limiter.try_acquire(f"other-{number}")
        for _ in range(3):
            await clock.advance(1)
    assert served == ["first", "second", "third"]


async def test_acquire_serves_in_the_order_of_the_calls() -> None:
    clock = FakeClock()
    limiter = RateLimiter(Quota(per_minute=60, burst=2), clock=clock)
    served: list[tuple[str, float]] = []

    async def start(name: str, tokens: int) -> None:
        await limiter.acquire("a", tokens)
        served.append((name, clock.monotonic()))

    async with asyncio.TaskGroup() as tasks:
        for name, tokens in (("first", 2), ("second", 2), ("third", 1)):
            tasks.create_task(start(name, tokens))
        for _ in range(4):
            await clock.settle()
            await clock.advance(1)
    assert served == [("first", 0.0), ("second", 2.0), ("third", 3.0)]


async def test_cancelled_while_it_waits_acquire_spends_nothing() -> None:
    clock = FakeClock()
    limiter = RateLimiter(Quota(per_minute=60, burst=1), clock=clock)
    await limiter.acquire("a")
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(limiter.acquire("a")) for _ in range(2)]
        await clock.settle()
        for task in waiting:
            task.cancel()
    await clock.advance(1)
    assert limiter.get_wait_time("a") == 0
    await asyncio.wait_for(limiter.acquire("a"), 1)


def test_settings_give_every_agent_its_quota() -> None:
    agents = {
        **BUILT_IN_AGENTS,
        "slow": AgentProfile(name="slow", rate_limit=6),
        "eager": AgentProfile(name="eager", rate_limit=6, rate_burst=50),
        "bursty": AgentProfile(name="bursty", rate_burst=3),
    }
    settings = Settings(workstate_db=Path("/w.db"), rate_limit=100, rate_burst=20, agents=agents)
    limiter = RateLimiter.from_settings(settings)
    names = ("claude", "a script's", "slow", "eager", "bursty", "shell")
    assert [limiter.quota(name) for name in names] == [
        Quota(per_minute=100, burst=20),
        Quota(per_minute=100, burst=20),
        Quota(per_minute=6, burst=6),
        Quota(per_minute=6, burst=50),
        Quota(per_minute=100, burst=3),
        None,
    ]
    limited = replace(
        settings, agents={"shell": AgentProfile(name="shell", rate_limit=10, rate_burst=4)}
    )
    assert RateLimiter.from_settings(limited).quota("shell") == Quota(per_minute=10, burst=4)
