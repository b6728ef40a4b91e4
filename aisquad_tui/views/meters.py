"""How busy the machine is and how much may run on it: as three boxes, or as two lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from aisquad_core.sanitise import one_line
from aisquad_tui.formatting import cut_words, short_count
from aisquad_tui.ink import Role, fit, line, width
from aisquad_tui.views.curve import heights, sparkline
from aisquad_tui.views.layout import Piece, fitted, frame, joined
from aisquad_tui.views.notice import wait_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisquad_core.api import EngineView, Load
    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line
    from aisquad_tui.store import Picture

BOX_ROWS = 5
"""Rows of `boxes`."""
LINE_ROWS = 2
"""Rows of `lines`."""
_TARGET = re.compile(r": up to \d+(, growing by \d+)?$")
"""What the arrow before a reason says already."""


def boxes(picture: Picture, cells: int, glyphs: Glyphs) -> list[Line]:
    """Return CPU, memory and workers as boxes beside each other."""
    widths = [cells // 3, cells // 3, cells - 2 * (cells // 3)]
    columns = (
        _load_box(_CPU, picture, widths[0], glyphs),
        _load_box(_MEMORY, picture, widths[1], glyphs),
        _workers_box(picture, widths[2], glyphs),
    )
    return [tuple(span for box in columns for span in box[row]) for row in range(BOX_ROWS)]


def lines(picture: Picture, cells: int, glyphs: Glyphs) -> list[Line]:
    """Return the same in two lines without boxes, for narrow or low terminals."""
    engine = picture.engine
    half = (cells - 4) // 2
    pieces = [
        Piece((*line(" "), *_load_line(_CPU, picture, half, glyphs)), 3),
        Piece(_load_line(_MEMORY, picture, half, glyphs), 2, gap=3),
    ]
    first = joined(pieces, cells)
    if engine is None:
        return [fitted(first, cells, glyphs), fitted((), cells, glyphs)]
    gauge = min(20, max(5, cells // 4))
    workers = [
        Piece(line(" ", ("Workers", Role.QUIET)), 1),
        Piece(_gauge(engine, picture.counts.running, gauge, glyphs), 3, gap=1),
        Piece(line(f"{picture.counts.running} of {engine.parallelism}"), 9),
        Piece(_mode(engine, glyphs), 5, gap=1),
    ]
    head = joined(workers, cells)
    said = _last_word(picture, cells - width(head) - 2, glyphs)
    second = (*head, *line("  "), *said) if width(said) else head
    return [fitted(first, cells, glyphs), fitted(second, cells, glyphs)]


def gibibytes(size: float) -> str:
    """Return bytes as GiB without the unit: `5.1`, `16`, `0.4`."""
    gib = size / (1 << 30)
    return f"{gib:.1f}".removesuffix(".0")


def cause(reason: str) -> str:
    """Return why the parallelism changed, without what it changed to: an arrow says that."""
    return _TARGET.sub("", one_line(reason))


def throttle(picture: Picture) -> float:
    """Return the throttle of the newest sample, 0 (none) to 1."""
    if picture.history:
        return picture.history[-1].throttle
    return picture.engine.throttle if picture.engine else 0.0


class _Quantity(NamedTuple):
    """Something of which the machine has a limited amount."""

    title: str
    short: str
    percent: Callable[[Load], float]
    limit: Callable[[EngineView], float]
    amount: Callable[[Load], str]
    """How much of it there is, in words; empty when unknown."""


def _cores(load: Load) -> str:
    if not load.cpu_count:
        return ""
    return f"{load.cpu_count:g} core{'' if load.cpu_count == 1 else 's'}"


def _memory(load: Load) -> str:
    if not load.memory_bytes:
        return ""
    used = load.memory_bytes * load.memory_percent / 100
    return f"{used / (1 << 30):.1f} of {gibibytes(load.memory_bytes)} GiB"


_CPU = _Quantity(
    "CPU", "CPU", lambda load: load.cpu_percent, lambda engine: engine.cpu_threshold, _cores
)
_MEMORY = _Quantity(
    "Memory",
    "MEM",
    lambda load: load.memory_percent,
    lambda engine: engine.memory_threshold,
    _memory,
)


def _load_box(quantity: _Quantity, picture: Picture, cells: int, glyphs: Glyphs) -> list[Line]:
    limit = quantity.limit(picture.engine) if picture.engine else None
    shown = heights(picture.history, quantity.percent, cells - 4)
    known = [each for each in shown if each is not None]
    now = picture.history[-1] if picture.history else None
    amount = line((quantity.amount(now), Role.QUIET)) if now else ()
    percent = _percent(quantity.percent(now), limit) if now else ()
    info = joined([Piece(amount, 1), Piece(percent, 2)], cells - len(quantity.title) - 7)
    words = [
        Piece(line(("peak ", Role.QUIET), *_percent(max(known), limit)) if known else (), 1),
        Piece(line((f"limit {limit:g} %", Role.QUIET)) if limit is not None else (), 2, gap=3),
    ]
    body = [*sparkline(shown, 100, 2, glyphs, limit=limit), joined(words, cells - 4)]
    return frame(line((quantity.title, Role.STRONG)), info, body, cells, glyphs)


def _load_line(quantity: _Quantity, picture: Picture, cells: int, glyphs: Glyphs) -> Line:
    limit = quantity.limit(picture.engine) if picture.engine else None
    columns = max(0, cells - len(quantity.short) - 7)
    shown = heights(picture.history, quantity.percent, columns)
    drawn = sparkline(shown, 100, 1, glyphs, limit=limit)[0]
    now = _percent(quantity.percent(picture.history[-1]), limit) if picture.history else ()
    return line((f"{quantity.short} ", Role.QUIET), *drawn, " ", *now)


def _workers_box(picture: Picture, cells: int, glyphs: Glyphs) -> list[Line]:
    engine, counts, inner = picture.engine, picture.counts, cells - 4
    title = line(("Workers", Role.STRONG))
    if engine is None:
        return frame(title, (), [()] * (BOX_ROWS - 2), cells, glyphs)
    busy = f"{counts.running} busy of {engine.parallelism}"
    queued = f"{short_count(counts.queued)} queued"
    words = min(inner, max(14, len(busy), len(queued)))
    graph = max(0, inner - words - 2)
    sizes = heights(picture.history, lambda load: load.parallelism, graph)
    top = max(engine.max, engine.parallelism, 1)
    trend = sparkline(sizes, top, 1, glyphs, role=Role.QUIET)[0]
    body = [
        (*fit(_gauge(engine, counts.running, graph, glyphs), graph), *line(f"  {busy}")),
        (*fit(trend, graph), *line("  ", (queued, Role.QUIET))),
        _last_word(picture, inner, glyphs),
    ]
    return frame(title, _mode(engine, glyphs), body, cells, glyphs)


def _percent(value: float, limit: float | None) -> Line:
    is_over = limit is not None and value > limit
    return line((f"{value:.0f} %", Role.WARN if is_over else Role.TEXT))


def _gauge(engine: EngineView, busy: int, cells: int, glyphs: Glyphs) -> Line:
    """Return the workers as a bar: busy, free, and what would be free at the maximum."""
    most = max(engine.max, engine.parallelism, busy, 1)
    scale = cells // most or cells / most
    full = max(round(busy * scale), min(busy, 1))
    open_ = max(full, round(engine.parallelism * scale))
    whole = max(open_, round(most * scale))
    signs = glyphs.gauge
    return line(
        (signs[0] * full, Role.ACCENT),
        (signs[1] * (open_ - full), Role.ACCENT),
        (signs[2] * (whole - open_), Role.QUIET),
    )


def _mode(engine: EngineView, glyphs: Glyphs) -> Line:
    if engine.auto:
        return line((f"auto {engine.baseline}{glyphs.dash}{engine.max}", Role.QUIET))
    is_off = engine.reason.startswith("auto tuning off")
    word = "auto off, fixed at" if is_off else "pinned"
    return line((f"{word} {engine.parallelism}", Role.WARN))


def _last_word(picture: Picture, cells: int, glyphs: Glyphs) -> Line:
    """Return what holds starts back, or the last resize and its reason."""
    engine, factor = picture.engine, throttle(picture)
    if engine is None or cells < 8:
        return ()
    said: Line = ()
    if factor > 0:
        said = line((f"throttled {factor:.0%}".replace("%", " %"), Role.WARN), "  ")
    elif engine.waiting and not picture.counts.running:
        words = cut_words(wait_of(engine.waiting), cells, glyphs.ellipsis)
        return line((words, Role.WARN))
    before, after = engine.resized_from, engine.parallelism
    if before is not None and before != after:
        sign, role = (glyphs.up, Role.GOOD) if after > before else (glyphs.down, Role.WARN)
        said = (*said, *line((f"{sign} {before}{glyphs.arrow}{after} ", role)))
    reason = one_line(engine.reason) if before is None else cause(engine.reason)
    room = cells - width(said)
    words = cut_words(reason, room, glyphs.ellipsis) if room >= 8 else ""
    return line(*said, (words, Role.QUIET))
