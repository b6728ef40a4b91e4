"""The convoys as a table: how far each is, how fast, and why it stands still."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from aisquad_core.model import ConvoyStatus
from aisquad_core.sanitise import one_line
from aisquad_tui.formatting import (
    age,
    bar_cells,
    cut,
    cut_words,
    pad,
    percent,
    rate,
    short_count,
    uptime,
)
from aisquad_tui.ink import Role, line
from aisquad_tui.views.layout import fitted
from aisquad_tui.views.notice import wait_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from aisquad_core.api import ConvoyView
    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line, Span

ROLES = {
    ConvoyStatus.PENDING: Role.TEXT,
    ConvoyStatus.RUNNING: Role.GOOD,
    ConvoyStatus.PAUSED: Role.WARN,
    ConvoyStatus.COMPLETED: Role.GOOD,
    ConvoyStatus.PARTIAL: Role.BAD,
    ConvoyStatus.FAILED: Role.BAD,
    ConvoyStatus.CANCELLED: Role.QUIET,
}
"""How each status looks beside its glyph."""
_ORDER = (ConvoyStatus.RUNNING, ConvoyStatus.PENDING, ConvoyStatus.PAUSED)
_BAR_ROLES = (Role.GOOD, Role.BAD, Role.ACCENT, Role.QUIET)
_NUMBERS = {"DONE": 6, "FAIL": 6, "RUN": 5, "QUEUE": 7}
"""Columns of numbers and their cells, with the space before them."""
_RATE = 8
_AGE = 6
_LEAST_WITH_AGE = 130
"""Cells of a row from which on it tells how long ago its convoy was launched."""
_LEAST_REASON = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """Cells of each column; 0: it is left out."""

    name: int
    bar: int
    numbers: tuple[str, ...]
    rate: int
    age: int
    reason: int


def order(convoys: Iterable[ConvoyView]) -> list[ConvoyView]:
    """Return what runs first, then what waits, what is paused, and what ended, newest first."""
    return sorted(convoys, key=_place)


def heading(cells: int, glyphs: Glyphs) -> Line:
    """Return the names of the columns."""
    columns = _columns(cells)
    text = "  " + pad("CONVOY", columns.name)
    if columns.bar:
        text += "  " + pad("PROGRESS", columns.bar + 6)
    else:
        text += " " * 7
    text += "".join(name.rjust(_NUMBERS[name]) for name in columns.numbers)
    if columns.rate:
        text += "RATE".rjust(columns.rate)
    if columns.age:
        text += "AGE".rjust(columns.age)
    if columns.reason:
        text += "  ETA"
    return fitted(line((text, Role.QUIET)), cells, glyphs)


def row(
    convoy: ConvoyView, now: datetime, cells: int, glyphs: Glyphs, *, waiting: str | None = None
) -> Line:
    """Return a convoy as a row.

    Args:
        convoy: What to show.
        now: The time, aware, in UTC.
        cells: How many the row takes.
        glyphs: The signs of the terminal.
        waiting: Why nothing of any convoy starts; None when something may.
    """
    columns, counts, status = _columns(cells), convoy.counts, convoy.status
    is_over = status in _ENDED
    name = cut(one_line(convoy.name), columns.name, glyphs.ellipsis)
    name_role = Role.STRONG if counts.running else Role.TEXT
    spans: list[Span] = [
        (f"{glyphs.convoy[status]} ", _sign_role(convoy)),
        (pad(name, columns.name), Role.QUIET if status is ConvoyStatus.CANCELLED else name_role),
    ]
    if columns.bar:
        spans += [("  ", Role.TEXT), *_bar(convoy, columns.bar, glyphs), (" ", Role.TEXT)]
    else:
        spans.append(("  ", Role.TEXT))
    spans.append((percent(counts.ended, counts.total).rjust(5), Role.TEXT))
    failed = counts.failed + counts.lost
    numbers = {
        "DONE": (counts.completed, Role.TEXT),
        "FAIL": (failed, Role.BAD),
        "RUN": (counts.running, Role.TEXT),
        "QUEUE": (counts.queued, Role.TEXT),
    }
    for title in columns.numbers:
        number, role = numbers[title]
        shown = short_count(number).rjust(_NUMBERS[title])
        spans.append((shown, role if number else Role.QUIET))
    if columns.rate:
        speed = glyphs.unknown if is_over or not convoy.rate_per_s else rate(convoy.rate_per_s)
        speed_role = Role.QUIET if speed == glyphs.unknown else Role.TEXT
        spans.append((cut(speed, columns.rate - 1).rjust(columns.rate), speed_role))
    if columns.age:
        spans.append((_launched(convoy, now).rjust(columns.age), Role.QUIET))
    if columns.reason:
        text, role = _outlook(convoy, now, waiting, glyphs)
        spans += [("  ", Role.TEXT), (cut_words(text, columns.reason, glyphs.ellipsis), role)]
    return fitted(line(*spans), cells, glyphs)


def remaining(seconds: float) -> str:
    """Return an expected time: `58s`, `4m 10s` in steps of ten seconds, `12m`, `3h 12m`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 10 * 60:
        return f"{whole // 60}m {whole % 60 // 10}0s"
    return uptime(whole)


