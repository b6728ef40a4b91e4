"""The dashboard's parts: what is where, and how a frame is shown in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Container

from aisquad_core.model import FAILURE_STATUSES
from aisquad_core.sanitise import one_line
from aisquad_tui.formatting import glyphs_for
from aisquad_tui.ink import Role
from aisquad_tui.screens.live import LiveScreen
from aisquad_tui.store import Part, Picture
from aisquad_tui.survey import look as look_for
from aisquad_tui.views.arrangement import Arrangement, Pane, arrange
from aisquad_tui.views.empty import empty
from aisquad_tui.views.layout import dimmed
from aisquad_tui.views.notice import failure, summary
from aisquad_tui.views.status import status
from aisquad_tui.widgets.convoy_list import ConvoyList
from aisquad_tui.widgets.footer import KeyLine
from aisquad_tui.widgets.header import HeaderLine
from aisquad_tui.widgets.meters import Meters
from aisquad_tui.widgets.notice import Notice
from aisquad_tui.widgets.prompt_field import PromptField
from aisquad_tui.widgets.sheet import Sheet
from aisquad_tui.widgets.side_log import SideLog
from aisquad_tui.widgets.work_table import WorkTable
from aisquad_tui.window import Window

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from textual.app import ComposeResult
    from textual.timer import Timer
    from textual.widget import Widget

    from aisquad_core.api import ConvoyView
    from aisquad_tui.ink import Line
    from aisquad_tui.store import Frame
    from aisquad_tui.surroundings import Surroundings
    from aisquad_tui.theme import Look
    from aisquad_tui.views.empty import AgentFound


class PanesScreen(LiveScreen):
    """Header, meters, convoys, work and keys, laid out for the terminal.

    Args:
        surroundings: Where it runs.
        look: How roles look.
    """

    AUTO_FOCUS = "#work"
    DEFAULT_CSS = """
    PanesScreen { layers: base over; overflow: hidden hidden; }
    PanesScreen Container { layout: vertical; }
    PanesScreen .wide { layout: horizontal; }
    PanesScreen .over { layer: over; dock: bottom; offset: 0 -1; }
    PanesScreen .line { height: 1; }
    """

    def __init__(self, surroundings: Surroundings, look: Look) -> None:
        super().__init__(surroundings, look)
        self.glyphs = glyphs = glyphs_for(surroundings.terminal.is_ascii)
        self.picture = Picture()
        self.window = Window()
        self.header = HeaderLine(look, surroundings)
        self.status = Sheet(look, self._status, id="status")
        self.status.add_class("line")
        self.meters = Meters(look, glyphs)
        self.convoys = ConvoyList(look, glyphs, id="convoys")
        self.work = WorkTable(look, glyphs, self.window, id="work")
        self.log_box = SideLog(look, glyphs)
        self.sheet = Sheet(look, self._sheet, id="sheet")
        self.keys = KeyLine(look, glyphs)
        self.notice = Notice(look, glyphs)
        self.prompt = PromptField(look, glyphs, "filter", "text  !not  field:value  /regex/")
        self._right = Container(self.work, self.log_box)
        self.body = Container(self.convoys, self._right)
        self.arrangement = Arrangement()
        self.zoomed: Pane | None = None
        self.held: tuple[datetime, Timer] | None = None
        self._most_convoys = 0
        self._agents: Sequence[AgentFound] = ()

    def compose(self) -> ComposeResult:
        """Put the parts beneath each other; the prompt and the notice lie on the last box."""
        for widget in (self.notice, self.prompt):
            widget.add_class("over")
            widget.display = False
        yield self.header
        yield self.status
        yield self.meters
        yield self.body
        yield self.sheet
        yield self.keys
        yield self.prompt
        yield self.notice

    def on_mount(self) -> None:
        """Look for agents, for the empty screen."""
        self._agents = look_for(self.surroundings.env)
        self.lay_out()

    def on_resize(self) -> None:
        """Lay out what the new size has room for."""
        self._most_convoys = 0
        was_small = self.arrangement.is_small
        self.lay_out()
        if was_small and not self.arrangement.is_small and self.zoomed:
            self.zoomed = None  # there was room for one pane only: nobody asked for it alone
            self.lay_out()

    def show(self, frame: Frame) -> None:
        """Take what changed."""
        self._tell(frame)
        was_empty, self.picture = not self.picture.convoys, frame.picture
        now = self.now
        self.header.show(self.picture, now, self.held[0] if self.held else None)
        if frame.parts & (Part.LOAD | Part.ENGINE):
            self.meters.show(self.picture)
        if frame.parts & ~Part.ITEMS:
            self.convoys.show(self.picture, now)
        self.lay_out()
        self.work.show(self.picture, now)
        self.sheet.redraw()
        self.status.redraw()
        self.log_box.stale(self.picture.lost_at is not None)
        if was_empty and self.picture.convoys:
            self.set_focus(self.work)

    def show_notice(self, text: str, *, is_error: bool = False) -> None:
        """Say something on the line above the footer."""
        self.notice.show(text, is_error=is_error)
        self.notice.display = not self.prompt.display

    @property
    def now(self) -> datetime:
        """The time of the clock."""
        return self.surroundings.clock.now()

    def _tell(self, frame: Frame) -> None:
        """Say that a convoy ended, or what was the first to fail in one."""
        self.notice.display = bool(self.notice.text) and not self.prompt.display
        before = self.picture.convoys
        for key, item in frame.items.items():
            known, convoy = before.get(key.convoy_id), frame.picture.convoys.get(key.convoy_id)
            if item.status in FAILURE_STATUSES and known and convoy and not _failed(known):
                self.show_notice(failure(max(1, _failed(convoy)), item, self.glyphs))
                break
        left = [
            convoy
            for convoy in frame.picture.convoys.values()
            if convoy.is_interrupted and convoy.id not in before
        ]
        if left:
            were = "convoy was" if len(left) == 1 else "convoys were"
            what = f"{len(left)} {were} interrupted earlier"
            dot = self.glyphs.separator
            self.show_notice(f"{what} {dot} p resumes the one under the cursor")
        for convoy in frame.picture.convoys.values():
            known = before.get(convoy.id)
            if known and not known.status.is_final and convoy.status.is_final:
                self.show_notice(summary(convoy, self.glyphs))

    def lay_out(self) -> None:
        """Show the parts that there is room for, without a jump when data comes."""
        self._most_convoys = max(self._most_convoys, len(self.picture.convoys))
        new = arrange(
            self.size.width, self.size.height, convoys=self._most_convoys, zoomed=self.zoomed
        )
        is_empty = self.picture.engine is not None and not self.picture.convoys
        _display(self.header, not new.sentence and not new.is_small)
        _display(self.status, new.is_small)
        _display(self.meters, new.has_meters)
        _display(self.body, not new.sentence and not is_empty)
        _display(self.sheet, bool(new.sentence) or is_empty)
        _display(self.keys, not new.sentence)
        if new == self.arrangement:
            return
        self.arrangement = new
        self.meters.is_boxed = new.has_boxes
        _display(self.convoys, new.has_convoys)
        _display(self._right, new.has_work)
        _display(self.log_box, new.log_rows > 0)
        self.body.set_class(new.is_wide, "wide")
        alone = not new.has_work
        self.convoys.styles.height = "1fr" if new.is_wide or alone else new.convoy_rows
        self.convoys.styles.width = new.convoy_cells if new.is_wide else "1fr"
        self.log_box.styles.height = max(1, new.log_rows)
        if new.is_wide:
            self.show_convoy_beside()

    def show_convoy_beside(self) -> None:
        """Show the work of the selected convoy."""
        convoy = self.convoys.selected
        self.show_work_of(convoy.id if convoy else None, convoy.name if convoy else "")

    def show_work_of(self, convoy_id: str | None, name: str = "") -> None:
        """Show the work of one convoy; None: of all."""
        if convoy_id != self.window.convoy_id:
            self.window.show_convoy(convoy_id)
            self.work.title = f"Work of {one_line(name)}" if convoy_id else "Work"
            self.work.changed()

    def _status(self, cells: int, _: int) -> Sequence[Line]:
        is_lasting = not self.surroundings.is_embedded
        return [status(self.picture, cells, self.glyphs, is_lasting=is_lasting)]

    def _sheet(self, cells: int, rows: int) -> Sequence[Line]:
        if self.arrangement.sentence:
            return [((self.arrangement.sentence, Role.TEXT),)]
        shown = empty(
            self.picture,
            self._agents,
            cells,
            rows,
            self.glyphs,
            is_demo=self.surroundings.is_demo,
        )
        return [dimmed(each) for each in shown] if self.picture.lost_at else shown


def _failed(convoy: ConvoyView) -> int:
    return convoy.counts.failed + convoy.counts.lost


def _display(widget: Widget, is_shown: bool) -> None:
    if widget.display is not is_shown:
        widget.display = is_shown
