"""The foreground part that `run` and `retry` share: engine, progress, summary, exit status."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aisquad_core.api import ItemFilter, ItemSort
from aisquad_core.clock import SystemClock
from aisquad_core.errors import (
    EngineError,
    EngineSilentError,
    EngineStoppedError,
    InputError,
    NoEngineError,
)
from aisquad_core.model import FAILURE_STATUSES, ConvoyStatus, ItemKey
from aisquad_core.sanitise import one_line
from aisquad_tui.cli import session
from aisquad_tui.cli.boundary import Status
from aisquad_tui.cli.foreground import Foreground
from aisquad_tui.cli.progress import ended_words, outcome_words
from aisquad_tui.cli.reporters import make_reporter
from aisquad_tui.cli.shapes import convoy_shapes, dump
from aisquad_tui.cli.table import Cell, Column, Table
from aisquad_tui.cli.terminal import CONVOY_INKS, ITEM_INKS, Ink
from aisquad_tui.formatting import between, plural

if TYPE_CHECKING:
    from aisquad_core.api import ConvoyView, EngineAPI, ItemView
    from aisquad_core.connect import WorkReader
    from aisquad_core.settings import Settings
    from aisquad_tui.cli.progress import Progress
    from aisquad_tui.cli.terminal import Stream, Terminal

Begin = Callable[["EngineAPI"], Awaitable[Sequence[str]]]
"""Launches, resumes or retries; returns the ids of the convoys to wait for."""

_MOST_FAILURES = 20
_COLUMNS = (
    Column(title=""),
    Column(title="ITEM", floor=12),
    Column(title="STATUS"),
    Column(title="EXIT", is_right=True),
    Column(title="TRY", is_right=True),
    Column(title="TIME", is_right=True),
    Column(title="ERROR", floor=16),
)


async def attend(
    settings: Settings,
    begin: Begin,
    *,
    terminal: Terminal,
    parallelism: int | None = None,
    own_flags: Sequence[str] = (),
    is_quiet: bool = False,
    is_json: bool = False,
) -> int:
    """See convoys to their end, in this process or in the engine that runs; return the status.

    Args:
        settings: Those of an engine in this process.
        begin: What to do once the engine runs.
        terminal: Where to show it.
        parallelism: Pinned for this run; None: as the engine decides.
        own_flags: Other flags that were given and need an engine in this process.
        is_quiet: Show no progress.
        is_json: Write events and the end as JSON, an object a line.

    Raises:
        InputError: The engine that runs has limits of its own, and flags ask for others.
        EngineSilentError: The engine answers no more.
        NoEngineError: The engine went away before the convoys ended.
    """
    clock = SystemClock()
    reporter = make_reporter(terminal, clock, is_quiet=is_quiet, is_json=is_json)
    async with session.open_engine(settings) as reached:
        api, is_client = reached.api, reached.pid is not None
        if is_client:
            flags = own_flags if parallelism is None else ("--parallelism", *own_flags)
            _refuse_own(flags, reached.pid)

        async def begin_pinned() -> Sequence[str]:
            if parallelism is not None:
                await api.set_parallelism(parallelism)
            return await begin(api)

        foreground = Foreground(
            api, reporter, clock=clock, grace_s=settings.grace_s, is_client=is_client
        )
        await foreground.run(begin_pinned)
        if foreground.is_engine_gone:
            raise await _loss(api)
    progress = foreground.progress
    if not is_client:
        _tell_others(progress, terminal)
    return await _sum_up(settings, foreground, terminal, is_client=is_client, is_json=is_json)


async def _loss(api: EngineAPI) -> EngineError:
    """Return what to say of an engine that ended, or that answers no more, before the convoys."""
    try:
        await api.snapshot()
    except EngineSilentError as silent:
        return silent
    except EngineStoppedError:
        pass
    return NoEngineError(
        "the engine went away before the convoy ended; `aisquad up` goes on with it"
    )


async def _sum_up(
    settings: Settings,
    foreground: Foreground,
    terminal: Terminal,
    *,
    is_client: bool,
    is_json: bool,
) -> Status:
    """Tell how the convoys ended, as it is committed, and return the exit status."""
    ids = [convoy.id for convoy in foreground.progress.convoys]
    async with session.open_reader(settings) as reader:
        convoys = [convoy for convoy in await reader.convoys() if convoy.id in ids]
        status = _status(convoys, is_interrupted=foreground.is_interrupted)
        if is_json:
            shapes = convoy_shapes(convoys)
            line = dump({"type": "end", "exit_status": int(status), "convoys": shapes})
            terminal.out.line(line)
        else:
            for convoy in convoys:
                await _summarise(convoy, reader, terminal.out)
    if foreground.is_interrupted and not is_client:
        for convoy in convoys:
            if not convoy.status.is_final:
                _say_resume(convoy, terminal)
    return status


def _refuse_own(flags: Sequence[str], pid: int | None) -> None:
    """Refuse flags that would need an engine of one's own."""
    if flags:
        raise InputError(
            f"{', '.join(flags)}: an engine runs here already (pid {pid}), and its limits hold; "
            "leave it out, or pin how much runs with `aisquad parallelism N`"
        )


