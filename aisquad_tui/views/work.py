"""The work items as a table: what each does, or why it does not run."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from aisquad_core.api import ItemSort
from aisquad_core.model import FAILURE_STATUSES, WorkStatus
from aisquad_core.sanitise import one_line
from aisquad_tui.formatting import cell_width, count, cut, duration, elapsed, pad
from aisquad_tui.ink import Role, line, width
from aisquad_tui.views.layout import Piece, fitted, joined

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from aisquad_core.api import ItemView
    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line, Span

ROLES = {
    WorkStatus.PENDING: Role.TEXT,
    WorkStatus.BLOCKED: Role.QUIET,
    WorkStatus.IN_PROGRESS: Role.ACCENT,
    WorkStatus.COMPLETED: Role.GOOD,
    WorkStatus.FAILED: Role.BAD,
    WorkStatus.CANCELLED: Role.QUIET,
    WorkStatus.SKIPPED: Role.QUIET,
    WorkStatus.LOST: Role.BAD,
}
"""How each status looks beside its glyph."""
_LIMITED = "rate limit"
"""How the reason of a pending item begins that only its agent's rate holds back."""
_MARK = "*"
_ID_STEPS = (12, 16, 20, 24, 32, 40, 56)
_LEAST_LAST_LINE = 10
_NEVER_TRIED = frozenset({WorkStatus.BLOCKED, WorkStatus.SKIPPED})


class _Column(NamedTuple):
    title: str
    cells: int
    gap: int = 2
    """Cells before it."""
    is_right: bool = False
    sorts: tuple[ItemSort, ...] = ()
    """Orders that go by it; a click asks for the first."""


