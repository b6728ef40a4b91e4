"""Durations counted in bins whose width grows with them, so that percentiles need no sorting.

A percentile read from the bins is off by at most 2 % of its value, and by at most 1 ms below 1 ms.
"""

from __future__ import annotations

import bisect
import math
from itertools import groupby
from typing import TYPE_CHECKING

from aisquad_core.api import DurationBin

if TYPE_CHECKING:
    from collections.abc import Mapping

RELATIVE_ERROR = 0.02
"""How far a percentile may be from the true one, as a fraction of it, from 1 ms on."""
UNKNOWN_BIN = -1
"""Of an attempt whose duration does not count among the others."""

_FIRST_US = 1_000
_GROWTH = 1.04
"""Each bin's end over its beginning. Never changed: databases hold the numbers of bins."""
_LAST_US = 10 * 365 * 86_400 * 1_000_000
_BINS_SHOWN = 40
_WIDTH_BYTES = 5
"""Of each bin's count in a packed number: over a million million."""
_NO_COUNT = bytes(_WIDTH_BYTES)


def _lower_bounds() -> tuple[int, ...]:
    count = math.ceil(math.log(_LAST_US / _FIRST_US, _GROWTH))
    return (0, *(round(_FIRST_US * _GROWTH**power) for power in range(count + 1)))


LOWER_US = _lower_bounds()
"""Where each bin begins, in microseconds; it ends where the next begins, and the last never."""


def bin_of(duration_us: int) -> int:
    """Return the number of the bin that holds a duration of 0 or more microseconds."""
    return bisect.bisect_right(LOWER_US, duration_us) - 1


def pack(counts: Mapping[int, int]) -> int:
    """Return the counts of all bins as one number: the sum of two packs has the sum of each bin."""
    return sum(count << (8 * _WIDTH_BYTES * number) for number, count in counts.items())


def unpack(packed: int) -> dict[int, int]:
    """Return the counts that are not 0."""
    size = -(-packed.bit_length() // (8 * _WIDTH_BYTES)) * _WIDTH_BYTES
    data = packed.to_bytes(size, "little")
    return {
        start // _WIDTH_BYTES: int.from_bytes(count, "little")
        for start in range(0, size, _WIDTH_BYTES)
        if (count := data[start : start + _WIDTH_BYTES]) != _NO_COUNT
    }


def percentile_s(counts: Mapping[int, int], percent: float) -> float | None:
    """Return the nearest-rank percentile in seconds; None if nothing was counted.

    Args:
        counts: How many durations there are in each bin, by its number.
        percent: Over 0, up to 100.
    """
    rank = math.ceil(percent / 100 * sum(counts.values()))
    seen = 0
    for number in sorted(counts):
        seen += counts[number]
        if seen >= rank > 0:
            return _middle_s(number)
    return None


def histogram(counts: Mapping[int, int]) -> tuple[DurationBin, ...]:
    """Return the bins from the first to the last that holds something, at most 40.

    Neighbours are put together, always as many, until they are few enough to be looked at.
    """
    held = [number for number, count in counts.items() if count]
    if not held:
        return ()
    first, last = min(held), max(held)
    size = math.ceil((last - first + 1) / _BINS_SHOWN)
    groups = groupby(range(first, last + 1), key=lambda number: (number - first) // size)
    return tuple(
        DurationBin(
            lower_s=LOWER_US[first + group * size] / 1e6,
            upper_s=_upper_us(min(first + (group + 1) * size - 1, len(LOWER_US) - 1)) / 1e6,
            count=sum(counts.get(number, 0) for number in numbers),
        )
        for group, numbers in groups
    )


def _upper_us(number: int) -> int:
    if number + 1 < len(LOWER_US):
        return LOWER_US[number + 1]
    return round(LOWER_US[number] * _GROWTH)


def _middle_s(number: int) -> float:
    """Return the value whose relative distance to both ends of the bin is the same."""
    lower_us, upper_us = LOWER_US[number], _upper_us(number)
    if lower_us == 0:
        return upper_us / 2 / 1e6
    return 2 * lower_us * upper_us / (lower_us + upper_us) / 1e6
