"""The panes of the history: boxes with a chart, and lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.message import Message

from aisquad_tui.ink import Role, line
from aisquad_tui.messages import Notify, OpenItem
from aisquad_tui.views.history import Heading, header, period_at
from aisquad_tui.views.history_rows import Listing
from aisquad_tui.views.layout import dimmed, frame
from aisquad_tui.widgets.canvas import Canvas
from aisquad_tui.widgets.list_pane import MOVES, ListPane

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.binding import BindingType
    from textual.events import Click

    from aisquad_core.api import History
    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line
    from aisquad_tui.theme import Look
    from aisquad_tui.views.history_rows import HistoryRow

    MakeListing = Callable[[History, int, Glyphs], Listing]

_EDGES = 2


class PeriodLine(Canvas):
    """The first line; a click on a period chooses it.

    Args:
        look: How roles look.
        glyphs: The signs of the terminal.
        id: The widget's id.
    """

    DEFAULT_CSS = "PeriodLine { height: 1; width: 1fr; }"

    class Chosen(Message):
        """A period was chosen, by its index."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def __init__(self, look: Look, glyphs: Glyphs, *, id: str | None = None) -> None:
        super().__init__(look, id=id)
        self._glyphs = glyphs
        self._heading = Heading(period=0)

    def show(self, heading: Heading) -> None:
        """Show this."""
        self._heading = heading
        self._redraw()

    def on_resize(self) -> None:
        """Fit the new width."""
        self._redraw()

    def on_click(self, event: Click) -> None:
        """Choose the period under the pointer."""
        event.stop()
        index = period_at(self._heading, event.x, self.size.width, self._glyphs)
        if index is not None:
            self.post_message(self.Chosen(index))

    def _redraw(self) -> None:
        if self.size.width:
            self.draw_lines([header(self._heading, self.size.width, self._glyphs)])


class ChartPane(Canvas, can_focus=True):
    """A box around lines that were drawn elsewhere.

    Args:
        look: How roles look.
        glyphs: The signs of the terminal.
        title: What the box holds.
        id: The widget's id.
    """

    def __init__(self, look: Look, glyphs: Glyphs, title: str, *, id: str | None = None) -> None:
        super().__init__(look, id=id)
        self._glyphs = glyphs
        self._title = title
        self._info: Line = ()
        self._body: Sequence[Line] = ()
        self._is_stale = False

    def show(self, info: Line, body: Sequence[Line], *, is_stale: bool) -> None:
        """Show these lines, with a remark in the upper edge; dimmed if they may be old."""
        self._info, self._body, self._is_stale = info, body, is_stale
        self._redraw()

    def on_resize(self) -> None:
        """Fit the new size."""
        self._redraw()

    def on_focus(self) -> None:
        """Show the focus."""
        self._redraw()

    def on_blur(self) -> None:
        """Show that it is elsewhere."""
        self._redraw()

    def on_click(self, event: Click) -> None:
        """Take the focus."""
        event.stop()
        self.focus()

    def _redraw(self) -> None:
        cells, rows = self.size.width, self.size.height - _EDGES
        if cells < 4 or rows < 0:
            return
        body = [*self._body[:rows], *([()] * (rows - len(self._body)))]
        head = line((self._title, Role.KEY if self.has_focus else Role.STRONG))
        drawn = frame(head, self._info, body, cells, self._glyphs, is_focused=self.has_focus)
        self.draw_lines([dimmed(each) for each in drawn] if self._is_stale else drawn)


class HistoryList(ListPane):
    """A list of the history, with a cursor that stays on its row while others come and go.

    Args:
        look: How roles look.
        glyphs: The signs of the terminal.
        title: What it lists.
        make: Makes the rows for so many cells.
        id: The widget's id.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*MOVES, Binding("enter", "open", show=False)]

    def __init__(
        self,
        look: Look,
        glyphs: Glyphs,
        title: str,
        make: MakeListing,
        *,
        id: str | None = None,
    ) -> None:
        super().__init__(look, glyphs, title, id=id)
        self._make = make
        self._history: History | None = None
        self._made: tuple[History, int, Listing] | None = None
        self._cursor = 0
        self._first = 0

    def show(self, history: History, *, is_stale: bool) -> None:
        """Show the rows of a history; dimmed if they may be old."""
        before = self._row()
        self._history, self.is_stale = history, is_stale
        names = [row.name for row in self._listing().rows]
        if before is not None and self._cursor and before.name in names:
            self._cursor = names.index(before.name)
        self.redraw()

    def heading(self) -> Line:
        """Return the names of the columns."""
        return self._listing().heading

    def info(self) -> Line:
        """Return how many there are."""
        rows = self._listing().rows
        return line((str(len(rows)), Role.QUIET)) if rows else ()

    def lines(self) -> Sequence[Line]:
        """Return the rows around the cursor, or why there are none."""
        listing = self._listing()
        if not listing.rows:
            return [line((listing.blank, Role.QUIET))]
        self._scroll(len(listing.rows))
        return [row.spans for row in listing.rows[self._first : self._first + self.room]]

    def cursor_line(self) -> int | None:
        """Return the row of the cursor."""
        if self._row() is None:
            return None
        self._scroll(len(self._listing().rows))
        return self._cursor - self._first

    def move(self, rows: int) -> None:
        """Move the cursor down so many rows, or up."""
        self._cursor = max(0, min(self._cursor + rows, len(self._listing().rows) - 1))

    def move_to_end(self, *, is_last: bool) -> None:
        """Move the cursor to the first row or the last."""
        self._cursor = max(0, len(self._listing().rows) - 1) if is_last else 0

    def point(self, shown: int) -> bool:
        """Move the cursor to a row on display."""
        if self._first + shown >= len(self._listing().rows):
            return False
        self._cursor = self._first + shown
        return True

    def action_open(self) -> None:
        """Open the item that the row is about, or say all that the row has no room for."""
        row = self._row()
        if row is not None and row.item is not None:
            self.post_message(OpenItem(row.item))
        elif row is not None and row.said:
            self.post_message(Notify(row.said))

    def _row(self) -> HistoryRow | None:
        rows = self._listing().rows
        return rows[min(self._cursor, len(rows) - 1)] if rows else None

    def _listing(self) -> Listing:
        """Return the rows for the width that there is; the same are made once."""
        if self._history is None:
            return Listing((), (), "")
        known = self._made
        if known is None or known[0] is not self._history or known[1] != self.cells:
            listing = self._make(self._history, self.cells, self.glyphs)
            known = self._made = self._history, self.cells, listing
        return known[2]

    def _scroll(self, rows: int) -> None:
        """Keep the cursor on display, moving the rows no more than needed."""
        self._cursor = max(0, min(self._cursor, rows - 1))
        last = max(0, rows - self.room)
        least = self._cursor - self.room + 1
        self._first = min(max(self._first, least, 0), self._cursor, last)
