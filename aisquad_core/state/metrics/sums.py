"""Sums of what ended: how many, how long together, and all bins of durations in one number."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aisquad_core.state.metrics.bins import pack
from aisquad_core.state.metrics.spans import DAY_S, DAY_US, HOUR_S, HOUR_US

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

Place = tuple[int, int, str]
"""Width in seconds, start, outcome."""


@dataclass(slots=True)
class Sum:
    """What ended with one outcome."""

    count: int = 0
    sum_us: int = 0
    """Of those whose duration counts."""
    packed: int = 0
    """Their bins; see `bins.pack`."""

    def add(self, count: int, number: int, sum_us: int) -> None:
        """Add ends whose durations are in one bin; a negative count takes them away."""
        self.count += count
        if number >= 0:
            self.sum_us += sum_us
            self.packed += pack({number: count})

    def add_sum(self, count: int, sum_us: int, bins: str) -> None:
        """Add a sum as it is stored, its bins as hexadecimal digits."""
        self.count += count
        self.sum_us += sum_us
        self.packed += int(bins or "0", 16)


class Sums(dict[Place, Sum]):
    """Sums of several hours and days that are to be added to those stored.

    Args:
        kind: What ended.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = kind

    def add(self, hour_us: int, outcome: str, number: int, count: int, sum_us: int) -> None:
        """Add ends of one outcome in one hour, with durations in one bin; see `Sum.add`."""
        for width_s, width_us in ((HOUR_S, HOUR_US), (DAY_S, DAY_US)):
            place = width_s, hour_us - hour_us % width_us, outcome
            self.setdefault(place, Sum()).add(count, number, sum_us)

    def gather(
        self,
        connection: sqlite3.Connection,
        query: str,
        parameters: Sequence[Any] | Mapping[str, Any],
        *,
        sign: int = 1,
    ) -> None:
        """Add what a query found: JSON of [hour, outcome, bin, count, microseconds]."""
        for hour_us, outcome, number, count, sum_us in _rows(connection, query, parameters):
            self.add(hour_us, outcome, number, sign * count, sign * sum_us)

    def store(self, connection: sqlite3.Connection) -> None:
        """Add them to those stored."""
        values = {"kind": self._kind, "places": json.dumps(list(self))}
        for width_s, start_us, outcome, *stored in _rows(connection, _STORED, values):
            self[width_s, start_us, outcome].add_sum(*stored)
        connection.executemany(_STORE, [(self._kind, *row) for row in self._changed()])

    def _changed(self) -> Iterable[tuple[int, int, str, int, int, bytes]]:
        for place, total in self.items():
            if total.count < 0 or total.packed < 0:
                continue  # taken away from what retention has removed
            bins = total.packed.to_bytes(-(-total.packed.bit_length() // 8), "big")
            yield *place, total.count, total.sum_us, bins


def _rows(
    connection: sqlite3.Connection,
    query: str,
    parameters: Sequence[Any] | Mapping[str, Any],
) -> list[Any]:
    [(text,)] = connection.execute(query, parameters).fetchall()
    rows: list[Any] = json.loads(text)
    return rows


_STORED = """
SELECT json_group_array(json_array(width_s, start_us, outcome, count, sum_us, hex(bins)))
FROM json_each(:places) CROSS JOIN ends
WHERE kind = :kind AND width_s = value->>0 AND start_us = value->>1 AND outcome = value->>2
"""
_STORE = """
REPLACE INTO ends (kind, width_s, start_us, outcome, count, sum_us, bins)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
