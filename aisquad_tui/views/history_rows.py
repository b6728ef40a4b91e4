"""The lists of the history, row by row: resizes, the slowest operations, agents. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from aisquad_core.sanitise import one_line
from aisquad_tui.formatting import cell_width, cut, cut_words, duration, pad, short_count
from aisquad_tui.ink import Role, line
from aisquad_tui.views.layout import fitted
from aisquad_tui.views.meters import cause
from aisquad_tui.views.timeline import moment
from aisquad_tui.views.work import ROLES

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from aisquad_core.api import AgentFigures, History, ResizeNote, SlowOperation
    from aisquad_core.model import ItemKey
    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line

_CHANGE_CELLS, _NUMBER_CELLS, _TIME_CELLS = 9, 7, 9
_LEAST_REASON = 10
_LEAST_NAME = 12


class HistoryRow(NamedTuple):
    """One row of a list."""

    name: Hashable
    """What the row is about: the cursor stays on it when rows come and go."""
    spans: Line
    said: str = ""
    """All that a row might have no room for."""
    item: ItemKey | None = None
    """The item that it is about."""


class Listing(NamedTuple):
    """A list for so many cells."""

    heading: Line
    rows: Sequence[HistoryRow]
    blank: str
    """What to say when there are no rows."""


def resizes(history: History, cells: int, glyphs: Glyphs) -> Listing:
    """Return the changes of the parallelism, the latest first, with their reasons."""
    span_s = (history.end - history.start).total_seconds()
    clock = len(moment(history.end, span_s)) + 2
    heading = line((pad("TIME", clock) + pad("CHANGE", _CHANGE_CELLS) + "REASON", Role.QUIET))
    rows = [
        HistoryRow(
            (note.at, note.previous, note.parallelism),
            fitted(_resize(note, span_s, clock, cells, glyphs), cells, glyphs),
            said=f"{moment(note.at, span_s)}: {_change(note, glyphs)} {one_line(note.reason)}",
        )
        for note in reversed(history.resizes)
    ]
    return Listing(fitted(heading, cells, glyphs), rows, "the parallelism did not change")


def slowest(history: History, cells: int, glyphs: Glyphs) -> Listing:
    """Return the operations that took longest, slowest first."""
    columns = _slow_columns(cells)
    names = pad("ITEM", columns[0])
    names += "".join(
        f"  {pad(t, c)}" for t, c in zip(("CONVOY", "AGENT"), columns[1:], strict=False)
    )
    heading = line((f"{pad('TOOK', _TIME_CELLS, is_right=True)}    {names}", Role.QUIET))
    rows = [
        HistoryRow(
            (each.key, each.finished_at),
            fitted(_slow(each, columns, glyphs), cells, glyphs),
            item=each.key,
        )
        for each in history.slowest
    ]
    return Listing(fitted(heading, cells, glyphs), rows, "nothing ended in this time")


def agents(history: History, cells: int, glyphs: Glyphs) -> Listing:
    """Return what each agent's operations came to, the busiest agent first."""
    numbers = (("DONE", _NUMBER_CELLS), ("FAIL", _NUMBER_CELLS), ("MEAN", _TIME_CELLS))
    name = max(4, cells - sum(room for _, room in numbers))
    text = pad("AGENT", name) + "".join(title.rjust(room) for title, room in numbers)
    heading = line((cut(text, cells, glyphs.ellipsis), Role.QUIET))
    rows = [
        HistoryRow(each.agent_id, fitted(_agent(each, name, glyphs), cells, glyphs))
        for each in history.agents
    ]
    return Listing(fitted(heading, cells, glyphs), rows, "nothing ended in this time")


def _change(note: ResizeNote, glyphs: Glyphs) -> str:
    sign = glyphs.up if note.parallelism > note.previous else glyphs.down
    return f"{sign} {note.previous}{glyphs.arrow}{note.parallelism}"


def _resize(note: ResizeNote, span_s: float, clock: int, cells: int, glyphs: Glyphs) -> Line:
    role = Role.GOOD if note.parallelism > note.previous else Role.WARN
    change = pad(_change(note, glyphs), _CHANGE_CELLS)
    room = max(_LEAST_REASON, cells - clock - cell_width(change))
    reason = cut_words(cause(note.reason), room, glyphs.ellipsis)
    when = pad(moment(note.at, span_s), clock)
    return line((when, Role.QUIET), (change, role if note.auto else Role.ACCENT), reason)


def _slow_columns(cells: int) -> tuple[int, ...]:
    """Return the cells of the item's name, then of its convoy's and its agent's if they fit."""
    room = cells - _TIME_CELLS - 4
    for parts in (3, 2):
        each = (room - 2 * (parts - 1)) // parts
        if each >= _LEAST_NAME:
            return (room - (each + 2) * (parts - 1), *(each,) * (parts - 1))
    return (max(1, room),)


def _slow(each: SlowOperation, columns: Sequence[int], glyphs: Glyphs) -> Line:
    names = (each.key.item_id, each.key.convoy_id, each.agent_id)
    shown = [
        pad(cut(one_line(name), room, glyphs.ellipsis), room)
        for name, room in zip(names, columns, strict=False)
    ]
    return line(
        (pad(duration(each.duration_s), _TIME_CELLS, is_right=True), Role.STRONG),
        (f"  {glyphs.item[each.status]} ", ROLES[each.status]),
        shown[0],
        *((f"  {name}", Role.QUIET) for name in shown[1:]),
    )


def _agent(each: AgentFigures, name: int, glyphs: Glyphs) -> Line:
    mean = duration(each.mean_s) if each.completed + each.failed else glyphs.unknown
    return line(
        pad(cut(one_line(each.agent_id), name - 1, glyphs.ellipsis), name),
        short_count(each.completed).rjust(_NUMBER_CELLS),
        (
            short_count(each.failed).rjust(_NUMBER_CELLS),
            Role.BAD if each.failed else Role.QUIET,
        ),
        (mean.rjust(_TIME_CELLS), Role.TEXT),
    )
