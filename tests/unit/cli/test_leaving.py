"""What signals and keys make of the embedded engine."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aisquad_core.api import StopMode
from aisquad_core.model import Operation
from aisquad_core.testing import FakeClock, FakeEngine
from aisquad_tui.app import SquadApp
from aisquad_tui.cli import leaving as leaving_module
from aisquad_tui.cli.leaving import Leaving, tell_detached
from aisquad_tui.store import Store
from tests.tui import playing, scenes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aisquad_tui.store import Picture

_BOUND_S = 15.0


class Stubborn(FakeEngine):
    """An engine whose work ends only when it is killed, if it `is_slow`."""

    is_slow = False

    def __init__(self) -> None:
        super().__init__(clock=FakeClock(scenes.START))
        self.modes: list[StopMode] = []
        self.asked = asyncio.Event()
        self.killed = asyncio.Event()

    async def stop(self, mode: StopMode = StopMode.INTERRUPT) -> None:
        self.modes.append(mode)
        self.asked.set()
        if mode is StopMode.KILL:
            self.killed.set()
        if self.is_slow:
            await self.killed.wait()
        await super().stop(mode)


class Playing(SquadApp):
    """The app without a terminal."""

    async def run_async(self, **_: object) -> None:
        await super().run_async(headless=True)


@pytest.fixture
async def engine() -> AsyncIterator[Stubborn]:
    engine = Stubborn()
    async with engine:
        yield engine


def leaving_of(engine: FakeEngine, *, is_kept: bool = True) -> Leaving:
    return Leaving(engine, grace_s=10.0, is_kept=is_kept, stopped=asyncio.Event())


@pytest.mark.parametrize(
    ("signum", "mode"),
    [
        (signal.SIGTERM, StopMode.INTERRUPT),
        (signal.SIGQUIT, StopMode.INTERRUPT),
        (signal.SIGINT, StopMode.INTERRUPT),
        (signal.SIGHUP, StopMode.DETACH),
    ],
)
async def test_a_signal_ends_the_app_and_says_what_becomes_of_the_work(
    engine: Stubborn, signum: signal.Signals, mode: StopMode
) -> None:
    leaving = leaving_of(engine)
    app = Playing(playing.surroundings_of(engine, FakeClock(scenes.START)))
    with leaving.heeding_signals():
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signum)
        async with asyncio.timeout(_BOUND_S):
            await leaving.show(app, has_mouse=False)
            await leaving.stop_engine(app.stop_mode)
    assert (leaving.status, engine.modes) == (128 + signum, [mode])


async def test_the_signal_counts_even_where_it_was_ignored(engine: Stubborn) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        leaving = leaving_of(engine)
        with leaving.heeding_signals():
            app = Playing(playing.surroundings_of(engine, FakeClock(scenes.START)))
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGHUP)
            async with asyncio.timeout(_BOUND_S):
                await leaving.show(app, has_mouse=False)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert leaving.status == 129


async def test_the_demos_work_never_outlives_it(engine: Stubborn) -> None:
    await leaving_of(engine, is_kept=False).stop_engine(StopMode.DETACH)
    assert engine.modes == [StopMode.INTERRUPT]


async def test_the_operators_choice_holds_without_a_signal(engine: Stubborn) -> None:
    leaving = leaving_of(engine)
    await leaving.stop_engine(StopMode.DETACH)
    assert (leaving.status, engine.modes) == (None, [StopMode.DETACH])


async def test_one_more_signal_kills_what_does_not_end(engine: Stubborn) -> None:
    engine.is_slow = True
    leaving = leaving_of(engine)
    with leaving.heeding_signals():
        async with asyncio.timeout(_BOUND_S), asyncio.TaskGroup() as tasks:
            tasks.create_task(leaving.stop_engine(StopMode.INTERRUPT))
            await engine.asked.wait()
            os.kill(os.getpid(), signal.SIGINT)
    assert engine.modes == [StopMode.INTERRUPT, StopMode.KILL]
    assert leaving.status is None


async def test_the_screen_ends_with_an_engine_that_somebody_else_stopped(
    engine: Stubborn, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = asyncio.Event()
    leaving = Leaving(engine, grace_s=10.0, is_kept=True, stopped=stopped)

    class Ready(Playing):
        def on_ready(self) -> None:
            stopped.set()

    app = Ready(playing.surroundings_of(engine, FakeClock(scenes.START)))
    async with asyncio.timeout(_BOUND_S):
        await leaving.show(app, has_mouse=False)
        await leaving.stop_engine(app.stop_mode)
    assert (leaving.status, engine.modes) == (None, [])
    assert capsys.readouterr().err == "the engine was stopped from another terminal\n"


async def picture_of(engine: FakeEngine) -> Picture:
    """Return the picture of a screen that has just begun."""
    store = Store()
    store.apply(await engine.snapshot())
    return store.take().picture


@pytest.mark.parametrize("is_new", [False, True])
async def test_work_that_goes_on_without_the_screen_is_told(
    engine: Stubborn,
    is_new: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leaving_module, "logout_warning", lambda: "it ends at logout")
    engine.add_convoy("c", [Operation(id=id, argv=("sleep", "9")) for id in "abcdefg"])
    tell_detached(await picture_of(engine), is_new=is_new)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "the engine runs on (5 running, 2 queued); `aisquad down` stops it"
    assert said[1:] == (["warning: it ends at logout"] if is_new else [])


async def test_an_idle_engine_is_told_only_to_whoever_started_it(
    engine: Stubborn, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = await picture_of(engine)
    tell_detached(picture, is_new=False)
    tell_detached(replace(picture, lost_at=scenes.START), is_new=True)
    assert capsys.readouterr().err == ""
    tell_detached(picture, is_new=True)
    assert "runs on (nothing to do); `aisquad down`" in capsys.readouterr().err
