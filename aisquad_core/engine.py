"""The engine: it owns every part that `assembly` makes, and carries their lifetime.

It implements `EngineAPI` on the running loop. Entering it locks the state folder; it then takes
over what an earlier engine left, and only after that lets operations start. Leaving it ends (or
leaves to the next engine) what runs, in order, and commits everything.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from aisquad_core.api import History, ItemSort, Snapshot, StopMode
from aisquad_core.assembly import Parts
from aisquad_core.clock import SystemClock
from aisquad_core.errors import InputError, StorageError
from aisquad_core.execution.background import Background
from aisquad_core.execution.queries import preview
from aisquad_core.execution.stage import stopping_error
from aisquad_core.upkeep import EVERY_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from aisquad_core.api import (
        ConvoyView,
        Event,
        ItemDetail,
        ItemFilter,
        ItemPage,
        LogChunk,
        Outcome,
        Preview,
    )
    from aisquad_core.clock import Clock
    from aisquad_core.execution.runner import Runner
    from aisquad_core.load.resource_monitor import Sampler
    from aisquad_core.model import ConvoyRecord, ItemKey, Operation
    from aisquad_core.settings import Settings
    from aisquad_core.spec import ConvoySource
    from aisquad_core.state.workstate import WorkState

logger = logging.getLogger(__name__)


class Engine:
    """Runs convoys on this machine: an async context manager on the loop that it works on.

    Args:
        settings: What the operator set.
        is_resuming: Whether unfinished convoys of earlier engines go on by themselves. If not they
            are held until `resume`; what still runs of them is watched, and left running. Those
            that another user or machine began are held in any case.
        clock: Time.
        sampler: Reads the machine's load; None: the machine itself.
        runner: Runs processes; None: as children of this process.
        state: The work state, not yet entered; None: the database that the settings name.
        chance: Gives tokens, suffixes of ids and the jitter of retries; None: the system's.

    Raises:
        EngineRunningError: On entering, if another engine holds the state folder.
        UntrustedError: On whatever starts work (on entering, if earlier work goes on), if
            some of the project's settings were left out.
        StateFolderError: On entering, if the state folder must not be used.
        NewerSchemaError: On entering, if a newer aisquad wrote the work state.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        is_resuming: bool = False,
        clock: Clock | None = None,
        sampler: Sampler | None = None,
        runner: Runner | None = None,
        state: WorkState | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self._settings = settings
        self._is_resuming = is_resuming
        self._clock = clock or SystemClock()
        self._exits = AsyncExitStack()
        self._tasks = asyncio.TaskGroup()
        self._background = Background(self._tasks)
        parts = Parts(
            settings,
            is_resuming=is_resuming,
            clock=self._clock,
            sampler=sampler,
            runner=runner,
            state=state,
            chance=chance or random.SystemRandom(),
            background=self._background,
        )
        self._stage = parts.stage
        self._folder = parts.folder
        self._origin = parts.origin
        self._backpressure = parts.backpressure
        self._state = parts.state
        self._runner = parts.runner
        self._governor = parts.governor
        self._hub = parts.hub
        self._picture = parts.picture
        self._past = parts.past
        self._notices = parts.notices
        self._executor = parts.executor
        self._commands = parts.commands
        self._cancels = parts.cancels
        self._queries = parts.queries
        self._overview = parts.overview
        self._takeover = parts.takeover
        self._pulse = parts.pulse
        self._upkeep = parts.upkeep
        self._leaving = parts.leaving
        self._stopped: asyncio.Event | None = None

    # Lifetime

    async def __aenter__(self) -> Self:
        """Take the state folder and begin."""
        if self._is_resuming:
            self._settings.require_trust()
        async with AsyncExitStack() as stack:
            await asyncio.to_thread(self._folder.acquire)
            stack.push_async_callback(asyncio.to_thread, self._folder.release)
            await asyncio.to_thread(self._origin.look)
            await stack.enter_async_context(self._past)
            await stack.enter_async_context(self._state)
            await stack.enter_async_context(self._runner)
            await stack.enter_async_context(self._executor)
            await self._delete_orphans()
            # Before anything can be launched, so that nothing of this engine is taken over, too.
            unfinished = await self._takeover.find()
            if self._origin.is_foreign:
                await asyncio.to_thread(self._notices.disown)
            await self._takeover.note(unfinished)
            await self._pulse.look_for_halt()
            await self._tasks.__aenter__()
            self._exits = stack.pop_all()
        self._notices.start(self._tasks)
        self._background.begin(self._pulse.run())
        self._background.begin(self._work(unfinished))
        return self

    async def _delete_orphans(self) -> None:
        """Remove what crashes left of launches; nobody sees it, so the next engine will do, too."""
        try:
            await self._state.delete_orphans()
        except StorageError as error:
            logger.warning("what is left of an earlier launch cannot be removed: %s", error)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Stop in order, interrupting what this engine was asked to run."""
        try:
            await self.stop(StopMode.INTERRUPT)
        finally:
            self._background.cancel()
            await self._tasks.__aexit__(None, None, None)
            await self._exits.aclose()

    async def stop(self, mode: StopMode = StopMode.INTERRUPT) -> None:
        """Let nothing more start, deal with what runs, end; see `EngineAPI.stop`."""
        is_first = self._stopped is None
        self._stopped = stopped = self._stopped or asyncio.Event()
        if stopped.is_set():
            return
        self._stage.phase = "stopping"
        self._stage.has_loaded.set()
        self._executor.close()
        self._backpressure.dismiss(stopping_error)
        self._pulse.show_engine()
        mode = await self._leaving.end_runs(mode, is_first=is_first)
        await self._notices.close(0.0 if mode is StopMode.KILL else self._settings.grace_s)
        if not is_first:
            await stopped.wait()
            return
        self._stage.phase = "stopped"
        self._pulse.show_engine()
        self._picture.close()
        stopped.set()

    async def _work(self, unfinished: Sequence[ConvoyRecord]) -> None:
        """Take over what earlier engines left; only then let work start, and keep tidy."""
        await self._takeover.run(unfinished)
        if self._stage.phase == "recovering":
            self._stage.phase = "running"
            self._executor.open()
            self._pulse.show_engine()
            await self._keep_up()

    async def _keep_up(self) -> None:
        """Tidy up now and every hour; what cannot be done now may be done then."""
        while True:
            await self._past.catch_up(self._state.reader)
            await self._upkeep.attempt()
            await self._clock.sleep(EVERY_S)

    # EngineAPI

    async def snapshot(self) -> Snapshot:
        """Return the whole picture."""
        return self._snapshot()

    def _snapshot(self) -> Snapshot:
        return self._overview.snapshot(self._hub.seq, self._pulse.view())

    def subscribe(
        self, since: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Snapshot | Event]]:
        """Open a stream of changes; see `EngineAPI.subscribe`."""
        return self._hub.subscribe(since, self._snapshot)

    async def items(
        self,
        filter: ItemFilter,
        *,
        sort: ItemSort = ItemSort.POSITION,
        is_reversed: bool = False,
        after: str | None = None,
        offset: int = 0,
        limit: int = 100,
        is_counted: bool = True,
        has_last_lines: bool = False,
    ) -> ItemPage:
        """Return one window of committed items; see `EngineAPI.items`."""
        self._stage.check_readable()
        return await self._queries.items(
            filter,
            sort=sort,
            is_reversed=is_reversed,
            after=after,
            offset=offset,
            limit=limit,
            is_counted=is_counted,
            has_last_lines=has_last_lines,
        )

    async def offset_of(
        self,
        filter: ItemFilter,
        key: ItemKey,
        *,
        sort: ItemSort = ItemSort.POSITION,
        is_reversed: bool = False,
    ) -> int | None:
        """Return how many items stand before this one; see `EngineAPI.offset_of`."""
        self._stage.check_readable()
        return await self._queries.offset_of(filter, key, sort=sort, is_reversed=is_reversed)

    async def item(self, key: ItemKey) -> ItemDetail:
        """Return everything about one item."""
        self._stage.check_readable()
        return await self._queries.item(key)

    async def log_range(
        self,
        key: ItemKey,
        *,
        attempt: int | None = None,
        offset: int = 0,
        length: int = 65_536,
        stream: Literal["log", "result"] = "log",
    ) -> LogChunk:
        """Return bytes of an attempt's log; see `EngineAPI.log_range`."""
        self._stage.check_readable()
        return await self._queries.log_range(
            key, attempt=attempt, offset=offset, length=length, stream=stream
        )

    async def history(
        self, *, period_s: float = 3600.0, points: int = 120, convoy_id: str | None = None
    ) -> History:
        """Return what the metrics say of the last seconds; see `EngineAPI.history`."""
        self._stage.check_readable()
        return await self._past.history(period_s=period_s, points=points, convoy_id=convoy_id)

    async def preview(self, source: ConvoySource, *, cwd: str, limit: int = 20) -> Preview:
        """Say what a launch would run."""
        self._settings.require_trust()
        self._stage.check_running()
        return await asyncio.to_thread(
            preview, source, agents=self._settings.agents, cwd=cwd, limit=limit
        )

    async def launch(
        self,
        source: ConvoySource,
        *,
        env: Mapping[str, str],
        cwd: str,
        is_patient: bool = False,
    ) -> str:
        """Commit a convoy and let it start; return its id; see `EngineAPI.launch`."""
        self._settings.require_trust()
        self._stage.check_running()
        return await self._commands.launch(source, env=env, cwd=cwd, is_patient=is_patient)

    async def launch_operations(
        self,
        name: str,
        operations: Sequence[Operation],
        calls: Mapping[str, Callable[[], Awaitable[object]]],
        *,
        env: Mapping[str, str],
        cwd: str,
        stop_on_first_failure: bool = False,
        timeout_s: float | None = None,
        is_patient: bool = False,
    ) -> str:
        """Commit a convoy that a script made, some of its operations async callables.

        Not part of `EngineAPI`: a callable cannot cross to another process.

        Args:
            name: Shown to operators.
            operations: Checked by the caller: ids are unique, needs exist and form no cycle.
            calls: The callable of each operation that has no command.
            env: What commands get as their environment.
            cwd: Where commands run.
            stop_on_first_failure: Start nothing more after the first failure.
            timeout_s: Seconds for all of it.
            is_patient: Whether to wait while too many writes wait for the disk.

        Raises:
            BackpressureError: Too many do, and the caller is not patient.
        """
        self._settings.require_trust()
        self._stage.check_running()
        record = replace(
            self._commands.new_record(name, total=len(operations), cwd=cwd),
            stop_on_first_failure=stop_on_first_failure,
            timeout_s=timeout_s,
            is_local=bool(calls),
        )
        return await self._commands.launch_record(
            record, operations, env=env, calls=calls, is_patient=is_patient
        )

    async def cancel(
        self,
        targets: Sequence[ItemKey] | str,
        *,
        is_kill: bool = False,
        is_waiting: bool = True,
    ) -> Outcome:
        """Cancel items or a whole convoy; see `EngineAPI.cancel`."""
        await self._stage.until_loaded()
        return await self._cancels.cancel(targets, is_kill=is_kill, is_waiting=is_waiting)

    async def retry(
        self, targets: Sequence[ItemKey], *, env: Mapping[str, str] | None = None
    ) -> Outcome:
        """Put ended items back; see `EngineAPI.retry`."""
        self._settings.require_trust()
        await self._stage.until_loaded()
        return await self._background.carry_out(self._retry(targets, env))

    async def _retry(self, targets: Sequence[ItemKey], env: Mapping[str, str] | None) -> Outcome:
        outcome = await self._commands.retry(targets, env=env)
        await asyncio.to_thread(self._origin.release, {key.convoy_id for key in outcome.changed})
        return outcome

    async def pause(self, convoy_id: str) -> None:
        """Start nothing more of a convoy."""
        await self._stage.until_loaded()
        await self._commands.pause(convoy_id)

    async def resume(self, convoy_id: str, *, env: Mapping[str, str] | None = None) -> None:
        """Let a paused or interrupted convoy start operations again."""
        self._settings.require_trust()
        await self._stage.until_loaded()
        await self._commands.resume(convoy_id, env=env)
        await asyncio.to_thread(self._origin.release, [convoy_id])

    async def set_parallelism(self, parallelism: int | None) -> int:
        """Pin the parallelism, or give it back to auto; return the size in force."""
        self._stage.check_running()
        size = await self._governor.pin(parallelism)
        self._pulse.show_engine()
        return size

    async def rescue(self, target: str) -> int:
        """Write a copy of the work state; see `EngineAPI.rescue`."""
        self._stage.check_readable()
        path = Path(target)
        if not path.is_absolute():
            raise InputError(f"{target!r}: expected an absolute path")
        return await self._state.rescue(path)

    async def wait(
        self, convoy_ids: Sequence[str], *, is_any: bool = False, timeout_s: float | None = None
    ) -> tuple[ConvoyView, ...]:
        """Return the convoys when all (or one) of them have ended; see `EngineAPI.wait`."""
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        try:
            async with asyncio.timeout(timeout_s):
                await self._stage.until_loaded()
        except TimeoutError as late:
            names = ", ".join(convoy_ids)
            raise TimeoutError(f"not even loaded after {timeout_s:g} s: {names}") from late
        if timeout_s is not None:
            timeout_s = max(0.0, timeout_s - (loop.time() - begun_s))
        return await self._commands.wait(convoy_ids, is_any=is_any, timeout_s=timeout_s)
