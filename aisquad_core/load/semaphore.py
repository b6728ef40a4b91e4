"""The slots that running operations take: a semaphore whose size follows the load."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Hashable


class AdaptiveSemaphore:
    """Lends slots to borrowers, first come, first served, and can be resized while they are lent.

    A borrower is any object that names who holds a slot; each may hold or wait for one at a time.

    Args:
        size: Slots, 1 or more.
    """

    def __init__(self, size: int) -> None:
        self._limiter = anyio.CapacityLimiter(_checked(size))
        self._waiting: set[Hashable] = set()

    @property
    def size(self) -> int:
        """How many slots there are."""
        return int(self._limiter.total_tokens)

    @property
    def in_use(self) -> int:
        """How many slots are lent: over `size` for a while after it shrank."""
        return self._limiter.borrowed_tokens

    @property
    def waiting(self) -> int:
        """How many borrowers wait."""
        return self._limiter.statistics().tasks_waiting

    def resize(self, size: int) -> None:
        """Change the number of slots.

        Growing gives the new slots to those who wait, at once. Shrinking takes nothing from
        anybody: until enough slots came back, none is lent.

        Raises:
            ValueError: `size` is below 1.
        """
        self._limiter.total_tokens = _checked(size)

    async def acquire(self, borrower: Hashable) -> None:
        """Wait for a slot. Cancelled, it holds none, even if one had just been granted.

        Raises:
            RuntimeError: The borrower holds a slot already, or waits for one.
        """
        if borrower in self._waiting:
            raise RuntimeError(f"{borrower!r} waits for a slot already")
        self._waiting.add(borrower)
        try:
            await self._limiter.acquire_on_behalf_of(borrower)
        finally:
            self._waiting.discard(borrower)

    def acquire_nowait(self, borrower: Hashable) -> bool:
        """Take a slot if one is free and nobody waits; say whether it was.

        Raises:
            RuntimeError: The borrower holds a slot already.
        """
        try:
            self._limiter.acquire_on_behalf_of_nowait(borrower)
        except anyio.WouldBlock:
            return False
        return True

    def release(self, borrower: Hashable) -> None:
        """Give a slot back; it goes to the first who waits.

        Raises:
            RuntimeError: The borrower holds none.
        """
        self._limiter.release_on_behalf_of(borrower)


def _checked(size: int) -> int:
    if size < 1:
        raise ValueError(f"a semaphore needs at least one slot, not {size}")
    return size
