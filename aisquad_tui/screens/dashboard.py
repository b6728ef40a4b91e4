"""The first screen: how the machine is, the convoys, and their work."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on

from aisquad_core.errors import AISquadError
from aisquad_tui.feed import Feed
from aisquad_tui.filter import FilterError, parse
from aisquad_tui.keymap import Key, Place, at, bindings
from aisquad_tui.messages import (
    HoldScreen,
    Leave,
    NewConvoy,
    RetryItems,
)
from aisquad_tui.screens.panes import PanesScreen
from aisquad_tui.screens.reading import LogTail, failures_of, keys_of
from aisquad_tui.store import Part
from aisquad_tui.views.arrangement import Pane
from aisquad_tui.widgets.convoy_list import ConvoyList
from aisquad_tui.widgets.list_pane import ListPane
from aisquad_tui.widgets.prompt_field import PromptField
from aisquad_tui.widgets.work_table import WorkTable
from aisquad_tui.window import MOST_MARKS

if TYPE_CHECKING:
    from textual import events
    from textual.binding import BindingType
    from textual.timer import Timer

    from aisquad_tui.store import Frame
    from aisquad_tui.surroundings import Surroundings
    from aisquad_tui.theme import Look

_FAILURES = "status:failed,lost"
_ALWAYS = frozenset({"new", "history", "palette", "leave", "help"})
"""Actions that there are before the first convoy."""
_PROMPT_KEYS = (
    Key(keys="enter", action="", word="keep it", help="", places=(), rank=2),
    Key(keys="escape", action="", word="as it was", help="", places=(), rank=1, shown="esc"),
)
_DEBOUNCE_S = 0.15
"""Seconds of no typing after which the table follows the filter."""


class DashboardScreen(PanesScreen):
    """What the operator sees first, and the keys that work there.

    Args:
        surroundings: Where it runs.
        look: How roles look.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(Place.DASHBOARD, Place.CONVOYS, Place.WORK, Place.EVERYWHERE)
    ]

    def __init__(self, surroundings: Surroundings, look: Look) -> None:
        super().__init__(surroundings, look)
        engine, is_lasting = surroundings.engine, not surroundings.is_embedded
        self.tail = LogTail(engine, self.log_box, is_lasting=is_lasting)
        self.feed = Feed(engine, self.window, self._rows_came, self._refuse, is_lasting=is_lasting)
        self._kept_filter = ""
        self._typing: Timer | None = None
        for pane in (self.convoys, self.work):
            pane.first_look = self._look_at_key

    def on_mount(self) -> None:
        """Begin to read."""
        self.run_worker(self.feed.run())
        self.run_worker(self.tail.run())

    def show(self, frame: Frame) -> None:
        """Take what changed."""
        if Part.LOAD in frame.parts and self.work.is_running_shown:
            self.window.expect()  # output is no change of an item: nobody tells of it
        if self.window.take(frame.items, are_unknown=frame.are_items_unknown):
            self.feed.ask()
        super().show(frame)
        self.tell_keys()
        self._follow_log(is_tick=bool(frame.parts & (Part.LOAD | Part.ITEMS)))

    def _follow_log(self, *, is_tick: bool = False) -> None:
        """Have the selected row's log on display, if there is room for it."""
        if self.arrangement.log_rows:
            self.tail.follow(self.window.cursor, is_changed=is_tick)

    def _rows_came(self) -> None:
        """Draw the rows that were asked for."""
        if self.held is None:
            self.work.redraw()
            self._follow_log()

    def _refuse(self, text: str) -> None:
        """Say why the engine does not answer the filter."""
        if self.prompt.display:
            self.prompt.complain(0, text)
        else:
            self.show_notice(text, is_error=True)

    def convoy_at_hand(self) -> str | None:
        """Return the convoy under the cursor, or that of the item under it."""
        item, convoy = self.window.cursor, self.convoys.selected
        if self.work.has_focus and item is not None:
            return item.convoy_id
        return None if convoy is None else convoy.id

    def places(self) -> tuple[Place, ...]:
        """Return where its keys work, the nearest first."""
        panes = (Place.WORK, Place.CONVOYS)
        near, far = panes[::-1] if self.convoys.has_focus else panes
        return near, Place.DASHBOARD, far, Place.EVERYWHERE

    def on_descendant_focus(self) -> None:
        """Tell the keys that work there."""
        self.tell_keys()

    def tell_keys(self) -> None:
        """Tell the keys that work here and now."""
        near, screen, _, everywhere = self.places()
        keys = at(near, screen, everywhere)
        if self.prompt.display:
            keys = _PROMPT_KEYS
        elif not self.picture.convoys:
            keys = tuple(key for key in keys if key.action in _ALWAYS)
        self.keys.show(keys)

    @on(WorkTable.Wanted)
    def _read_rows(self) -> None:
        self.feed.ask()
        self._follow_log()

    @on(ListPane.Moved)
    def _follow_cursor(self, event: ListPane.Moved) -> None:
        if event.pane is self.convoys and self.arrangement.is_wide:
            self.show_convoy_beside()

    @on(ConvoyList.Opened)
    def _open_convoy(self, event: ConvoyList.Opened) -> None:
        self.zoomed = None
        self.lay_out()
        self.show_work_of(event.convoy.id, event.convoy.name)
        self.set_focus(self.work)

    @on(ConvoyList.Retried)
    def _retry_convoy(self, event: ConvoyList.Retried) -> None:
        self.run_worker(self._retry_failures(event.convoy_id), group="retry", exclusive=True)

    async def _retry_failures(self, convoy_id: str) -> None:
        try:
            keys = await keys_of(self.surroundings.engine, failures_of(convoy_id), MOST_MARKS)
        except AISquadError as error:
            self.show_notice(str(error), is_error=True)
            return
        if keys:
            self.post_message(RetryItems(keys))
        else:
            self.show_notice("nothing of this convoy failed")

    @on(WorkTable.AllMarked)
    def _mark_shown(self) -> None:
        self.run_worker(self._mark_all(), group="mark", exclusive=True)

    async def _mark_all(self) -> None:
        wanted = self.window.query
        try:
            keys = await keys_of(self.surroundings.engine, wanted, MOST_MARKS)
        except AISquadError as error:
            self.show_notice(str(error), is_error=True)
            return
        if wanted == self.window.query:
            self.window.mark_all(keys)
            self.work.redraw()

    @on(PromptField.Changed)
    def _filter_later(self) -> None:
        if self._typing is not None:
            self._typing.stop()
        self._typing = self.set_timer(_DEBOUNCE_S, self._filter_now)

    def _filter_now(self) -> bool:
        """Let the table follow what was typed; False: it cannot be understood."""
        text = self.prompt.text
        try:
            wanted = parse(text)
        except FilterError as error:
            self.prompt.complain(error.column, str(error))
            return False
        if text != self.window.filter_text:
            self.window.restrict(wanted, text)
            self.work.changed()
        return True

    @on(PromptField.Submitted)
    def _keep_filter(self) -> None:
        if self._filter_now():
            self._close_prompt()

    @on(PromptField.Dismissed)
    def _drop_filter(self) -> None:
        self._set_filter(self._kept_filter)
        self._close_prompt()

    def _close_prompt(self) -> None:
        if self._typing is not None:
            self._typing.stop()
        self.prompt.display = False
        self.action_pane(2)

    def _set_filter(self, text: str) -> None:
        self.prompt.open(text)
        self._filter_now()

    def _look_at_key(self, event: events.Key) -> None:
        """Give the prompt what was typed for it, however fast: keys in one packet come in a row."""
        if self.prompt.display:
            self.prompt.on_key(event)
        elif event.key == "slash":
            event.stop()
            event.prevent_default()
            self.action_filter()

    def action_filter(self) -> None:
        """Open the line for the filter."""
        self._kept_filter = self.window.filter_text
        self.notice.display, self.prompt.display = False, True
        self.prompt.open(self._kept_filter)
        self.set_focus(self.prompt)

    def action_failures(self) -> None:
        """Show only what failed, or everything again."""
        self._set_filter("" if self.window.filter_text == _FAILURES else _FAILURES)
        self.action_pane(2)

    def action_back(self) -> None:
        """Clear the filter, else show all work, else all panes."""
        if self.window.filter_text:
            self._set_filter("")
        elif self.window.convoy_id is not None and not self.arrangement.is_wide:
            self.show_work_of(None)
            self.action_pane(1)
        elif self.zoomed is not None:
            self.action_zoom()

    def action_zoom(self) -> None:
        """Show the pane alone, or all of them again."""
        pane = Pane.CONVOYS if self.convoys.has_focus else Pane.WORK
        self.zoomed = None if self.zoomed else pane
        self.lay_out()

    def action_pane(self, number: int) -> None:
        """Go to a pane, which then is the one that is zoomed."""
        pane = Pane.CONVOYS if number == 1 else Pane.WORK
        if self.zoomed or self.arrangement.is_small:
            self.zoomed = pane
            self.lay_out()
        self.set_focus(self.convoys if pane is Pane.CONVOYS else self.work)

    def action_next_pane(self) -> None:
        """Go to the other pane."""
        self.action_pane(2 if self.convoys.has_focus else 1)

    def action_previous_pane(self) -> None:
        """Go to the other pane."""
        self.action_next_pane()

    def action_hold(self) -> None:
        """Hold the screen still, or let it go on."""
        if self.held is None:
            self.held = self.now, self.set_interval(1, self._count_held)
        else:
            self.held[1].stop()
            self.held = None
        self._count_held()
        self.post_message(HoldScreen(is_held=self.held is not None))

    def _count_held(self) -> None:
        self.header.show(self.picture, self.now, self.held[0] if self.held else None)

    def action_new(self) -> None:
        """Open the launch dialog."""
        self.post_message(NewConvoy())

    def action_leave(self) -> None:
        """Leave the screen."""
        self.post_message(Leave())
