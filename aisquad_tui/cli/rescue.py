"""`aisquad rescue`: a copy of the work state from the running engine, for when its file is gone."""

from __future__ import annotations

import shlex
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import Annotated

import typer

from aisquad_core.sanitise import one_line
from aisquad_tui.cli import options, session
from aisquad_tui.cli.boundary import Status, conclude
from aisquad_tui.cli.shapes import document
from aisquad_tui.cli.terminal import ColorChoice, open_terminal
from aisquad_tui.formatting import data_size


def rescue(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; it must not exist yet.")],
    *,
    as_json: options.AsJson = False,
    state: options.State = None,
    color: options.Color = ColorChoice.AUTO,
) -> None:
    """Write a copy of the work state from the running engine.

    Everything that was acknowledged is in it, even when the file itself was moved, deleted or
    overwritten under the engine. It says how to go on with the copy.
    """
    terminal = open_terminal(color=color)
    target = file.absolute()

    async def copy() -> int:
        settings = session.load_settings(state)
        async with session.open_client(settings) as engine:
            size_bytes = await engine.api.rescue(str(target))
        if as_json:
            terminal.out.line(document({"file": str(target), "size_bytes": size_bytes}))
            return Status.OK
        terminal.say(f"{data_size(size_bytes)} in {one_line(str(target))}; to go on with it:")
        for line in _steps(target, settings.workstate_db.absolute(), state):
            terminal.out.line(line)
        return Status.OK

    conclude(copy)


def _steps(copy: Path, database: Path, state: Path | None) -> list[str]:
    """Return the commands that put the copy in the place of the work state.

    What is left there is another database's: SQLite would mix its -wal into the copy.
    """
    flag = "" if state is None else f" --state {shlex.quote(str(state.absolute()))}"
    old = [shlex.quote(f"{database}{ending}") for ending in ("", "-wal", "-shm")]
    return [
        f"aisquad down --detach{flag}",
        f"rm -f {' '.join(old)}",
        f"mv {shlex.quote(str(copy))} {old[0]}",
        f"aisquad up{flag}",
    ]
