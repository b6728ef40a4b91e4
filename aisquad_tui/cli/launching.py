"""Giving a convoy to an engine that may have too many writes waiting for the disk just then."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from aisquad_core.errors import BackpressureError
from aisquad_tui.formatting import count

if TYPE_CHECKING:
    from aisquad_core.api import EngineAPI
    from aisquad_core.spec import ConvoySource
    from aisquad_tui.cli.terminal import Terminal


async def hand_over(
    api: EngineAPI, source: ConvoySource, terminal: Terminal, *, is_patient: bool
) -> str:
    """Launch a convoy from here, with this process's environment; return its id.

    Args:
        api: The engine.
        source: A convoy file, or an ad-hoc command.
        terminal: Where the operator is told, if it has to wait.
        is_patient: Whether it waits.

    Raises:
        BackpressureError: There is no room for it now, and it does not wait.
    """
    env, cwd = os.environ, str(Path.cwd())
    try:
        return await api.launch(source, env=env, cwd=cwd)
    except BackpressureError as crowded:
        if not is_patient:
            raise
        terminal.say(
            f"{count(crowded.pending)} of {count(crowded.capacity)} writes wait for the disk: "
            f"waiting for room, about {crowded.retry_after_s:.1f} s"
        )
        return await api.launch(source, env=env, cwd=cwd, is_patient=True)
