"""A widget that draws lines and sends only the cells that changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from aisquad_tui.formatting import cell_width
from aisquad_tui.ink import Ground, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_tui.ink import Line
    from aisquad_tui.theme import Look

Row = tuple["Line", Ground]

_GAP = 8
"""Cells that are the same between two changes and yet sent: about what moving there costs."""


class Canvas(Widget):
    """Shows rows from its top left corner; the rest is empty.

    Args:
        look: How roles look.
        id: The widget's id.
    """

    has_walls: ClassVar[bool] = False
    """Whether the first and the last span of a row are a box's walls, always on plain ground."""

    def __init__(self, look: Look, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.look = look
        self._rows: list[Row] = []

    def draw(self, rows: Sequence[Row]) -> None:
        """Show these rows; what is the same as before is not sent again."""
        before, self._rows = self._rows, list(rows)
        for y in range(max(len(before), len(rows))):
            old = before[y] if y < len(before) else None
            new = rows[y] if y < len(rows) else None
            changed = _differences(old, new, self.size.width) if old != new else []
            if changed:  # refreshing no region would refresh all of them
                self.refresh(*(Region(start, y, end - start, 1) for start, end in changed))

    def draw_lines(self, lines: Sequence[Line]) -> None:
        """Show these lines on the plain ground."""
        self.draw([(each, Ground.PLAIN) for each in lines])

    def render_line(self, y: int) -> Strip:
        """Return one row as Textual wants it."""
        spans, ground = self._rows[y] if y < len(self._rows) else ((), Ground.PLAIN)
        style = self.look.style
        segments = [Segment(text, style(role, ground)) for text, role in spans]
        if self.has_walls and ground is not Ground.PLAIN:
            for place in (0, -1):
                text, role = spans[place]
                segments[place] = Segment(text, style(role))
            ground = Ground.PLAIN
        return Strip(segments).adjust_cell_length(self.size.width, style(Role.TEXT, ground))


def _differences(old: Row | None, new: Row | None, width: int) -> list[tuple[int, int]]:
    """Return the columns between which two rows differ; the whole width where cells may be wide."""
    if width <= 0:
        return []
    if old is None or new is None or old[1] is not new[1]:
        return [(0, width)]
    before, after = _cells(old[0], width), _cells(new[0], width)
    if before is None or after is None:
        return [(0, width)]
    runs: list[tuple[int, int]] = []
    for column, (one, other) in enumerate(zip(before, after, strict=True)):
        if one == other:
            continue
        if runs and column - runs[-1][1] <= _GAP:
            runs[-1] = (runs[-1][0], column + 1)
        else:
            runs.append((column, column + 1))
    return runs


def _cells(spans: Line, width: int) -> list[tuple[str, Role]] | None:
    """Return a cell for each column, or None if a character may not take exactly one."""
    cells: list[tuple[str, Role]] = []
    for text, role in spans:
        if cell_width(text) != len(text) or not text.isprintable():
            return None
        cells.extend((char, role) for char in text)
    cells = cells[:width]
    cells.extend([(" ", Role.TEXT)] * (width - len(cells)))
    return cells
