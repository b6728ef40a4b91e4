"""Draws charts with plotext: the one module that knows it.

It takes a tenth of a second to import and some milliseconds to draw, so both belong on a thread.
plotext has one figure for everybody; a lock makes one chart at a time of it.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import plotext

from aisquad_tui.formatting import GLYPHS
from aisquad_tui.ink import Role, line
from aisquad_tui.views.layout import fitted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line, Span
    from aisquad_tui.views.charts import Chart, Trace

_ROLES = tuple(Role)
_FIRST_COLOR = 16
"""Number of the colour that stands for the first role, in plotext's 256; none is ever shown."""
_COLORED = re.compile(r"\x1b\[(?:(0)|38;5;(\d+)|[\d;]*)m")
"""What plotext writes between texts: an end of all colours, a colour, or a ground."""
_AXIS = {"┤": "│", "┼": "│"}
_HALVES = "hd"
"""plotext's marker of quarters of a cell; with both halves of a column alike, of lower halves."""
_X, _Y = 0, 1
_NEAR = 0
"""The lower or the left side of a figure."""
_drawing = threading.Lock()


def plot(chart: Chart, glyphs: Glyphs) -> list[Line]:
    """Return the chart as so many rows of exactly so many cells."""
    if chart.columns < 1 or chart.canvas_rows < 1:
        return [fitted((), chart.cells, glyphs)] * chart.rows
    with _drawing:
        text = _drawn(chart, glyphs)
    signs = str.maketrans(_AXIS if glyphs is GLYPHS else {"┤": "|", "┼": "|", "│": "|"})
    return [fitted(_line(row.translate(signs)), chart.cells, glyphs) for row in text.split("\n")]


def _drawn(chart: Chart, glyphs: Glyphs) -> str:
    """Return plotext's picture, with the numbers of roles in place of colours."""
    figure, quiet = plotext.figure, _pixel(Role.QUIET)
    plotext.terminal.limit(False, False)
    figure.clear()
    figure.plot_size(chart.cells, chart.rows)
    figure.canvas("default")
    figure.legend(False)
    figure.axes(False)
    figure.axes(True, pixel=quiet, axis=_Y, side=_NEAR)
    across, up = figure.ruler(_X, _NEAR), figure.ruler(_Y, _NEAR)
    across.alignment(lim="edge").pixel(quiet).lim(0, chart.columns)
    across.ticks([mark.column + 0.5 for mark in chart.marks], [mark.name for mark in chart.marks])
    up.alignment(lim="edge").pixel(quiet).lim(0, chart.canvas_rows)
    up.ticks([chart.row_of(value) + 0.5 for value, _ in chart.scale], [n for _, n in chart.scale])
    if chart.limit is not None:
        level = chart.row_of(chart.limit) + 0.5
        xs = [column + 0.5 for column in range(0, chart.columns, 2)]
        dot = _marker(glyphs.separator, Role.QUIET)
        figure.draw(figure.signal(xs, [level] * len(xs), marker=[dot] * len(xs)))
    for trace in chart.traces:
        _draw(chart, trace, is_halved=trace.is_fine and glyphs is GLYPHS)
    return str(figure.build().string()).rstrip("\n")


def _draw(chart: Chart, trace: Trace, *, is_halved: bool) -> None:
    """Put a trace on the figure; columns of which nothing is known stay as they are."""
    sign = _HALVES if is_halved else trace.sign
    normal, over = _marker(sign, trace.role), _marker(sign, Role.WARN)
    points = [
        (x, level, over if _is_over(chart, trace, value) else normal)
        for x, level, value in _points(chart, trace, is_halved=is_halved)
    ]
    if points:
        xs, levels, markers = zip(*points, strict=True)
        signal = plotext.figure.signal(list(xs), list(levels), marker=list(markers))
        plotext.figure.draw(signal.fillx() if trace.is_area else signal)


def _points(chart: Chart, trace: Trace, *, is_halved: bool) -> Iterator[tuple[float, float, float]]:
    """Yield where points are, in columns and rows, in the middle of what they fill; the value."""
    for column, value in enumerate(trace.values):
        if value is None:
            continue
        if is_halved:
            level = chart.level_of(value, 2) - 0.25
            yield column + 0.25, level, value
            yield column + 0.75, level, value
        elif trace.is_area:
            yield column + 0.5, chart.level_of(value, 1) - 0.5, value
        else:
            yield column + 0.5, chart.row_of(value) + 0.5, value


def _is_over(chart: Chart, trace: Trace, value: float) -> bool:
    return trace.is_area and chart.limit is not None and value > chart.limit


def _pixel(role: Role) -> object:
    return plotext.pixel(foreground=_FIRST_COLOR + _ROLES.index(role))


def _marker(sign: str, role: Role) -> object:
    return plotext.marker(sign, _pixel(role))


def _line(text: str) -> Line:
    """Return a row of plotext's picture with roles again."""
    spans: list[Span] = []
    role, at = Role.TEXT, 0
    for found in _COLORED.finditer(text):
        spans.append((text[at : found.start()], role))
        (ends, number), at = found.groups(), found.end()
        if ends or number:
            role = _ROLES[int(number) - _FIRST_COLOR] if number else Role.TEXT
    return line(*spans, (text[at:], role))
