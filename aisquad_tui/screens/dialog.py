"""What all dialogs have in common: one box in the middle, drawn as lines, that takes all keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from textual.events import Event
from textual.geometry import Offset
from textual.screen import ModalScreen

from aisquad_tui.formatting import glyphs_for
from aisquad_tui.ink import width
from aisquad_tui.widgets.canvas import Canvas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult
    from textual.events import Click, Key, MouseScrollDown, MouseScrollUp, Paste

    from aisquad_tui.ink import Line, Span
    from aisquad_tui.surroundings import Surroundings
    from aisquad_tui.theme import Look

ResultT = TypeVar("ResultT")
_LEAST = 20
"""Cells that a box is made for; a narrower screen cuts it."""


class Hit(NamedTuple):
    """A place in the box that can be clicked."""

    y: int
    start: int
    end: int
    name: str


class Box(Canvas):
    """The box; tells its screen when it has another size."""

    class Resized(Event, bubble=True):
        """It can be drawn now."""

    def on_resize(self) -> None:
        """Have the box drawn anew."""
        self.post_message(self.Resized())


class DialogScreen(ModalScreen[ResultT], Generic[ResultT]):
    """A box in the middle of the screen; what is under it stays as it was.

    Args:
        surroundings: Where it runs.
        look: How roles look.
    """

    DEFAULT_CSS = """
    DialogScreen { align: center middle; background: transparent; overflow: hidden hidden; }
    """

    def __init__(self, surroundings: Surroundings, look: Look) -> None:
        super().__init__()
        self.surroundings = surroundings
        self.look = look
        self.glyphs = glyphs_for(surroundings.terminal.is_ascii)
        self.box = Box(look)
        self.hits: list[Hit] = []
        """Where a click means something, as it was drawn last."""
        self.caret: tuple[int, int] | None = None
        """Column and row of the caret in the box; None: there is none."""

    def extent(self, cells: int, rows: int) -> tuple[int, int]:
        """Return the width and height of the box on a screen of so many cells and rows."""
        raise NotImplementedError

    def lines(self, cells: int, rows: int) -> Sequence[Line]:
        """Return the box with its frame; sets `hits` and `caret`."""
        raise NotImplementedError

    def press(self, key: str, character: str | None) -> bool:
        """Do what a key means; return whether it means anything."""
        raise NotImplementedError

    def click(self, name: str) -> None:
        """Do what a click on a place means."""

    def paste(self, text: str) -> None:
        """Take pasted text, its lines ended by newlines."""

    def scroll_by(self, rows: int) -> None:
        """Take a turn of the mouse wheel."""

    def compose(self) -> ComposeResult:
        """Show the box."""
        yield self.box

    def redraw(self) -> None:
        """Draw what changed, in the size that it now needs."""
        if not self.is_mounted or not self.size.width:
            return
        cells, rows = self.extent(max(_LEAST, self.size.width), self.size.height)
        if self.box.size != (cells, rows):
            self.box.styles.width, self.box.styles.height = cells, rows
        self.box.draw_lines(self.lines(cells, rows))
        if self.caret is not None and self.look.terminal.shows_cursor:
            self.app.cursor_position = self.box.region.offset + Offset(*self.caret)

    def on_mount(self) -> None:
        """Draw it."""
        self.redraw()

    def on_resize(self) -> None:
        """Fit the screen's new size."""
        self.redraw()

    def on_box_resized(self) -> None:
        """Draw it in its new size."""
        self.redraw()

    def on_key(self, event: Key) -> None:
        """Take a key; one that means nothing here may still mean something to the app."""
        if self.press(event.key, event.character if event.is_printable else None):
            event.stop()
            event.prevent_default()

    def on_paste(self, event: Paste) -> None:
        """Take pasted text; it never is keys. Many terminals paste newlines as carriage returns."""
        event.stop()
        self.paste(event.text.replace("\r\n", "\n").replace("\r", "\n"))

    def on_click(self, event: Click) -> None:
        """Take a click on a place that means something."""
        x, y = Offset(event.screen_x, event.screen_y) - self.box.region.offset
        for hit in self.hits:
            if hit.y == y and hit.start <= x < hit.end:
                event.stop()
                self.click(hit.name)
                return

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """Scroll down."""
        event.stop()
        self.scroll_by(3)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """Scroll up."""
        event.stop()
        self.scroll_by(-3)


class Row:
    """A line in the making that remembers where its clickable pieces are.

    Args:
        y: Its row in the box.
        x: Column where it begins.
    """

    def __init__(self, y: int, x: int = 2) -> None:
        self.y = y
        self.x = x
        self.spans: list[Span] = []
        self.hits: list[Hit] = []

    def add(self, *spans: Span, name: str | None = None) -> Row:
        """Append pieces; a click on them has the name."""
        end = self.x + width(spans)
        if name is not None:
            self.hits.append(Hit(self.y, self.x, end, name))
        self.spans.extend(spans)
        self.x = end
        return self
