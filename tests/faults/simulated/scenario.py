"""What a seed decides: convoys, what the operator does, how each engine ends, what goes wrong."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from aisquad_core.api import StopMode
from aisquad_core.model import Operation
from aisquad_core.settings import AgentProfile, Settings
from tests.faults.simulated.runner import Troubles
from tests.faults.simulated.storage import Fault, Point

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_AGENTS = ("shell", "narrow", "rated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Convoy:
    """What is launched."""

    operations: tuple[Operation, ...]
    stop_on_first_failure: bool
    timeout_s: float | None


class Deed(StrEnum):
    """What an operator, or the machine, does."""

    LAUNCH = "launch"
    CANCEL_ITEMS = "cancel items"
    CANCEL_CONVOY = "cancel a convoy"
    RETRY = "retry"
    PAUSE = "pause"
    RESUME = "resume"
    PIN = "set the parallelism"
    LOAD = "load"


_WEIGHTS: Mapping[Deed, int] = {
    Deed.CANCEL_ITEMS: 3,
    Deed.CANCEL_CONVOY: 1,
    Deed.RETRY: 3,
    Deed.PAUSE: 2,
    Deed.RESUME: 3,
    Deed.PIN: 1,
    Deed.LOAD: 2,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A deed and when."""

    deed: Deed
    after_s: float
    """Seconds after the engine begins."""
    seed: int
    """Decides the rest, by what is there then."""
    convoy: Convoy | None = None
    """For a launch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One engine."""

    is_resuming: bool = True
    acts: tuple[Act, ...] = ()
    faults: Mapping[int, Fault] = field(default_factory=dict)
    """By the number of the commit."""
    troubles: Troubles = field(default_factory=Troubles)
    dies_at: tuple[Point, int] | None = None
    """A point and the how many-th pass of it; None: at its end."""
    lasts_s: float = 60.0
    stop: StopMode | None = None
    """How it is stopped at its end; None: it dies."""
    pause_s: float = 0.0
    """Seconds until the next engine begins."""
    has_reboot: bool = False
    """Whether the machine is restarted before the next engine begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Everything that a seed decides."""

    seed: int
    baseline: int
    most: int
    is_auto: bool
    grace_s: float
    narrow: int
    """How many operations of the agent `narrow` run at once."""
    rate_limit: int
    """Starts a minute of the agent `rated`."""
    rate_burst: int
    lives: tuple[Life, ...]

    def settings(self, state_dir: Path) -> Settings:
        """Return what the operator set."""
        return Settings(
            workstate_db=state_dir / "workstate.db",
            baseline_parallelism=self.baseline,
            max_parallelism=self.most,
            enable_auto_tuning=self.is_auto,
            enable_metrics=False,
            grace_s=self.grace_s,
            tick_s=2.0,
            pool_size=4,
            agents={
                "shell": AgentProfile(name="shell"),
                "narrow": AgentProfile(name="narrow", max_parallel=self.narrow),
                "rated": AgentProfile(
                    name="rated", rate_limit=self.rate_limit, rate_burst=self.rate_burst
                ),
            },
        )


def make_scenario(seed: int) -> Scenario:
    """Decide everything."""
    chance = random.Random(seed)
    baseline = chance.randint(1, 4)
    lives = chance.choice([1, 1, 2, 2, 3, 4])
    return Scenario(
        seed=seed,
        baseline=baseline,
        most=baseline + chance.randint(0, 4),
        is_auto=chance.random() < 0.7,
        grace_s=chance.choice([0.0, 0.5, 2.0, 5.0]),
        narrow=chance.randint(1, 2),
        rate_limit=chance.choice([60, 120, 600]),
        rate_burst=chance.randint(1, 4),
        lives=tuple(_make_life(chance, number) for number in range(lives)),
    )


