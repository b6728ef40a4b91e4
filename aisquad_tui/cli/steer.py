"""`aisquad cancel`, `pause` and `resume`: what the running engine does with its work."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from aisquad_core.errors import InputError, NotFoundError
from aisquad_core.model import WorkStatus
from aisquad_core.sanitise import one_line
from aisquad_tui.cli import options, session
from aisquad_tui.cli.asking import is_confirmed, item_lines, key_of, show_items
from aisquad_tui.cli.boundary import Status, conclude
from aisquad_tui.cli.selection import read_words, select
from aisquad_tui.cli.shapes import document
from aisquad_tui.cli.terminal import ColorChoice, open_terminal
from aisquad_tui.formatting import count, plural

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aisquad_core.api import ConvoyView, EngineAPI, ItemView, Outcome
    from aisquad_core.connect import WorkReader
    from aisquad_core.model import ItemKey
    from aisquad_tui.cli.terminal import Terminal

_OPEN = tuple(status for status in WorkStatus if not status.is_final)
"""What a selection without `--status` means."""
_MOST_REFUSED = 10


def cancel(
    items: options.Items = None,
    *,
    statuses: options.Statuses = None,
    convoys: options.Convoys = None,
    agents: options.Agents = None,
    is_kill: Annotated[
        bool, typer.Option("--kill", help="Kill at once instead of asking to end first.")
    ] = False,
    is_left: Annotated[
        bool,
        typer.Option(
            "--no-wait", help="Return once it is sure to happen, not when nothing is left running."
        ),
    ] = False,
    is_sure: options.IsSure = False,
    is_dry: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be cancelled; change nothing.")
    ] = False,
    as_json: options.AsJson = False,
    state: options.State = None,
    color: options.Color = ColorChoice.AUTO,
) -> None:
    """Cancel items, or all of a convoy, in the running engine.

    What runs is asked to end and killed after the grace period; it returns when nothing of it is
    left. Ctrl-C, or --no-wait, ends only the waiting. What needs a cancelled item is skipped.
    Without --status it takes all that has not ended.
    """
    terminal = open_terminal(color=color)
    wanted = options.parse_statuses(statuses)
    names = read_words(items or [])
    if not (names or wanted or convoys or agents):
        raise typer.BadParameter(
            "name items, or select them with --status, --convoy or --agent", param_hint="ITEM"
        )

    async def cancel_items() -> int:
        settings = session.load_settings(state)
        async with session.open_client(settings) as engine:
            async with session.open_reader(settings) as reader:
                chosen = await select(
                    reader,
                    names=names,
                    statuses=wanted or (() if names else _OPEN),
                    convoys=convoys or (),
                    agents=agents or (),
                )
            if not chosen:
                raise NotFoundError("no work item that has not ended fits the selection")
            if is_dry:
                show_items(chosen, terminal, is_json=as_json)
                return Status.OK
            if not (is_sure or len(chosen) == 1) and not _is_confirmed(chosen, is_kill, terminal):
                terminal.say("Nothing was changed.")
                return Status.FAILED
            is_whole = not (names or wanted or agents)
            call = partial(engine.api.cancel, is_kill=is_kill, is_waiting=not is_left)
            outcomes = await _cancel(call, chosen, is_whole=is_whole)
        done = ("being " if is_left else "") + ("killed" if is_kill else "cancelled")
        return _tell(outcomes, terminal, done=done, is_json=as_json)

    conclude(cancel_items)


async def _cancel(
    call: Callable[[Sequence[ItemKey] | str], Awaitable[Outcome]],
    chosen: Sequence[ItemView],
    *,
    is_whole: bool,
) -> list[Outcome]:
    """Cancel convoys as such, so that nothing of them is left to start, or items alone."""
    if is_whole:
        return [await call(convoy) for convoy in dict.fromkeys(item.convoy_id for item in chosen)]
    return [await call([key_of(item) for item in chosen])]


def _is_confirmed(chosen: Sequence[ItemView], is_kill: bool, terminal: Terminal) -> bool:
    running = sum(item.status is WorkStatus.IN_PROGRESS for item in chosen)
    question = f"{'Kill' if is_kill else 'Cancel'} {plural(len(chosen), 'item')}"
    if running:
        question += f", {count(running)} of which {'runs' if running == 1 else 'run'}"
    return is_confirmed(question, item_lines(chosen), terminal)


def _tell(outcomes: Sequence[Outcome], terminal: Terminal, *, done: str, is_json: bool) -> int:
    changed = [key for outcome in outcomes for key in outcome.changed]
    refused = {name: why for outcome in outcomes for name, why in outcome.refused.items()}
    if is_json:
        names = [str(key) for key in changed]
        terminal.out.line(document({"changed": [*names], "refused": {**refused}}))
    else:
        for name, reason in list(refused.items())[:_MOST_REFUSED]:
            terminal.say(f"{one_line(name)} left alone: {one_line(reason)}")
        if len(refused) > _MOST_REFUSED:
            terminal.say(f"and {plural(len(refused) - _MOST_REFUSED, 'more', 'more')}")
    if not changed:
        raise InputError("nothing of that can be cancelled")
    if not is_json:
        terminal.say(f"{plural(len(changed), 'item')} {done}")
    return Status.OK


def pause(
    convoy: options.Convoy,
    *,
    state: options.State = None,
    color: options.Color = ColorChoice.AUTO,
) -> None:
    """Start nothing more of a convoy; what runs goes on.

    It returns once that is on the disk, and waits for nothing that runs.
    """
    terminal = open_terminal(color=color)

    async def pause_one(api: EngineAPI, view: ConvoyView) -> None:
        await api.pause(view.id)
        id, running = one_line(view.id), view.counts.running
        verb = "runs" if running == 1 else "run"
        goes_on = f"{plural(running, 'operation')} {verb} on; " if running else ""
        terminal.say(f"{id} is paused; {goes_on}`aisquad resume {id}` lets it go on")

    conclude(lambda: _steer(state, convoy, pause_one))


def resume(
    convoy: options.Convoy,
    *,
    state: options.State = None,
    color: options.Color = ColorChoice.AUTO,
) -> None:
    """Let a paused or interrupted convoy go on."""
    terminal = open_terminal(color=color)

    async def resume_one(api: EngineAPI, view: ConvoyView) -> None:
        await api.resume(view.id)
        left = plural(view.counts.total - view.counts.ended, "operation")
        terminal.say(f"{one_line(view.id)} goes on; {left} left")

    conclude(lambda: _steer(state, convoy, resume_one))


async def _steer(
    state: options.State, prefix: str, steer: Callable[[EngineAPI, ConvoyView], Awaitable[None]]
) -> int:
    """Find a convoy that has not ended and let the running engine do something with it."""
    settings = session.load_settings(state)
    async with session.open_client(settings) as engine:
        async with session.open_reader(settings) as reader:
            view = await find_convoy(reader, prefix)
        if view.status.is_final:
            raise InputError(f"{one_line(view.id)} has ended ({view.status.value})")
        await steer(engine.api, view)
    return Status.OK


async def find_convoy(reader: WorkReader, prefix: str) -> ConvoyView:
    """Return the one convoy that begins so.

    Raises:
        NotFoundError: None does, or several.
    """
    id = await reader.resolve_convoy(prefix)
    for view in await reader.convoys():
        if view.id == id:
            return view
    raise NotFoundError(f"no convoy {id} any more")
