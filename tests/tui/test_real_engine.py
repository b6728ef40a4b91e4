"""The screen on the real engine: convoys of real commands, launched and cancelled by keys."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from aisquad_core.api import ItemFilter, StopMode
from aisquad_core.clock import SystemClock
from aisquad_core.connect import open_engine
from aisquad_core.embedded import EmbeddedEngine
from aisquad_core.model import WorkStatus
from aisquad_core.settings import Settings
from aisquad_tui.app import SquadApp
from aisquad_tui.formatting import GLYPHS
from aisquad_tui.surroundings import Surroundings
from tests.tui.playing import text_of, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from textual.pilot import Pilot

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


@asynccontextmanager
async def working(folder: Path) -> AsyncIterator[tuple[EmbeddedEngine, Pilot[None]]]:
    """Run the app on a real engine of its own, on another thread."""
    settings = Settings(workstate_db=folder / "state" / "workstate.db", grace_s=1.0)
    async with EmbeddedEngine(lambda: open_engine(settings)) as engine:
        place = Surroundings(
            engine=engine,
            clock=SystemClock(),
            cwd=str(folder),
            env={"PATH": os.environ["PATH"]},
            place=str(folder),
            host="here",
            state_dir=str(settings.state_dir),
        )
        async with SquadApp(place).run_test(size=(120, 40)) as pilot:
            yield engine, pilot
        await engine.stop(StopMode.KILL)


async def type_in(pilot: Pilot[None], text: str) -> None:
    names = {" ": "space", "{": "left_curly_bracket", "}": "right_curly_bracket"}
    await pilot.press(*(names.get(char, char) for char in text))


async def launch(pilot: Pilot[None], command: str, inputs: str) -> None:
    """Put an ad-hoc convoy together in the dialog, and launch it."""
    await pilot.press("n")
    await until(pilot, sees(pilot, "New convoy"), "the dialog is open")
    await pilot.press("down")
    await type_in(pilot, command)
    await pilot.press("tab")
    await type_in(pilot, inputs)
    await until(pilot, sees(pilot, f"{len(inputs.split())} operations"), "the preview counts them")
    await pilot.press("enter")
    await until(pilot, lambda: "New convoy" not in text_of(pilot.app), "the dialog is gone")


def sees(pilot: Pilot[None], *texts: str) -> Callable[[], bool]:
    return lambda: all(text in text_of(pilot.app) for text in texts)


async def statuses(engine: EmbeddedEngine) -> list[WorkStatus]:
    return [item.status for item in (await engine.items(ItemFilter())).items]


async def test_what_is_launched_in_the_dialog_runs_and_shows_its_output(tmp_path: Path) -> None:
    async with working(tmp_path) as (engine, pilot):
        await launch(pilot, "echo said {}", "one two")
        await until(pilot, sees(pilot, "said one", "said two", "100 %"), "both have ended")
        assert await statuses(engine) == [WorkStatus.COMPLETED] * 2


async def test_an_operation_is_cancelled_by_keys_and_its_process_is_gone(tmp_path: Path) -> None:
    async with working(tmp_path) as (engine, pilot):
        await launch(pilot, "sleep {}", "611 612")
        await until(pilot, sees(pilot, "● 611", "● 612"), "both run")
        await pilot.press("home", "x")
        await until(pilot, sees(pilot, "Cancel 611?"), "it asks")
        is_cancelled = sees(pilot, f"{GLYPHS.item[WorkStatus.CANCELLED]} 611")
        async with asyncio.timeout(30):  # keys of the question's first quarter of a second are lost
            while not is_cancelled():
                if "Cancel 611?" in text_of(pilot.app):
                    await pilot.press("y")
                await pilot.pause(0.1)
        assert sorted(await statuses(engine)) == [WorkStatus.CANCELLED, WorkStatus.IN_PROGRESS]


async def test_the_history_shows_what_the_engine_recorded(tmp_path: Path) -> None:
    async with working(tmp_path) as (_, pilot):
        await launch(pilot, "test {} = good", "good bad")
        await until(pilot, sees(pilot, "100 %", "exit 1"), "both have ended")
        await pilot.press("H")
        is_shown = sees(pilot, "History of all convoys", "1 completed", "1 failed", "2 attempts")
        async with asyncio.timeout(30):  # what was recorded is saved within a second or two
            while not is_shown():
                await pilot.press("left", "right")
                await pilot.pause(0.2)
        await pilot.press("6", "enter")
        await until(pilot, sees(pilot, "try", "exit"), "the slowest of them is open")
