"""Reads the rows on display: one question to the engine at a time, the newest wish wins."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aisquad_core.api import ItemFilter, ItemSort
from aisquad_core.errors import AISquadError, EngineStoppedError, InputError
from aisquad_tui.listing import Place, Slice, key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aisquad_core.api import ItemReader, ItemView
    from aisquad_tui.listing import Order
    from aisquad_tui.window import Window

REFRESH_S = 0.5
"""Least time between two readings of the same rows because something changed."""
RECOUNT_S = 2.0
"""Least time between two counts of what a filter lets through, if that costs a look at all."""
_SPARSE = frozenset({ItemSort.STARTED, ItemSort.FINISHED})
"""Orders that are not the other way round when reversed: what has no stamp stays last."""


class Feed:
    """Fills a window from the engine.

    Args:
        engine: Who has the rows.
        window: Where they go.
        on_rows: Called when rows came, on this loop.
        on_error: Called with the sentence when the engine refuses the question.
        refresh_s: Least time between two readings of the same rows.
        recount_s: Least time between two counts that cost a look at all items.
        is_lasting: Whether an engine that is gone may come back; it is asked on then.
    """

    def __init__(
        self,
        engine: ItemReader,
        window: Window,
        on_rows: Callable[[], None],
        on_error: Callable[[str], None] | None = None,
        *,
        refresh_s: float = REFRESH_S,
        recount_s: float = RECOUNT_S,
        is_lasting: bool = False,
    ) -> None:
        self._engine = engine
        self._window = window
        self._on_rows = on_rows
        self._on_error = on_error
        self._refresh_s = refresh_s
        self._recount_s = recount_s
        self._is_lasting = is_lasting
        self._asked = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._reading_order: Order | None = None
        self._unhurried: Order | None = None
        """The order that the last reading did not get, so that it is not asked for in haste."""
        self._refused: Order | None = None
        """The order that the engine refuses, so that it is not asked for again."""
        self._complaint: str | None = None
        self._is_over = False
        self._counted_at_s: float | None = None

    def ask(self) -> None:
        """Read what the window lacks, soon; a reading of another order is given up."""
        self._asked.set()
        if self._reading is not None and self._reading_order != self._window.order_now:
            self._reading.cancel()

    async def run(self) -> None:
        """Read whenever it is asked for, until the engine stops for good."""
        window, loop = self._window, asyncio.get_running_loop()
        refresh_at_s = 0.0
        async with asyncio.TaskGroup() as tasks:
            while not self._is_over:
                await self._wait_for_need(refresh_at_s)
                before = window.wanted()
                self._reading_order = window.order_now
                self._reading = tasks.create_task(self._read())
                await asyncio.wait([self._reading])
                self._reading = None
                refresh_at_s = loop.time() + self._refresh_s
                if self._is_urgent() and window.wanted() == before:
                    self._unhurried = window.order_now
                    window.expect()
                if window.is_dirty or self._is_urgent():
                    self._asked.set()

    def _is_urgent(self) -> bool:
        window = self._window
        is_waiting = window.order_now in (self._unhurried, self._refused)
        return not is_waiting and (window.lacks_rows or window.is_near_edge)

    async def _wait_for_need(self, refresh_at_s: float) -> None:
        """Wait until rows are needed that are not there, or they changed and it is time."""
        loop = asyncio.get_running_loop()
        while True:
            await self._asked.wait()
            self._asked.clear()
            if self._is_urgent():
                return
            if self._window.is_dirty and self._window.order_now != self._refused:
                break
        try:
            async with asyncio.timeout_at(max(refresh_at_s, loop.time())):
                while not self._is_urgent():
                    await self._asked.wait()
                    self._asked.clear()
        except TimeoutError:
            return

    async def _read(self) -> None:
        window = self._window
        try:
            place = await self._find_cursor()
            await self._read_rows(window.wanted(place), place)
            self._unhurried = self._refused = self._complaint = None
        except EngineStoppedError:
            self._is_over = not self._is_lasting
            return  # the header says so; what is on display stays
        except InputError as error:
            self._refused = window.order_now
            window.clear()
            self._complain(error)
        except AISquadError as error:
            self._complain(error)
        self._on_rows()

    def _complain(self, error: Exception) -> None:
        """Tell what went wrong, once until it is well again."""
        if self._on_error is not None and str(error) != self._complaint:
            self._on_error(str(error))
        self._complaint = str(error)

    async def _find_cursor(self) -> Place | None:
        """Return where the cursor's item is; if it went far, its own state is read first."""
        window, order = self._window, self._window.order_now
        key = window.cursor
        if key is None or not window.is_touched:
            return None
        offset = await self._engine.offset_of(
            order.filter, key, sort=order.sort, is_reversed=order.is_reversed
        )
        place = Place(key=key, offset=offset)
        if window.is_far(place):
            page = await self._engine.items(ItemFilter(keys=(key,)), limit=1, is_counted=False)
            window.take({key_of(view): view for view in page.items}, are_unknown=False)
        return place

    async def _read_rows(self, wanted: Slice, place: Place | None) -> None:
        """Read rows, from the end of the list if that is nearer."""
        order, size = wanted.order, self._window.total
        is_from_end = (
            size is not None
            and wanted.start > size // 2
            and wanted.start + wanted.limit >= size
            and order.sort not in _SPARSE
        )
        limit = size - wanted.start if is_from_end and size is not None else wanted.limit
        page = await self._engine.items(
            order.filter,
            sort=order.sort,
            is_reversed=order.is_reversed is not is_from_end,
            offset=0 if is_from_end else wanted.start,
            limit=limit,
            is_counted=self._may_count(order.filter),
            has_last_lines=True,
        )
        rows: Sequence[ItemView] = page.items
        if is_from_end and size is not None:
            rows = rows[::-1]
            end = size if page.total is None else page.total
            start = max(0, end - limit) if len(rows) == limit else 0
            wanted = Slice(order=order, start=start, limit=limit)
        elif not rows and wanted.start:
            self._counted_at_s = None  # the list is so much shorter that it must be counted
        self._window.put(wanted, rows, page.total, place)

    def _may_count(self, wanted: ItemFilter) -> bool:
        """Return whether the total is cheap, or has not been asked for a while."""
        if not wanted.terms:
            return True  # the engine keeps the counts of statuses and convoys
        now_s = asyncio.get_running_loop().time()
        if (
            self._window.total is None
            or self._counted_at_s is None
            or now_s - self._counted_at_s >= self._recount_s
        ):
            self._counted_at_s = now_s
            return True
        return False
