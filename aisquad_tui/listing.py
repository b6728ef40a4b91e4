"""The engine's list of items as far as it was read, with the cursor's item in it. Pure.

An item that leaves its place in the engine's list while the cursor is on it keeps its row; the
others are listed around it in their order.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from aisquad_core.api import ItemFilter, ItemSort
from aisquad_core.model import ItemKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aisquad_core.api import ItemView


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Which items, in which order."""

    filter: ItemFilter = field(default_factory=ItemFilter)
    sort: ItemSort = ItemSort.STATUS
    is_reversed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Rows that are to be read."""

    order: Order
    start: int
    """Offset of the first one."""
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the engine said that an item is."""

    key: ItemKey
    offset: int | None
    """Items before it; None: the filter leaves it out."""


class Rows:
    """Views of neighbouring items."""

    def __init__(self) -> None:
        self.start = 0
        """Offset of the first one."""
        self._views: list[ItemView] = []
        self._indexes: dict[ItemKey, int] = {}

    @property
    def end(self) -> int:
        """Offset behind the last one."""
        return self.start + len(self._views)

    def at(self, offset: int) -> ItemView | None:
        """Return the item at an offset, if it was read."""
        return self._views[offset - self.start] if self.start <= offset < self.end else None

    def offset_of(self, key: ItemKey) -> int | None:
        """Return where an item is, if it is among them."""
        index = self._indexes.get(key)
        return None if index is None else self.start + index

    def put(self, start: int, views: Iterable[ItemView]) -> None:
        """Replace them by what was read; what is known to be newer stays."""
        old = {key: self._views[index] for key, index in self._indexes.items()}
        self.start = start
        self._views = [newer(old.get(key_of(view)), view) for view in views]
        self._indexes = {key_of(view): index for index, view in enumerate(self._views)}

    def change(self, key: ItemKey, view: ItemView) -> None:
        """Take the newer state of an item, if it is among them."""
        index = self._indexes.get(key)
        if index is not None:
            self._views[index] = newer(self._views[index], view)


@dataclass(slots=True, kw_only=True)
class Spot:
    """The item under the cursor."""

    view: ItemView
    at: int
    """Its place on display, counted from the first of all rows."""
    offset: int | None
    """Its place in the engine's list; None: not in it any more."""
    is_pinned: bool = False
    """Whether it keeps its row though its place in the list changed."""

    @property
    def key(self) -> ItemKey:
        """Its name."""
        return key_of(self.view)


class Listing:
    """What is displayed from the first of all rows to the last."""

    def __init__(self) -> None:
        self.rows = Rows()
        """What was read."""
        self.size = 0
        """Items in the engine's list."""
        self.spot: Spot | None = None

    def __len__(self) -> int:
        """Return the number of rows, read or not."""
        is_extra = self.spot is not None and self.spot.offset is None
        return self.size + 1 if is_extra else self.size

    def view_at(self, at: int) -> ItemView | None:
        """Return the item that is displayed at a place, if it has been read."""
        if self.spot is not None and at == self.spot.at:
            return self.spot.view
        return self.rows.at(self.offset_at(at))

    def offset_at(self, at: int) -> int:
        """Return the place in the engine's list of what is displayed at a place."""
        spot = self.spot
        if spot is None or at == spot.at:
            return at
        offset = at if at < spot.at else at - 1
        return offset + 1 if spot.offset is not None and offset >= spot.offset else offset

    def stand(self, at: int) -> int:
        """Put the cursor on what is displayed at a place; return where that is displayed then.

        Without the cursor on it, an item that kept its row is where the engine has it.
        """
        view = self.view_at(at) if len(self) else None
        offset = self.offset_at(at)
        self.spot = None if view is None else Spot(view=view, at=offset, offset=offset)
        return offset

    def put(self, wanted: Slice, rows: Sequence[ItemView], total: int | None) -> None:
        """Take rows that were read, and what they tell of the size."""
        self.rows.put(wanted.start, rows)
        if len(rows) < wanted.limit and (rows or not wanted.start):
            self.size = self.rows.end
        elif not rows:
            self.size = min(self.size if total is None else total, wanted.start)
        else:
            self.size = max(self.size if total is None else total, self.rows.end)

    def find(self, place: Place | None) -> bool:
        """Put the cursor's item where it is now.

        Args:
            place: Where the engine says that it is, if it was asked.

        Returns:
            Whether that leaves no doubt; else the rows should be read again.
        """
        spot = self.spot
        if spot is None:
            return True
        is_told = place is not None and place.key == spot.key
        if place is not None and is_told:
            spot.offset = place.offset
        offset = spot.offset
        is_sure = is_told
        if offset is None:
            spot.is_pinned = spot.is_pinned or is_told
        elif self._is_wrong(spot.key, offset):
            spot.offset, is_sure = None, False  # it moved between two answers
        elif not spot.is_pinned:
            spot.at = offset
        spot.at = max(0, min(spot.at, len(self) - 1))
        spot.is_pinned = spot.is_pinned and spot.offset != spot.at
        return is_sure

    def _is_wrong(self, key: ItemKey, offset: int) -> bool:
        """Return whether the rows show that an item cannot be at an offset."""
        is_read = self.rows.start <= offset < self.rows.end
        return offset >= self.size or (is_read and self.rows.offset_of(key) != offset)


def key_of(view: ItemView) -> ItemKey:
    """Return the name of an item."""
    return ItemKey(view.convoy_id, view.id)


def newer(before: ItemView | None, now: ItemView) -> ItemView:
    """Return the newer view of an item, with its newest known line of output."""
    if before is None:
        return now
    if now.version < before.version:
        return before
    if now.last_line is None and before.last_line is not None and now.attempt == before.attempt:
        return replace(now, last_line=before.last_line)
    return now


def may_move(before: ItemView, now: ItemView, order: Order) -> bool:
    """Return whether an item's own change may give it another place in an order."""
    match order.sort:
        case ItemSort.STATUS if before.status is not now.status:
            return True
        case ItemSort.STARTED if before.started_at != now.started_at:
            return True
        case ItemSort.FINISHED if before.finished_at != now.finished_at:
            return True
    return False
