"""Values as short text: durations, ages, counts, rates, bars and cells. Pure; knows no terminal.

Text goes through here after `sanitise`, never instead of it.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aisquad_core.model import ConvoyStatus, WorkStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

ELLIPSIS = "…"
UNKNOWN = "—"
_CROSS = "\N{MULTIPLICATION SIGN}"
_DASH = "\N{EN DASH}"

_BREAKS = " ,;:"
"""Where a sentence can end early."""
_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyphs:
    """The signs of one character set, each one cell wide."""

    item: Mapping[WorkStatus, str]
    convoy: Mapping[ConvoyStatus, str]
    bar: Sequence[str]
    """What a bar is drawn with: completed, ended otherwise, running, open."""
    ellipsis: str
    unknown: str
    progress: Sequence[str]
    """What the screen's bars are drawn with, beside colours: the parts of `bar`."""
    levels: Sequence[str]
    """Eight heights of a sparkline, lowest first."""
    gauge: Sequence[str]
    """Workers: busy, free, beyond the parallelism up to the maximum."""
    frame: Sequence[str]
    """Corners (top left, top right, bottom left, bottom right), horizontal, vertical."""
    up: str
    down: str
    arrow: str
    """From one value to another."""
    alive: str
    """The engine works."""
    waiting: str
    """The engine begins or ends."""
    dash: str
    """From one number up to another."""
    separator: str
    """Between the parts of a sentence."""
    times: str
    """So many times."""


GLYPHS = Glyphs(
    item={
        WorkStatus.PENDING: "○",
        WorkStatus.BLOCKED: "·",
        WorkStatus.IN_PROGRESS: "●",
        WorkStatus.COMPLETED: "✓",
        WorkStatus.FAILED: "✗",
        WorkStatus.CANCELLED: _CROSS,
        WorkStatus.SKIPPED: _DASH,
        WorkStatus.LOST: "?",
    },
    convoy={
        ConvoyStatus.PENDING: "○",
        ConvoyStatus.RUNNING: "▶",
        ConvoyStatus.PAUSED: "‖",
        ConvoyStatus.COMPLETED: "✓",
        ConvoyStatus.PARTIAL: "✗",
        ConvoyStatus.FAILED: "✗",
        ConvoyStatus.CANCELLED: _CROSS,
    },
    bar="█▓▒░",
    ellipsis=ELLIPSIS,
    unknown=UNKNOWN,
    progress="█▇░░",
    levels="▁▂▃▄▅▆▇█",
    gauge="█░·",
    frame="╭╮╰╯─│",
    up="▲",
    down="▼",
    arrow="→",
    alive="●",
    waiting="○",
    dash=_DASH,
    separator="·",
    times=_CROSS,
)
ASCII_GLYPHS = Glyphs(
    item={
        WorkStatus.PENDING: "o",
        WorkStatus.BLOCKED: ".",
        WorkStatus.IN_PROGRESS: ">",
        WorkStatus.COMPLETED: "+",
        WorkStatus.FAILED: "x",
        WorkStatus.CANCELLED: "/",
        WorkStatus.SKIPPED: "-",
        WorkStatus.LOST: "?",
    },
    convoy={
        ConvoyStatus.PENDING: "o",
        ConvoyStatus.RUNNING: ">",
        ConvoyStatus.PAUSED: "=",
        ConvoyStatus.COMPLETED: "+",
        ConvoyStatus.PARTIAL: "x",
        ConvoyStatus.FAILED: "x",
        ConvoyStatus.CANCELLED: "/",
    },
    bar="#x>.",
    ellipsis="~",
    unknown="-",
    progress="#x>.",
    levels="_.-~=+*#",
    gauge="#-.",
    frame="++++-|",
    up="^",
    down="v",
    arrow=">",
    alive="*",
    waiting="o",
    dash="-",
    separator="-",
    times="x",
)
"""For locales that are not UTF-8."""


def glyphs_for(is_ascii: bool) -> Glyphs:
    """Return the signs of a terminal."""
    return ASCII_GLYPHS if is_ascii else GLYPHS


def duration(seconds: float) -> str:
    """Return seconds as people say them: `0.4s`, `41s`, `1m 02s`, `3h 12m`, `2d 03h`."""
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < _MINUTE_S:
        return f"{whole}s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S}m {whole % _MINUTE_S:02d}s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S}h {whole % _HOUR_S // _MINUTE_S:02d}m"
    return f"{whole // _DAY_S}d {whole % _DAY_S // _HOUR_S:02d}h"


def age(seconds: float) -> str:
    """Return how long ago, in whole units: `now`, `12s`, `4m`, `3h`, `9d`."""
    if seconds < 1:
        return "now"
    for unit_s, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "m")):
        if seconds >= unit_s:
            return f"{int(seconds // unit_s)}{unit}"
    return f"{int(seconds)}s"


def uptime(seconds: float) -> str:
    """Return how long something has been there, in minutes at the finest: `<1m`, `3h 12m`."""
    whole = int(seconds)
    if whole < _MINUTE_S:
        return "<1m"
    return f"{whole // _MINUTE_S}m" if whole < _HOUR_S else duration(whole)


