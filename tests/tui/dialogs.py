"""A dialog on an empty screen: `async with opened(make) as stage`."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from textual.app import App
from textual.events import Key

from aisquad_core.testing import FakeClock, FakeEngine
from aisquad_tui.surroundings import ColorDepth, Surroundings, Terminal
from aisquad_tui.theme import Look
from tests.tui.playing import surroundings_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from textual.pilot import Pilot

    from aisquad_tui.screens.dialog import DialogScreen

ResultT = TypeVar("ResultT")
_BOUND_S = 15.0
_CHARACTERS = {"space": " ", "question_mark": "?"}


class _Host(App[None]):
    ENABLE_COMMAND_PALETTE = False


@dataclass
class Stage(Generic[ResultT]):
    """A dialog, and what it ended with."""

    pilot: Pilot[None]
    place: Surroundings
    clock: FakeClock
    engine: FakeEngine
    screen: DialogScreen[ResultT]
    results: list[ResultT | None] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text of the whole screen."""
        strips = self.pilot.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)

    async def open(self) -> None:
        """Show the dialog."""
        self.results.clear()
        await self.pilot.app.push_screen(self.screen, self.results.append)
        await self.pilot.pause()

    async def open_again(self, make: Callable[[Surroundings, Look], DialogScreen[ResultT]]) -> None:
        """Show another one, and wait until it takes keys."""
        self.screen = make(self.place, self.screen.look)
        await self.open()
        await self.clock.advance(1)

    async def press(self, *keys: str) -> None:
        """Press keys one after the other, faster than a pilot does."""
        for key in keys:
            character = key if len(key) == 1 else _CHARACTERS.get(key)
            self.pilot.app.post_message(Key(key, character))
        await self.pilot.pause()

    async def click(self, text: str) -> None:
        """Click on the first cell of a text."""
        for y, line in enumerate(self.text.split("\n")):
            if text in line:
                await self.pilot.click(offset=(line.index(text), y))
                await self.pilot.pause()
                return
        raise AssertionError(f"{text!r} is not on the screen:\n{self.text}")

    async def shows(self, text: str) -> None:
        """Wait, within a bound, until a text is on the screen."""
        await self.comes(lambda: text in self.text)

    async def ends(self) -> ResultT | None:
        """Wait, within a bound, for the result."""
        await self.comes(lambda: bool(self.results))
        return self.results[0]

    async def comes(self, is_so: Callable[[], bool]) -> None:
        """Wait, within a bound, until something is so."""
        try:
            async with asyncio.timeout(_BOUND_S):
                while not is_so():
                    await self.pilot.pause(0.01)
        except TimeoutError:
            raise AssertionError(f"it did not come:\n{self.text}") from None


@asynccontextmanager
async def opened(
    make: Callable[[Surroundings, Look], DialogScreen[ResultT]],
    *,
    size: tuple[int, int] = (120, 40),
    terminal: Terminal | None = None,
    change: Callable[[Surroundings], Surroundings] = lambda place: place,
    is_read: bool = True,
) -> AsyncIterator[Stage[ResultT]]:
    """Open a dialog; with `is_read` long enough ago that it takes keys."""
    terminal = terminal or Terminal()
    clock = FakeClock()
    async with FakeEngine(clock=clock) as engine:
        place = change(surroundings_of(engine, clock, terminal=terminal))
        app = _Host(ansi_color=terminal.depth <= ColorDepth.ANSI or None)
        async with app.run_test(size=size) as pilot:
            screen = make(place, Look(terminal))
            stage = Stage(pilot, place, clock, engine, screen)
            await stage.open()
            if is_read:
                await clock.advance(1)
            yield stage
