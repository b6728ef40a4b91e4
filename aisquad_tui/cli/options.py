"""The flags that several verbs share, and what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aisquad_core.model import WorkStatus
from aisquad_tui.cli.completion import complete_convoys, complete_items
from aisquad_tui.cli.request import FileFormat
from aisquad_tui.cli.terminal import ColorChoice

if TYPE_CHECKING:
    from collections.abc import Sequence

State = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        help="State folder. [default: .ai_squad of this project]",
        show_default=False,
    ),
]
Color = Annotated[ColorChoice, typer.Option("--color", help="Colours in the output.")]
Embedded = Annotated[
    bool,
    typer.Option(
        "--embedded", help="Keep the engine in the screen's process; it ends with the screen."
    ),
]
Utc = Annotated[bool, typer.Option("--utc", help="Show times in UTC instead of local time.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Watch = Annotated[
    bool, typer.Option("--watch", "-w", help="Show it again whenever it changes; Ctrl-C ends.")
]
Statuses = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        metavar="STATUS",
        help="Only these: " + ", ".join(status.word for status in WorkStatus) + ".",
        autocompletion=lambda incomplete: [
            status.word for status in WorkStatus if status.word.startswith(incomplete)
        ],
    ),
]
Convoys = Annotated[
    list[str] | None,
    typer.Option(
        "--convoy",
        metavar="CONVOY",
        help="Only of these convoys (a unique prefix does).",
        autocompletion=complete_convoys,
    ),
]
Agents = Annotated[
    list[str] | None, typer.Option("--agent", metavar="AGENT", help="Only of these agents.")
]
Items = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ITEM...",
        help="Work items: ID or CONVOY/ID, unique prefixes do; - reads them from standard input.",
        autocompletion=complete_items,
        show_default=False,
    ),
]
Item = Annotated[
    str,
    typer.Argument(
        metavar="ITEM",
        help="A work item: ID (of the newest convoy that has it) or CONVOY/ID; prefixes do.",
        autocompletion=complete_items,
    ),
]
Convoy = Annotated[
    str,
    typer.Argument(
        metavar="CONVOY", help="A convoy (a unique prefix does).", autocompletion=complete_convoys
    ),
]
IsSure = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

Targets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE | INPUT...",
        help="A convoy file (- is standard input, with --format), or the inputs of --each.",
        show_default=False,
    ),
]
Each = Annotated[
    str | None,
    typer.Option(
        metavar="CMD",
        help="Run this once for each INPUT, put in place of {}; without INPUT, for each line "
        "of standard input.",
    ),
]
IsNul = Annotated[bool, typer.Option("-0", "--null", help="Inputs on standard input end in NUL.")]
Name = Annotated[str | None, typer.Option(metavar="NAME", help="With --each: the convoy's name.")]
Agent = Annotated[
    str | None,
    typer.Option(metavar="AGENT", help="With --each: whose limits hold. [default: shell]"),
]
Retries = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="With --each: tries after a failure.")
]
Timeout = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="With --each: limit of one attempt (90s, 30m, 2h)."),
]
IsFirstFailureLast = Annotated[
    bool, typer.Option("--stop-on-first-failure", help="With --each: start nothing after one.")
]
Format = Annotated[
    FileFormat | None, typer.Option(help="How FILE is written. [default: its name tells]")
]
IsDry = Annotated[
    bool, typer.Option("--dry-run", help="Show every operation and limit; start nothing.")
]


def parse_statuses(words: Sequence[str] | None) -> tuple[WorkStatus, ...]:
    """Return the statuses that `--status` names; `running` and `in_progress` are the same.

    Raises:
        typer.BadParameter: There is no such status.
    """
    known = {status.word: status for status in WorkStatus}
    known[WorkStatus.IN_PROGRESS.value] = WorkStatus.IN_PROGRESS
    wanted = [word for words_ in words or () for word in words_.split(",")]
    for word in wanted:
        if word not in known:
            raise typer.BadParameter(
                f"{word!r} is no status; expected one of: "
                + ", ".join(status.word for status in WorkStatus),
                param_hint="'--status'",
            )
    return tuple(dict.fromkeys(known[word] for word in wanted))
