"""The bins of the stored sums, kept once they were read: they are large, and few of them change.

A month is 300 sums with 2 KB of bins each; what ended since the last look is in the latest hour and
day. Reading them all each second took a thread 6 ms, in which commits of the work state waited for
a processor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_core.state.operation_text import decode_json, encode_json

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

MOST_KEPT = 2_000
"""Sums whose bins are kept at most: about 4 MB."""

_BINS = """
SELECT '{' || coalesce(group_concat('"' || rowid || '":"' || hex(bins) || '"'), '') || '}'
FROM ends WHERE rowid IN (SELECT value FROM json_each(?))
"""
"""Put together as text: SQLite would parse what it makes by its functions for JSON."""

Stored = tuple[int, str, int, int]
"""Of one sum: its row's number, outcome, count, and microseconds."""


class KeptBins:
    """Knows the bins of each sum that it was asked for, for as long as it stays the same."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int, int], int] = {}
        """By number, count and microseconds: a sum that is stored anew differs in them."""

    def total(self, connection: sqlite3.Connection | None, sums: Sequence[Stored]) -> int:
        """Return the bins of all together; see `bins.pack`. Several threads may call it.

        Args:
            connection: In the transaction in which the sums were read; None: there are none.
            sums: Which.
        """
        kept = self._kept
        wanted = [(number, count, sum_us) for number, _, count, sum_us in sums]
        missing = {key[0]: key for key in wanted if key not in kept}
        if missing and connection is not None:
            [(text,)] = connection.execute(_BINS, (encode_json([*missing]),)).fetchall()
            read = {
                missing[int(number)]: int.from_bytes(bytes.fromhex(digits))
                for number, digits in decode_json(text).items()
            }
            if len(kept) + len(read) > MOST_KEPT:
                kept = {key: kept[key] for key in wanted if key in kept}
            self._kept = kept = kept | read
        return sum(kept[key] for key in wanted)
