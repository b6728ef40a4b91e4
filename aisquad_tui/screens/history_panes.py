"""The history's parts: what is where, and how an answer is shown in it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual.containers import Container

from aisquad_tui.formatting import glyphs_for
from aisquad_tui.ink import Role, line
from aisquad_tui.screens.live import LiveScreen
from aisquad_tui.store import Picture
from aisquad_tui.views import charts, history, history_rows
from aisquad_tui.views.history_layout import HistoryPane, arrange, page_of, pages
from aisquad_tui.views.layout import fitted
from aisquad_tui.views.status import too_small
from aisquad_tui.widgets.footer import KeyLine
from aisquad_tui.widgets.history_panes import ChartPane, HistoryList, PeriodLine
from aisquad_tui.widgets.notice import Notice
from aisquad_tui.widgets.sheet import Sheet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from textual.app import ComposeResult
    from textual.widget import Widget

    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line
    from aisquad_tui.surroundings import Surroundings
    from aisquad_tui.theme import Look
    from aisquad_tui.views.charts import Chart
    from aisquad_tui.views.history_layout import Box
    from aisquad_tui.views.timeline import Past

_AROUND = 3
"""Rows that are not the panes': the first line, the notice, the keys."""
_EDGES, _WALLS = 2, 4
"""Rows and cells of a box that are not what is in it."""
_TITLE_CELLS = 16
"""Cells of a box's upper edge that its remark leaves alone."""
_CHARTS = (HistoryPane.LOAD, HistoryPane.WORKERS, HistoryPane.THROUGHPUT)


