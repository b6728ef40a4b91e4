"""`aisquad down`: stops the engine that runs, in one of three ways."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from aisquad_core.api import StopMode
from aisquad_core.clock import SystemClock
from aisquad_core.errors import EngineStoppedError, NotFoundError
from aisquad_core.sanitise import escape_controls
from aisquad_tui.cli import options, session, systemd
from aisquad_tui.cli.boundary import Status, conclude
from aisquad_tui.cli.terminal import Block, ColorChoice, Ink, open_terminal
from aisquad_tui.formatting import count, duration, plural

if TYPE_CHECKING:
    from pathlib import Path

    from aisquad_core.api import EngineAPI, EngineView
    from aisquad_core.clock import Clock
    from aisquad_core.settings import Settings
    from aisquad_tui.cli.terminal import Terminal

_LOOK_EVERY_S = 0.25
_PLAIN_EVERY_S = 5.0
_GONE_WAIT_S = 30.0
"""For an engine that has stopped to close its work state."""
_GONE_LOOK_S = 0.02


def down(
    *,
    is_now: Annotated[
        bool, typer.Option("--now", help="End what runs (it goes back to the queue).")
    ] = False,
    is_detaching: Annotated[
        bool, typer.Option("--detach", help="Leave what runs running for the next engine.")
    ] = False,
    is_unit: Annotated[
        bool,
        typer.Option("--systemd", help="Also remove the unit that `aisquad up --systemd` wrote."),
    ] = False,
    state: options.State = None,
    color: options.Color = ColorChoice.AUTO,
) -> None:
    """Stop the engine: nothing new starts, what runs is waited for.

    What has not ended stays in the queue for the next engine.
    """
    if is_now and is_detaching:
        raise typer.BadParameter("goes without --detach", param_hint="'--now'")
    terminal = open_terminal(color=color)
    mode = StopMode.DRAIN
    if is_now or is_detaching:
        mode = StopMode.INTERRUPT if is_now else StopMode.DETACH

    async def stop_engine() -> int:
        settings = session.load_settings(state)
        unit = systemd.unit_path(settings, os.environ)
        if is_unit:
            await asyncio.to_thread(_require_unit, unit)
        if not is_unit or await session.holder_pid(settings) is not None:
            async with session.open_client(settings) as reached:
                pid = (await reached.api.snapshot()).engine.pid
                if not await _Stopping(reached.api, terminal, SystemClock()).stop(mode):
                    return Status.INTERRUPTED
            await _until_gone(settings, pid)
            terminal.say(f"engine {pid} has ended")
        if is_unit:
            await asyncio.to_thread(systemd.remove, unit)
            terminal.say(f"removed {escape_controls(str(unit))}")
        elif await asyncio.to_thread(unit.exists):
            terminal.say(
                "its systemd unit starts it again when the machine does; "
                "`aisquad down --systemd` removes that"
            )
        return Status.OK

    conclude(stop_engine)


def _require_unit(unit: Path) -> None:
    """Refuse to remove what is not there, or cannot be removed (blocking).

    Raises:
        InputError: The user's systemd does not answer.
        NotFoundError: There is no unit.
    """
    if not unit.exists():
        raise NotFoundError(f"{escape_controls(str(unit))}: there is no such unit")
    systemd.require_systemd()


class _Stopping:
    """Waits for an engine that was told to stop, and shows how far it is."""

    def __init__(self, api: EngineAPI, terminal: Terminal, clock: Clock) -> None:
        self._api = api
        self._terminal = terminal
        self._clock = clock
        self._is_left = False

    async def stop(self, mode: StopMode) -> bool:
        """Stop the engine; False if the operator did not wait for it."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            stopping = tasks.create_task(self._stop(mode))
            telling = tasks.create_task(self._tell(mode))

            def leave() -> None:
                self._is_left = True
                stopping.cancel()

            loop.add_signal_handler(signal.SIGINT, leave)
            try:
                await asyncio.wait([stopping])
            finally:
                loop.remove_signal_handler(signal.SIGINT)
                telling.cancel()
        if self._is_left:
            hasten = "; `aisquad down --now` ends what runs" if mode is StopMode.DRAIN else ""
            self._terminal.say(f"the engine goes on with stopping{hasten}")
        return not self._is_left

    async def _stop(self, mode: StopMode) -> None:
        with suppress(EngineStoppedError):  # it has gone before it could say so
            await self._api.stop(mode)

    async def _tell(self, mode: StopMode) -> None:
        """Tell what is waited for: repainted on a terminal, else now and then in plain lines."""
        terminal = self._terminal
        block = Block(terminal.err) if terminal.err.is_terminal else None
        last, due_s = "", 0.0
        try:
            while True:
                state, hint = _words((await self._api.snapshot()).engine, mode)
                now_s = self._clock.monotonic()
                words = f"{state} ({hint})" if hint else state
                if block is not None:
                    width = terminal.err.size()[0] - 1
                    shown = [(state, Ink.PLAIN), (hint, Ink.DIM)]
                    block.paint([terminal.err.fit([piece], width) for piece in shown if piece[0]])
                elif words not in {"", last} and now_s >= due_s:
                    last, due_s = words, now_s + _PLAIN_EVERY_S
                    terminal.say(words)
                await self._clock.sleep(_LOOK_EVERY_S)
        except EngineStoppedError:
            pass
        finally:
            if block is not None:
                block.clear()


def _words(engine: EngineView, mode: StopMode) -> tuple[str, str]:
    """Return what is waited for, and what the operator may do meanwhile; empty: nothing."""
    if not engine.running or mode is StopMode.DETACH:
        return "", ""
    running = plural(engine.running, "operation")
    if mode is StopMode.DRAIN:
        queued = f", {count(engine.queued)} stay queued" if engine.queued else ""
        return (
            f"nothing new starts; waiting for {running}{queued}",
            "Ctrl-C leaves it so, `aisquad down --now` ends what runs",
        )
    return f"ending {running} (up to {duration(engine.grace_s)})", ""


async def _until_gone(settings: Settings, pid: int) -> None:
    """Wait until the engine's process has let go of the state folder."""
    clock = SystemClock()
    deadline_s = clock.monotonic() + _GONE_WAIT_S
    while await session.holder_pid(settings) == pid and clock.monotonic() < deadline_s:
        await clock.sleep(_GONE_LOOK_S)
