"""Cancels: the engine carries them out, whether or not those who asked for them are still there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aisquad_core.errors import AISquadError, EngineStoppedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_core.api import Outcome
    from aisquad_core.execution.background import Background
    from aisquad_core.execution.commands import Commands
    from aisquad_core.model import ItemKey


class Cancels:
    """Carries out cancels; what is left of them when the engine ends, the next one does.

    Args:
        commands: Begins each.
        background: Where each goes on.
    """

    def __init__(self, commands: Commands, background: Background) -> None:
        self._commands = commands
        self._background = background

    async def cancel(
        self, targets: Sequence[ItemKey] | str, *, is_kill: bool, is_waiting: bool
    ) -> Outcome:
        """Cancel items or a whole convoy; see `EngineAPI.cancel`."""
        begun: asyncio.Future[Outcome | AISquadError] = asyncio.get_running_loop().create_future()
        cancelling = self._background.begin(
            self._cancel(targets, grace_s=0.0 if is_kill else None, begun=begun)
        )
        awaited = [cancelling] if is_waiting else [cancelling, begun]
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if cancelling.cancelled():
            raise EngineStoppedError("the engine has stopped; the next one finishes the cancel")
        outcome = (cancelling if cancelling.done() else begun).result()
        if isinstance(outcome, AISquadError):
            raise outcome
        return outcome

    async def _cancel(
        self,
        targets: Sequence[ItemKey] | str,
        *,
        grace_s: float | None,
        begun: asyncio.Future[Outcome | AISquadError],
    ) -> Outcome | AISquadError:
        """Carry out a cancel; tell `begun` once it is durable, return why there is none to be."""
        try:
            cancel = await self._commands.cancel(targets, grace_s=grace_s)
        except AISquadError as error:
            return error
        begun.set_result(cancel.begun)
        return await cancel.finish()
