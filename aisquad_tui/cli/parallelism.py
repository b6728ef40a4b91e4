"""`aisquad parallelism`: pins how much the running engine runs at once, or lets it decide."""

from __future__ import annotations

from typing import Annotated

import typer

from aisquad_tui.cli import options, session
from aisquad_tui.cli.boundary import Status, conclude
from aisquad_tui.cli.shapes import document
from aisquad_tui.cli.terminal import ColorChoice, open_terminal
from aisquad_tui.formatting import plural

_AUTO = "auto"


def parallelism(
    size: Annotated[
        str,
        typer.Argument(
            metavar="N|auto",
            help="Operations at once; auto: by load, as the settings say.",
            autocompletion=lambda incomplete: [_AUTO] if _AUTO.startswith(incomplete) else [],
        ),
    ],
    *,
    as_json: options.AsJson = False,
    state: options.State = None,
    color: options.Color = ColorChoice.AUTO,
) -> None:
    """Pin how much the running engine runs at once.

    What runs is not touched; a smaller number only delays what is next.
    """
    terminal = open_terminal(color=color)
    wanted = _parse(size)

    async def change() -> int:
        async with session.open_client(session.load_settings(state)) as engine:
            at_once = await engine.api.set_parallelism(wanted)
        if as_json:
            terminal.out.line(document({"parallelism": at_once, "auto": wanted is None}))
        elif wanted is None:
            terminal.say(f"auto again, now {plural(at_once, 'operation')} at once")
        else:
            terminal.say(
                f"pinned at {plural(at_once, 'operation')} at once; `aisquad parallelism auto` "
                "gives it back to the engine"
            )
        return Status.OK

    conclude(change)


def _parse(text: str) -> int | None:
    if text == _AUTO:
        return None
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise typer.BadParameter(
            f"{text!r}: expected a whole number from 1, or {_AUTO}", param_hint="N|auto"
        )
    return int(text)
