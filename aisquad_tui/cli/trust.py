"""`aisquad trust`: what a project's aisquad.toml would run, and the operator's yes to it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aisquad_core.errors import InputError
from aisquad_core.sanitise import escape_controls, one_line
from aisquad_tui.cli import options, session
from aisquad_tui.cli.asking import is_confirmed
from aisquad_tui.cli.boundary import Status, conclude
from aisquad_tui.cli.terminal import ColorChoice, Ink, open_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aisquad_core.settings import AgentProfile, Review
    from aisquad_tui.cli.terminal import Stream

_TITLE_CELLS = len("stdin_file")


def trust(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="The project. [default: here]")
    ] = Path(),
    *,
    is_sure: options.IsSure = False,
    color: options.Color = ColorChoice.AUTO,
) -> None:
    """Show what a project's aisquad.toml would run, and ask.

    Before it is trusted nothing runs there, and what it says of commands (agents' and on_finish),
    environments, folders and the database does not hold. An edit asks again.
    """
    terminal = open_terminal(color=color)

    def ask() -> int:
        if not folder.is_dir():
            raise InputError(f"{one_line(str(folder))}: no such folder")
        review = session.review_project(folder.absolute())
        if review is None:
            raise InputError(
                f"{one_line(str(folder.absolute()))}: no aisquad.toml there or above; "
                "nothing needs trust"
            )
        path = escape_controls(str(review.path))
        if review.is_trusted:
            why = "is trusted already" if review.guarded else "sets nothing that needs trust"
            terminal.say(f"{path} {why}")
            return Status.OK
        for line in _lines(review, terminal.out):
            terminal.out.line(line)
        terminal.out.file.flush()
        if not is_sure and not is_confirmed(f"Trust {path}", (), terminal):
            terminal.say("Nothing was changed.")
            return Status.FAILED
        session.trust(review.path, review.content)
        terminal.say(f"trusted {path}, as it is now")
        return Status.OK

    conclude(ask)


def _lines(review: Review, out: Stream) -> Iterator[str]:
    """Say everything that the file may set once it is trusted; nothing is cut short."""
    settings = review.settings
    agents: dict[str, set[str]] = {}
    others = []
    for guarded in review.guarded:
        name, _, key = guarded.removeprefix("agents.").rpartition(".")
        if name:
            agents.setdefault(name, set()).add(key)
        else:
            others.append(key)
    yield f"{escape_controls(str(review.path))} sets"
    for name, keys in agents.items():
        yield f"  {out.ink(f'agent {name}', Ink.STRONG)}"
        for title, text in _facts(settings.agents[name], keys):
            yield f"    {title:<{_TITLE_CELLS}}  {escape_controls(text)}"
    for row in session.describe(settings):
        if row.name in others:
            yield f"  {out.ink(row.name, Ink.STRONG)} = {escape_controls(row.value)}"


def _facts(agent: AgentProfile, keys: set[str]) -> Iterator[tuple[str, str]]:
    """Return what runs, always, and whichever of the rest the file sets."""
    command = agent.command
    if command is None:
        yield "command", "(what each operation runs)"
    else:
        yield "command", command if isinstance(command, str) else shlex.join(command)
    if "env" in keys:
        yield "env", f"{', '.join(agent.env) or '(empty)'} (values are not shown)"
    for key, text in (("cwd", agent.cwd), ("stdin", agent.stdin), ("stdin_file", agent.stdin_file)):
        if key in keys and text is not None:
            yield key, text
