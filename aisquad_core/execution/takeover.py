"""Takes over what earlier engines left, once, before this engine starts anything of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aisquad_core.execution.views import view_record
from aisquad_core.model import ConvoyStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_core.execution.background import Background
    from aisquad_core.execution.executor import ConvoyExecutor
    from aisquad_core.execution.picture import Picture
    from aisquad_core.execution.recovery import Recovery
    from aisquad_core.execution.runner import Runner
    from aisquad_core.execution.stage import Stage
    from aisquad_core.model import ConvoyRecord
    from aisquad_core.state.origin import Origin
    from aisquad_core.state.workstate import WorkState

_CONVOYS_SHOWN = 100
"""Latest convoys of the work state that the first picture holds."""
_HOLD = "interrupted: `aisquad run --resume {}` continues it"
_HOLD_DOUBTED = (
    "may have run already, since the work state went back: `aisquad run --resume {}` continues it"
)
_HOLD_FOREIGN = "begun by another user or machine: `aisquad run --resume {}` continues it"


class Takeover:
    """Finds what earlier engines left, notes what of it must wait for a yes, and loads it.

    Args:
        is_resuming: Whether what nobody need be asked about goes on by itself.
        state: The work state.
        origin: Which convoys wait for a yes.
        runner: What runs.
        recovery: Loads and decides each convoy.
        executor: Which of what runs is known.
        picture: Shows the convoys.
        stage: Is told when everything is loaded.
        background: Where what may take long goes on.
    """

    def __init__(
        self,
        *,
        is_resuming: bool,
        state: WorkState,
        origin: Origin,
        runner: Runner,
        recovery: Recovery,
        executor: ConvoyExecutor,
        picture: Picture,
        stage: Stage,
        background: Background,
    ) -> None:
        self._is_resuming = is_resuming
        self._state = state
        self._origin = origin
        self._runner = runner
        self._recovery = recovery
        self._executor = executor
        self._picture = picture
        self._stage = stage
        self._background = background
        self._strays = 0
        """Operations that run and that a work state which went back does not know."""

    async def find(self) -> list[ConvoyRecord]:
        """Show the latest convoys that have ended; return those that have not."""
        reader = self._state.reader
        statuses = [status for status in ConvoyStatus if status.is_final]
        for record in await reader.convoys(statuses, limit=_CONVOYS_SHOWN):
            self._picture.show_ended(view_record(record, await reader.counts(record.id)))
        return await reader.unfinished_convoys()

    async def note(self, unfinished: Sequence[ConvoyRecord]) -> None:
        """Remember which of them wait for a yes, before anything is marked anew."""
        ids = [record.id for record in unfinished]
        await asyncio.to_thread(self._origin.hold, ids)
        if self._state.setback is not None:
            await asyncio.to_thread(self._origin.doubt, ids)

    async def run(self, unfinished: Sequence[ConvoyRecord]) -> None:
        """Load what is unfinished and decide every start of it."""
        convoys = []
        for record in unfinished:
            convoys.append(await self._recovery.load(record, hold=self._why_held(record.id)))
            self._picture.convoy_changed(convoys[-1])
        if self._state.setback is not None:
            known = {run.token for run in self._executor.runs.values()}
            self._strays = len((await self._runner.inventory()).keys() - known)
        self._stage.has_loaded.set()
        for convoy in convoys:
            if convoy.record.stopping is None:
                await self._recovery.reconcile(convoy)
            else:  # a tree that will not end holds up nobody's start
                self._background.begin(self._recovery.reconcile(convoy))

    def _why_held(self, convoy_id: str) -> str | None:
        """Return why an earlier engine's convoy starts nothing by itself; None: it does."""
        if self._origin.is_doubted(convoy_id):
            return _HOLD_DOUBTED.format(convoy_id)
        if self._origin.waits(convoy_id):
            return _HOLD_FOREIGN.format(convoy_id)
        return None if self._is_resuming else _HOLD.format(convoy_id)

    @property
    def trouble(self) -> str | None:
        """Say that the work state went back, and what still runs of the time that it forgot."""
        setback = self._state.setback
        if setback is None or not self._strays:
            return setback
        return f"{setback}; operations that it does not know and that still run: {self._strays}"
