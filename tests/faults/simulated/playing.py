"""Plays one scenario: engine after engine on one state folder, until everything has ended."""

from __future__ import annotations

import asyncio
import random
import traceback
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from aisquad_core.engine import Engine
from aisquad_core.errors import StorageError
from aisquad_core.state.workstate import WorkState
from aisquad_core.testing import FakeSampler
from tests.faults.simulated.audit import ADMISSION_S, Audit, Wishes
from tests.faults.simulated.loop import Halt, LoopClock, Stuck, VirtualLoop
from tests.faults.simulated.operator import Operator
from tests.faults.simulated.runner import SimulatedRunner
from tests.faults.simulated.scenario import Life, Scenario
from tests.faults.simulated.storage import Disk, Point
from tests.faults.simulated.world import Violation, World

if TYPE_CHECKING:
    from pathlib import Path

    from aisquad_core.execution.runner import StartRequest
    from aisquad_core.model import RunUpdate
    from tests.faults.simulated.world import Start

_GRAVES: list[object] = []
"""The tasks of engines that died: freed, they would run what they mean to do at their end."""


class EngineDied(Halt):
    """The engine's process has stopped."""


@dataclass(kw_only=True)
class Played:
    """What came of a scenario."""

    name: str
    problem: str | None = None
    trace: list[str] = field(default_factory=list)
    """What happened last."""
    digest: int = 0
    """Of everything that happened: the same each time that it is played."""
    starts: int = 0
    deaths: int = 0
    faults: int = 0
    """Commits that failed."""
    commits: list[int] = field(default_factory=list)
    """Of each engine, those that failed too."""
    virtual_s: float = 0.0


class Plant(StrEnum):
    """A defect that the simulation must find."""

    NO_CLAIMS = "launchers ignore claims"
    EARLY_NEWS = "changes are acknowledged before their commit"


class _Hasty(WorkState):
    """Acknowledges before the commit."""

    def run_update(self, update: RunUpdate) -> asyncio.Future[int]:
        super().run_update(update).add_done_callback(lambda future: future.exception())
        told: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        told.set_result(update.expected_version + 1)
        return told


