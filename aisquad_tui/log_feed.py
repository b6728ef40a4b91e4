"""Keeps a log's parts coming while someone looks at it: follows it, loads pages, counts lines."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aisquad_core.errors import AISquadError
from aisquad_core.sanitise import one_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aisquad_core.clock import Clock
    from aisquad_tui.log_reader import LogReader

FOLLOW_EVERY_S = 0.25
_COUNT_BYTES = 1 << 20
_MOST_COUNTED_BYTES = 256 << 20
"""A longer log is not read for the sake of its number of lines."""


class LogFeed:
    """Reads what a view of a log needs, one thing at a time.

    Args:
        reader: The log.
        clock: When to look for more.
        on_change: Called on the loop when something is new.
    """

    def __init__(self, reader: LogReader, clock: Clock, on_change: Callable[[], None]) -> None:
        self.reader = reader
        self.trouble: str | None = None
        """Why the log cannot be read, in words."""
        self._clock = clock
        self._on_change = on_change
        self._wanted: int | None = None
        self._has_wish = asyncio.Event()
        self._awake = asyncio.Event()
        self._has_grown = asyncio.Event()
        self._newlines = 0
        self._counted_bytes = 0
        self._is_line_open = False

    @property
    def line_count(self) -> int | None:
        """Lines in the log; None until they are counted."""
        if self._counted_bytes < self.reader.size or not self.reader.has_looked:
            return None
        return self._newlines + self._is_line_open

    def want(self, page: int) -> None:
        """Load a page; the newest wish wins."""
        self._wanted = page
        self._has_wish.set()

    def wake(self) -> None:
        """Look again, even at a log that was final."""
        self._awake.set()

    async def run(self) -> None:
        """Read until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._load())
            tasks.create_task(self._count())

    async def _follow(self) -> None:
        while True:
            self._awake.clear()
            has_changed = await self._try(self._look())
            if has_changed:
                self._has_grown.set()
                self._on_change()
            if self._wanted is not None:
                self._has_wish.set()
            if self.reader.is_final and self.trouble is None:
                await self._awake.wait()
            else:
                await self._clock.sleep(FOLLOW_EVERY_S)

    async def _look(self) -> bool:
        had_trouble = self.trouble is not None
        return await self.reader.look() or had_trouble

    async def _load(self) -> None:
        while True:
            await self._has_wish.wait()
            self._has_wish.clear()
            page = self._wanted
            if page is None or not await self._try(self._load_page(page)):
                continue
            if self._wanted == page:
                self._wanted = None
            self._on_change()

    async def _load_page(self, page: int) -> bool:
        await self.reader.load(page)
        return True

    async def _try(self, reading: Awaitable[bool]) -> bool:
        """Read; return False if it failed, after telling why."""
        try:
            result = await reading
        except AISquadError as error:
            trouble = one_line(str(error))
            if trouble != self.trouble:
                self.trouble = trouble
                self._on_change()
            return False
        self.trouble = None
        return result

    async def _count(self) -> None:
        while True:
            await self._has_grown.wait()
            self._has_grown.clear()
            if self.reader.size < self._counted_bytes:
                self._newlines = self._counted_bytes = 0
            if self.reader.size <= _MOST_COUNTED_BYTES and await self._try(self._count_more()):
                self._on_change()

    async def _count_more(self) -> bool:
        size = self.reader.size
        has_counted = self._counted_bytes < size
        while self._counted_bytes < size:
            length = min(_COUNT_BYTES, size - self._counted_bytes)
            data = await self.reader.read(self._counted_bytes, length)
            if not data:
                return False
            self._newlines += data.count(b"\n")
            self._counted_bytes += len(data)
            self._is_line_open = not data.endswith(b"\n")
            await asyncio.sleep(0)
        return has_counted
