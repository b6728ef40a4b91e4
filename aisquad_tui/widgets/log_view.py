"""The log of an operation in a box: what is on display, and the keys and the mouse that move it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding

from aisquad_core.sanitise import one_line
from aisquad_tui.ink import Ground, Role, line
from aisquad_tui.log_viewport import PageMissingError, Viewport
from aisquad_tui.views.layout import dimmed, fitted, frame_bottom, frame_row, frame_top
from aisquad_tui.views.operation import LogState, log_info
from aisquad_tui.widgets.canvas import Canvas

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.binding import BindingType
    from textual.events import Click, MouseScrollDown, MouseScrollUp

    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line, Span
    from aisquad_tui.log_feed import LogFeed
    from aisquad_tui.log_matcher import Matcher
    from aisquad_tui.log_viewport import Row
    from aisquad_tui.theme import Look
    from aisquad_tui.widgets.canvas import Row as CanvasRow

_WHEEL = 3
_SHIFT = 16
_STEPS_KEPT = 16
"""Movements that wait for a part of the log; with more of them the newest are left out."""
_EDGES = 2
_MARKING_S = 0.005
"""Time for marking matches on display; a search that takes longer leaves some unmarked."""


class LogView(Canvas, can_focus=True):
    """Shows a log, follows it, and marks what was searched.

    Args:
        look: How roles look.
        glyphs: The signs of the terminal.
        id: The widget's id.
    """

    has_walls = True
    DEFAULT_CSS = "LogView { height: 1fr; width: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "rows(-1)", show=False),
        Binding("down,j", "rows(1)", show=False),
        Binding("pageup,b", "pages(-2)", show=False),
        Binding("pagedown,space", "pages(2)", show=False),
        Binding("ctrl+u", "pages(-1)", show=False),
        Binding("ctrl+d", "pages(1)", show=False),
        Binding("g,home", "first", show=False),
        Binding("G,end", "last", show=False),
        Binding("left", "shift(-1)", show=False),
        Binding("right", "shift(1)", show=False),
    ]

    def __init__(self, look: Look, glyphs: Glyphs, *, id: str | None = None) -> None:
        super().__init__(look, id=id)
        self._glyphs = glyphs
        self._feed: LogFeed | None = None
        self._viewport: Viewport | None = None
        self._is_wrapped = True
        self._steps: list[Callable[[Viewport], None]] = []
        self._shown: list[Row] = []
        self._matcher: Matcher | None = None
        self._found: int | None = None
        self._search = ""
        self._blank = ""
        self._attempt: int | None = None
        self._is_stale = False

    def open(self, feed: LogFeed, *, attempt: int | None) -> None:
        """Show another log from its end on; `attempt` is named unless it is the present one."""
        self._feed, self._attempt = feed, attempt
        self._viewport = Viewport(feed.reader)
        if not self._is_wrapped:
            self._viewport.toggle_wrap()
        self._steps.clear()
        self._shown, self._found = [], None
        self.renew()

    def tell(self, *, blank: str, is_stale: bool) -> None:
        """Take what to say where there is no output, and whether the engine is away."""
        if (blank, is_stale) != (self._blank, self._is_stale):
            self._blank, self._is_stale = blank, is_stale
            self._draw()

    def mark(self, matcher: Matcher | None, progress: str = "") -> None:
        """Mark what this finds, and say how the search goes."""
        if matcher is not self._matcher:
            self._found = None
        self._matcher, self._search = matcher, progress
        self._draw()

    def reveal(self, start: int, char: int) -> None:
        """Bring a match on display."""
        self._found = start
        self._do(lambda viewport: viewport.show(start, char))

    def origin(self, *, is_backward: bool) -> int:
        """Return where a search from what is on display begins; see `log_search.search`."""
        starts = [row.start for row in self._shown]
        if not starts:
            return -1
        if self._found is not None and starts[0] <= self._found <= starts[-1]:
            return self._found
        return starts[-1] + 1 if is_backward else starts[0] - 1

    @property
    def lines(self) -> list[str]:
        """The rows on display."""
        return [row.text for row in self._shown]

    @property
    def is_following(self) -> bool:
        """Whether the end is on display, whatever comes."""
        return self._viewport is not None and self._viewport.is_following

    def renew(self) -> None:
        """Draw what came; go on with what waited for it."""
        viewport, feed = self._viewport, self._feed
        if viewport is None or feed is None or not self.size.width:
            return
        try:
            while self._steps:
                self._steps[0](viewport)
                self._steps.pop(0)
            self._shown = viewport.visible()
        except PageMissingError as missing:
            feed.want(missing.page)
        self._draw()

    def toggle_follow(self) -> None:
        """Follow the end, or stand still."""
        self._do(lambda viewport: viewport.hold() if viewport.is_following else viewport.follow())

    def toggle_wrap(self) -> None:
        """Wrap long lines, or cut them."""
        self._is_wrapped = not self._is_wrapped
        self._do(lambda viewport: viewport.toggle_wrap())

    def action_rows(self, rows: int) -> None:
        """Scroll by rows."""
        self._do(lambda viewport: viewport.scroll(rows))

    def action_pages(self, halves: int) -> None:
        """Scroll by halves of what is on display."""
        self._do(lambda viewport: viewport.scroll(halves * max(1, viewport.rows // 2)))

    def action_first(self) -> None:
        """Go to the beginning."""
        self._do(lambda viewport: viewport.to_start())

    def action_last(self) -> None:
        """Go to the end and follow it."""
        self._do(lambda viewport: viewport.follow())

    def action_shift(self, steps: int) -> None:
        """Show what is further right or left where lines are cut."""
        self._do(lambda viewport: viewport.shift(steps * _SHIFT))

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """Scroll down."""
        event.stop()
        self.action_rows(_WHEEL)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """Scroll up."""
        event.stop()
        self.action_rows(-_WHEEL)

    def on_click(self, event: Click) -> None:
        """Take the focus."""
        event.stop()
        self.focus()

    def on_focus(self) -> None:
        """Show the focus."""
        self._draw()

    def on_blur(self) -> None:
        """Show that it is elsewhere."""
        self._draw()

    def on_resize(self) -> None:
        """Fit the new size."""
        cells, rows = self.size.width - 4, self.size.height - _EDGES
        self._do(lambda viewport: viewport.resize(cells, rows))

    def _do(self, step: Callable[[Viewport], None]) -> None:
        """Move, as soon as the parts of the log that it takes are in memory."""
        if len(self._steps) < _STEPS_KEPT:
            self._steps.append(step)
        self.renew()

    def _draw(self) -> None:
        cells, rows = self.size.width, self.size.height - _EDGES
        if cells < 6 or rows < 1:
            return
        glyphs, is_focused = self._glyphs, self.has_focus
        title = line(("Log", Role.STRONG))
        info = log_info(self._state(), cells - 12, glyphs)
        body = self._body(cells - 4, rows)
        drawn: list[CanvasRow] = [
            (frame_top(title, info, cells, glyphs, is_focused=is_focused), Ground.PLAIN)
        ]
        for spans, ground in body:
            drawn.append((frame_row(spans, cells, glyphs, is_focused=is_focused), ground))
        drawn.append((frame_bottom(cells, glyphs, is_focused=is_focused), Ground.PLAIN))
        self.draw(drawn)

    def _body(self, cells: int, rows: int) -> list[CanvasRow]:
        feed = self._feed
        body: list[CanvasRow] = []
        if feed is not None and feed.trouble is not None:
            body.append((line((f"cannot read the log: {feed.trouble}", Role.BAD)), Ground.PLAIN))
        if feed is None or (feed.reader.has_looked and not feed.reader.size):
            body.append((line((one_line(self._blank), Role.QUIET)), Ground.PLAIN))
        else:
            until = time.perf_counter() + _MARKING_S
            for row in self._shown[: rows - len(body)]:
                ground = Ground.REST if row.start == self._found else Ground.PLAIN
                spans = self._marked(row, until)
                body.append((dimmed(spans) if self._is_stale else spans, ground))
        body += [((), Ground.PLAIN)] * (rows - len(body))
        return [(fitted(spans, cells, self._glyphs), ground) for spans, ground in body[:rows]]

    def _marked(self, row: Row, until: float) -> Line:
        if self._matcher is None or time.perf_counter() > until:
            return line(row.text)
        spans: list[Span] = []
        at = 0
        for begin, end in self._matcher.spans(self._text_of(row), until=until):
            start, stop = max(at, begin - row.begin), min(len(row.text), end - row.begin)
            if start < stop:
                spans += [(row.text[at:start], Role.TEXT), (row.text[start:stop], Role.MATCH)]
                at = stop
        return line(*spans, (row.text[at:], Role.TEXT))

    def _text_of(self, row: Row) -> str:
        """Return the whole text of a row's piece, or its own where that is no longer in memory."""
        if self._feed is None:
            return row.text
        reader = self._feed.reader
        try:
            return reader.text(reader.at(row.start))
        except PageMissingError:
            return " " * row.begin + row.text

    def _state(self) -> LogState:
        feed, viewport = self._feed, self._viewport
        if feed is None or viewport is None:
            return LogState(size=None, lines=None, is_following=False, is_final=False, percent=0)
        reader = feed.reader
        return LogState(
            size=reader.size if reader.has_looked else None,
            lines=feed.line_count,
            is_following=viewport.is_following,
            is_final=reader.is_final,
            percent=100 * viewport.top.start // reader.size if reader.size else 0,
            attempt=self._attempt,
            is_result=reader.stream == "result",
            is_wrapped=viewport.is_wrapped,
            query="" if self._matcher is None else self._matcher.query,
            search=self._search,
        )
