"""The history in words: its first line, what stands in the edges of its boxes, its states. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from aisquad_core.api import DurationBin
from aisquad_core.model import WorkStatus
from aisquad_core.sanitise import one_line
from aisquad_tui.formatting import cell_width, count, cut, duration, plural, short_count
from aisquad_tui.ink import Role, line, width
from aisquad_tui.views.charts import failed_sign, memory_sign, size_sign
from aisquad_tui.views.layout import Piece, dimmed, fitted, joined
from aisquad_tui.views.timeline import extent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aisquad_core.api import History
    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line, Span

PERIODS: tuple[tuple[float, str], ...] = (
    (900, "15m"),
    (3600, "1h"),
    (6 * 3600, "6h"),
    (86_400, "24h"),
    (7 * 86_400, "7d"),
    (30 * 86_400, "30d"),
)
"""How far one can look back: seconds, and their name."""
_LEAST_BAR = 4
_BOUND_CELLS = 16
"""Cells that name a bin's bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What the first line tells."""

    period: int
    """Index of the chosen one of PERIODS."""
    convoy_name: str | None = None
    """Whose operations are shown; None: those of all convoys."""
    history: History | None = None
    """What is on display; None: nothing yet, or something else than was chosen."""
    page: tuple[int, int] | None = None
    """Which page is shown, of how many; None: all is on one."""
    is_held: bool = False
    """Whether the operator holds the screen still."""
    lost_at: datetime | None = None
    """Since when the engine cannot be reached."""
    error: str = ""
    """Why the history cannot be read now."""