_ENDED = frozenset(ConvoyStatus) - set(_ORDER)


def _place(convoy: ConvoyView) -> tuple[int, float]:
    if convoy.status in _ORDER:
        return _ORDER.index(convoy.status), -convoy.created_at.timestamp()
    return len(_ORDER), -(convoy.finished_at or convoy.created_at).timestamp()


@lru_cache(maxsize=8)
def _columns(cells: int) -> _Columns:
    """Share out the width: it depends on nothing else, so that no column jumps."""
    name = 16 if cells < 96 else min(32, 18 + (cells - 96) // 6)
    numbers = tuple(_NUMBERS)
    room = cells - 2 - name - 7
    while numbers and room < sum(_NUMBERS[each] for each in numbers):
        numbers = tuple(each for each in ("FAIL", "RUN", "QUEUE", "DONE") if each in numbers)[:-1]
    numbers = tuple(each for each in _NUMBERS if each in numbers)
    room -= sum(_NUMBERS[each] for each in numbers)
    reason = _LEAST_REASON if room >= _LEAST_REASON + 2 else 0
    room -= reason + 2 if reason else 0
    with_rate = _RATE if room >= _RATE + 16 else 0
    with_age = _AGE if cells >= _LEAST_WITH_AGE else 0
    room -= with_rate + with_age
    bar = min(40, room * 3 // 5) if room >= 8 else 0
    if reason and not bar:
        reason += max(0, room)
    elif reason:
        reason += room - bar
    return _Columns(
        name=name,
        bar=max(0, bar),
        numbers=numbers,
        rate=with_rate,
        age=with_age,
        reason=reason,
    )


def _bar(convoy: ConvoyView, cells: int, glyphs: Glyphs) -> list[Span]:
    counts = convoy.counts
    others = counts.ended - counts.completed
    parts = bar_cells([counts.completed, others, counts.running], counts.total, cells)
    return [
        (sign * number, role)
        for sign, number, role in zip(glyphs.progress, parts, _BAR_ROLES, strict=True)
    ]


def _sign_role(convoy: ConvoyView) -> Role:
    stands = convoy.status is ConvoyStatus.RUNNING and not convoy.counts.running
    return Role.WARN if stands and convoy.counts.queued else ROLES[convoy.status]


def _launched(convoy: ConvoyView, now: datetime) -> str:
    """Say how long ago it was launched, in minutes at the finest."""
    seconds = (now - convoy.created_at).total_seconds()
    return "<1m" if seconds < 60 else age(seconds)


def _outlook(
    convoy: ConvoyView, now: datetime, waiting: str | None, glyphs: Glyphs
) -> tuple[str, Role]:
    """Say when it ends, why it stands still, or when it ended."""
    reason = one_line(convoy.reason or "")
    if convoy.status in _ENDED:
        ago = _ago(convoy, now)
        return f"{ago}, {reason}" if reason else ago, Role.QUIET
    if convoy.status is ConvoyStatus.PAUSED:
        return reason or "paused", Role.WARN
    if reason:
        return reason, Role.WARN
    if not convoy.counts.running and convoy.counts.queued and waiting:
        return wait_of(waiting), Role.WARN
    if convoy.eta_s is not None:
        return remaining(convoy.eta_s), Role.TEXT
    return glyphs.unknown, Role.QUIET


def _ago(convoy: ConvoyView, now: datetime) -> str:
    if convoy.finished_at is None:
        return str(convoy.status)
    seconds = (now - convoy.finished_at).total_seconds()
    return f"{age(seconds)} ago" if seconds >= 60 else "just now"
