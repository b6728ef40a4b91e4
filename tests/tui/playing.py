"""The app on a scene, without a terminal: `async with playing(scene) as (app, pilot)`."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from unittest.mock import patch

from aisquad_tui import bridge
from aisquad_tui.app import SquadApp
from aisquad_tui.surroundings import Surroundings, Terminal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from textual.app import App
    from textual.pilot import Pilot

    from aisquad_core.api import EngineAPI
    from aisquad_core.clock import Clock
    from tests.tui.scenes import Scene

_BOUND_S = 15.0
_FRAME_S = 0.02
"""Time between two frames of the bridge here: nobody looks."""
_STEP_S = 0.01
_STILL = 3
"""Steps without a change: longer than a frame of the bridge."""


def surroundings_of(
    engine: EngineAPI, clock: Clock, *, terminal: Terminal | None = None, state_dir: str = ""
) -> Surroundings:
    """Return a place that is the same on every machine."""
    return Surroundings(
        engine=engine,
        clock=clock,
        cwd="/home/ada/src/shop",
        env={},
        place="~/src/shop",
        host="build-07",
        terminal=terminal or Terminal(),
        state_dir=state_dir,
        agents=("engineer", "reviewer", "shell"),
    )


@asynccontextmanager
async def playing(
    scene: Callable[[], AbstractAsyncContextManager[Scene]],
    *,
    size: tuple[int, int] = (120, 40),
    terminal: Terminal | None = None,
    is_embedded: bool = True,
) -> AsyncIterator[tuple[SquadApp, Pilot[None], Scene]]:
    """Run the app on a scene until the first frames are on the screen."""
    with patch.object(bridge, "FRAME_S", _FRAME_S):
        async with scene() as played:
            place = surroundings_of(played.engine, played.clock, terminal=terminal)
            app = SquadApp(replace(place, is_embedded=is_embedded))
            async with app.run_test(size=size) as pilot:
                await settle(pilot)
                yield app, pilot, played


async def settle(pilot: Pilot[None], *, sight: str = "") -> None:
    """Wait until the screen stands still, with a text on it if one is named.

    Everything that changes it runs on this loop, in the order of its timers, but what a thread
    does (a preview): for that there is the text.
    """
    before, still = "", 0
    async with asyncio.timeout(_BOUND_S):
        while still < _STILL or sight not in before:
            await pilot.pause(_STEP_S)
            now = text_of(pilot.app)
            before, still = now, still + 1 if now == before else 0


async def until(pilot: Pilot[None], is_so: Callable[[], bool], what: str = "it") -> None:
    """Wait, within a bound, until something shows."""
    async with asyncio.timeout(_BOUND_S):
        while not is_so():
            await pilot.pause(0.02)
    assert is_so(), what


def text_of(app: App[None]) -> str:
    """Return the text of the whole screen."""
    return "\n".join(
        "".join(segment.text for segment in strip)
        for strip in app.screen._compositor.render_strips()
    )