class HistoryPanesScreen(LiveScreen):
    """The first line, charts, lists and keys, laid out for the terminal.

    Args:
        surroundings: Where it runs.
        look: How roles look.
    """

    DEFAULT_CSS = """
    HistoryPanesScreen { layout: vertical; overflow: hidden hidden; }
    HistoryPanesScreen Container { height: 1fr; }
    HistoryPanesScreen Container > * { position: absolute; }
    """

    def __init__(self, surroundings: Surroundings, look: Look) -> None:
        super().__init__(surroundings, look)
        self.glyphs = glyphs = glyphs_for(surroundings.terminal.is_ascii)
        self.picture = Picture()
        self.past: Past | None = None
        """What is on display, or will be as soon as it is drawn."""
        self.error = ""
        """Why the past cannot be read now, in words."""
        self.at = HistoryPane.LOAD
        self.is_zoomed = False
        self.boxes: Mapping[HistoryPane, Box] = {}
        self.is_old = asyncio.Event()
        """Set when what is on display must be drawn anew."""
        self.title_line = PeriodLine(look, glyphs)
        self.sheet = Sheet(look, self._sentences, id="sheet")
        self.notice = Notice(look, glyphs)
        self.keys = KeyLine(look, glyphs)
        self._charts = {
            HistoryPane.LOAD: ChartPane(look, glyphs, "Load"),
            HistoryPane.WORKERS: ChartPane(look, glyphs, "Workers"),
            HistoryPane.THROUGHPUT: ChartPane(look, glyphs, "Throughput"),
            HistoryPane.DURATIONS: ChartPane(look, glyphs, "Durations"),
        }
        self._lists = {
            HistoryPane.RESIZES: HistoryList(look, glyphs, "Resizes", history_rows.resizes),
            HistoryPane.SLOWEST: HistoryList(look, glyphs, "Slowest", history_rows.slowest),
            HistoryPane.AGENTS: HistoryList(look, glyphs, "Agents", history_rows.agents),
        }
        self._container = Container(*self._widgets.values())

    def compose(self) -> ComposeResult:
        """Put the parts beneath each other."""
        yield self.title_line
        yield self._container
        yield self.sheet
        yield self.notice
        yield self.keys

    def show_notice(self, text: str, *, is_error: bool = False) -> None:
        """Tell the operator something."""
        self.notice.show(text, is_error=is_error)

    @property
    def chart_columns(self) -> int:
        """Columns of the widest chart that this terminal has room for."""
        boxes = self._arranged(HistoryPane.LOAD)
        return max(1, charts.columns_in(boxes[HistoryPane.LOAD].cells - _WALLS))

    @property
    def page(self) -> tuple[int, int] | None:
        """Which page is shown, of how many; None: there is but one."""
        rows = self.size.height - _AROUND
        if self.is_zoomed or not self.has_panes or len(self.boxes) == len(HistoryPane):
            return None
        return page_of(self.at, rows) + 1, len(pages(rows))

    @property
    def has_panes(self) -> bool:
        """Whether panes are shown, and not a sentence in place of them."""
        return not self._sentences(*self.size)

    def lay_out(self) -> None:
        """Put the panes where the terminal has room for them."""
        cells, rows = self.size
        is_usable, has_panes = not too_small(cells, rows), self.has_panes
        for part in (self.title_line, self.keys, self.notice):
            _display(part, is_usable)
        _display(self.sheet, not has_panes)
        _display(self._container, has_panes)
        if not is_usable:
            self.boxes = {}
            return
        before, self.boxes = self.boxes, self._arranged(self.at)
        for pane, widget in self._widgets.items():
            box = self.boxes.get(pane)
            _display(widget, box is not None)
            if box is not None and box != before.get(pane):
                widget.styles.offset = box.x, box.y
                widget.styles.width, widget.styles.height = box.cells, box.rows
        if has_panes and self.focused is not self._widgets[self.at]:
            self.set_focus(self._widgets[self.at])

    def pane_of(self, widget: Widget | None) -> HistoryPane | None:
        """Return the pane that a widget is."""
        return next((pane for pane, each in self._widgets.items() if each is widget), None)

    async def keep_drawn(self) -> None:
        """Draw what is old, the charts on a thread; what comes meanwhile is drawn once."""
        await asyncio.to_thread(_plotted, {}, self.glyphs)  # plotext is imported beside the reading
        while True:
            await self.is_old.wait()
            self.is_old.clear()
            self.lay_out()
            self.sheet.redraw()
            past, boxes = self.past, self.boxes
            if past is None or not boxes:
                continue
            wanted = {pane: self._chart(pane, past) for pane in _CHARTS if pane in boxes}
            drawn = await asyncio.to_thread(_plotted, wanted, self.glyphs)
            if boxes == self.boxes:
                self._show(past, drawn)

    def _show(self, past: Past, drawn: Mapping[HistoryPane, Sequence[Line]]) -> None:
        """Show all that is on display at once."""
        is_stale = self.picture.lost_at is not None
        for pane, lines in drawn.items():
            self._charts[pane].show(self._info(pane, past), lines, is_stale=is_stale)
        if HistoryPane.DURATIONS in self.boxes:
            cells, rows = self._inside(HistoryPane.DURATIONS)
            lines = history.durations(past.history, cells, rows, self.glyphs)
            info = history.durations_info(past.history)
            self._charts[HistoryPane.DURATIONS].show(info, lines, is_stale=is_stale)
        for each in self._lists.values():
            each.show(past.history, is_stale=is_stale)

    def _chart(self, pane: HistoryPane, past: Past) -> Chart:
        cells, rows = self._inside(pane)
        if pane is HistoryPane.LOAD:
            return charts.load_chart(past, cells, rows, self.glyphs, limit=self._limit)
        if pane is HistoryPane.WORKERS:
            most = 1 if self.picture.engine is None else self.picture.engine.max
            return charts.workers_chart(past, cells, rows, self.glyphs, most=most)
        return charts.throughput_chart(past, cells, rows, self.glyphs)

    def _info(self, pane: HistoryPane, past: Past) -> Line:
        """Return the remark in the upper edge of a chart's box."""
        cells = self.boxes[pane].cells - _TITLE_CELLS
        if pane is HistoryPane.LOAD:
            return history.load_info(past.history, cells, self._limit, self.glyphs)
        if pane is HistoryPane.WORKERS:
            return history.workers_info(past.history, cells, self.glyphs)
        return history.throughput_info(past.history, cells, self.glyphs)

    def _inside(self, pane: HistoryPane) -> tuple[int, int]:
        """Return the cells and rows within a pane's box."""
        box = self.boxes[pane]
        return max(0, box.cells - _WALLS), max(0, box.rows - _EDGES)

    @property
    def _limit(self) -> float | None:
        return None if self.picture.engine is None else self.picture.engine.cpu_threshold

    @property
    def _widgets(self) -> dict[HistoryPane, ChartPane | HistoryList]:
        return {**self._charts, **self._lists}

    def _arranged(self, pane: HistoryPane) -> Mapping[HistoryPane, Box]:
        cells, rows = self.size
        return arrange(cells, rows - _AROUND, pane, is_zoomed=self.is_zoomed)

    def _sentences(self, cells: int, rows: int) -> Sequence[Line]:
        """Return what is said in place of the panes; empty: they are shown."""
        if sentence := too_small(*self.size):
            return [fitted(line((sentence, Role.WARN)), cells, self.glyphs)]
        past = None if self.past is None else self.past.history
        is_away = self.picture.lost_at is not None
        return history.sentences(past, cells, self.glyphs, is_away=is_away, error=self.error)


def _plotted(
    wanted: Mapping[HistoryPane, Chart], glyphs: Glyphs
) -> dict[HistoryPane, Sequence[Line]]:
    """Return the lines of charts; takes long enough to be done on a thread."""
    from aisquad_tui.views.plot import plot  # noqa: PLC0415  # a tenth of a second, when it opens

    return {pane: plot(chart, glyphs) for pane, chart in wanted.items()}


def _display(widget: Widget, is_shown: bool) -> None:
    if widget.display is not is_shown:
        widget.display = is_shown