def elapsed(seconds: float) -> str:
    """Return the time of something that still runs, the coarser the longer: `41s`, `1m 05s`, `12m`.

    Steps of a second, of five from the first minute on, of a minute from the tenth, so that many
    of them on a screen change few cells a second.
    """
    whole = max(0, int(seconds))
    if whole < _MINUTE_S:
        return f"{whole}s"
    if whole < 10 * _MINUTE_S:
        return f"{whole // _MINUTE_S}m {whole % _MINUTE_S // 5 * 5:02d}s"
    return uptime(whole)


def between(start: datetime | None, end: datetime | None, now: datetime) -> str:
    """Return the time from `start` to `end` (None: until now); empty without a start."""
    return "" if start is None else duration(((end or now) - start).total_seconds())


def moment(when: datetime, *, is_utc: bool) -> str:
    """Return a stamp that people read, in local time or in UTC: `2026-01-02 03:04:05`."""
    if is_utc:
        return f"{when:%Y-%m-%d %H:%M:%S}Z"
    return f"{when.astimezone():%Y-%m-%d %H:%M:%S}"


def count(number: int) -> str:
    """Return a whole number with thousands set apart: `1,024`."""
    return f"{number:,}"


def short_count(number: int) -> str:
    """Return a whole number in five characters at most, rounded down: `9,999`, `12.3k`, `1.2M`."""
    if number < 10_000:
        return f"{number:,}"
    thousands = number < 1_000_000
    hundredths, unit = (number // 100, "k") if thousands else (number // 100_000, "M")
    return f"{hundredths // 10}{unit}" if hundredths >= 1000 else f"{hundredths / 10:.1f}{unit}"


def data_size(size: int) -> str:
    """Return bytes as people say them: `812 B`, `88 KB`, `1.2 MB`, `500 MB`, `3.1 GB`."""
    if size < 1000:
        return f"{size} B"
    value, unit = size / 1000, "KB"
    for bigger in ("MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, bigger
    return f"{value:.1f} {unit}" if value < 9.95 and unit != "KB" else f"{value:.0f} {unit}"


def plural(number: int, noun: str, nouns: str | None = None) -> str:
    """Return the number with its noun: `1 operation`, `1,024 operations`."""
    return f"{count(number)} {noun if number == 1 else nouns or noun + 's'}"


def rate(per_s: float) -> str:
    """Return a rate with its unit: `2.1/s`, `12/min`."""
    if per_s >= 1:
        return f"{per_s:.1f}/s" if per_s < 100 else f"{per_s:.0f}/s"
    per_min = per_s * _MINUTE_S
    return f"{per_min:.1f}/min" if per_min < 10 else f"{per_min:.0f}/min"


def percent(part: int, whole: int) -> str:
    """Return a share of 100 rounded down, so that only the whole is `100 %`."""
    return f"{100 * part // whole if whole else 100} %"


def bar_cells(parts: Sequence[int], total: int, width: int) -> tuple[int, ...]:
    """Divide a bar among its parts.

    Each part that is not 0 gets a cell if there is room, and the bar is full only when the parts
    make up the total.

    Returns:
        One number of cells for each part, then the open cells; they add up to `width`.
    """
    used = sum(parts)
    if total <= 0 or not used:
        return (*(0 for _ in parts), width)
    filled = width if used >= total else min(width - 1, max(1, width * used // total))
    cells = [filled * part // used for part in parts]
    for index, part in enumerate(parts):
        largest = max(range(len(cells)), key=cells.__getitem__)
        if part and not cells[index] and cells[largest] > 1:
            cells[largest] -= 1
            cells[index] = 1
    cells[max(range(len(cells)), key=parts.__getitem__)] += filled - sum(cells)
    return (*cells, width - filled)


def cell_width(text: str) -> int:
    """Return how many terminal cells sanitised text takes."""
    if text.isascii():
        return len(text)
    return sum(_char_width(char) for char in text)


def cut(text: str, width: int, ellipsis: str = ELLIPSIS) -> str:
    """Return the text in at most `width` cells, ending in the ellipsis when something is left out.

    A width of 0 or less gives nothing.
    """
    if cell_width(text) <= width:
        return text
    if width <= 0:
        return ""
    kept: list[str] = []
    room = width - 1
    for char in text:
        room -= _char_width(char)
        if room < 0:
            break
        kept.append(char)
    return "".join(kept) + ellipsis


def cut_words(text: str, width: int, ellipsis: str = ELLIPSIS) -> str:
    """Return the text in at most `width` cells; what is left out begins with a whole word."""
    shown = cut(text, width, ellipsis)
    if shown in {text, ""}:
        return shown
    kept = len(shown) - len(ellipsis)
    head = text[:kept] if text[kept] in _BREAKS else text[:kept].rpartition(" ")[0]
    return f"{head.rstrip(_BREAKS)}{ellipsis}" if head.strip() else shown


def pad(text: str, width: int, *, is_right: bool = False) -> str:
    """Return the text filled with spaces to `width` cells."""
    space = " " * (width - cell_width(text))
    return space + text if is_right else text + space


def _char_width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