def _tell_others(progress: Progress, terminal: Terminal) -> None:
    """Name the convoys of earlier engines that this one did not go on with."""
    others = [each for each in progress.others if each.counts.ended < each.counts.total]
    if others:
        names = ", ".join(one_line(convoy.id) for convoy in others)
        terminal.say(
            f"Not ended earlier, and left as they are: {names} (`aisquad run --resume ID`)"
        )


def _status(convoys: Sequence[ConvoyView], *, is_interrupted: bool) -> Status:
    if is_interrupted:
        return Status.INTERRUPTED
    is_good = all(convoy.status is ConvoyStatus.COMPLETED for convoy in convoys)
    return Status.OK if is_good else Status.FAILED


def _say_resume(convoy: ConvoyView, terminal: Terminal) -> None:
    counts = convoy.counts
    left = plural(counts.total - counts.ended, "operation")
    command = f"aisquad run --resume {shlex.quote(one_line(convoy.id))}"
    terminal.say(f"interrupted: {left} left of {one_line(convoy.id)}; go on with: {command}")


async def _summarise(convoy: ConvoyView, reader: WorkReader, out: Stream) -> None:
    """Write how a convoy ended: totals, then what failed and how to look into it."""
    id = one_line(convoy.id)
    sign = out.ink(out.glyphs.convoy[convoy.status], CONVOY_INKS[convoy.status])
    out.line(f"{sign} {out.ink(id, Ink.STRONG)} {ended_words(convoy)}")
    out.line(f"  {outcome_words(convoy.counts)}")
    if convoy.reason and convoy.status.is_final:
        out.line(f"  {one_line(convoy.reason)}")
    page = await reader.items(
        ItemFilter(convoy_ids=(convoy.id,), statuses=tuple(FAILURE_STATUSES)),
        sort=ItemSort.POSITION,
        limit=_MOST_FAILURES,
    )
    if not page.items:
        return
    out.line()
    now = datetime.now(UTC)
    details = [await reader.item(ItemKey(item.convoy_id, item.id)) for item in page.items]
    for line in Table(_COLUMNS, out).lines([_row(detail.view, now, out) for detail in details]):
        out.line(line)
    more = (page.total or 0) - len(page.items)
    if more > 0:
        out.line(f"and {plural(more, 'more', 'more')}: aisquad items {id} --status failed,lost")
    first = shlex.quote(f"{id}/{one_line(page.items[0].id)}")
    out.line()
    out.line(f"aisquad logs {first}")
    out.line(f"aisquad retry --convoy {id} --status failed,lost")


def _row(item: ItemView, now: datetime, out: Stream) -> list[Cell]:
    ink = ITEM_INKS[item.status]
    return [
        (out.glyphs.item[item.status], ink),
        (one_line(item.id), Ink.STRONG),
        (item.status.word, ink),
        ("" if item.exit_code is None else str(item.exit_code), Ink.PLAIN),
        (str(item.attempt), Ink.PLAIN),
        (between(item.started_at, item.finished_at, now), Ink.PLAIN),
        (_error(item), Ink.PLAIN),
    ]


def _error(item: ItemView) -> str:
    """Return what went wrong; the last thing that it said tells more than its exit."""
    says_only_exit = item.error is None or item.error == f"exit {item.exit_code}"
    return one_line((says_only_exit and item.last_line) or item.error or "")
