"""The `aisquad` command: its verbs, in order of use, and what holds for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aisquad_core.version import __version__
from aisquad_tui.cli import options  # noqa: TC001  # typer reads the annotations
from aisquad_tui.cli.config import config
from aisquad_tui.cli.down import down
from aisquad_tui.cli.entry import is_convoy_file
from aisquad_tui.cli.gc import gc
from aisquad_tui.cli.init import init
from aisquad_tui.cli.items import items
from aisquad_tui.cli.launch import launch
from aisquad_tui.cli.logs import logs
from aisquad_tui.cli.ls import ls
from aisquad_tui.cli.opening import demo, open_alone, open_file
from aisquad_tui.cli.parallelism import parallelism
from aisquad_tui.cli.rescue import rescue
from aisquad_tui.cli.retry import retry
from aisquad_tui.cli.run import run
from aisquad_tui.cli.status import status
from aisquad_tui.cli.steer import cancel, pause, resume
from aisquad_tui.cli.terminal import ColorChoice
from aisquad_tui.cli.trust import trust
from aisquad_tui.cli.up import up
from aisquad_tui.cli.wait import wait
from aisquad_tui.cli.why import why

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


PROGRAM = "aisquad"
_FLAGS_WITH_VALUE = ("--state", "--color")
"""Flags before the verb that take the word behind them."""
_VERBS: Sequence[tuple[Callable[..., None], str]] = (
    (demo, "aisquad demo"),
    (init, "aisquad init\naisquad init demo && aisquad run demo/starter.toml"),
    (
        run,
        "aisquad run nightly.toml\n"
        "aisquad run nightly.toml --dry-run\n"
        "aisquad run --each 'gzip -9 {}' *.log\n"
        "git ls-files -z '*.py' | aisquad run -0 --each 'ruff check {}' --parallelism 4\n"
        "aisquad run --resume nightly-k3f9",
    ),
    (
        up,
        "aisquad up\n"
        "aisquad up --systemd --dry-run\n"
        "aisquad up --systemd\n"
        "aisquad up --foreground --on-term detach",
    ),
    (
        down,
        "aisquad down\n"
        "aisquad down --now\n"
        "aisquad down --detach && aisquad up\n"
        "aisquad down --systemd",
    ),
    (
        launch,
        "aisquad launch nightly.toml\n"
        "aisquad launch --each 'gzip -9 {}' *.log\n"
        "aisquad wait $(aisquad launch nightly.toml) --timeout 2h",
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
    (
        cancel,
        "aisquad cancel fix-api-017\n"
        "aisquad cancel --convoy nightly-k3f9 --yes\n"
        "aisquad cancel --status running --agent reviewer --kill --yes",
    ),
    (pause, "aisquad pause nightly-k3f9"),
    (resume, "aisquad resume nightly-k3f9"),
    (parallelism, "aisquad parallelism 8\naisquad parallelism auto"),
    (
        wait,
        "aisquad wait nightly-k3f9\n"
        "aisquad wait nightly-k3f9 weekly-b2x1 --any --timeout 30m; echo $?",
    ),
    (status, "aisquad status\naisquad status --watch\naisquad status --check && echo well"),
    (gc, "aisquad gc --dry-run\naisquad gc --keep-days 7"),
    (rescue, "aisquad rescue copy.db"),
    (config, "aisquad config\nAI_SQUAD_MAX_PARALLELISM=8 aisquad config"),
    (trust, "aisquad trust\naisquad trust ../cloned --yes"),
)
"""Each verb with its examples."""

app = typer.Typer(
    name=PROGRAM,
    subcommand_metavar="[FILE | COMMAND] [ARGS]...",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for _verb, _examples in _VERBS:
    app.command(epilog="\b\nExamples:\n" + "".join(f"  {e}\n" for e in _examples.split("\n")))(
        _verb
    )
app.command("open", hidden=True)(open_file)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback(
    invoke_without_command=True,
    epilog="\b\nStart here:\n"
    "  aisquad demo                  the screen, with harmless work to look at\n"
    "  aisquad                       the screen of this project; its keys are on it\n"
    "  aisquad FILE                  the same, and launch a convoy file\n"
    "  aisquad init                  write a first convoy\n"
    "  aisquad run starter.toml      run it without the screen\n\n"
    "\b\nExit status: 0 all completed, 1 some failed, 2 bad input, 3 no engine, 4 not found,\n"
    "124 wait timed out, 130 interrupted.",
)
def root(
    ctx: typer.Context,
    state: options.State = None,
    color: options.Color = ColorChoice.AUTO,
    is_embedded: options.Embedded = False,
    is_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Run convoys: many commands at once, as many as the machine can bear right now.

    Alone it opens the screen: watch, launch and cancel convoys. With FILE it launches that one. The
    screen attaches to the engine of this project, and starts it in the background if none runs.
    """
    if ctx.invoked_subcommand is None:
        open_alone(state, color, is_embedded)
    defaults: dict[str, object] = {"color": color.value}
    if state is not None:
        defaults["state"] = str(state)
    if ctx.invoked_subcommand == "open":
        defaults["is_embedded"] = is_embedded
    ctx.default_map = {ctx.invoked_subcommand: defaults}


def run_verbs(arguments: Sequence[str]) -> int:
    """Run the verb that the arguments name, and return the exit status."""
    try:
        app(args=_named(arguments), prog_name=PROGRAM)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _named(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with a verb: a convoy file in a verb's place is to be opened."""
    words, place = list(arguments), 0
    while place < len(words) and words[place].startswith("-"):
        place += 2 if words[place] in _FLAGS_WITH_VALUE else 1
    if place < len(words) and is_convoy_file(words[place]):
        words.insert(place, "open")
    return words
