"""What waits to be saved: bounded, so that storage that fails costs records and not the memory."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from aisquad_core.state.metrics.saving import Batch, ConvoyChange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_core.state.metrics.saving import End, Row

BATCH_ROWS = 2_000
"""Records of each kind in one transaction: some 20 ms of work, all of it beside the loop."""

T = TypeVar("T")


class Pending:
    """The records that were not saved yet, oldest first.

    Args:
        capacity: Records of each kind that may wait; the oldest go when there are more.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.ends: deque[End] = deque()
        self.samples: deque[Row] = deque()
        self.resizes: deque[Row] = deque()
        self.convoys: dict[str, ConvoyChange] = {}
        """By id: only what became of each counts."""
        self.dropped = 0
        """How many were given up."""

    @property
    def transactions(self) -> int:
        """How many it takes to save all that waits now."""
        counts = (len(self.ends), len(self.samples), len(self.resizes), len(self.convoys))
        return -(-max(counts) // BATCH_ROWS)

    def trim(self, queue: deque[T]) -> None:
        """Give up the oldest of a queue that is too long."""
        while len(queue) > self.capacity:
            queue.popleft()
            self.dropped += 1

    def trim_convoys(self) -> None:
        """Give up the convoys that began to wait first."""
        while len(self.convoys) > self.capacity:
            del self.convoys[next(iter(self.convoys))]
            self.dropped += 1

    def take(self) -> Batch:
        """Take the oldest out, as many as one transaction saves."""
        convoys = list(islice(self.convoys.values(), BATCH_ROWS))
        for change in convoys:
            del self.convoys[change.convoy_id]
        return Batch(
            ends=_take(self.ends),
            samples=_take(self.samples),
            resizes=_take(self.resizes),
            convoys=convoys,
        )

    def put_back(self, batch: Batch) -> None:
        """Put what could not be saved back before the rest."""
        self._put_back(self.ends, batch.ends)
        self._put_back(self.samples, batch.samples)
        self._put_back(self.resizes, batch.resizes)
        newer, self.convoys = self.convoys, {each.convoy_id: each for each in batch.convoys}
        for convoy_id, change in newer.items():
            older = self.convoys.get(convoy_id)
            self.convoys[convoy_id] = change if older is None else older.followed_by(change)
        self.trim_convoys()

    def _put_back(self, queue: deque[T], taken: Sequence[T]) -> None:
        queue.extendleft(reversed(taken))
        self.trim(queue)


def _take(queue: deque[T]) -> list[T]:
    return [queue.popleft() for _ in range(min(BATCH_ROWS, len(queue)))]