def header(heading: Heading, cells: int, glyphs: Glyphs) -> Line:
    """Return the first line: whose history, how far back, and what ails it."""
    left = _left(heading, cells, glyphs)
    right: list[Piece] = []
    if heading.error:
        said = cut(one_line(heading.error), max(20, cells // 2), glyphs.ellipsis)
        right.append(Piece(line((f"{glyphs.item[WorkStatus.FAILED]} {said}", Role.BAD)), 95))
    if heading.is_held:
        right.append(Piece(line(("held", Role.WARN)), 86))
    if heading.lost_at is not None:
        since = f"{glyphs.waiting} engine away since {heading.lost_at.astimezone():%H:%M:%S}"
        right.append(Piece(line((since, Role.WARN)), 90))
    if heading.history is None:
        right.append(Piece(line((f"reading{glyphs.ellipsis}", Role.QUIET)), 50))
    else:
        span = extent(heading.history.start, heading.history.end, glyphs.dash)
        right.append(Piece(line((span, Role.QUIET)), 50))
    if heading.page is not None:
        right.append(Piece(line(("{} of {}".format(*heading.page), Role.QUIET)), 60))
    room = max(0, cells - width(left) - 3)
    tail = joined(right, room)
    tail = tail if width(tail) <= room else ()
    whole = line(*left, " " * max(2, cells - width(left) - width(tail) - 1), *tail)
    return fitted(dimmed(whole) if heading.lost_at else whole, cells, glyphs)


def period_at(heading: Heading, x: int, cells: int, glyphs: Glyphs) -> int | None:
    """Return the index of the period whose name stands in a column of the first line."""
    left = _left(heading, cells, glyphs)
    start = 0
    for place, (text, _) in enumerate(left):
        if start <= x < start + cell_width(text):
            index = place - (len(left) - len(PERIODS))
            return index if 0 <= index < len(PERIODS) else None
        start += cell_width(text)
    return None


def sentences(
    history: History | None, cells: int, glyphs: Glyphs, *, is_away: bool, error: str
) -> list[Line]:
    """Return what is shown in place of the panes; empty: there is something to show in them.

    Args:
        history: What the engine answered; None: nothing yet.
        cells: How many each line takes.
        glyphs: The signs of the terminal.
        is_away: Whether the engine cannot be reached.
        error: Why it did not answer, in words.
    """
    if history is None:
        if is_away:
            said = "The engine is away, and what it knows with it.", "Shown when it comes back."
        elif error:
            said = "What is recorded cannot be read; trying again.", one_line(error)
        else:
            said = f"Reading what is recorded{glyphs.ellipsis}", ""
    elif not history.is_recorded:
        said = (
            "Metrics are off: nothing is recorded.",
            "The setting enable_metrics (AI_SQUAD_ENABLE_METRICS) is false.",
        )
    elif not (history.load or history.resizes or history.throughput or history.durations):
        said = (
            "Nothing is recorded of this time.",
            "An engine records as long as it runs; right looks further back.",
        )
    else:
        return []
    head, more = said
    blank = fitted((), cells, glyphs)
    return [
        blank,
        fitted(line("  ", (head, Role.STRONG)), cells, glyphs),
        blank,
        fitted(line("  ", (more, Role.QUIET)), cells, glyphs),
    ]


def load_info(history: History, cells: int, limit: float | None, glyphs: Glyphs) -> Line:
    """Return what the marks of the load's chart are, and how it was at its end and its highest."""
    if not history.load:
        return line(("no sample in this time", Role.QUIET))
    last = history.load[-1]
    peak = max(point.cpu_percent for point in history.load)
    is_over = limit is not None and peak > limit
    pieces = [
        Piece(_legend(glyphs.bar[0], Role.ACCENT, f"CPU {last.cpu_percent:.0f} %"), 9),
        Piece(line((f"peak {peak:.0f} %", Role.WARN if is_over else Role.QUIET)), 5, gap=1),
        Piece(_legend(memory_sign(glyphs), Role.STRONG, f"memory {last.memory_percent:.0f} %"), 8),
        Piece(
            () if limit is None else _legend(glyphs.separator, Role.QUIET, f"limit {limit:g} %"), 3
        ),
    ]
    return joined(pieces, cells)


def workers_info(history: History, cells: int, glyphs: Glyphs) -> Line:
    """Return what the marks of the workers' chart are, and how it was at its end."""
    if not history.load:
        return line(("no sample in this time", Role.QUIET))
    last = history.load[-1]
    pieces = [
        Piece(_legend(glyphs.bar[0], Role.ACCENT, f"busy {last.active_workers:.0f}"), 8),
        Piece(_legend(size_sign(glyphs), Role.STRONG, f"parallelism {last.parallelism:.0f}"), 9),
        Piece(line((f"queue {short_count(round(last.queue_depth))}", Role.QUIET)), 4),
    ]
    return joined(pieces, cells)


def throughput_info(history: History, cells: int, glyphs: Glyphs) -> Line:
    """Return what the marks of the throughput are, and what it adds up to."""
    completed = sum(point.completed for point in history.throughput)
    failed = sum(point.failed for point in history.throughput)
    if not completed + failed:
        return line(("nothing ended in this time", Role.QUIET))
    pieces = [
        Piece(_legend(glyphs.bar[0], Role.GOOD, f"{count(completed)} completed"), 9),
        Piece(_legend(failed_sign(glyphs), Role.BAD, f"{count(failed)} failed"), 8),
    ]
    return joined(pieces, cells)


def durations(history: History, cells: int, rows: int, glyphs: Glyphs) -> list[Line]:
    """Return how long operations took: in words, then how many took how long, as bars."""
    words = _quantiles(history, cells, glyphs) if rows > 2 else []
    bins = _merged(history.durations, rows - len(words))
    if not bins:
        return [line(("nothing ended in this time", Role.QUIET))]
    most = max(each.count for each in bins)
    tail = max(len(count(each.count)) for each in bins) + 1
    room = cells - _BOUND_CELLS - 1 - tail
    shown, named = list(words), _bounds([*(each.lower_s for each in bins), bins[-1].upper_s])
    for each, (lower, upper) in zip(bins, pairwise(named), strict=True):
        bounds = f"{lower}{glyphs.dash}{upper}"
        bar = max(each.count and 1, room * each.count // most) if room >= _LEAST_BAR else 0
        shown.append(
            line(
                (bounds.rjust(_BOUND_CELLS) + " ", Role.QUIET),
                (glyphs.bar[0] * bar, Role.ACCENT),
                f" {count(each.count)}" if each.count else "",
            )
        )
    return [fitted(each, cells, glyphs) for each in shown]


def durations_info(history: History) -> Line:
    """Return how many attempts the durations are those of."""
    attempts = sum(each.count for each in history.durations)
    return line((plural(attempts, "attempt"), Role.QUIET)) if attempts else ()


def _left(heading: Heading, cells: int, glyphs: Glyphs) -> Line:
    """Return whose history it is and the periods, each of which is a span at the end."""
    strip: list[Span] = []
    for index, (_, period) in enumerate(PERIODS):
        is_chosen = index == heading.period
        shown = f"[{period}]" if is_chosen else f" {period} "
        strip.append((shown, Role.STRONG if is_chosen else Role.QUIET))
    name = heading.convoy_name
    room = max(8, cells // 3)
    whose = "all convoys" if name is None else cut(one_line(name), room, glyphs.ellipsis)
    head = line((" History of ", Role.TEXT), (whose, Role.STRONG), "  ")
    if cells < width(head) + width(strip) + 1:
        head = line(
            " ", (cut(whose, max(4, cells - width(strip) - 4), glyphs.ellipsis), Role.STRONG)
        )
        head = (*head, (" ", Role.TEXT))
    return (*head, *strip)


def _legend(sign: str, role: Role, text: str) -> Line:
    return line((f"{sign} ", role), text)


def _quantiles(history: History, cells: int, glyphs: Glyphs) -> list[Line]:
    """Return within which time how many ended, in as many rows as that takes."""
    if history.p50_s is None or history.p95_s is None or history.p99_s is None:
        return []
    said = [
        f"half within {duration(history.p50_s)}",
        f"95 % within {duration(history.p95_s)}",
        f"99 % within {duration(history.p99_s)}",
    ]
    if history.mean_s is not None:
        said.append(f"mean {duration(history.mean_s)}")
    between = f" {glyphs.separator} "
    rows = [said[0]]
    for each in said[1:]:
        if len(rows[-1]) + len(between) + len(each) <= cells:
            rows[-1] += between + each
        else:
            rows.append(each)
    return [line(row) for row in rows]


def _bounds(bounds_s: Sequence[float]) -> list[str]:
    """Return the names of durations, as exact as it takes to tell each from the next."""
    named = [duration(each) for each in bounds_s]
    return named if len(set(named)) == len(named) else [_exact(each) for each in bounds_s]


def _exact(seconds: float) -> str:
    """Return a duration so exactly that it can be told from one that is 4 % longer."""
    if seconds >= 60:
        return duration(seconds)
    value, unit = (seconds, "s") if seconds >= 1 else (seconds * 1000, "ms")
    digits = 2 if value < 10 else 1 if value < 30 else 0
    return f"{value:.{digits}f}{unit}"


def _merged(bins: Sequence[DurationBin], rows: int) -> list[DurationBin]:
    """Return as many bins as there are rows, neighbours put together where there are more."""
    if rows < 1 or not bins:
        return []
    size = -(-len(bins) // rows)
    groups = [bins[start : start + size] for start in range(0, len(bins), size)]
    return [
        DurationBin(
            lower_s=some[0].lower_s,
            upper_s=some[-1].upper_s,
            count=sum(each.count for each in some),
        )
        for some in groups
    ]
