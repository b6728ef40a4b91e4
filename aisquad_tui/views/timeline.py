"""The time axis of the history: which column a moment belongs to, and where times are named. Pure.

Times are named in local time, at round ones, never so many that their names touch.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aisquad_core.api import History, LoadPoint

Heights = tuple[float | None, ...]
"""A value for each column, oldest first; None: nothing is known of that time."""

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
_STEPS_S = (
    *(_MINUTE_S * n for n in (1, 2, 5, 10, 15, 30)),
    *(_HOUR_S * n for n in (1, 2, 3, 6, 12)),
    *(_DAY_S * n for n in (1, 2, 7, 14, 28)),
)
_APART = 4
"""Cells at least between the names of two times."""
_BRIDGED = 2.5
"""Samples that are further apart, in the least distances of two, have a gap between them."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Past(NamedTuple):
    """What the engine answered, and into how many stretches it was asked to divide the time."""

    history: History
    points: int

    def line(self, columns: int) -> Timeline:
        """Return its time, divided into columns."""
        return Timeline(self.history.start, self.history.end, columns)

    @property
    def half_s(self) -> float:
        """Half the length of a stretch, in seconds."""
        return self.line(1).span_s / self.points / 2


class Mark(NamedTuple):
    """A named time."""

    column: int
    name: str


class Timeline(NamedTuple):
    """The time between two moments, divided into columns."""

    start: datetime
    end: datetime
    columns: int

    @property
    def span_s(self) -> float:
        """How long it is, in seconds."""
        return max(1.0, (self.end - self.start).total_seconds())

    def place(self, at: datetime) -> float:
        """Return where a moment is, in columns from the left edge."""
        return (at - self.start).total_seconds() / self.span_s * self.columns

    def column(self, at: datetime) -> int | None:
        """Return the column of a moment; None: it lies outside."""
        place = self.place(at)
        return int(place) if 0 <= place < self.columns else None


def loads(past: Past, columns: int, value: Callable[[LoadPoint], float]) -> Heights:
    """Return the mean of a value of the load in each column.

    A column that has no sample because they are further apart than the columns takes the value
    before; where none was taken for longer, as while no engine ran, there is a gap.
    """
    line, middle = past.line(columns), timedelta(seconds=past.half_s)
    found: list[list[float]] = [[] for _ in range(columns)]
    for point in past.history.load:
        place = line.column(point.at + middle)
        if place is not None:
            found[place].append(value(point))
    reach = _reach([line.place(point.at) for point in past.history.load])
    return _bridged([fmean(some) if some else None for some in found], reach)


def sums(past: Past, columns: int) -> tuple[tuple[int, int], ...]:
    """Return how many operations completed and failed in each column."""
    line, middle = past.line(columns), timedelta(seconds=past.half_s)
    found = [(0, 0)] * columns
    for point in past.history.throughput:
        place = line.column(point.at + middle)
        if place is not None:
            completed, failed = found[place]
            found[place] = completed + point.completed, failed + point.failed
    return tuple(found)


def marks(line: Timeline) -> list[Mark]:
    """Return the times to be named beneath the columns."""
    step_s = next((s for s in _STEPS_S if _fits(s, line)), _STEPS_S[-1])
    named = [Mark(round(line.place(at)), _name(at, step_s)) for at in _round_times(line, step_s)]
    half = max((len(mark.name) for mark in named), default=0) // 2 + 1
    return [mark for mark in named if half <= mark.column <= line.columns - half]


def moment(at: datetime, span_s: float) -> str:
    """Return a local time, to the second or with its day where the time is that long."""
    local = at.astimezone()
    return f"{local:%H:%M:%S}" if span_s < _DAY_S else f"{_day(local)} {local:%H:%M}"


def extent(start: datetime, end: datetime, dash: str) -> str:
    """Return from when to when, in local time: `02:48 to 03:48`, in days where it is days."""
    first, last = start.astimezone(), end.astimezone()
    if (end - start).total_seconds() > _DAY_S:
        return f"{_day(first)}{dash}{_day(last)}"
    times = f"{first:%H:%M}{dash}{last:%H:%M}"
    return times if first.date() == last.date() else f"{_day(first)} {times}"


def _bridged(values: Sequence[float | None], reach: float) -> Heights:
    """Return the values with holes of up to so many columns filled with the value before."""
    shown: list[float | None] = list(values)
    known = [place for place, value in enumerate(shown) if value is not None]
    for before, after in pairwise(known):
        if after - before <= reach:
            shown[before + 1 : after] = [shown[before]] * (after - before - 1)
    return tuple(shown)


def _reach(places: Sequence[float]) -> float:
    """Return how many columns further the next sample may be without a gap between them."""
    steps = [after - before for before, after in pairwise(places)]
    return max(1.0, _BRIDGED * min(steps)) if len(steps) > 1 else 1.0


def _fits(step_s: float, line: Timeline) -> bool:
    longest = len("Mar 14") if step_s >= _DAY_S else len("00:00")
    return step_s / line.span_s * line.columns >= longest + _APART


def _round_times(line: Timeline, step_s: float) -> list[datetime]:
    """Return the round local times within the line: those are what the clock on the wall shows."""
    first = line.start.astimezone().replace(tzinfo=None)
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
    if step_s >= 7 * _DAY_S:
        midnight -= timedelta(days=midnight.weekday())
    times: list[datetime] = []
    wall = midnight
    while (at := wall.astimezone()) <= line.end:
        if at >= line.start:
            times.append(at)
        wall += timedelta(seconds=step_s)
    return times


def _name(at: datetime, step_s: float) -> str:
    local = at.astimezone()
    return _day(local) if step_s >= _DAY_S else f"{local:%H:%M}"


def _day(local: datetime) -> str:
    return f"{_MONTHS[local.month - 1]} {local.day:2d}"
