"""What clients ask of the engine, found in memory or in the work state and handed to its part."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from aisquad_core.api import Outcome
from aisquad_core.errors import EngineStoppedError, InputError
from aisquad_core.execution import dependencies
from aisquad_core.execution.admission import new_convoy_id
from aisquad_core.execution.ledger import describe_end
from aisquad_core.execution.views import view_convoy, view_record
from aisquad_core.model import ConvoyRecord, ConvoyStatus

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from aisquad_core.api import ConvoyView
    from aisquad_core.clock import Clock
    from aisquad_core.execution.admission import Admission
    from aisquad_core.execution.environment import EnvironmentStore
    from aisquad_core.execution.executor import ConvoyExecutor
    from aisquad_core.execution.ledger import Ledger
    from aisquad_core.execution.picture import Picture
    from aisquad_core.execution.recovery import Recovery
    from aisquad_core.execution.scheduler import ConvoyState, Scheduler, Task
    from aisquad_core.execution.steering import Cancel, Steering
    from aisquad_core.model import ItemKey, Operation, WorkItem
    from aisquad_core.settings import AgentProfile
    from aisquad_core.spec import ConvoyPlan, ConvoySource
    from aisquad_core.state.reader import Reader

_RETRIED = "it has just been retried"
_CANCELLING = "its convoy is being cancelled: retry it when that has ended"


class Commands:
    """Launches convoys and steers them, whether they are in memory or have ended.

    Args:
        reader: The work state.
        scheduler: The convoys in memory.
        admission: Takes new convoys.
        steering: Changes what convoys do.
        recovery: Brings ended convoys back into memory.
        executor: Forgets environments that change.
        environments: Keeps them.
        ledger: Its lock is held while a convoy is opened again.
        picture: Knows the ended convoys.
        agents: Profiles by name.
        clock: Time.
        chance: Gives the suffixes of ids.
    """

    def __init__(
        self,
        *,
        reader: Reader,
        scheduler: Scheduler,
        admission: Admission,
        steering: Steering,
        recovery: Recovery,
        executor: ConvoyExecutor,
        environments: EnvironmentStore,
        ledger: Ledger,
        picture: Picture,
        agents: Mapping[str, AgentProfile],
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self._reader = reader
        self._scheduler = scheduler
        self._admission = admission
        self._steering = steering
        self._recovery = recovery
        self._executor = executor
        self._environments = environments
        self._ledger = ledger
        self._picture = picture
        self._agents = agents
        self._clock = clock
        self._chance = chance

    async def launch(
        self, source: ConvoySource, *, env: Mapping[str, str], cwd: str, is_patient: bool
    ) -> str:
        """Commit the convoy of a file or an ad-hoc command; return its id."""
        planned, origin = await asyncio.to_thread(self._plan, source, cwd)
        record = replace(
            self.new_record(planned.name, total=planned.total, cwd=cwd),
            stop_on_first_failure=planned.stop_on_first_failure,
            timeout_s=planned.timeout_s,
            source=origin,
        )
        return await self.launch_record(
            record, planned.operations(), env=env, is_patient=is_patient
        )

    def _plan(self, source: ConvoySource, cwd: str) -> tuple[ConvoyPlan, str | None]:
        """Return what a source would run, and the file that it is; blocks."""
        from aisquad_core.spec import SpecSource, plan  # noqa: PLC0415 - a start does not pay

        origin = source.origin if isinstance(source, SpecSource) else None
        return plan(source, agents=self._agents, cwd=cwd), origin

    async def launch_record(
        self,
        record: ConvoyRecord,
        operations: Iterable[Operation],
        *,
        env: Mapping[str, str],
        calls: Mapping[str, Callable[[], Awaitable[object]]] | None = None,
        is_patient: bool = False,
    ) -> str:
        """Commit a convoy and let it start; return its id."""
        async with self._admission.place(is_patient=is_patient):
            await self._keep_environment(record.id, env)
            try:
                convoy = await self._admission.admit(record, operations, calls)
            except BaseException:
                await self._environments.forget(record.id)
                raise
        self._picture.convoy_changed(convoy)
        return record.id

    def new_record(self, name: str, *, total: int, cwd: str) -> ConvoyRecord:
        """Return the record of a new convoy, with an id of its own."""
        now = self._clock.now()
        return ConvoyRecord(
            id=new_convoy_id(name, self._chance),
            name=name,
            status=ConvoyStatus.PENDING,
            created_at=now,
            updated_at=now,
            total=total,
            cwd=cwd,
        )

    async def cancel(self, targets: Sequence[ItemKey] | str, *, grace_s: float | None) -> Cancel:
        """Begin to cancel items, or the whole convoy whose id is given."""
        if isinstance(targets, str):
            convoy = await self._find(targets)
            if convoy is None:
                refused = {targets: "it has ended"}
                return await self._steering.cancel_items((), refused=refused)
            return await self._steering.cancel_convoy(convoy, grace_s=grace_s)
        tasks, refused = [], {}
        for key in targets:
            await self._admission.until_admitted(key.convoy_id)
            task = self._scheduler.get(key)
            if task is not None:
                tasks.append(task)
            else:
                item = await self._reader.item(key)
                refused[str(key)] = f"it is {item.status.word}"
        return await self._steering.cancel_items(tasks, grace_s=grace_s, refused=refused)

    async def retry(self, targets: Sequence[ItemKey], *, env: Mapping[str, str] | None) -> Outcome:
        """Put ended items back, and what was skipped because of them."""
        by_convoy: dict[str, list[WorkItem]] = {}
        refused: dict[str, str] = {}
        for key in dict.fromkeys(targets):
            item = await self._reader.item(key)
            if not item.status.is_final:
                refused[str(key)] = f"it is {item.status.word}"
            elif item.operation is None:
                refused[str(key)] = "it was an async callable of a script that has ended"
            else:
                by_convoy.setdefault(key.convoy_id, []).append(item)
        changed: list[ItemKey] = []
        for convoy_id, items in by_convoy.items():
            async with self._ledger.convoy_ends:
                left_alone = await self._retry_in(convoy_id, items, env)
            changed += [item.key for item in items if item.key not in left_alone]
            refused |= {str(key): reason for key, reason in left_alone.items()}
        return Outcome(changed=tuple(changed), refused=refused)

    async def pause(self, convoy_id: str) -> None:
        """Start nothing more of a convoy; nothing happens if it has ended."""
        convoy = await self._find(convoy_id)
        if convoy is not None:
            await self._steering.pause(convoy)

    async def resume(self, convoy_id: str, *, env: Mapping[str, str] | None) -> None:
        """Let a paused or interrupted convoy start again; nothing happens if it has ended."""
        convoy = await self._find(convoy_id)
        if convoy is not None:
            if env is not None:
                await self._keep_environment(convoy_id, env)
            await self._steering.resume(convoy)

    async def wait(
        self, convoy_ids: Sequence[str], *, is_any: bool, timeout_s: float | None
    ) -> tuple[ConvoyView, ...]:
        """Return the convoys when all (or one) of them have ended."""
        for convoy_id in convoy_ids:
            await self._find(convoy_id)
        # Looked at without an await in between: nobody waits for a convoy that ended meanwhile.
        running = [each for each in convoy_ids if each in self._scheduler.convoys]
        if running and not (is_any and len(running) < len(convoy_ids)):
            done, _ = await asyncio.wait(
                [self._picture.end_of(convoy_id) for convoy_id in running],
                timeout=timeout_s,
                return_when=asyncio.FIRST_COMPLETED if is_any else asyncio.ALL_COMPLETED,
            )
            if not done or (not is_any and len(done) < len(running)):
                raise TimeoutError(f"not ended after {timeout_s:g} s: {', '.join(running)}")
            if self._picture.is_closed:
                raise EngineStoppedError("the engine stopped before they ended")
        return tuple([await self._view(convoy_id) for convoy_id in convoy_ids])

    async def _retry_in(
        self, convoy_id: str, items: Sequence[WorkItem], env: Mapping[str, str] | None
    ) -> dict[ItemKey, str]:
        """Put items of a convoy back; return those that were left alone, with the reason."""
        convoy = self._scheduler.convoys.get(convoy_id)
        has_ended = convoy is None
        if convoy is None:
            if env is None:
                raise InputError(
                    f"convoy {convoy_id} has ended and its environment is no longer kept: "
                    "a retry must bring one"
                )
            convoy = await self._recovery.load(await self._reader.convoy(convoy_id))
            self._picture.reopened(convoy_id)
        elif convoy.record.stopping is not None:
            return {item.key: _CANCELLING for item in items}
        found = [await self._find_ended(convoy.tasks[item.id], item) for item in items]
        ended = [item for item in found if item is not None]
        left_alone = {item.key: _RETRIED for item in items}
        obstacles = dependencies.waiting_in_vain(convoy, {convoy.tasks[item.id] for item in ended})
        retried: list[WorkItem] = []
        for item in ended:
            obstacle = obstacles.get(convoy.tasks[item.id])
            if obstacle is None:
                retried.append(item)
                del left_alone[item.key]
            else:
                end = describe_end(obstacle.status)
                left_alone[item.key] = f"it needs {obstacle.item_id}, which {end}: retry that, too"
        if retried:
            if env is not None:
                await self._keep_environment(convoy_id, env)
            await self._steering.retry(convoy, retried)
        elif has_ended:
            self._picture.convoy_ended(convoy)
            self._ledger.put_away(convoy)
        return left_alone

    async def _find_ended(self, task: Task, item: WorkItem) -> WorkItem | None:
        """Return an item as it has ended; None if it has been retried since it was read."""
        if task.version == item.version:
            return item
        stored = await self._reader.item(item.key)
        if not stored.status.is_final:
            return None
        if task.is_live:  # its end is committed, and on its way into memory
            await self._executor.runs[task].settled.wait()
        return stored

    async def _keep_environment(self, convoy_id: str, env: Mapping[str, str]) -> None:
        of_agents = {name: agent.env for name, agent in self._agents.items() if agent.env}
        await self._environments.save(convoy_id, env, of_agents)
        self._executor.forget_environment(convoy_id)

    async def _find(self, convoy_id: str) -> ConvoyState | None:
        """Return a convoy in memory; None if it has ended.

        Raises:
            NotFoundError: There is none of that id.
        """
        convoy = self._scheduler.convoys.get(convoy_id)
        if convoy is None and self._picture.ended(convoy_id) is None:
            await self._reader.convoy(convoy_id)
            await self._admission.until_admitted(convoy_id)
            convoy = self._scheduler.convoys.get(convoy_id)
        return convoy

    async def _view(self, convoy_id: str) -> ConvoyView:
        convoy = self._scheduler.convoys.get(convoy_id)
        if convoy is not None:
            return view_convoy(convoy, self._clock.monotonic())
        ended = self._picture.ended(convoy_id)
        if ended is not None:
            return ended
        record = await self._reader.convoy(convoy_id)
        return view_record(record, await self._reader.counts(convoy_id))