class Simulation:
    """Plays one scenario.

    Args:
        scenario: It.
        folder: Empty; everything durable is kept there.
        plant: What is to go wrong on purpose.
    """

    def __init__(self, scenario: Scenario, folder: Path, *, plant: Plant | None = None) -> None:
        self._scenario = scenario
        self._settings = scenario.settings(folder / "state")
        self._plant = plant
        self._world = World(scenario.seed, ignores_claims=plant is Plant.NO_CLAIMS)
        self._wishes = Wishes()
        self._audit = Audit(self._world, self._wishes)
        self._world.owners = self._audit
        self._chance = random.Random(f"{scenario.seed}/chance")
        self._disk = Disk(
            self._settings.workstate_db,
            chance=self._chance,
            pass_point=self._pass_point,
            is_due=self._is_due,
            committed=self._audit.read,
            note=self._world.note,
        )
        self._life = Life()
        self._passes = 0
        self._engine: Engine | None = None
        self._operator: Operator | None = None
        self._starts_by_agent: dict[str, list[float]] = {}
        self.played = Played(name=f"seed {scenario.seed}")

    def play(self) -> Played:
        """Play it to its end."""
        try:
            for number, life in enumerate(self._scenario.lives):
                self._live(life, number)
                self._world.pass_time(life.pause_s)
                if life.has_reboot:
                    self._world.reboot()
            self._live(Life(), None)
            self._audit.reopen(self._disk.database, may_differ=False)
            self._audit.check_quiet()
        except Violation as violation:
            self.played.problem = str(violation)
        except Stuck as stuck:
            self.played.problem = f"stuck: {stuck}"
        except Exception as error:
            self.played.problem = "".join(traceback.format_exception(error))
        self.played.trace = list(self._world.trace)
        self.played.digest = self._world.digest
        self.played.starts = len(self._world.starts)
        self.played.virtual_s = self._world.now_s
        return self.played

    def _live(self, life: Life, number: int | None) -> None:
        """Let one engine live, the last one (no number) until all is done."""
        self._world.note(f"engine {number} begins")
        self._life, self._passes, self._engine = life, 0, None
        self._audit.reopen(self._disk.database, may_differ=self._disk.was_torn)
        self._disk.begin(life.faults)
        self._starts_by_agent = {}
        self._wishes.resuming.clear()
        self._wishes.held = set()
        if not life.is_resuming:
            self._wishes.held = {
                each.convoy_id for each in self._audit.convoys.values() if not each.status.is_final
            }
        chance = random.Random(f"{self._scenario.seed}/{number}")
        loop = VirtualLoop(begin_s=self._world.now_s, chance=chance)
        loop.set_exception_handler(self._note_error)
        sampler, clock = FakeSampler(), LoopClock(loop)
        runner = SimulatedRunner(
            self._world,
            loop,
            chance=chance,
            troubles=life.troubles,
            pass_point=self._pass_point,
            preparing=self._check_admission,
        )

        async def main() -> None:
            make = _Hasty if self._plant is Plant.EARLY_NEWS else WorkState
            state = make(
                self._settings.workstate_db, clock=clock, pool_size=4, connect=self._disk.connect
            )
            self._engine = engine = Engine(
                self._settings,
                is_resuming=life.is_resuming,
                clock=clock,
                sampler=sampler,
                runner=runner,
                state=state,
                chance=chance,
            )
            self._operator = Operator(
                engine,
                clock=clock,
                sampler=sampler,
                world=self._world,
                audit=self._audit,
                wishes=self._wishes,
            )
            await self._operate(engine, self._operator, life, is_last=number is None)

        self._world.enter(loop, runner)
        try:
            loop.run_until_complete(main())
        except EngineDied:
            self.played.deaths += 1
            self._world.leave()
            self._bury(loop)
        else:
            self._world.leave()
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
        self.played.commits.append(self._disk.commits)
        self.played.faults += len(life.faults) - len(self._disk.faults)

    async def _operate(
        self, engine: Engine, operator: Operator, life: Life, *, is_last: bool
    ) -> None:
        try:
            await engine.__aenter__()
        except StorageError as error:
            if not life.faults:
                raise
            self._world.note(f"the engine cannot begin: {error}")
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                deeds = [tasks.create_task(operator.watch())]
                operator.check_launched()
                if is_last:
                    await operator.finish()
                else:
                    deeds += [tasks.create_task(operator.act(act)) for act in life.acts]
                    await asyncio.sleep(life.lasts_s)
                    if life.stop is None:
                        asyncio.get_running_loop().call_soon(self._die)
                        await asyncio.sleep(1)
                    self._world.note(f"engine stops: {life.stop}")
                if life.stop is not None:
                    await engine.stop(life.stop)
                for deed in deeds:
                    deed.cancel()
        finally:
            await engine.__aexit__(None, None, None)

    # Death

    def _is_due(self, point: Point) -> bool:
        """Whether the engine dies when it passes a point next."""
        dies_at = self._life.dies_at
        if dies_at is None or self._passes + 1 < dies_at[1]:
            return False
        return point is dies_at[0] or (dies_at[0] is Point.IN_RECOVERY and self._is_recovering())

    def _is_recovering(self) -> bool:
        return self._engine is not None and self._engine._stage.phase == "recovering"

    def _pass_point(self, point: Point) -> None:
        dies_at = self._life.dies_at
        if dies_at is None:
            return
        is_it = point is dies_at[0]
        if is_it or (dies_at[0] is Point.IN_RECOVERY and self._is_recovering()):
            self._passes += 1
            if self._passes == dies_at[1]:
                self._world.note(f"the engine dies {point}, time {dies_at[1]}")
                raise EngineDied

    def _die(self) -> None:
        self._world.note("the engine dies")
        raise EngineDied

    def _bury(self, loop: VirtualLoop) -> None:
        """Leave of an engine what its process would leave: its files."""
        _GRAVES.extend(asyncio.all_tasks(loop))
        loop.set_exception_handler(lambda *_: None)
        self._disk.crash(loop.databases)
        if self._engine is not None:
            self._engine._folder.release()  # the kernel would let go of its lock
        loop.close()

    # Checks

    def _check_admission(self, request: StartRequest, holders: list[Start]) -> None:
        """Judge a start by what holds slots now."""
        assert self._engine is not None
        assert self._operator is not None
        loop = asyncio.get_running_loop()
        now_s, world = loop.time(), self._world
        recent = [size for at_s, size in self._operator.sizes if at_s >= now_s - ADMISSION_S]
        size = max(self._engine._governor._semaphore.size, *recent, 0)
        if len(holders) >= size:
            world.fail(f"{request.ref} starts, {len(holders)} run, the semaphore has {size}")
        agent_id = request.operation.agent_id
        if agent_id == "narrow":
            count = sum(each.agent_id == agent_id for each in holders)
            if count >= self._scenario.narrow:
                world.fail(f"{request.ref} starts beside {count} of its agent")
        if agent_id == "rated":
            times = self._starts_by_agent.setdefault(agent_id, [])
            times.append(now_s)
            burst, rate = self._scenario.rate_burst, self._scenario.rate_limit / 60
            for place, at_s in enumerate(times):
                if len(times) - place > burst + rate * (now_s - at_s + ADMISSION_S) + 1e-6:
                    world.fail(f"{request.ref}: {len(times) - place} starts since {at_s}")

    def _note_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        error = context.get("exception")
        text = "".join(traceback.format_exception(error)) if isinstance(error, Exception) else ""
        self._world.note(f"ERROR: {context.get('message')} {text}")
        self.played.problem = f"{context.get('message')} {text}"
