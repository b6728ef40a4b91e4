"""What an engine does every tick, and what it says of itself between two of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from aisquad_core.errors import StorageError
from aisquad_core.state.room import find_shortage

if TYPE_CHECKING:
    from pathlib import Path

    from aisquad_core.api import EngineView
    from aisquad_core.clock import Clock
    from aisquad_core.execution.background import Background
    from aisquad_core.execution.executor import ConvoyExecutor
    from aisquad_core.execution.governor import Governor
    from aisquad_core.execution.ledger import Ledger
    from aisquad_core.execution.log_cap import LogCap
    from aisquad_core.execution.overview import Overview
    from aisquad_core.execution.past import Past
    from aisquad_core.execution.picture import Picture
    from aisquad_core.execution.recovery import Recovery
    from aisquad_core.execution.stage import Stage
    from aisquad_core.execution.steering import Steering
    from aisquad_core.execution.takeover import Takeover
    from aisquad_core.state.workstate import WorkState


class Troubled(Protocol):
    """A part that says what it could not do."""

    @property
    def trouble(self) -> str | None:
        """In words; None: all is well."""
        ...


class Pulse:
    """Looks at the machine and the disk, and tells watchers how the engine does.

    Args:
        state_dir: The state folder.
        tick_s: Seconds between two ticks.
        clock: Time.
        stage: The engine's phase.
        state: The work state.
        governor: Follows the load.
        ledger: Cannot commit while storage refuses.
        executor: What runs; is halted.
        steering: Ends convoys whose time is over.
        recovery: What cannot be told of earlier engines' starts.
        takeover: Whether the work state went back.
        upkeep: What cannot be pruned.
        log_cap: Keeps logs short.
        picture: Tells watchers.
        past: Records.
        overview: Puts the view together.
        background: Where the ends of convoys go on.
    """

    def __init__(
        self,
        *,
        state_dir: Path,
        tick_s: float,
        clock: Clock,
        stage: Stage,
        state: WorkState,
        governor: Governor,
        ledger: Ledger,
        executor: ConvoyExecutor,
        steering: Steering,
        recovery: Recovery,
        takeover: Takeover,
        upkeep: Troubled,
        log_cap: LogCap,
        picture: Picture,
        past: Past,
        overview: Overview,
        background: Background,
    ) -> None:
        self._state_dir = state_dir
        self._tick_s = tick_s
        self._clock = clock
        self._stage = stage
        self._state = state
        self._governor = governor
        self._ledger = ledger
        self._executor = executor
        self._steering = steering
        self._recovery = recovery
        self._takeover = takeover
        self._upkeep = upkeep
        self._log_cap = log_cap
        self._log_trouble: str | None = None
        self._picture = picture
        self._past = past
        self._overview = overview
        self._background = background
        self._shown: EngineView | None = None
        self._are_facts_recorded = False
        """Whether commands in other processes can read what this engine does."""

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            await self._tick()
            await self._clock.sleep(self._tick_s)

    async def _tick(self) -> None:
        load = await self._governor.tick()
        self._picture.sampled(load)
        self._past.sampled(load, self.view())
        await self.look_for_halt()
        await self._probe_storage()
        refs = [run.ref for run in self._executor.runs.values() if run.is_process]
        self._log_trouble = await self._log_cap.check(refs)
        if self._stage.has_loaded.is_set():  # before that, what is left undecided would be missed
            for convoy in self._steering.expired():
                self._background.begin(self._steering.expire(convoy))
        self.show_engine()

    async def look_for_halt(self) -> None:
        """Let the executor know why nothing may start, whatever else is well."""
        self._executor.halt = await self._find_halt()

    async def _find_halt(self) -> str | None:
        if (change := await self._state.check_identity()) is not None:
            return f"{change}: nothing is committed or started; `aisquad rescue FILE` saves a copy"
        return await asyncio.to_thread(find_shortage, self._state_dir)

    async def _probe_storage(self) -> None:
        """Commit what is only said and not done; after a refusal, find out whether that is over."""
        try:
            if not self._are_facts_recorded:
                self._are_facts_recorded = True
                await self._state.record_engine(self._overview.facts())
            if await self._state.mark(is_probe=self._ledger.trouble is not None):
                self._ledger.trouble = None
        except StorageError as error:
            self._are_facts_recorded = False
            self._ledger.trouble = str(error)

    async def resized(self, previous: int) -> None:
        """Tell that the semaphore has another size than the one before."""
        view = self.view()
        self._picture.resized(previous, view)
        self._past.resized(self._clock.now(), previous, view)
        self._are_facts_recorded = False

    def show_engine(self) -> None:
        """Tell watchers of the engine itself when something about it changed but the load."""
        view = self.view()
        shown = replace(
            view,
            cpu_percent=0,
            memory_percent=0,
            running=0,
            queued=0,
            throttle=0,
            wal_bytes=0,
            oldest_reader_s=0,
            writes_pending=view.writes_pending if view.is_crowded else 0,
        )
        if shown != self._shown:
            self._shown = shown
            self._picture.engine_changed(view)

    def view(self) -> EngineView:
        """Return the engine as operators see it, with the gravest of its troubles."""
        trouble = (
            self._executor.halt
            or self._recovery.trouble
            or self._ledger.trouble
            or self._executor.trouble
            or self._takeover.trouble
            or self._log_trouble
            or self._upkeep.trouble
            or self._past.trouble
        )
        return self._overview.view(self._stage.phase, trouble)