def item_cells(longest: int, cells: int) -> int:
    """Return the cells of the column of ids: steps, so that a longer id seldom moves anything.

    Args:
        longest: Cells of the longest id seen.
        cells: How many a row takes.
    """
    most = max(_ID_STEPS[0], cells // 3)
    fitting = [step for step in _ID_STEPS if step <= most]
    return next((step for step in fitting if step >= longest), fitting[-1])


def heading(
    cells: int,
    glyphs: Glyphs,
    *,
    sort: ItemSort,
    is_reversed: bool = False,
    item_cells: int = 12,
    has_convoy: bool = True,
) -> Line:
    """Return the names of the columns, with an arrow at the one that the order goes by."""
    spans: list[Span] = [("  ", Role.QUIET)]
    for column in _columns(cells, item_cells, has_convoy):
        spans.append((" " * column.gap, Role.QUIET))
        is_sorted = sort in column.sorts
        sign = (glyphs.down if is_reversed else glyphs.up) if is_sorted else ""
        role = Role.ACCENT if is_sorted else Role.QUIET
        spans.append((pad(column.title + sign, column.cells, is_right=column.is_right), role))
    return fitted(line(*spans), cells, glyphs)


def sort_at(
    x: int, cells: int, *, item_cells: int = 12, has_convoy: bool = True
) -> ItemSort | None:
    """Return the order that a click on this cell of the heading asks for; None: there is none."""
    start = 2
    for column in _columns(cells, item_cells, has_convoy):
        end = start + column.gap + column.cells
        if start <= x < end:
            return column.sorts[0] if column.sorts else None
        start = end
    return None


def row(
    item: ItemView,
    convoy_name: str,
    now: datetime,
    cells: int,
    glyphs: Glyphs,
    *,
    item_cells: int = 12,
    has_convoy: bool = True,
    is_marked: bool = False,
) -> Line:
    """Return a work item as a row.

    Args:
        item: What to show.
        convoy_name: Of its convoy.
        now: The time, aware, in UTC.
        cells: How many the row takes.
        glyphs: The signs of the terminal.
        item_cells: Cells of the column of ids.
        has_convoy: Whether to name the convoy; not where all rows are of one.
        is_marked: Whether the operator marked it.
    """
    word, role = status_word(item)
    failed = item.status in FAILURE_STATUSES
    code = "" if item.exit_code is None else str(item.exit_code)
    attempt = "" if item.status in _NEVER_TRIED and not item.started_at else str(item.attempt)
    values: dict[str, Span] = {
        "ITEM": (one_line(item.id), Role.WARN if is_marked else Role.TEXT),
        "STATUS": (word, role),
        "AGENT": (one_line(item.agent_id), Role.TEXT),
        "CONVOY": (one_line(convoy_name), Role.QUIET),
        "TRY": (attempt, Role.TEXT),
        "TIME": (time_of(item, now), Role.TEXT),
        "EXIT": (code, Role.QUIET if code == "0" else Role.BAD),
        "LAST LINE": (_last_line(item), Role.BAD if failed else Role.QUIET),
    }
    spans: list[Span] = [
        (glyphs.item[item.status], role),
        (_MARK if is_marked else " ", Role.WARN),
    ]
    for column in _columns(cells, item_cells, has_convoy):
        text, text_role = values[column.title]
        shown = cut(text, column.cells, glyphs.ellipsis)
        spans.append((" " * column.gap, Role.TEXT))
        spans.append((pad(shown, column.cells, is_right=column.is_right), text_role))
    return fitted(line(*spans), cells, glyphs)


def status_word(item: ItemView) -> tuple[str, Role]:
    """Return the status as people read it: `limited` where only a rate limit holds it back."""
    if item.status is WorkStatus.PENDING and (item.reason or "").startswith(_LIMITED):
        return "limited", Role.WARN
    return item.status.word, ROLES[item.status]


def time_of(item: ItemView, now: datetime) -> str:
    """Return how long it runs, or ran; empty when it has not begun."""
    if item.started_at is None:
        return ""
    if item.status is WorkStatus.IN_PROGRESS:
        return elapsed((now - item.started_at).total_seconds())
    if item.finished_at is None:
        return ""
    return duration((item.finished_at - item.started_at).total_seconds())


def info(
    *,
    shown: int | None,
    total: int,
    status: str,
    sort: ItemSort,
    is_reversed: bool,
    marks: int,
    cells: int,
    glyphs: Glyphs,
) -> Line:
    """Return the remark in the upper edge of the table's box: `306 of 1,024   status: any …`.

    Args:
        shown: How many items fit the filter; None: not known yet.
        total: How many there are.
        status: The filter as it was typed, or `any`.
        sort: The order.
        is_reversed: Whether the order is turned round.
        marks: How many are marked.
        cells: Most cells that it may take.
        glyphs: The signs of the terminal.
    """
    number = glyphs.ellipsis if shown is None else count(shown)
    some = number if shown == total else f"{number} of {count(total)}"
    is_all = status in {"", "any"}
    named = "status: any" if is_all else cut(f"filter: {one_line(status)}", 40, glyphs.ellipsis)
    order = f"sort: {sort.value}{' ' + glyphs.down if is_reversed else ''}"
    pieces = [
        Piece(line((f"{count(marks)} marked", Role.WARN) if marks else ""), 4),
        Piece(line((some, Role.QUIET)), 3, gap=3),
        Piece(line((named, Role.QUIET if is_all else Role.WARN)), 1 if is_all else 5, gap=3),
        Piece(line((order, Role.QUIET)), 2, gap=3),
    ]
    whole = joined(pieces, cells)
    return whole if width(whole) <= cells else ()


@lru_cache(maxsize=16)
def _columns(cells: int, item_cells: int, has_convoy: bool) -> tuple[_Column, ...]:
    """Choose the columns by the width alone; they give way from the right, the last line last."""
    wide = cells >= 150
    convoy_cells = 24 if wide else 16 if cells >= 110 else 14
    columns = [
        _Column("ITEM", item_cells, gap=0, sorts=(ItemSort.ID, ItemSort.POSITION)),
        _Column("STATUS", 9, sorts=(ItemSort.STATUS,)),
        _Column("AGENT", 14 if wide else 8, sorts=(ItemSort.AGENT,)),
        _Column("CONVOY", convoy_cells),
        _Column("TRY", 3, is_right=True),
        _Column("TIME", 7, gap=1, is_right=True, sorts=(ItemSort.STARTED, ItemSort.FINISHED)),
        _Column("EXIT", 4, gap=1, is_right=True),
    ]
    if not has_convoy:
        columns = [column for column in columns if column.title != "CONVOY"]
    for title, least in (
        ("CONVOY", 28),
        ("AGENT", 16),
        ("TRY", 14),
        ("EXIT", _LEAST_LAST_LINE),
        ("TIME", _LEAST_LAST_LINE),
    ):
        if _rest(columns, cells) < least:
            columns = [column for column in columns if column.title != title]
    rest = _rest(columns, cells)
    return (*columns, _Column("LAST LINE", max(0, rest)))


def _rest(columns: list[_Column], cells: int) -> int:
    """Return the cells that are left for the last line, without the gap before it."""
    return cells - 4 - sum(column.gap + column.cells for column in columns)


def _last_line(item: ItemView) -> str:
    """Return its newest output, what went wrong, or the reason why it does not run."""
    output, error = item.last_line or "", item.error or ""
    if item.status in {WorkStatus.IN_PROGRESS, WorkStatus.COMPLETED}:
        return one_line(output)
    if item.status is WorkStatus.FAILED:
        code = f"exit {item.exit_code}"
        return one_line(output or error if error in {code, ""} else error.removeprefix(f"{code}: "))
    if item.status is WorkStatus.LOST:
        return one_line(error or output)
    return one_line(item.reason or error or output)


def longest_id(items: Iterable[ItemView]) -> int:
    """Return the cells of the longest id."""
    return max((cell_width(one_line(item.id)) for item in items), default=0)
