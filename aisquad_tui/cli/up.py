"""`aisquad up`: the engine as a process of its own, that outlives this terminal."""

from __future__ import annotations

import asyncio
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aisquad_core.api import StopMode
from aisquad_core.errors import EngineRunningError
from aisquad_core.sanitise import escape_controls
from aisquad_tui.cli import options, session, systemd
from aisquad_tui.cli.boundary import Status, conclude
from aisquad_tui.cli.first_process import leave_first_place
from aisquad_tui.cli.logout import linger_warning, logout_warning
from aisquad_tui.cli.shapes import document
from aisquad_tui.cli.table import facts
from aisquad_tui.cli.terminal import ColorChoice, Ink, open_terminal
from aisquad_tui.formatting import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_core.settings import Settings
    from aisquad_tui.cli.systemd import Unit
    from aisquad_tui.cli.terminal import Terminal


class OnTerm(StrEnum):
    """The values of `--on-term`."""

    INTERRUPT = "interrupt"
    DETACH = "detach"


def up(
    *,
    is_foreground: Annotated[
        bool, typer.Option("--foreground", help="Serve in this process; the log is its output.")
    ] = False,
    on_term: Annotated[
        OnTerm,
        typer.Option(
            help="What SIGTERM does with what runs: end it (it goes back to the queue), or leave "
            "it running for the next engine."
        ),
    ] = OnTerm.INTERRUPT,
    is_unit: Annotated[
        bool,
        typer.Option(
            "--systemd",
            help="Install and start it as a unit of your systemd, which starts it again after a "
            "crash and a reboot; `aisquad down --systemd` removes it.",
        ),
    ] = False,
    is_dry: Annotated[
        bool, typer.Option("--dry-run", help="With --systemd: print the unit; change nothing.")
    ] = False,
    project: Annotated[Path | None, typer.Option("--project", hidden=True)] = None,
    as_json: options.AsJson = False,
    state: options.State = None,
    color: options.Color = ColorChoice.AUTO,
) -> None:
    """Start the engine in the background, unless it runs.

    It goes on with every convoy that has not ended, outlives this terminal, and takes what the
    other commands give it until `aisquad down`.
    """
    if is_unit and is_foreground:
        raise typer.BadParameter("goes without --foreground", param_hint="'--systemd'")
    if is_dry and not is_unit:
        raise typer.BadParameter("goes with --systemd", param_hint="'--dry-run'")
    terminal = open_terminal(color=color)
    mode = StopMode(on_term.value)

    def raise_engine() -> int:
        if is_foreground:
            leave_first_place()
        settings = session.load_settings(state, cwd=project, needs_trust=True)
        if is_foreground:
            return session.serve(settings, on_term=mode, is_reporting=False)
        unit: Unit | None = None
        if is_unit:
            unit = systemd.unit_of(
                settings, os.environ, cwd=Path.cwd(), state=state and state.absolute()
            )
            if is_dry:
                terminal.say(f"would write {escape_controls(str(unit.path))}")
                terminal.out.line(unit.text.removesuffix("\n"))
                return Status.OK
            is_new = _start_unit(unit, settings, terminal)
        else:
            no_engine = asyncio.run(session.holder_pid(settings)) is None
            is_new = no_engine and _start(settings, mode, state)
        pid, work = asyncio.run(_look(settings))
        where = {"state_dir": str(settings.state_dir), "log": str(session.engine_log(settings))}
        if unit is not None:
            where |= {"log": systemd.log_command(unit), "unit": str(unit.path)}
        if as_json:
            terminal.out.line(document({"pid": pid, "is_new": is_new, **where}))
        else:
            pairs = [("work", work)]
            pairs += [(title.removesuffix("_dir"), text) for title, text in where.items()]
            _tell(terminal, pairs, pid=pid, is_new=is_new)
        warning = logout_warning() if unit is None else linger_warning()
        if is_new and warning is not None:
            terminal.say(f"warning: {warning}")
        return Status.OK

    conclude(raise_engine)


def _start_unit(unit: Unit, settings: Settings, terminal: Terminal) -> bool:
    """Start the unit (blocking); False if it runs already, as it should be.

    Raises:
        InputError: The user's systemd does not answer.
        EngineRunningError: An engine runs here that is not the unit's.
        EngineStartError: It could not be started.
    """
    systemd.require_systemd()
    pid = asyncio.run(session.holder_pid(settings))
    is_running = systemd.is_active(unit)
    if pid is not None and not is_running:
        remedy = "`aisquad down --detach`, then this again: its work goes on in the unit's engine"
        raise EngineRunningError(settings.state_dir, pid or None, remedy=remedy)
    if not unit.is_written():
        unit.write()
        terminal.say(
            f"wrote {escape_controls(str(unit.path))}; `aisquad down --systemd` removes it"
        )
    elif is_running:
        return False
    systemd.install(unit, is_running=is_running)
    return True


def _start(settings: Settings, on_term: StopMode, state: Path | None) -> bool:
    """Start the engine (blocking); False if somebody else has just done so.

    Raises:
        EngineStartError: It could not be had.
    """
    try:
        session.start_engine(settings, state=state, on_term=on_term)
    except EngineRunningError:
        return False
    return True


async def _look(settings: Settings) -> tuple[int, str]:
    """Return the pid of the engine that runs, and what it has to do.

    Raises:
        EngineRunningError: It takes no commands from elsewhere.
    """
    async with session.open_client(settings, patience_s=session.START_PATIENCE_S) as reached:
        engine = (await reached.api.snapshot()).engine
        if engine.phase == "recovering":
            return engine.pid, "finding out what became of what earlier engines left"
        return engine.pid, f"{count(engine.running)} running, {count(engine.queued)} queued"


def _tell(terminal: Terminal, pairs: Sequence[tuple[str, str]], *, pid: int, is_new: bool) -> None:
    out = terminal.out
    how = "runs" if is_new else "runs already"
    out.line(f"{out.ink(f'engine {pid}', Ink.STRONG)} {how}")
    for line in facts([(title, escape_controls(text)) for title, text in pairs]):
        out.line(line)
