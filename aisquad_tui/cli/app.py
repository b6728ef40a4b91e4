"""The `aisquad` command: its verbs, in order of use, and what holds for all of them."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from aisquad_core.version import __version__
from aisquad_tui.cli import options  # noqa: TC001  # typer reads the annotations
from aisquad_tui.cli.config import config
from aisquad_tui.cli.init import init
from aisquad_tui.cli.items import items
from aisquad_tui.cli.logs import logs
from aisquad_tui.cli.ls import ls
from aisquad_tui.cli.retry import retry
from aisquad_tui.cli.run import run
from aisquad_tui.cli.status import status
from aisquad_tui.cli.terminal import ColorChoice
from aisquad_tui.cli.why import why

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROGRAM = "aisquad"
_VERBS: Sequence[tuple[Callable[..., None], str]] = (
    (init, "aisquad init\naisquad init demo && aisquad run demo/starter.toml"),
    (
        run,
        "aisquad run nightly.toml\n"
        "aisquad run nightly.toml --dry-run\n"
        "aisquad run --each 'gzip -9 {}' *.log\n"
        "git ls-files -z '*.py' | aisquad run -0 --each 'ruff check {}' --parallelism 4\n"
        "aisquad run --resume nightly-k3f9",
    ),
    (ls, "aisquad ls\naisquad ls --watch\naisquad ls --json | jq -r '.[0].id'"),
    (
        items,
        "aisquad items\n"
        "aisquad items nightly-k3f9 --status running,failed\n"
        "aisquad items --sort finished --reverse --limit 20\n"
        "aisquad items --json | jq -r '.[] | select(.exit_code == 1) | .id'",
    ),
    (why, "aisquad why fix-api-017\naisquad why nightly-k3f9/lint"),
    (
        logs,
        "aisquad logs fix-api-017\n"
        "aisquad logs fix-api-017 --tail 20 --follow\n"
        "aisquad logs nightly-k3f9/lint --attempt 1",
    ),
    (
        retry,
        "aisquad retry fix-api-017\n"
        "aisquad retry --convoy nightly-k3f9 --status failed,lost --yes\n"
        "aisquad items --status failed --json | jq -r '.[].id' | aisquad retry - --yes",
    ),
    (status, "aisquad status\naisquad status --watch"),
    (config, "aisquad config\nAI_SQUAD_MAX_PARALLELISM=8 aisquad config"),
)
"""Each verb with its examples."""

app = typer.Typer(
    name=PROGRAM,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for _verb, _examples in _VERBS:
    app.command(epilog="\b\nExamples:\n" + "".join(f"  {e}\n" for e in _examples.split("\n")))(
        _verb
    )


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback(
    invoke_without_command=True,
    epilog="\b\nStart here:\n"
    "  aisquad init                  write a first convoy\n"
    "  aisquad run starter.toml      run it\n"
    "  aisquad items                 see what came of it\n\n"
    "\b\nExit status: 0 all completed, 1 some failed, 2 bad input, 3 no engine, 4 not found,\n"
    "130 interrupted.",
)
def root(
    ctx: typer.Context,
    state: options.State = None,
    color: options.Color = ColorChoice.AUTO,
    is_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Run convoys: many commands at once, as many as the machine can bear right now."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        return
    defaults = {"color": color.value, **({} if state is None else {"state": str(state)})}
    ctx.default_map = {ctx.invoked_subcommand: defaults}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Those after the program's name; None: the process's own.

    Returns:
        The exit status.
    """
    if not sys.platform.startswith("linux"):
        print("error: aisquad runs on Linux only.", file=sys.stderr)
        return 2
    for stream in (sys.stdout, sys.stderr):
        _let_everything_through(stream)
    try:
        app(args=None if arguments is None else list(arguments), prog_name=PROGRAM)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _let_everything_through(stream: TextIO) -> None:
    """Show what the locale cannot as escapes instead of failing on it."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
