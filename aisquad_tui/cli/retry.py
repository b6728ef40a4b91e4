"""`aisquad retry`: run ended items again, and what was skipped because of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from aisquad_core.errors import InputError, NotFoundError
from aisquad_core.model import WorkStatus
from aisquad_core.sanitise import one_line
from aisquad_tui.cli import options, session
from aisquad_tui.cli.asking import is_confirmed, item_lines, key_of, show_items
from aisquad_tui.cli.attend import attend
from aisquad_tui.cli.boundary import Status, conclude
from aisquad_tui.cli.selection import read_words, select
from aisquad_tui.cli.terminal import ColorChoice, open_terminal
from aisquad_tui.formatting import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_core.api import EngineAPI, ItemView
    from aisquad_tui.cli.terminal import Terminal

_RETRIED = (WorkStatus.FAILED, WorkStatus.LOST, WorkStatus.CANCELLED)
"""What a selection without `--status` and without ids means."""


def retry(
    items: options.Items = None,
    *,
    statuses: options.Statuses = None,
    convoys: options.Convoys = None,
    agents: options.Agents = None,
    is_sure: options.IsSure = False,
    is_dry: Annotated[
        bool, typer.Option("--dry-run", help="Show what would run again; start nothing.")
    ] = False,
    parallelism: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Run N at once, whatever the machine's load."),
    ] = None,
    is_quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: options.AsJson = False,
    state: options.State = None,
    color: options.Color = ColorChoice.AUTO,
) -> None:
    """Run ended items again and wait for the end.

    What was skipped because of them runs, too; what needs something else that failed is left
    alone. Without --status and ITEM it takes what failed, was lost or was cancelled in the
    convoys, or of the agents, that are named.
    """
    terminal = open_terminal(color=color)
    wanted = options.parse_statuses(statuses)
    names = read_words(items or [])
    if not (names or wanted or convoys or agents):
        raise typer.BadParameter(
            "name items, or select them with --status, --convoy or --agent", param_hint="ITEM"
        )

    async def retry_items() -> int:
        settings = session.load_settings(state, needs_trust=not is_dry)
        async with session.open_reader(settings) as reader:
            chosen = await select(
                reader,
                names=names,
                statuses=wanted or (() if names else _RETRIED),
                convoys=convoys or (),
                agents=agents or (),
            )
        if not chosen:
            raise NotFoundError("no work item fits the selection")
        if is_dry:
            show_items(chosen, terminal, is_json=as_json)
            return Status.OK
        if not is_sure and not _is_confirmed(chosen, terminal):
            terminal.say("Nothing was changed.")
            return Status.FAILED

        async def begin(api: EngineAPI) -> Sequence[str]:
            outcome = await api.retry([key_of(item) for item in chosen], env=os.environ)
            for name, reason in outcome.refused.items():
                terminal.say(f"{one_line(name)} left alone: {one_line(reason)}")
            if not outcome.changed:
                raise InputError("nothing of that can be retried")
            return list(dict.fromkeys(key.convoy_id for key in outcome.changed))

        return await attend(
            settings,
            begin,
            terminal=terminal,
            parallelism=parallelism,
            is_quiet=is_quiet,
            is_json=as_json,
        )

    conclude(retry_items)


def _is_confirmed(chosen: Sequence[ItemView], terminal: Terminal) -> bool:
    """Ask when there is something to ask.

    Raises:
        InputError: There is, and nobody to answer.
    """
    completed = sum(item.status is WorkStatus.COMPLETED for item in chosen)
    if len(chosen) == 1 and not completed:
        return True
    question = f"Run {plural(len(chosen), 'item')} again"
    if completed:
        question += f", {completed:,} of which completed"
    return is_confirmed(question, item_lines(chosen), terminal)
