"""`aisquad wait`: until convoys have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aisquad_core.errors import NoEngineError
from aisquad_core.model import ConvoyStatus
from aisquad_core.sanitise import one_line
from aisquad_tui.cli import options, session
from aisquad_tui.cli.boundary import Status, conclude
from aisquad_tui.cli.completion import complete_convoys
from aisquad_tui.cli.progress import ended_words
from aisquad_tui.cli.shapes import convoy_shapes, document
from aisquad_tui.cli.steer import find_convoy
from aisquad_tui.cli.terminal import CONVOY_INKS, ColorChoice, Ink, open_terminal
from aisquad_tui.formatting import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_core.api import ConvoyView
    from aisquad_core.settings import Settings
    from aisquad_tui.cli.terminal import Stream


def wait(
    convoys: Annotated[
        list[str],
        typer.Argument(
            metavar="CONVOY...",
            help="Convoys (unique prefixes do).",
            autocompletion=complete_convoys,
        ),
    ],
    *,
    timeout: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Give up after it (90s, 30m, 2h); exit status 124."),
    ] = None,
    is_any: Annotated[
        bool, typer.Option("--any", help="Until one of them has ended, not all.")
    ] = False,
    as_json: options.AsJson = False,
    state: options.State = None,
    color: options.Color = ColorChoice.AUTO,
) -> None:
    """Wait until convoys have ended; exit 0 if all completed.

    Convoys that have ended already need no engine.
    """
    terminal = open_terminal(color=color)
    timeout_s = _timeout_s(timeout)

    async def wait_for_convoys() -> int:
        settings = session.load_settings(state)
        async with session.open_reader(settings) as reader:
            views = [await find_convoy(reader, prefix) for prefix in convoys]
        views = list({view.id: view for view in views}.values())
        if not _is_over(views, is_any=is_any):
            views = await _wait(settings, views, is_any=is_any, timeout_s=timeout_s)
        if as_json:
            terminal.out.line(document(convoy_shapes(views)))
        ended = [view for view in views if view.status.is_final]
        for view in ended if not as_json else ():
            terminal.out.line(_line(view, terminal.out))
        is_good = all(view.status is ConvoyStatus.COMPLETED for view in ended)
        return Status.OK if is_good else Status.FAILED

    conclude(wait_for_convoys)


def _is_over(views: Sequence[ConvoyView], *, is_any: bool) -> bool:
    return (any if is_any else all)(view.status.is_final for view in views)


async def _wait(
    settings: Settings, views: Sequence[ConvoyView], *, is_any: bool, timeout_s: float | None
) -> list[ConvoyView]:
    """Wait in the engine that runs."""
    names = ", ".join(one_line(view.id) for view in views if not view.status.is_final)
    if await session.holder_pid(settings) is None:
        raise NoEngineError(f"no engine runs here to end {names}; `aisquad up` starts one")
    try:
        async with session.open_client(settings) as engine:
            ids = [view.id for view in views]
            return [*await engine.api.wait(ids, is_any=is_any, timeout_s=timeout_s)]
    except TimeoutError as error:
        raise TimeoutError(f"not ended within {duration(timeout_s or 0)}: {names}") from error


def _line(view: ConvoyView, out: Stream) -> str:
    sign = out.ink(out.glyphs.convoy[view.status], CONVOY_INKS[view.status])
    return f"{sign} {out.ink(one_line(view.id), Ink.STRONG)} {ended_words(view)}"


def _timeout_s(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return session.parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: {error}", param_hint="'--timeout'") from error
