"""`aisquad ls`: the convoys, newest first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aisquad_core.sanitise import one_line
from aisquad_tui.cli import options, session
from aisquad_tui.cli.boundary import Status, conclude
from aisquad_tui.cli.shapes import convoy_shapes, document, dump
from aisquad_tui.cli.table import Cell, Column, Table
from aisquad_tui.cli.terminal import CONVOY_INKS, ColorChoice, Ink, open_terminal
from aisquad_tui.cli.watch import show
from aisquad_tui.formatting import age, bar_cells, count, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_core.api import ConvoyView
    from aisquad_tui.cli.terminal import Stream

NONE_YET = "No convoys yet. `aisquad init` writes a first one, `aisquad run FILE` runs it."
_BAR_WIDTH = 12
_COLUMNS = (
    Column(title=""),
    Column(title="CONVOY", floor=12),
    Column(title="STATUS"),
    Column(title="PROGRESS", is_right=True, leaves=3),
    Column(title="DONE", is_right=True),
    Column(title="FAIL", is_right=True),
    Column(title="RUN", is_right=True),
    Column(title="QUEUE", is_right=True),
    Column(title="AGE", is_right=True, leaves=2),
    Column(title="REASON", floor=16, leaves=1),
)


def ls(
    *,
    as_json: options.AsJson = False,
    is_watched: options.Watch = False,
    state: options.State = None,
    color: options.Color = ColorChoice.AUTO,
) -> None:
    """List the convoys, newest first."""
    terminal = open_terminal(color=color)

    async def list_convoys() -> int:
        async with session.open_reader(session.load_settings(state)) as reader:

            async def read() -> list[str]:
                convoys = await reader.convoys()
                if as_json:
                    return [(dump if is_watched else document)(convoy_shapes(convoys))]
                if not convoys and not is_watched:
                    terminal.say(NONE_YET)
                    return []
                return convoy_lines(convoys, terminal.out)

            await show(terminal, read, is_watched=is_watched)
        return Status.OK

    conclude(list_convoys)


def convoy_lines(convoys: Sequence[ConvoyView], stream: Stream) -> list[str]:
    """Return the table of convoys."""
    if not convoys:
        return [NONE_YET]
    now = datetime.now(UTC)
    return Table(_COLUMNS, stream).lines([_row(convoy, now, stream) for convoy in convoys])


def _row(convoy: ConvoyView, now: datetime, stream: Stream) -> list[Cell]:
    counts = convoy.counts
    ink = CONVOY_INKS[convoy.status]
    failed = counts.failed + counts.lost
    left_out = failed + counts.cancelled + counts.skipped
    cells = bar_cells((counts.completed, left_out, counts.running), counts.total, _BAR_WIDTH)
    bar = "".join(sign * cells[n] for n, sign in enumerate(stream.glyphs.bar))
    return [
        (stream.glyphs.convoy[convoy.status], ink),
        (one_line(convoy.id), Ink.STRONG),
        (convoy.status.value, ink),
        (f"{bar} {percent(counts.ended, counts.total):>5}", Ink.PLAIN),
        (count(counts.completed), Ink.PLAIN),
        (count(failed), Ink.BAD if failed else Ink.PLAIN),
        (count(counts.running), Ink.PLAIN),
        (count(counts.queued), Ink.PLAIN),
        (age((now - convoy.created_at).total_seconds()), Ink.DIM),
        (one_line(convoy.reason or ""), Ink.DIM),
    ]
