"""The work items on display: a window on a list of any length, and its cursor and marks."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.message import Message

from aisquad_core.api import ItemSort
from aisquad_core.model import ItemKey, WorkStatus
from aisquad_core.sanitise import one_line
from aisquad_tui.ink import Role, line
from aisquad_tui.keymap import Place, bindings
from aisquad_tui.messages import CancelItems, CopyText, OpenItem, RetryItems, TogglePause
from aisquad_tui.views import work as views
from aisquad_tui.widgets.list_pane import MOVES, ListPane

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from textual.binding import BindingType

    from aisquad_core.api import ItemView
    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line
    from aisquad_tui.store import Picture
    from aisquad_tui.theme import Look
    from aisquad_tui.window import Window

SORTS = (
    ItemSort.STATUS,
    ItemSort.POSITION,
    ItemSort.ID,
    ItemSort.AGENT,
    ItemSort.STARTED,
    ItemSort.FINISHED,
)
"""In the order in which the sort key goes through them."""


class WorkTable(ListPane):
    """Draws what the window holds and moves it; whoever owns the window reads the rows.

    Args:
        look: How roles look.
        glyphs: The signs of the terminal.
        window: Which rows, the cursor, the marks.
        id: The widget's id.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*MOVES, *bindings(Place.WORK)]

    class Wanted(Message):
        """The window stands elsewhere, so that it may lack rows."""

    class AllMarked(Message):
        """The operator wants everything marked that the filter shows."""

    def __init__(
        self, look: Look, glyphs: Glyphs, window: Window, *, id: str | None = None
    ) -> None:
        super().__init__(look, glyphs, "Work", id=id)
        self.window = window
        self._now: datetime | None = None
        self._names: dict[str, str] = {}
        self._total = 0
        self._longest = 0
        self._made: dict[ItemKey, tuple[object, Line]] = {}

    @property
    def targets(self) -> tuple[ItemKey, ...]:
        """What an action is for: the marked items, else the one under the cursor."""
        if self.window.marks:
            return tuple(self.window.marks)
        return (self.window.cursor,) if self.window.cursor else ()

    @property
    def is_running_shown(self) -> bool:
        """Whether a row on display runs, so that it may have written something."""
        shown = self.window.shown()
        return any(item is not None and item.status is WorkStatus.IN_PROGRESS for item in shown)

    def show(self, picture: Picture, now: datetime) -> None:
        """Show the window's rows at a moment."""
        self._now = now
        self._names = {convoy.id: convoy.name for convoy in picture.convoys.values()}
        convoy = picture.convoys.get(self.window.convoy_id or "")
        self._total = (convoy or picture).counts.total
        self.is_stale = picture.lost_at is not None
        self.redraw()

    def heading(self) -> Line:
        """Return the names of the columns."""
        window = self.window
        return views.heading(
            self.cells,
            self.glyphs,
            sort=window.sort,
            is_reversed=window.is_reversed,
            item_cells=self._item_cells(),
            has_convoy=window.convoy_id is None,
        )

    def info(self) -> Line:
        """Return how many items the filter shows, of how many, and the order."""
        window = self.window
        return views.info(
            shown=window.total,
            total=self._total,
            status=window.filter_text,
            sort=window.sort,
            is_reversed=window.is_reversed,
            marks=len(window.marks),
            cells=max(0, self.size.width - 14),
            glyphs=self.glyphs,
        )

    def lines(self) -> Sequence[Line]:
        """Return the rows on display; one that is not read yet is empty."""
        now, window = self._now, self.window
        if now is None:
            return ()
        shown = window.shown()
        if not shown and window.total == 0 and self._total:
            return (line(("  nothing here fits the filter; esc clears it", Role.QUIET)),)
        width = self._item_cells()
        self._made = {_key_of(item): self._line(item, now, width) for item in shown if item}
        return [self._made[_key_of(item)][1] if item else () for item in shown]

    def _line(self, item: ItemView, now: datetime, width: int) -> tuple[object, Line]:
        """Return an item's row with what it was made of; the one before if that is the same."""
        key, has_convoy = _key_of(item), self.window.convoy_id is None
        name, is_marked = self._names.get(item.convoy_id, item.convoy_id), key in self.window.marks
        made_of = item, name, is_marked, views.time_of(item, now), self.cells, width, has_convoy
        before = self._made.get(key)
        if before is not None and before[0] == made_of:
            return before
        line = views.row(
            item,
            name,
            now,
            self.cells,
            self.glyphs,
            item_cells=width,
            has_convoy=has_convoy,
            is_marked=is_marked,
        )
        return made_of, line

    def cursor_line(self) -> int | None:
        """Return the row of the cursor's item."""
        return self.window.cursor_row

    def move(self, rows: int) -> None:
        """Move the cursor down so many items, or up."""
        self.window.move(rows)

    def move_to_end(self, *, is_last: bool) -> None:
        """Move the cursor to the first item or the last."""
        if is_last:
            self.window.end()
        else:
            self.window.home()

    def point(self, shown: int) -> bool:
        """Move the cursor to an item on display."""
        return self.window.point(shown)

    def scroll_rows(self, rows: int) -> None:
        """Move the view; the cursor only as far as it would leave it."""
        self.window.scroll(rows)

    def press_heading(self, x: int) -> None:
        """Sort by the column; once more turns the order round."""
        window = self.window
        wanted = views.sort_at(
            x, self.cells, item_cells=self._item_cells(), has_convoy=window.convoy_id is None
        )
        if wanted is not None:
            is_again = wanted is window.sort and not window.is_reversed
            window.order(wanted, is_reversed=is_again)
            self.changed()

    def changed(self) -> None:
        """Draw the window after it was changed, and have its rows read."""
        self.redraw()
        self.post_message(self.Wanted())

    def on_resize(self) -> None:
        """Show as many rows as there is room for."""
        self.window.resize(self.room)
        self.changed()

    def action_open(self) -> None:
        """Show everything about the item."""
        self._open(is_log=False)

    def action_log(self) -> None:
        """Show the item's log."""
        self._open(is_log=True)

    def action_cancel(self) -> None:
        """Ask for the items to be cancelled."""
        if self.targets:
            self.post_message(CancelItems(self.targets))

    def action_kill(self) -> None:
        """Ask for the items to be cancelled without grace."""
        if self.targets:
            self.post_message(CancelItems(self.targets, is_kill=True))

    def action_retry(self) -> None:
        """Ask for the items to be put back."""
        if self.targets:
            self.post_message(RetryItems(self.targets))

    def action_pause(self) -> None:
        """Ask for the item's convoy to be paused, or to go on."""
        if self.window.cursor is not None:
            self.post_message(TogglePause(self.window.cursor.convoy_id))

    def action_copy(self) -> None:
        """Copy the ids of the items."""
        if self.targets:
            ids = "\n".join(one_line(key.item_id) for key in self.targets)
            what = "the item's id" if len(self.targets) == 1 else f"{len(self.targets)} ids"
            self.post_message(CopyText(ids, what))

    def action_mark(self) -> None:
        """Mark the item, or unmark it, and go on to the next."""
        if self.window.cursor is not None:
            self.window.mark(self.window.cursor)
            self.action_move(1)

    def action_mark_all(self) -> None:
        """Ask for everything to be marked that the filter shows."""
        self.post_message(self.AllMarked())

    def action_unmark(self) -> None:
        """Unmark everything."""
        self.window.unmark()
        self.redraw()

    def action_sort(self) -> None:
        """Sort by the next column."""
        sort = SORTS[(SORTS.index(self.window.sort) + 1) % len(SORTS)]
        self.window.order(sort, is_reversed=False)
        self.changed()

    def action_reverse(self) -> None:
        """Turn the order round."""
        self.window.order(self.window.sort, is_reversed=not self.window.is_reversed)
        self.changed()

    def _open(self, *, is_log: bool) -> None:
        """Open the cursor's item; the cursor stays on it, whatever comes first when it is back."""
        if self.window.cursor is not None:
            self.window.move(0)
            self.post_message(OpenItem(self.window.cursor, is_log=is_log))

    def _moved(self) -> None:
        super()._moved()
        self.post_message(self.Wanted())

    def _item_cells(self) -> int:
        """Return the cells of the ids; they grow with what is seen and do not shrink."""
        seen = [item for item in self.window.shown() if item]
        self._longest = max(self._longest, views.longest_id(seen))
        return views.item_cells(self._longest, self.cells)


def _key_of(item: ItemView) -> ItemKey:
    return ItemKey(item.convoy_id, item.id)
