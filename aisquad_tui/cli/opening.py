"""The screen as Typer's commands know it: alone, with a convoy file, as the demo."""
# ruff: noqa: PLC0415  # the other verbs do not pay for the screen

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from aisquad_tui.cli import options  # noqa: TC001  # typer reads the annotations
from aisquad_tui.cli.terminal import ColorChoice

if TYPE_CHECKING:
    from pathlib import Path


def demo(*, color: options.Color = ColorChoice.AUTO) -> None:
    """Open the screen on harmless work, in a throw-away folder.

    Convoys of real commands run in it: they sleep, count and compress random bytes. Nothing of
    them is left when the screen is left.
    """
    from aisquad_tui.cli.screen import open_screen

    raise typer.Exit(open_screen(is_demo=True, has_color=color is not ColorChoice.NEVER))


def open_file(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A convoy file.")],
    *,
    state: options.State = None,
    color: options.Color = ColorChoice.AUTO,
    is_embedded: options.Embedded = False,
) -> None:
    """Open the screen and launch a convoy file."""
    _open(file, state, color, is_embedded)


def open_alone(state: Path | None, color: ColorChoice, is_embedded: bool) -> NoReturn:
    """Open the screen of this project."""
    _open(None, state, color, is_embedded)


def _open(file: str | None, state: Path | None, color: ColorChoice, is_embedded: bool) -> NoReturn:
    from aisquad_tui.cli.screen import open_screen

    has_color = color is not ColorChoice.NEVER
    raise typer.Exit(open_screen(file, state=state, has_color=has_color, is_embedded=is_embedded))
