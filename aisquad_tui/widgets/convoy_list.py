"""The convoys, with a cursor that stays on its convoy."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.message import Message

from aisquad_core.sanitise import one_line
from aisquad_tui.formatting import count
from aisquad_tui.ink import Role, line
from aisquad_tui.keymap import Place, bindings
from aisquad_tui.messages import CancelConvoy, CopyText, TogglePause
from aisquad_tui.views import convoys as views
from aisquad_tui.widgets.list_pane import MOVES, ListPane

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from textual.binding import BindingType

    from aisquad_core.api import ConvoyView
    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line
    from aisquad_tui.store import Picture
    from aisquad_tui.theme import Look


class ConvoyList(ListPane):
    """What runs first, then what is paused, then what ended.

    Args:
        look: How roles look.
        glyphs: The signs of the terminal.
        id: The widget's id.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*MOVES, *bindings(Place.CONVOYS)]

    class Opened(Message):
        """The operator wants to see the work of a convoy."""

        def __init__(self, convoy: ConvoyView) -> None:
            super().__init__()
            self.convoy = convoy

    class Retried(Message):
        """The operator wants everything of a convoy that failed put back."""

        def __init__(self, convoy_id: str) -> None:
            super().__init__()
            self.convoy_id = convoy_id

    def __init__(self, look: Look, glyphs: Glyphs, *, id: str | None = None) -> None:
        super().__init__(look, glyphs, "Convoys", id=id)
        self._convoys: list[ConvoyView] = []
        self._now: datetime | None = None
        self._waiting: str | None = None
        self._cursor_id: str | None = None
        self._first = 0

    @property
    def selected(self) -> ConvoyView | None:
        """The convoy under the cursor; None: there is none."""
        place = self._place()
        return None if place is None else self._convoys[place]

    def show(self, picture: Picture, now: datetime) -> None:
        """Show the convoys of a picture at a moment."""
        was = self._place()
        self._convoys = views.order(picture.convoys.values())
        self._now = now
        self._waiting = picture.engine.waiting if picture.engine else None
        if self._convoys and self._place() is None:
            self._cursor_id = self._convoys[min(was or 0, len(self._convoys) - 1)].id
        self.is_stale = picture.lost_at is not None
        self.redraw()

    def heading(self) -> Line:
        """Return the names of the columns."""
        return views.heading(self.cells, self.glyphs)

    def info(self) -> Line:
        """Return how many there are."""
        return line((count(len(self._convoys)), Role.QUIET))

    def lines(self) -> Sequence[Line]:
        """Return the convoys around the cursor."""
        now = self._now
        if now is None:
            return ()
        self._scroll()
        shown = self._convoys[self._first : self._first + self.room]
        return [
            views.row(each, now, self.cells, self.glyphs, waiting=self._waiting) for each in shown
        ]

    def cursor_line(self) -> int | None:
        """Return the row of the cursor's convoy."""
        self._scroll()
        place = self._place()
        return None if place is None else place - self._first

    def move(self, rows: int) -> None:
        """Move the cursor down so many convoys, or up."""
        place = self._place()
        if place is not None:
            self._cursor_id = self._convoys[max(0, min(place + rows, len(self._convoys) - 1))].id

    def move_to_end(self, *, is_last: bool) -> None:
        """Move the cursor to the first convoy or the last."""
        if self._convoys:
            self._cursor_id = self._convoys[-1 if is_last else 0].id

    def point(self, shown: int) -> bool:
        """Move the cursor to a convoy on display."""
        if self._first + shown >= len(self._convoys):
            return False
        self._cursor_id = self._convoys[self._first + shown].id
        return True

    def action_open(self) -> None:
        """Show the work of the convoy."""
        if self.selected is not None:
            self.post_message(self.Opened(self.selected))

    def action_cancel(self) -> None:
        """Ask for the convoy to be cancelled."""
        if self.selected is not None:
            self.post_message(CancelConvoy(self.selected.id))

    def action_kill(self) -> None:
        """Ask for the convoy to be cancelled without grace."""
        if self.selected is not None:
            self.post_message(CancelConvoy(self.selected.id, is_kill=True))

    def action_retry(self) -> None:
        """Ask for what failed to be put back."""
        if self.selected is not None:
            self.post_message(self.Retried(self.selected.id))

    def action_pause(self) -> None:
        """Ask for the convoy to be paused, or to go on."""
        if self.selected is not None:
            self.post_message(TogglePause(self.selected.id))

    def action_copy(self) -> None:
        """Copy the convoy's name."""
        if self.selected is not None:
            name = one_line(self.selected.name)
            self.post_message(CopyText(name, "the convoy's name"))

    def _place(self) -> int | None:
        """Return where the cursor's convoy stands in the list."""
        ids = (place for place, each in enumerate(self._convoys) if each.id == self._cursor_id)
        return next(ids, None)

    def _scroll(self) -> None:
        """Keep the cursor on display, moving the rows no more than needed."""
        room, place = self.room, self._place() or 0
        last = max(0, len(self._convoys) - room)
        self._first = min(max(self._first, place - room + 1), place, last)
