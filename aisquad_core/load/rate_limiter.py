"""How often an agent may start operations: a token bucket for each agent, in constant memory.

Only starts spend tokens; reading and writing the work state never does. An agent that has all its
tokens is as good as one never heard of, and is forgotten.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aisquad_core.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from aisquad_core.clock import Clock
    from aisquad_core.settings import Settings

_TOLERANCE_S = 2e-9
"""A token this close counts as there: asyncio's timers fire up to a tick of the clock early."""
_FEW_BUCKETS = 64
"""Up to so many are kept without a look at which of them are full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What one agent may start: `burst` at once, and `per_minute` in the long run."""

    per_minute: float
    burst: int

    def __post_init__(self) -> None:
        """Refuse a quota that would never give a token."""
        if not 0 < self.per_minute < float("inf") or self.burst < 1:
            raise ValueError(f"a quota needs a positive rate and burst, not {self}")


class _Bucket:
    """An agent's tokens, kept as the moment at which they will all be back."""

    __slots__ = ("full_at_s", "longest_s", "queue", "token_s")

    def __init__(self, quota: Quota) -> None:
        self.token_s = 60.0 / quota.per_minute
        """Seconds in which one token comes back."""
        self.longest_s = quota.burst * self.token_s
        """Seconds from empty to full."""
        self.full_at_s = float("-inf")
        self.queue = asyncio.Lock()
        """Those who wait for tokens do so one after the other, in the order they came."""

    def wait_s(self, tokens: int, now_s: float) -> float:
        wait_s = max(self.full_at_s, now_s) + tokens * self.token_s - self.longest_s - now_s
        return wait_s if wait_s > _TOLERANCE_S else 0.0

    def spend(self, tokens: int, now_s: float) -> None:
        self.full_at_s = max(self.full_at_s, now_s) + tokens * self.token_s

    def is_needed(self, now_s: float) -> bool:
        return self.full_at_s > now_s or self.queue.locked()


class RateLimiter:
    """Spends and counts the tokens of every agent.

    Args:
        quota: For agents without an override; None: no limit.
        overrides: Quota by agent; None: no limit for that one.
        clock: Time; None: the machine's.
    """

    def __init__(
        self,
        quota: Quota | None,
        *,
        overrides: Mapping[str, Quota | None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._quota = quota
        self._overrides = dict(overrides or {})
        self._clock: Clock = SystemClock() if clock is None else clock
        self._buckets: dict[str, _Bucket] = {}
        self._sweep_above = _FEW_BUCKETS
        """Number of buckets at which the full ones are dropped; doubles with those needed."""

    @classmethod
    def from_settings(
        cls, settings: Settings, clock: Clock | None = None, *, quota: Quota | None = None
    ) -> Self:
        """Make the limiter that settings and agent profiles ask for; `shell` has none by itself.

        Args:
            settings: What the operator set.
            clock: Time; None: the machine's.
            quota: For agents without a limit of their own; None: as the settings say.
        """
        quota = quota or Quota(per_minute=settings.rate_limit, burst=settings.rate_burst)
        overrides: dict[str, Quota | None] = {"shell": None}
        for name, profile in settings.agents.items():
            if profile.rate_limit is None and (profile.rate_burst is None or name == "shell"):
                continue
            limit = profile.rate_limit or settings.rate_limit
            burst = profile.rate_burst or min(settings.rate_burst, limit)
            overrides[name] = Quota(per_minute=limit, burst=burst)
        return cls(quota, overrides=overrides, clock=clock)

    def quota(self, agent_id: str) -> Quota | None:
        """Return what holds for an agent; None: no limit."""
        return self._overrides.get(agent_id, self._quota)

    def try_acquire(self, agent_id: str, tokens: int = 1) -> bool:
        """Spend tokens if they are there; say whether they were.

        Raises:
            ValueError: `tokens` is below 1, or over the burst and so never there at once.
        """
        bucket = self._bucket(agent_id, tokens)
        if bucket is None:
            return True
        now_s = self._clock.monotonic()
        if bucket.wait_s(tokens, now_s) > 0:
            return False
        bucket.spend(tokens, now_s)
        return True

    def get_wait_time(self, agent_id: str, tokens: int = 1) -> float:
        """Return the seconds until the tokens are there if nobody spends any; 0: they are now.

        Raises:
            ValueError: `tokens` is below 1, or over the burst and so never there at once.
        """
        bucket = self._bucket(agent_id, tokens)
        return 0.0 if bucket is None else bucket.wait_s(tokens, self._clock.monotonic())

    async def acquire(self, agent_id: str, tokens: int = 1) -> None:
        """Wait for tokens, in the order of the calls, and spend them; cancelled, it spends none.

        Raises:
            ValueError: `tokens` is below 1, or over the burst and so never there at once.
        """
        bucket = self._bucket(agent_id, tokens)
        if bucket is None:
            return
        async with bucket.queue:
            while not self.try_acquire(agent_id, tokens):
                await self._clock.sleep(self.get_wait_time(agent_id, tokens))

    def _bucket(self, agent_id: str, tokens: int) -> _Bucket | None:
        if tokens < 1:
            raise ValueError(f"tokens must be 1 or more, not {tokens}")
        quota = self.quota(agent_id)
        if quota is None:
            return None
        if tokens > quota.burst:
            raise ValueError(f"{tokens} tokens at once are more than the burst of {quota.burst}")
        bucket = self._buckets.get(agent_id)
        if bucket is None:
            if len(self._buckets) >= self._sweep_above:
                self._drop_full()
            bucket = self._buckets[agent_id] = _Bucket(quota)
        return bucket

    def _drop_full(self) -> None:
        now_s = self._clock.monotonic()
        self._buckets = {
            agent_id: bucket
            for agent_id, bucket in self._buckets.items()
            if bucket.is_needed(now_s)
        }
        self._sweep_above = max(_FEW_BUCKETS, 2 * len(self._buckets))
