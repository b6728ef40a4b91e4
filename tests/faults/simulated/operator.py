"""The operator of a simulated engine: does what the scenario says and checks what it is told."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from aisquad_core.api import EngineState, ItemChanged, Resized
from aisquad_core.errors import AISquadError
from aisquad_core.model import ConvoyStatus, ItemKey, WorkStatus
from tests.faults.simulated.scenario import Deed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_core.engine import Engine
    from aisquad_core.testing import FakeSampler
    from tests.faults.simulated.audit import Audit, Wishes
    from tests.faults.simulated.loop import LoopClock
    from tests.faults.simulated.scenario import Act, Convoy
    from tests.faults.simulated.world import World

ENV = {"PATH": "/bin"}
_ENOUGH_S = 1_500.0
_LATE_S = 5.0
"""Longer than the slowest launcher takes to find that it is not wanted."""


class Operator:
    """Uses one engine.

    Args:
        engine: It.
        clock: Its clock.
        sampler: The load that it sees.
        world: Where the trace goes.
        audit: The durable truth.
        wishes: What was asked for in all the engines' lives.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        clock: LoopClock,
        sampler: FakeSampler,
        world: World,
        audit: Audit,
        wishes: Wishes,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._sampler = sampler
        self._world = world
        self._audit = audit
        self._wishes = wishes
        self.sizes: list[tuple[float, int]] = []
        """When the semaphore had which size until then."""

    async def watch(self) -> None:
        """Follow the engine's events; none may tell what is not durable."""
        async with self._engine.subscribe() as news:
            seq = -1
            async for each in news:
                if each.seq < seq:
                    self._world.fail(f"event {each.seq} came after {seq}")
                seq = each.seq
                if isinstance(each, Resized):
                    self._world.note(f"parallelism {each.previous} -> {each.parallelism}")
                    self.sizes.append((self._clock.monotonic(), each.previous))
                elif isinstance(each, EngineState):
                    self._world.note(f"engine: {each.engine.phase}, {each.engine.trouble}")
                elif isinstance(each, ItemChanged):
                    row = self._audit.items[ItemKey(each.item.convoy_id, each.item.id)]
                    if each.item.version > row.version:
                        self._world.fail(f"{each.item} was shown before it was durable: {row}")

    async def act(self, act: Act) -> None:
        """Do one thing in its time."""
        await self._clock.sleep(act.after_s)
        try:
            await self._do(act, random.Random(act.seed))
        except (AISquadError, TimeoutError) as error:
            self._world.note(f"operator: {act.deed} refused: {type(error).__name__}: {error}")

    async def _do(self, act: Act, chance: random.Random) -> None:
        if act.deed is Deed.LAUNCH:
            assert act.convoy is not None
            await self._launch(act.convoy)
        elif act.deed is Deed.LOAD:
            self._sampler.cpu_percent = chance.uniform(0, 100)
            self._sampler.memory_percent = chance.uniform(0, 100)
        elif act.deed is Deed.PIN:
            size = await self._engine.set_parallelism(chance.choice([None, 1, 2, 7]))
            self._world.note(f"operator: parallelism {size}")
        elif self._audit.convoys:
            convoy_id = chance.choice([*self._audit.convoys])
            keys = [key for key in self._audit.items if key.convoy_id == convoy_id]
            some = chance.sample(keys, chance.randint(1, len(keys)))
            await self._steer(act.deed, convoy_id, some, is_kill=chance.random() < 0.3)

    async def _launch(self, convoy: Convoy) -> None:
        self._world.note(f"operator: launch {len(convoy.operations)}")
        convoy_id = await self._engine.launch_operations(
            "work",
            convoy.operations,
            {},
            env=ENV,
            cwd="/",
            stop_on_first_failure=convoy.stop_on_first_failure,
            timeout_s=convoy.timeout_s,
        )
        self._world.note(f"operator: launched {convoy_id}")
        self._wishes.launched[convoy_id] = len(convoy.operations)
        self.check_launched()

    def check_launched(self) -> None:
        """Nothing of an acknowledged launch may be missing."""
        for convoy_id, total in self._wishes.launched.items():
            convoy = self._audit.convoys.get(convoy_id)
            if convoy is None or convoy.total != total:
                self._world.fail(f"{convoy_id} was acknowledged with {total}, durable is {convoy}")

    async def _steer(
        self, deed: Deed, convoy_id: str, keys: Sequence[ItemKey], *, is_kill: bool
    ) -> None:
        names = ", ".join(key.item_id for key in keys)
        self._world.note(f"operator: {deed} {convoy_id} {names}")
        wishes = self._wishes
        match deed:
            case Deed.CANCEL_ITEMS:
                wishes.cancels.update(keys)
                outcome = await self._engine.cancel(keys, is_kill=is_kill)
                self._check(outcome.changed, WorkStatus.CANCELLED)
            case Deed.CANCEL_CONVOY:
                wishes.cancels.add(convoy_id)
                outcome = await self._engine.cancel(convoy_id, is_kill=is_kill)
                self._check(outcome.changed, WorkStatus.CANCELLED)
            case Deed.RETRY:
                before = {key: self._audit.items[key].attempt for key in keys}
                wishes.retries.update(keys)
                self._go_on(convoy_id)
                wishes.retried_convoys.add(convoy_id)
                outcome = await self._engine.retry(keys, env=ENV)
                wishes.resuming[convoy_id] -= 1
                for key in outcome.changed:
                    if self._audit.items[key].attempt <= before[key]:
                        self._world.fail(f"the retry of {key} was acknowledged, but is not there")
            case Deed.PAUSE:
                begun = wishes.resumes[convoy_id]
                await self._engine.pause(convoy_id)
                convoy = self._audit.convoys[convoy_id]
                # A launch that was not acknowledged may be there, and unknown to this engine.
                is_contested = convoy_id not in wishes.launched or wishes.resuming[convoy_id] > 0
                is_contested = is_contested or wishes.resumes[convoy_id] > begun
                if convoy.status is ConvoyStatus.PAUSED and not is_contested:
                    wishes.paused[convoy_id] = self._clock.monotonic()
                elif not is_contested and self._audit.is_unfinished(convoy_id):
                    self._world.fail(f"the pause of {convoy} was acknowledged")
            case Deed.RESUME:
                self._go_on(convoy_id)
                await self._engine.resume(convoy_id, env=ENV)
                wishes.resuming[convoy_id] -= 1
        self._world.note(f"operator: {deed} {convoy_id} is done")

    def _go_on(self, convoy_id: str) -> None:
        self._wishes.paused.pop(convoy_id, None)
        self._wishes.held.discard(convoy_id)
        self._wishes.resuming[convoy_id] += 1
        self._wishes.resumes[convoy_id] += 1

    def _check(self, keys: Sequence[ItemKey], status: WorkStatus) -> None:
        for key in keys:
            row = self._audit.items[key]
            if row.status is not status and not self._wishes.retries[key]:
                self._world.fail(f"{key} was acknowledged as {status}, durable is {row}")

    async def finish(self) -> None:
        """Let everything go on, and wait until it has ended."""
        unfinished = [each.convoy_id for each in self._audit.convoys.values()]
        for convoy_id in unfinished:
            self._go_on(convoy_id)
            await self._engine.resume(convoy_id, env=ENV)
        try:
            views = await self._engine.wait(unfinished, timeout_s=_ENOUGH_S)
        except TimeoutError as error:
            page = [row for row in self._audit.items.values() if not row.status.is_final]
            self._world.fail(f"{error}; left: {page}")
            return
        for view in views:
            if view.status is not self._audit.convoys[view.id].status:
                self._world.fail(f"{view} is shown, durable is {self._audit.convoys[view.id]}")
            if view.counts.total != self._audit.convoys[view.id].total:
                self._world.fail(f"{view} does not add up")
        await self._clock.sleep(_LATE_S)
        for start in self._world.alive():
            self._world.fail(f"{start} is left over")
