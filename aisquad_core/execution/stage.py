"""How far an engine's life has come, and who is let in at that stage."""

from __future__ import annotations

import asyncio
from typing import Literal

from aisquad_core.errors import EngineStoppedError

Phase = Literal["recovering", "running", "stopping", "stopped"]


class Stage:
    """The phase of an engine, and whether what earlier engines left can be steered."""

    def __init__(self) -> None:
        self.phase: Phase = "recovering"
        """Whoever carries out the next phase sets it."""
        self.has_loaded = asyncio.Event()
        """Whether every convoy that earlier engines left is in memory (or never will be)."""

    async def until_loaded(self) -> None:
        """Wait until convoys of earlier engines can be steered.

        Raises:
            EngineStoppedError: The engine stops or has stopped.
        """
        await self.has_loaded.wait()
        self.check_running()

    def check_readable(self) -> None:
        """Let pass whoever only reads.

        Raises:
            EngineStoppedError: The engine has stopped.
        """
        if self.phase == "stopped":
            raise EngineStoppedError("the engine has stopped")

    def check_running(self) -> None:
        """Let pass whoever wants something done.

        Raises:
            EngineStoppedError: The engine stops or has stopped.
        """
        if self.phase in ("stopping", "stopped"):
            raise stopping_error()


def stopping_error() -> EngineStoppedError:
    """Return what those get who want something done while the engine stops."""
    return EngineStoppedError("the engine is stopping and takes no more commands")
