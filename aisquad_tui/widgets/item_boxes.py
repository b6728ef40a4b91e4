"""What an operation is, and its tries, in two boxes beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding

from aisquad_tui.ink import Role, line
from aisquad_tui.views.layout import dimmed, frame
from aisquad_tui.views.operation import facts, tries
from aisquad_tui.widgets.canvas import Canvas

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from textual.binding import BindingType
    from textual.events import Click, MouseScrollDown, MouseScrollUp

    from aisquad_core.api import ItemDetail
    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line
    from aisquad_tui.theme import Look

_LEAST_FOR_TWO = 72
_ROWS_FOR_ALL = 12
"""With fewer rows long facts are cut short while the boxes have no focus."""
_EDGES = 2


class ItemBoxes(Canvas, can_focus=True):
    """Shows a work item's facts and tries, and scrolls them where there is little room.

    Args:
        look: How roles look.
        glyphs: The signs of the terminal.
        id: The widget's id.
    """

    DEFAULT_CSS = "ItemBoxes { height: 5; width: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "rows(-1)", show=False),
        Binding("down,j", "rows(1)", show=False),
        Binding("pageup,ctrl+u", "rows(-4)", show=False),
        Binding("pagedown,ctrl+d", "rows(4)", show=False),
        Binding("g,home", "rows(-1000)", show=False),
        Binding("G,end", "rows(1000)", show=False),
    ]

    def __init__(self, look: Look, glyphs: Glyphs, *, id: str | None = None) -> None:
        super().__init__(look, id=id)
        self._glyphs = glyphs
        self._shown: tuple[ItemDetail, datetime] | None = None
        self._offset = 0
        self._is_stale = False

    def show(self, detail: ItemDetail, now: datetime, *, is_stale: bool = False) -> None:
        """Show an item at a moment; dimmed if that may be old."""
        self._shown, self._is_stale = (detail, now), is_stale
        self._redraw()

    def rows_for(self, cells: int, most: int) -> int:
        """Return the rows that it takes in so many cells, at most so many."""
        left, right = self._bodies(cells, is_brief=most < _ROWS_FOR_ALL)
        return min(most, max(len(left), len(right), 1) + _EDGES)

    def action_rows(self, rows: int) -> None:
        """Scroll."""
        self._offset += rows
        self._redraw()

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """Scroll down."""
        event.stop()
        self.action_rows(1)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """Scroll up."""
        event.stop()
        self.action_rows(-1)

    def on_click(self, event: Click) -> None:
        """Take the focus."""
        event.stop()
        self.focus()

    def on_focus(self) -> None:
        """Show the focus."""
        self._redraw()

    def on_blur(self) -> None:
        """Show that it is elsewhere."""
        self._redraw()

    def on_resize(self) -> None:
        """Fit the new size."""
        self._redraw()

    def _widths(self, cells: int) -> tuple[int, int]:
        """Return the cells of both boxes; the second is 0 where there is room for one alone."""
        if cells < _LEAST_FOR_TWO:
            return cells, 0
        left = cells * 55 // 100
        return left, cells - left

    def _bodies(self, cells: int, *, is_brief: bool) -> tuple[list[Line], list[Line]]:
        if self._shown is None:
            return [], []
        detail, now = self._shown
        left, right = self._widths(cells)
        about = facts(detail, now, left - 4, self._glyphs, is_brief=is_brief)
        if not right:
            return [*tries(detail, now, left - 4, self._glyphs), *about], []
        return about, tries(detail, now, right - 4, self._glyphs)

    def _redraw(self) -> None:
        cells, rows = self.size.width, self.size.height - _EDGES
        if cells < 8 or rows < 1:
            return
        about, ended = self._bodies(
            cells, is_brief=self.size.height < _ROWS_FOR_ALL and not self.has_focus
        )
        self._offset = max(0, min(self._offset, max(len(about), len(ended)) - rows))
        left, right = self._widths(cells)
        drawn = self._box("Operation", about, left, rows)
        if right:
            beside = self._box("Tries", ended, right, rows)
            drawn = [(*a, *b) for a, b in zip(drawn, beside, strict=True)]
        self.draw_lines([dimmed(each) for each in drawn] if self._is_stale else drawn)

    def _box(self, title: str, body: Sequence[Line], cells: int, rows: int) -> list[Line]:
        start = max(0, min(self._offset, len(body) - rows))
        inside = list(body[start : start + rows])
        below = len(body) - start - len(inside)
        inside += [()] * (rows - len(inside))
        info = line((f"{below} more {self._glyphs.down}", Role.QUIET)) if below else ()
        head = line((title, Role.STRONG))
        return frame(head, info, inside, cells, self._glyphs, is_focused=self.has_focus)
