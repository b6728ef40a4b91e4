"""`aisquad up`: the engine as a process of its own, that outlives this terminal."""

from __future__ import annotations

import asyncio
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aisquad_core.api import StopMode
from aisquad_core.errors import EngineStartError
from aisquad_core.sanitise import one_line
from aisquad_tui.cli import options, session
from aisquad_tui.cli.boundary import Status, conclude
from aisquad_tui.cli.logout import logout_warning
from aisquad_tui.cli.shapes import document
from aisquad_tui.cli.table import facts
from aisquad_tui.cli.terminal import ColorChoice, Ink, open_terminal
from aisquad_tui.formatting import count

if TYPE_CHECKING:
    from aisquad_core.settings import Settings
    from aisquad_tui.cli.terminal import Terminal


_PATIENCE_S = 15.0
"""For an engine that somebody else is just starting."""


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
    is_reporting: Annotated[bool, typer.Option("--report", hidden=True)] = False,
    project: Annotated[Path | None, typer.Option("--project", hidden=True)] = None,
    as_json: options.AsJson = False,
    state: options.State = None,
    color: options.Color = ColorChoice.AUTO,
) -> None:
    """Start the engine in the background, unless it runs.

    It goes on with every convoy that has not ended, outlives this terminal, and takes what the
    other commands give it until `aisquad down`.
    """
    terminal = open_terminal(color=color)
    mode = StopMode(on_term.value)

    def raise_engine() -> int:
        settings = session.load_settings(state, cwd=project, needs_trust=True)
        if is_foreground:
            return session.serve(settings, on_term=mode, is_reporting=is_reporting)
        is_new = asyncio.run(session.holder_pid(settings)) is None and _start(settings, mode, state)
        pid, work = asyncio.run(_look(settings))
        if as_json:
            log = str(session.engine_log(settings))
            folder = str(settings.state_dir)
            terminal.out.line(
                document({"pid": pid, "is_new": is_new, "state_dir": folder, "log": log})
            )
        else:
            _tell(settings, terminal, pid=pid, work=work, is_new=is_new)
        if is_new and (warning := logout_warning()) is not None:
            terminal.say(f"warning: {warning}")
        return Status.OK

    conclude(raise_engine)


def _start(settings: Settings, on_term: StopMode, state: Path | None) -> bool:
    """Start the engine (blocking); False if somebody else has just done so.

    Raises:
        EngineStartError: It could not be had.
    """
    command = [sys.executable, "-m", "aisquad_tui.cli", "up", "--foreground", "--report"]
    command += [f"--on-term={on_term.value}", f"--project={Path.cwd()}"]
    if state is not None:
        command.append(f"--state={state.absolute()}")
    try:
        session.start_engine(command, settings)
    except EngineStartError:
        if asyncio.run(session.holder_pid(settings)) is None:
            raise
        return False
    return True


async def _look(settings: Settings) -> tuple[int, str]:
    """Return the pid of the engine that runs, and what it has to do.

    Raises:
        EngineRunningError: It takes no commands from elsewhere.
    """
    async with session.open_client(settings, patience_s=_PATIENCE_S) as reached:
        engine = (await reached.api.snapshot()).engine
        if engine.phase == "recovering":
            return engine.pid, "finding out what became of what earlier engines left"
        return engine.pid, f"{count(engine.running)} running, {count(engine.queued)} queued"


def _tell(settings: Settings, terminal: Terminal, *, pid: int, work: str, is_new: bool) -> None:
    out = terminal.out
    how = "runs" if is_new else "runs already"
    out.line(f"{out.ink(f'engine {pid}', Ink.STRONG)} {how}")
    pairs = [
        ("work", work),
        ("state", one_line(str(settings.state_dir))),
        ("log", one_line(str(session.engine_log(settings)))),
    ]
    for line in facts(pairs):
        out.line(line)
