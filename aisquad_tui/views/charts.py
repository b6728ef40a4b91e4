"""What the charts of the history show: plain values, which `plot` draws. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aisquad_core.model import WorkStatus
from aisquad_tui.formatting import short_count
from aisquad_tui.ink import Role
from aisquad_tui.views.timeline import loads, marks, sums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.views.timeline import Heights, Mark, Past

_LABEL_CELLS = 5
"""Cells of the numbers at the left: the same in all charts, so that their times are aligned."""
_LEAST_FOR_MIDDLE = 5
"""Rows from which on the middle of the scale is named."""
_ROUND = (1, 2, 3, 4, 5, 6, 8, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One quantity over the columns."""

    values: Heights
    sign: str
    """What it is drawn with, one cell wide."""
    role: Role
    is_area: bool = False
    """Whether all beneath a value is filled."""
    is_fine: bool = False
    """Whether an area may be drawn with halves of cells, where the terminal has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Traces on common axes: numbers at the left, times beneath; traces lie on those before."""

    cells: int
    rows: int
    top: float
    """Value of the upper edge; the lower one is 0."""
    scale: tuple[tuple[float, str], ...]
    """Values that are named at the left, with their names."""
    marks: tuple[Mark, ...]
    traces: tuple[Trace, ...]
    limit: float | None = None
    """Value with a dotted line, over which areas have the role WARN; None: no line."""

    @property
    def columns(self) -> int:
        """Cells between the axis and the right edge."""
        return columns_in(self.cells)

    @property
    def canvas_rows(self) -> int:
        """Rows above the times; where there is no room for those, all of them."""
        return self.rows - 1 if self.marks else self.rows

    def row_of(self, value: float) -> int:
        """Return the row in which a value lies, counted from below."""
        return max(0, min(self.canvas_rows - 1, int(value / self.top * self.canvas_rows)))

    def level_of(self, value: float, parts: int) -> float:
        """Return how high an area is, in rows, to a part of a row; what is known is never 0."""
        most = self.canvas_rows * parts
        return max(1, min(most, round(value / self.top * most))) / parts


def columns_in(cells: int) -> int:
    """Return how many columns a chart of so many cells has."""
    return max(0, cells - _LABEL_CELLS - 1)


def load_chart(past: Past, cells: int, rows: int, glyphs: Glyphs, *, limit: float | None) -> Chart:
    """Return CPU and memory in percent, with the CPU's limit if it is known."""
    columns = columns_in(cells)
    cpu = loads(past, columns, lambda point: point.cpu_percent)
    memory = loads(past, columns, lambda point: point.memory_percent)
    return Chart(
        cells=cells,
        rows=rows,
        top=100,
        scale=_scale(100, rows),
        marks=_marks(past, columns),
        limit=limit,
        traces=(
            Trace(values=cpu, sign=glyphs.bar[0], role=Role.ACCENT, is_area=True, is_fine=True),
            Trace(values=memory, sign=memory_sign(glyphs), role=Role.STRONG),
        ),
    )


def workers_chart(past: Past, cells: int, rows: int, glyphs: Glyphs, *, most: int) -> Chart:
    """Return how many operations ran and how many might have, with room for `most` of them."""
    columns = columns_in(cells)
    busy = loads(past, columns, lambda point: point.active_workers)
    size = loads(past, columns, lambda point: point.parallelism)
    top = _round_up(max(most, *(value or 0 for value in (*busy, *size)), 1))
    ran = tuple(value or None for value in busy)
    return Chart(
        cells=cells,
        rows=rows,
        top=top,
        scale=_scale(top, rows),
        marks=_marks(past, columns),
        traces=(
            Trace(values=ran, sign=glyphs.bar[0], role=Role.ACCENT, is_area=True, is_fine=True),
            Trace(values=size, sign=size_sign(glyphs), role=Role.STRONG),
        ),
    )


def throughput_chart(past: Past, cells: int, rows: int, glyphs: Glyphs) -> Chart:
    """Return what completed in each column, with what failed on top of it."""
    columns = columns_in(cells)
    ended, named = sums(past, columns), _marks(past, columns)
    top = _round_up(max((sum(both) for both in ended), default=1) or 1)
    high = max(1, rows - 1 if named else rows)
    stacks = [_stack(completed, failed, top, high) for completed, failed in ended]
    done = tuple(lower * top / high or None for lower, _ in stacks)
    both = tuple((lower + upper) * top / high if upper else None for lower, upper in stacks)
    return Chart(
        cells=cells,
        rows=rows,
        top=top,
        scale=_scale(top, rows),
        marks=named,
        traces=(
            Trace(values=both, sign=failed_sign(glyphs), role=Role.BAD, is_area=True),
            Trace(values=done, sign=glyphs.bar[0], role=Role.GOOD, is_area=True),
        ),
    )


def size_sign(glyphs: Glyphs) -> str:
    """Return what the parallelism is drawn with."""
    return glyphs.frame[4]


def memory_sign(glyphs: Glyphs) -> str:
    """Return what memory is drawn with."""
    return glyphs.waiting


def failed_sign(glyphs: Glyphs) -> str:
    """Return what failures are drawn with."""
    return glyphs.item[WorkStatus.FAILED]


def _stack(completed: int, failed: int, top: float, rows: int) -> tuple[int, int]:
    """Return the rows of both parts of a column; neither vanishes beside the other."""
    upper = max(1, round(failed / top * rows)) if failed else 0
    lower = max(1, round(completed / top * rows)) if completed else 0
    if lower + upper > rows and upper > 1:
        upper -= 1
    return min(lower, rows - upper), upper


def _marks(past: Past, columns: int) -> tuple[Mark, ...]:
    return tuple(marks(past.line(columns))) if columns else ()


def _scale(top: float, rows: int) -> tuple[tuple[float, str], ...]:
    """Return what is named at the left: nothing, all and, where there is room, the middle."""
    values: Sequence[float] = (0, top / 2, top) if rows > _LEAST_FOR_MIDDLE else (0, top)
    named = [value for value in values if value == int(value)]
    return tuple((value, short_count(int(value)).rjust(_LABEL_CELLS)) for value in named)


def _round_up(value: float) -> int:
    """Return the next number that is round enough to be the end of a scale."""
    size = 1
    while value > 10 * size:
        size *= 10
    return next(each * size for each in _ROUND if each * size >= value)