def _make_life(chance: random.Random, number: int) -> Life:
    launches = chance.randint(1, 3) if number == 0 else chance.choice([0, 0, 1])
    lasts_s = chance.uniform(0.5, 12.0)
    acts = [
        Act(
            deed=Deed.LAUNCH,
            after_s=0.0 if each == number == 0 else chance.uniform(0, lasts_s / 2),
            seed=chance.getrandbits(32),
            convoy=_make_convoy(chance),
        )
        for each in range(launches)
    ]
    for deed in chance.choices([*_WEIGHTS], [*_WEIGHTS.values()], k=chance.choice([0, 1, 3, 6])):
        after_s = chance.uniform(0, lasts_s)
        acts.append(Act(deed=deed, after_s=after_s, seed=chance.getrandbits(32)))
    dies_at = None
    if chance.random() < 0.65:
        point = chance.choice([*Point])
        dies_at = point, int(chance.paretovariate(0.6))
    stop = chance.choice([None, *StopMode]) if dies_at is None else None
    faults = {}
    if chance.random() < 0.5:
        for _ in range(chance.randint(1, 4)):
            begin = chance.randint(1, 60)
            fault = chance.choice([*Fault])
            faults.update({begin + n: fault for n in range(chance.choice([1, 1, 2, 5]))})
    is_troubled = chance.random() < 0.4
    return Life(
        is_resuming=chance.random() < 0.85,
        acts=tuple(acts),
        faults=faults,
        troubles=Troubles(
            folder=chance.choice([0.0, 0.1]),
            fork=chance.choice([0.0, 0.1]),
            for_good=0.3,
            contest=chance.choice([0.0, 0.4]),
        )
        if is_troubled
        else Troubles(),
        dies_at=dies_at,
        lasts_s=lasts_s,
        stop=stop,
        pause_s=chance.choice([0.0, 0.01, 0.3, chance.uniform(0, 5)]),
        has_reboot=chance.random() < 0.05,
    )


def _make_convoy(chance: random.Random) -> Convoy:
    count = chance.choice([1, 3, 6, 6, 12])
    wish = {
        "slow_launchers": chance.choice([0.0, 0.3, 0.6]),
        "failures": chance.choice([0.0, 0.1, 0.5]),
        "stubborn": chance.choice([0.0, 0.2]),
        "killed": chance.choice([0.0, 0.0, 0.2]),
    }
    density = chance.choice([0.0, 0.5, 1.0])
    operations = []
    for number in range(count):
        below = [f"op-{each}" for each in range(number)]
        has_needs = below and chance.random() < density
        needs = chance.sample(below, min(len(below), chance.randint(1, 2))) if has_needs else []
        operations.append(
            Operation(
                id=f"op-{number}",
                argv=("true",),
                agent_id=chance.choice(_AGENTS),
                needs=tuple(needs),
                priority=chance.choice([0, 0, 5]),
                timeout_s=chance.choice([None, None, chance.uniform(0.3, 3.0)]),
                retries=chance.choice([0, 0, 1, 3]),
                retry_delay_s=chance.uniform(0.1, 2.0),
                metadata={**wish, "duration_s": chance.choice([0.01, 0.3, 1.5, 4.0])},
            )
        )
    return Convoy(
        operations=tuple(operations),
        stop_on_first_failure=chance.random() < 0.2,
        timeout_s=chance.uniform(1.0, 12.0) if chance.random() < 0.15 else None,
    )


def make_small_scenario(number: int, end: Fault | Point, life: int) -> Scenario:
    """Decide what happens around one commit that does not succeed.

    Args:
        number: Of the commit, from 1.
        end: How it fails, or at which point of it the engine dies.
        life: 0: of the first engine; 1: of the second one, which takes over from the first.
    """
    first = Life(acts=_SMALL_ACTS, lasts_s=4.0)
    second = Life(lasts_s=6.0, stop=StopMode.DRAIN)
    if isinstance(end, Fault):
        struck: dict[str, Any] = {"faults": {number: end}}
    else:
        struck = {"dies_at": (end, number)}
    lives = (replace(first, **struck),) if life == 0 else (first, replace(second, **struck))
    return Scenario(
        seed=0,
        baseline=2,
        most=3,
        is_auto=True,
        grace_s=0.5,
        narrow=1,
        rate_limit=600,
        rate_burst=2,
        lives=lives,
    )


def _make_operation(name: str, *needs: str, failures: float = 0.0, **rest: Any) -> Operation:  # noqa: ANN401 - as Operation takes them
    wish = {"slow_launchers": 0.0, "failures": failures, "stubborn": 0.0, "killed": 0.0}
    return Operation(
        id=name, argv=("true",), needs=needs, metadata={**wish, "duration_s": 0.7}, **rest
    )


_SMALL = Convoy(
    operations=(
        _make_operation("first"),
        _make_operation("second", "first", agent_id="narrow"),
        _make_operation("failing", "first", failures=1.0, retries=1, retry_delay_s=0.2),
        _make_operation("doomed", "failing"),
        _make_operation("last", "second", agent_id="rated"),
    ),
    stop_on_first_failure=False,
    timeout_s=None,
)
_SMALL_ACTS = (
    Act(deed=Deed.LAUNCH, after_s=0.0, seed=1, convoy=_SMALL),
    Act(deed=Deed.PAUSE, after_s=0.4, seed=2),
    Act(deed=Deed.RESUME, after_s=1.5, seed=3),
    Act(deed=Deed.CANCEL_ITEMS, after_s=2.4, seed=4),
    Act(deed=Deed.RETRY, after_s=3.2, seed=5),
)
