"""Which work items are on display, out of any number: offset, cursor and marks. Pure.

The cursor stands on an item, never on a row number. An item that leaves its place while the cursor
is on it (it ended, or the filter no longer lets it through) keeps its row until the cursor leaves;
the list as the engine has it goes on around it. When other items or another order are wanted, the
rows on display stay until the new ones are read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aisquad_core.api import ItemFilter
from aisquad_tui.listing import Listing, Order, Place, Slice, may_move, newer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aisquad_core.api import ItemSort, ItemView
    from aisquad_core.model import ItemKey
    from aisquad_tui.listing import Spot

MOST_MARKS = 100_000
_LEAST_MARGIN = 40


class Window:
    """A window on the items."""

    def __init__(self) -> None:
        self.order_now = Order()
        self.filter_text = ""
        self.convoy_id: str | None = None
        self.height = 0
        self.marks: dict[ItemKey, None] = {}
        """In the order of marking."""
        self.is_dirty = True
        """Whether the list may have changed since it was read."""
        self.is_touched = False
        """Whether the operator has moved the cursor; until then it is on whatever comes first."""
        self._filter = ItemFilter()
        self._list = Listing()
        self._first = 0
        self._read_order: Order | None = None
        """What the rows on display are of; None: nothing was read yet."""
        self._wanted_at = 0
        """Where the cursor goes as soon as that row is read."""

    # What it shows

    @property
    def sort(self) -> ItemSort:
        """The order's column."""
        return self.order_now.sort

    @property
    def is_reversed(self) -> bool:
        """Whether the order is turned round."""
        return self.order_now.is_reversed

    @property
    def query(self) -> ItemFilter:
        """The filter with the convoy."""
        return self.order_now.filter

    @property
    def total(self) -> int | None:
        """Items that the filter lets through; None: not known yet."""
        return (
            self._list.size if self._read_order and self._read_order.filter == self.query else None
        )

    @property
    def cursor(self) -> ItemKey | None:
        """The item under the cursor."""
        return self._spot.key if self._spot else None

    @property
    def cursor_row(self) -> int | None:
        """The cursor's row on display, if it is there."""
        if self._spot is None or not self._first <= self._spot.at < self._first + self.height:
            return None
        return self._spot.at - self._first

    def shown(self) -> list[ItemView | None]:
        """Return the rows on display; None where a row has not been read yet."""
        last = min(self._first + self.height, len(self._list))
        return [self._list.view_at(at) for at in range(self._first, last)]

    # What the operator does

    def resize(self, height: int) -> None:
        """Show so many rows, with the cursor among them."""
        self.height = max(0, height)
        self._keep_in_view()

    def move(self, rows: int) -> None:
        """Move the cursor down so many items, or up."""
        self.is_touched = True
        self._go((self._spot.at if self._spot else self._wanted_at) + rows)

    def page(self, pages: int) -> None:
        """Move the cursor so many pages down, or up."""
        self.move(pages * max(1, self.height - 1))

    def home(self) -> None:
        """Move the cursor to the first item."""
        self.is_touched = True
        self._go(0)

    def end(self) -> None:
        """Move the cursor to the last item."""
        self.is_touched = True
        self._go(len(self._list) - 1)

    def point(self, row: int) -> bool:
        """Move the cursor to a row on display; return whether there is an item."""
        if not 0 <= row < self.height or self._first + row >= len(self._list):
            return False
        self.is_touched = True
        self._go(self._first + row)
        return True

    def scroll(self, rows: int) -> None:
        """Move the view, and the cursor only as far as it would leave it."""
        self.is_touched = True
        self._first = max(0, min(self._first + rows, len(self._list) - self.height))
        if self._spot is not None:
            at = min(max(self._spot.at, self._first), self._first + max(1, self.height) - 1)
            self._go(at)

    def restrict(self, filter: ItemFilter, text: str) -> None:
        """Show only what a filter lets through; `text` is how the operator wrote it."""
        self._filter, self.filter_text = filter, text
        self._reorder(replace(self.order_now, filter=self._combined()))

    def show_convoy(self, convoy_id: str | None) -> None:
        """Show only one convoy's items, or all."""
        self.convoy_id = convoy_id
        self._reorder(replace(self.order_now, filter=self._combined()))

    def order(self, sort: ItemSort, *, is_reversed: bool) -> None:
        """Sort otherwise; the cursor stays on its item."""
        self._reorder(replace(self.order_now, sort=sort, is_reversed=is_reversed))

    def mark(self, key: ItemKey) -> None:
        """Mark an item, or unmark it; with `MOST_MARKS` marked there is no room for more."""
        self.is_touched = True
        if key in self.marks:
            del self.marks[key]
        else:
            self.mark_all([key])

    def mark_all(self, keys: Iterable[ItemKey]) -> None:
        """Mark these too, as far as there is room."""
        for key in keys:
            if len(self.marks) >= MOST_MARKS:
                return
            self.marks[key] = None

    def unmark(self) -> None:
        """Unmark everything."""
        self.marks.clear()

    # What the engine tells

    def take(self, items: Mapping[ItemKey, ItemView], *, are_unknown: bool) -> bool:
        """Take changed items; return whether rows should be read again."""
        for key, view in items.items():
            self._list.rows.change(key, view)
            if key == self.cursor:
                self._see(view)
        is_concerned = any(self.convoy_id in (None, key.convoy_id) for key in items)
        self.is_dirty = self.is_dirty or are_unknown or is_concerned
        return self.is_dirty

    def expect(self) -> None:
        """Note that what the rows show may have changed, though no event tells of it."""
        self.is_dirty = True

    @property
    def lacks_rows(self) -> bool:
        """Whether rows that are wanted on display, or the cursor's, have not been read."""
        if self._read_order != self.order_now:
            return True
        return (
            self.height > 0 and self._list.size > 0 and (self._spot is None or None in self.shown())
        )

    @property
    def is_near_edge(self) -> bool:
        """Whether less than a page is left of what was read, in a direction that goes on."""
        first, last = self._first - self.height, self._first + 2 * self.height
        return (
            max(0, first) < self._list.rows.start
            or min(last, self._list.size) > self._list.rows.end
        )

    def is_far(self, place: Place) -> bool:
        """Whether the cursor's item went so far that its own state must be known to follow it."""
        spot = self._spot
        if spot is None or spot.is_pinned or spot.key != place.key or self._is_reordered():
            return False
        return place.offset is None or abs(place.offset - spot.at) >= max(1, self.height)

    def wanted(self, place: Place | None = None) -> Slice:
        """Return the rows that should be read: the view and a margin on both sides.

        Args:
            place: Where the cursor's item is now, if that is known.
        """
        margin = max(_LEAST_MARGIN, 2 * self.height)
        first = self._first_for(place)
        start = max(0, first - margin)
        return Slice(order=self.order_now, start=start, limit=first - start + self.height + margin)

    def put(
        self,
        wanted: Slice,
        rows: Sequence[ItemView],
        total: int | None = None,
        place: Place | None = None,
    ) -> None:
        """Take rows that were read; those of an order that nobody wants any more are dropped.

        Args:
            wanted: Which rows they are.
            rows: As many as there were.
            total: How many items are in the list, if that was asked.
            place: Where the cursor's item was just before.
        """
        if wanted.order != self.order_now:
            return
        listing = self._list
        if self.total is None:
            listing.size = 0
        listing.put(wanted, rows, total)
        if not self.is_touched:
            listing.spot, self._wanted_at, self._first = None, 0, 0
        elif (spot := listing.spot) is not None:
            found = listing.rows.offset_of(spot.key)
            if found is not None:
                place = Place(key=spot.key, offset=found)
                self._see(rows[found - wanted.start])
            is_gone = place is not None and place.key == spot.key and place.offset is None
            spot.is_pinned = spot.is_pinned and not self._is_reordered()
            if is_gone and self.total is None:
                listing.spot, self._wanted_at, self._first = None, 0, 0
        self._first = self._first_for(place)
        self.is_dirty = not listing.find(place)
        self._read_order = wanted.order
        if listing.spot is None:
            self._go(self._wanted_at)
        self._first = max(0, min(self._first, len(listing) - self.height))
        self._keep_in_view()

    def clear(self) -> None:
        """Show nothing: the engine refuses the filter."""
        self._list = Listing()
        self._read_order, self._first, self._wanted_at = self.order_now, 0, 0
        self.is_dirty = False

    # The rest

    def _combined(self) -> ItemFilter:
        convoys = (self.convoy_id,) if self.convoy_id is not None else ()
        return replace(self._filter, convoy_ids=convoys)

    def _reorder(self, order: Order) -> None:
        if order != self.order_now:
            self.order_now = order
            self.is_dirty = True

    @property
    def _spot(self) -> Spot | None:
        return self._list.spot

    def _is_reordered(self) -> bool:
        """Return whether the rows on display are of another order than is wanted."""
        return self._read_order is not None and self._read_order != self.order_now

    def _see(self, view: ItemView) -> None:
        """Take the newer state of the cursor's item; it keeps its row if its place changed."""
        spot = self._spot
        if spot is not None:
            seen = newer(spot.view, view)
            spot.is_pinned = spot.is_pinned or may_move(spot.view, seen, self.order_now)
            spot.view = seen

    def _first_for(self, place: Place | None) -> int:
        """Return where the view begins when the cursor's item is at that place."""
        spot, first = self._spot, self._first
        if spot is None or place is None or place.key != spot.key:
            return first
        if self._is_reordered():
            row = min(max(0, spot.at - first), max(0, self.height - 1))
            return max(0, (place.offset or 0) - row)
        if spot.is_pinned or place.offset is None:
            return first
        if first == 0:
            return max(0, place.offset - max(1, self.height) + 1)
        return max(0, first + place.offset - spot.at)

    def _go(self, at: int) -> None:
        """Put the cursor on what is displayed at a place, the nearest there is."""
        at = max(0, min(at, len(self._list) - 1))
        if self._spot is None or at != self._spot.at:
            self._wanted_at = self._list.stand(at)
            self._first = max(0, self._first + self._wanted_at - at)
        self._keep_in_view()

    def _keep_in_view(self) -> None:
        """Scroll as far as it takes to have the cursor on display."""
        at = self._spot.at if self._spot else self._wanted_at
        if self.height > 0:
            self._first = max(min(self._first, at), at - self.height + 1)
