"""`run --dry-run`: every operation and every limit, with nothing started or written."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from aisquad_core.errors import SpecError
from aisquad_core.sanitise import one_line
from aisquad_tui.cli import session
from aisquad_tui.cli.boundary import Status
from aisquad_tui.cli.shapes import document, plain, record
from aisquad_tui.cli.table import Cell, Column, Table, facts
from aisquad_tui.cli.terminal import Ink
from aisquad_tui.formatting import count, duration, plural

if TYPE_CHECKING:
    from aisquad_core.api import Preview, PreviewOperation
    from aisquad_core.settings import Settings
    from aisquad_core.spec import ConvoySource
    from aisquad_tui.cli.terminal import Terminal

_COLUMNS = (
    Column(title="OPERATION", floor=12),
    Column(title="AGENT", floor=6),
    Column(title="NEEDS", floor=8),
    Column(title="TRIES", is_right=True),
    Column(title="TIMEOUT", is_right=True),
    Column(title="COMMAND", floor=20),
)


async def show_plan(
    source: ConvoySource,
    settings: Settings,
    terminal: Terminal,
    *,
    parallelism: int | None,
    is_json: bool,
) -> int:
    """Print what a launch would run, and within which limits.

    Raises:
        SpecError: The source has problems.
    """
    preview = await asyncio.to_thread(session.preview, source, settings, str(Path.cwd()))
    if preview.problems:
        raise SpecError(preview.problems)
    out = terminal.out
    if is_json:
        limits = {
            "parallelism": parallelism,
            "baseline": settings.baseline_parallelism,
            "max": settings.max_parallelism,
            "auto": parallelism is None and settings.enable_auto_tuning,
            "grace_s": settings.grace_s,
            "rate_limit": settings.rate_limit,
            "rate_burst": settings.rate_burst,
        }
        out.line(document({**record(preview), "limits": plain(limits)}))
        return Status.OK
    out.line(f"{one_line(preview.name)}: {plural(preview.total, 'operation')}")
    for line in facts(_limits(preview, settings, parallelism)):
        out.line(f"  {line}")
    out.line()
    for line in Table(_COLUMNS, out).lines([_row(operation) for operation in preview.operations]):
        out.line(line)
    return Status.OK


def _limits(preview: Preview, settings: Settings, parallelism: int | None) -> list[tuple[str, str]]:
    if parallelism is not None:
        at_once = f"{parallelism} (pinned)"
    elif settings.enable_auto_tuning:
        at_once = f"{settings.baseline_parallelism} to {settings.max_parallelism}, by load"
    else:
        at_once = str(settings.baseline_parallelism)
    pairs = [("at once", at_once)]
    if preview.timeout_s is not None:
        pairs.append(("convoy's time", duration(preview.timeout_s)))
    if preview.stop_on_first_failure:
        pairs.append(("first failure", "nothing more starts"))
    return [
        *pairs,
        *(
            (f"agent {one_line(n)}", _agent(n, total, settings))
            for n, total in preview.agents.items()
        ),
    ]


def _agent(name: str, total: int, settings: Settings) -> str:
    profile = settings.agents.get(name)
    words = [plural(total, "operation")]
    if profile is not None and profile.max_parallel is not None:
        words.append(f"{profile.max_parallel} at once")
    rate = profile.rate_limit if profile is not None else None
    if rate is None and name != "shell":
        rate = settings.rate_limit
    if rate is not None:
        words.append(f"{count(rate)} starts a minute")
    return ", ".join(words)


def _row(operation: PreviewOperation) -> list[Cell]:
    timeout_s = operation.timeout_s
    return [
        (one_line(operation.id), Ink.STRONG),
        (one_line(operation.agent_id), Ink.PLAIN),
        (one_line(", ".join(operation.needs)), Ink.DIM),
        (str(operation.retries + 1), Ink.PLAIN),
        ("" if timeout_s is None else duration(timeout_s), Ink.PLAIN),
        (one_line(operation.command), Ink.PLAIN),
    ]
