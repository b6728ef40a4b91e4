"""A list in a box: a heading, rows, a cursor, and the keys and the mouse that move it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.geometry import Offset
from textual.message import Message

from aisquad_tui.ink import Ground, Role
from aisquad_tui.views.layout import dimmed, fitted, frame_bottom, frame_top
from aisquad_tui.widgets.canvas import Canvas

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.binding import BindingType
    from textual.events import Click, Key, MouseScrollDown, MouseScrollUp

    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line
    from aisquad_tui.theme import Look
    from aisquad_tui.widgets.canvas import Row

_EDGES = 3
"""Rows that are not the list's: two edges and the heading."""
_WHEEL = 3
_MOST_MADE = 500
"""Lines with walls that are kept."""

MOVES: list[BindingType] = [
    Binding("up,k", "move(-1)", show=False),
    Binding("down,j", "move(1)", show=False),
    Binding("pageup", "page(-2)", show=False),
    Binding("pagedown", "page(2)", show=False),
    Binding("ctrl+u", "page(-1)", show=False),
    Binding("ctrl+d", "page(1)", show=False),
    Binding("g,home", "home", show=False),
    Binding("G,end", "end", show=False),
]
"""Keys that move the cursor of any list; pages are counted in halves."""


class ListPane(Canvas, can_focus=True):
    """A box with rows, one of which the cursor is on.

    A list says what its rows are and where its cursor goes; this draws and listens.

    Args:
        look: How roles look.
        glyphs: The signs of the terminal.
        title: What the box holds.
        id: The widget's id.
    """

    has_walls = True
    DEFAULT_CSS = "ListPane { height: 1fr; width: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = MOVES

    class Moved(Message):
        """The cursor is on another row."""

        def __init__(self, pane: ListPane) -> None:
            super().__init__()
            self.pane = pane

    def __init__(self, look: Look, glyphs: Glyphs, title: str, *, id: str | None = None) -> None:
        super().__init__(look, id=id)
        self.glyphs = glyphs
        self.title = title
        self.is_stale = False
        """Whether the engine is away, so that what is shown may be old."""
        self.first_look: Callable[[Key], None] | None = None
        """Is given each key before it means anything here; may stop it."""
        self._walled_lines: dict[Line, Line] = {}
        self._walled_for: tuple[int, Role] = 0, Role.QUIET

    @property
    def room(self) -> int:
        """Rows of the list that have room."""
        return max(0, self.size.height - _EDGES)

    @property
    def cells(self) -> int:
        """Cells of a row."""
        return max(0, self.size.width - 4)

    def heading(self) -> Line:
        """Return the names of the columns."""
        raise NotImplementedError

    def info(self) -> Line:
        """Return the remark at the right of the upper edge."""
        raise NotImplementedError

    def lines(self) -> Sequence[Line]:
        """Return the rows that are shown, `room` at most."""
        raise NotImplementedError

    def cursor_line(self) -> int | None:
        """Return which of them the cursor is on."""
        raise NotImplementedError

    def move(self, rows: int) -> None:
        """Move the cursor down so many rows, or up; at an end it stays there."""
        raise NotImplementedError

    def move_to_end(self, *, is_last: bool) -> None:
        """Move the cursor to the first row or the last."""
        raise NotImplementedError

    def point(self, shown: int) -> bool:
        """Move the cursor to a row on display; False: there is none."""
        raise NotImplementedError

    def scroll_rows(self, rows: int) -> None:
        """Move the view down so many rows, or up; the cursor stays while it is in view."""
        self.move(rows)

    def press_heading(self, x: int) -> None:
        """Answer a click on a cell of the heading."""

    def redraw(self) -> None:
        """Draw what changed."""
        cells, room = self.size.width, self.room
        if cells < 4 or self.size.height < 2:
            self.draw([])
            return
        has_focus, cursor = self.has_focus, self.cursor_line()
        title: Line = ((self.title, Role.KEY if has_focus else Role.STRONG),)
        top = frame_top(title, self.info(), cells, self.glyphs, is_focused=has_focus)
        rows: list[Row] = [(top, Ground.PLAIN)]
        inner = [self.heading(), *self.lines()][: room + 1]
        inner += [()] * (self.size.height - 2 - len(inner))
        under = Ground.CURSOR if has_focus else Ground.REST
        for place, spans in enumerate(inner):
            is_cursor = cursor is not None and place == cursor + 1
            rows.append((self._walled(spans), under if is_cursor else Ground.PLAIN))
        rows.append((frame_bottom(cells, self.glyphs, is_focused=has_focus), Ground.PLAIN))
        self.draw([(dimmed(spans), ground) for spans, ground in rows] if self.is_stale else rows)
        self._place_cursor(cursor)

    def on_resize(self) -> None:
        """Fit the new size."""
        self.redraw()

    def watch_has_focus(self, has_focus: bool) -> None:
        """Show whether keys come here."""
        super().watch_has_focus(has_focus)
        self.redraw()

    def on_key(self, event: Key) -> None:
        """Let the owner have the key first: it came here before the focus could go elsewhere."""
        if self.first_look is not None:
            self.first_look(event)

    def on_click(self, event: Click) -> None:
        """Move the cursor to the row under the pointer; the second click opens it."""
        event.stop()
        if event.y == 1:
            self.press_heading(event.x - 2)
        elif 2 <= event.y < self.size.height - 1 and self.point(event.y - 2):
            self._moved()
            if event.chain == 2:
                self.action_open()

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """Move on."""
        event.stop()
        self.scroll_rows(_WHEEL)
        self._moved()

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """Move back."""
        event.stop()
        self.scroll_rows(-_WHEEL)
        self._moved()

    def action_move(self, rows: int) -> None:
        """Move the cursor."""
        self.move(rows)
        self._moved()

    def action_page(self, halves: int) -> None:
        """Move the cursor by pages, counted in halves."""
        self.action_move(max(1, self.room * abs(halves) // 2) * (1 if halves > 0 else -1))

    def action_home(self) -> None:
        """Move the cursor to the first row."""
        self.move_to_end(is_last=False)
        self._moved()

    def action_end(self) -> None:
        """Move the cursor to the last row."""
        self.move_to_end(is_last=True)
        self._moved()

    def action_open(self) -> None:
        """Go deeper."""
        raise NotImplementedError

    def _moved(self) -> None:
        self.redraw()
        self.post_message(self.Moved(self))

    def _walled(self, spans: Line) -> Line:
        """Return a line between the walls; the same line is made once."""
        role = Role.ACCENT if self.has_focus else Role.QUIET
        if self._walled_for != (self.cells, role) or len(self._walled_lines) > _MOST_MADE:
            self._walled_for = self.cells, role
            self._walled_lines.clear()
        made = self._walled_lines.get(spans)
        if made is None:
            wall, space = (self.glyphs.frame[5], role), (" ", Role.TEXT)
            inner = fitted(spans, self.cells, self.glyphs)
            made = self._walled_lines[spans] = (wall, space, *inner, space, wall)
        return made

    def _place_cursor(self, cursor: int | None) -> None:
        """Put the terminal's own cursor on the row, for those who read with their fingers."""
        if self.has_focus and self.look.terminal.shows_cursor and cursor is not None:
            self.app.cursor_position = self.region.offset + Offset(2, cursor + 2)
