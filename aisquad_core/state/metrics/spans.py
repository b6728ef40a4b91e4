"""Time in whole microseconds, and a stretch of it as whole days, whole hours and what is left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MINUTE_S = 60
HOUR_S = 3_600
DAY_S = 86_400
MINUTE_US = 60_000_000
HOUR_US = HOUR_S * 1_000_000
DAY_US = DAY_S * 1_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Range = tuple[int, int]
"""From the first microsecond to the one behind the last; empty when they are the same."""


def to_us(at: datetime) -> int:
    """Return an aware time as microseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND


def from_us(at_us: int) -> datetime:
    """Return microseconds since 1970 as an aware time in UTC."""
    return _EPOCH + timedelta(microseconds=at_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """A stretch of time cut so that each moment of it is in exactly one part."""

    singly: Range
    """Before the whole hours: what ended there is read one by one."""
    surplus: Range
    """From the end to the next whole hour: what ended there is in the hours' sums and taken away
    again. There is none where the end is now, however much ended in this hour."""
    hours: tuple[Range, Range]
    """Before and after the whole days."""
    days: Range


def cut(start_us: int, end_us: int) -> Spans:
    """Cut the time from `start_us` up to, but not including, `end_us`, which is not before it."""
    hour = -(-start_us // HOUR_US) * HOUR_US
    last_hour = -(-end_us // HOUR_US) * HOUR_US
    if hour >= last_hour:
        hour = last_hour = end_us
    day = -(-hour // DAY_US) * DAY_US
    last_day = last_hour // DAY_US * DAY_US
    if day >= last_day:
        day = last_day = last_hour
    return Spans(
        singly=(start_us, hour),
        surplus=(end_us, last_hour),
        hours=((hour, day), (last_day, last_hour)),
        days=(day, last_day),
    )
