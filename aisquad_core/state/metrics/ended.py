"""Operations counted as they end, each once: totals that only grow, for whoever looks now and then.

Sums over a period shrink when the oldest leave it. Rows are numbered as they come in, so what is
new is what has a greater number than any that was counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aisquad_core.errors import PoolError, StateError

if TYPE_CHECKING:
    import sqlite3

    from aisquad_core.state.connection_pool import ConnectionPool


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedTotal:
    """What one agent's operations of one outcome come to."""

    count: int = 0
    timed: int = 0
    """Those of them whose duration is known."""
    sum_s: float = 0.0
    """Seconds that those took together, in the last attempt of each."""


EndedTotals = Mapping[tuple[str, str], EndedTotal]
"""By agent and final status."""

_LAST = "SELECT ifnull(max(number), 0) FROM operations"
_NEW = """
    SELECT agent_id, status, count(*), count(*) FILTER (WHERE bin >= 0),
           ifnull(sum(duration_us) FILTER (WHERE bin >= 0), 0)
    FROM operations WHERE number > ? AND number <= ? AND is_final GROUP BY agent_id, status
"""
_Row = tuple[str, str, int, int, int]


class EndedOperations:
    """Totals since `begin`.

    Args:
        pool: Readers of the metrics; whoever made it closes it.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._last: int | None = None
        """Number of the newest row that was counted; None: the next answer begins with none."""
        self._totals: dict[tuple[str, str], EndedTotal] = {}
        self._one_at_a_time = asyncio.Lock()

    async def begin(self) -> None:
        """Count from now on; where that cannot be told now, from the first answer on."""
        try:
            self._last, _ = await self._pool.run(self._read)
        except FileNotFoundError:  # whatever comes into it is new
            self._last = 0
        except (StateError, PoolError):
            self._last = None

    async def read(self) -> EndedTotals:
        """Return the totals.

        Raises:
            FileNotFoundError: There are no metrics yet.
            StateError, PoolError: They cannot be read now; nothing is lost from the count.
        """
        async with self._one_at_a_time:
            last, rows = await self._pool.run(self._read)
            self._last = last
            for agent_id, status, count, timed, sum_us in rows:
                total = self._totals.get((agent_id, status), EndedTotal())
                self._totals[agent_id, status] = EndedTotal(
                    count=total.count + count,
                    timed=total.timed + timed,
                    sum_s=total.sum_s + sum_us / 1e6,
                )
            return dict(self._totals)

    def _read(self, connection: sqlite3.Connection) -> tuple[int, list[_Row]]:
        [(last,)] = connection.execute(_LAST).fetchall()
        if self._last is None:
            return last, []
        # Another database has taken the place of this one, or the last row went by its age.
        first = self._last if last >= self._last else 0
        return last, connection.execute(_NEW, (first, last)).fetchall()
