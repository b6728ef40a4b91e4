"""`aisquad gc`: shows which logs of ended convoys would go, and removes them after a yes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from aisquad_core.sanitise import one_line
from aisquad_tui.cli import options, session
from aisquad_tui.cli.asking import is_confirmed
from aisquad_tui.cli.boundary import Status, conclude
from aisquad_tui.cli.shapes import document, plain
from aisquad_tui.cli.terminal import ColorChoice, open_terminal
from aisquad_tui.formatting import age, data_size, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_core.upkeep import EndedRun


def gc(
    *,
    keep_days: Annotated[
        int | None,
        typer.Option(
            "--keep-days", min=0, metavar="N", help="Keep what ended in the last N days (0: all)."
        ),
    ] = None,
    keep_bytes: Annotated[
        int | None,
        typer.Option("--keep-bytes", min=0, metavar="N", help="Keep the newest N bytes (0: all)."),
    ] = None,
    is_dry: Annotated[
        bool, typer.Option("--dry-run", help="Show what would go; change nothing.")
    ] = False,
    is_sure: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: options.AsJson = False,
    state: options.State = None,
    color: options.Color = ColorChoice.AUTO,
) -> None:
    """Remove the logs of convoys that ended long ago.

    Without options the settings keep_runs_days and keep_runs_bytes decide, by which a running
    engine does the same every hour. What the work state says of the convoys stays.
    """
    terminal = open_terminal(color=color)
    flags = {"keep_runs_days": keep_days, "keep_runs_bytes": keep_bytes}
    settings_flags = {name: value for name, value in flags.items() if value is not None}

    async def prune() -> int:
        settings = session.load_settings(state, settings_flags)
        plan = await session.plan_upkeep(settings)
        stays = f"{plural(plan.kept, 'run')} with {data_size(plan.kept_bytes)} stay"
        if is_dry or not plan.runs:
            if as_json:
                terminal.out.line(_shape(plan.runs, plan.size_bytes, ()))
                return Status.OK
            for line in _lines(plan.runs):
                terminal.out.line(line)
            going = f"{plural(len(plan.runs), 'run')} with {data_size(plan.size_bytes)} would go; "
            terminal.say(f"{going if plan.runs else 'nothing to remove; '}{stays}")
            return Status.OK
        question = f"Remove {plural(len(plan.runs), 'run')} with {data_size(plan.size_bytes)}"
        if not is_sure and not is_confirmed(question, _lines(plan.runs), terminal):
            terminal.say("Nothing was changed.")
            return Status.FAILED
        report = await session.run_upkeep(settings)
        if as_json:
            terminal.out.line(_shape(report.runs, report.size_bytes, report.problems))
        else:
            gone = f"{plural(len(report.runs), 'run')} with {data_size(report.size_bytes)} removed"
            terminal.say(f"{gone}; {stays}")
        for problem in report.problems:
            terminal.say(f"left for the next time: {one_line(problem)}")
        return Status.FAILED if report.problems else Status.OK

    conclude(prune)


def _lines(runs: Sequence[EndedRun]) -> list[str]:
    now = datetime.now(UTC)
    return [
        f"{one_line(run.convoy_id)}  ended {age((now - run.finished_at).total_seconds())} ago  "
        f"{data_size(run.size_bytes)}"
        for run in runs
    ]


def _shape(runs: Sequence[EndedRun], size_bytes: int, problems: Sequence[str]) -> str:
    shape = {"runs": list(runs), "size_bytes": size_bytes, "problems": list(problems)}
    return document(plain(shape))
