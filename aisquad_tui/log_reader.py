"""A log read in pages through the engine: its lines wherever one looks, never all of it.

Lines end at newlines. A line that goes on for long is broken so that no piece takes more than about
two blocks: at a multiple of a block before which a whole block holds no newline. The rule looks at
a few bytes around alone, so that reading from the end finds the same pieces as from the beginning.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from aisquad_tui.log_viewport import PageMissingError, Piece, shape

if TYPE_CHECKING:
    from aisquad_core.api import LogChunk
    from aisquad_core.model import ItemKey

BLOCK_BYTES = 8_192
PAGE_BYTES = 4 * BLOCK_BYTES
MARGIN_BYTES = 2 * BLOCK_BYTES
"""Read behind a range so that the last piece that starts in it is whole."""
_PAGES_KEPT = 48
_NEWLINE = re.compile(rb"\n")
_LAST_CONTINUATION = 0xBF
_FIRST_CONTINUATION = 0x80

Stream = Literal["log", "result"]


class LogSource(Protocol):
    """Reads bytes of logs; the engine does."""

    async def log_range(
        self,
        key: ItemKey,
        *,
        attempt: int | None = None,
        offset: int = 0,
        length: int = 65_536,
        stream: Stream = "log",
    ) -> LogChunk:
        """Return bytes of an attempt's log; see `ItemReader.log_range`."""
        ...


def piece_starts(data: bytes, base: int) -> list[int]:
    """Return the offsets at which pieces start, sorted.

    Those in the first block are known only if it is the first of the log.

    Args:
        data: A part of the log.
        base: Where it begins; a multiple of a block.
    """
    starts = [base + found.end() for found in _NEWLINE.finditer(data)]
    if starts and starts[-1] == base + len(data):
        starts.pop()
    breaks: list[int] = []
    for at in range(BLOCK_BYTES, len(data), BLOCK_BYTES):
        if data.find(b"\n", at - BLOCK_BYTES, at) < 0:
            cut = _next_character(data, at)
            if cut < len(data) and data[cut : cut + 1] != b"\n":
                breaks.append(base + cut)
    if base == 0 and data:
        breaks.append(0)
    return sorted(starts + breaks) if breaks else starts


def pieces_in(data: bytes, base: int, start: int, stop: int) -> list[Piece]:
    """Return the pieces that start in a range of a log.

    Args:
        data: The range with a block before it and `MARGIN_BYTES` behind it, so far as there is
            anything.
        base: Where `data` begins.
        start: First byte of the range, a multiple of a block.
        stop: Behind its last byte, a multiple of a block.
    """
    starts = piece_starts(data, base)
    ends = [*starts[1:], base + len(data)]
    return [
        Piece(begin, end) for begin, end in zip(starts, ends, strict=False) if start <= begin < stop
    ]


@dataclass(slots=True, kw_only=True, eq=False)
class _Page:
    base: int
    data: bytes
    pieces: list[Piece]
    seen: int
    """Bytes that the log had when it was read."""
    is_whole: bool
    """Whether nothing that comes can change it."""
    texts: dict[Piece, str] = field(default_factory=dict)


class LogReader:
    """One attempt's log, or its result.

    Args:
        engine: Reads bytes.
        key: Whose.
        attempt: Which.
        stream: What of it.
    """

    def __init__(
        self, engine: LogSource, key: ItemKey, *, attempt: int, stream: Stream = "log"
    ) -> None:
        self.key = key
        self.attempt = attempt
        self.stream: Stream = stream
        self.is_final = False
        """Whether nothing more comes."""
        self.has_looked = False
        """Whether the size is known."""
        self.was_lost = False
        """Whether the log became shorter than it was."""
        self._engine = engine
        self._size = 0
        self._pages: OrderedDict[int, _Page] = OrderedDict()

    @property
    def size(self) -> int:
        """Bytes in the log when it was looked at last."""
        return self._size

    def at(self, offset: int) -> Piece:
        """Return the piece with the byte at `offset`, which must be within the log."""
        for number in range(offset // PAGE_BYTES, -1, -1):
            page = self._page(number)
            index = bisect_right(page.pieces, offset, key=lambda piece: piece.start) - 1
            if index >= 0:
                return page.pieces[index]
        raise ValueError(f"offset {offset} is outside the log")

    def text(self, piece: Piece) -> str:
        """Return a piece as it is shown."""
        page = self._page(piece.start // PAGE_BYTES)
        found = page.texts.get(piece)
        if found is None:
            found = shape(page.data[piece.start - page.base : piece.end - page.base])
            page.texts[piece] = found
        return found

    async def look(self) -> bool:
        """Look for what came; return whether anything changed."""
        chunk = await self._range(self._size, 1)
        has_changed = not self.has_looked or chunk.size != self._size
        if chunk.size < self._size:
            self._pages.clear()
            self._size, self.was_lost = 0, True
        if chunk.size:
            last = (chunk.size - 1) // PAGE_BYTES
            if has_changed:
                page = await self._read_page(last)
                self._keep(last, page)
                self._size = page.seen
        has_changed = has_changed or chunk.is_final != self.is_final
        self.has_looked, self.is_final = True, chunk.is_final
        return has_changed

    async def load(self, number: int) -> None:
        """Bring a page into memory."""
        page = await self._read_page(number)
        if page.seen < self._size:
            self._pages.clear()
            self._size, self.was_lost = page.seen, True
        self._keep(number, page)
        self._size = max(self._size, page.seen)

    async def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the log; fewer than `length` only at its end."""
        data, _ = await self._read(offset, length)
        return data

    async def _read_page(self, number: int) -> _Page:
        start = number * PAGE_BYTES
        base = max(0, start - BLOCK_BYTES)
        stop = start + PAGE_BYTES
        data, seen = await self._read(base, stop + MARGIN_BYTES - base)
        return _Page(
            base=base,
            data=data,
            pieces=pieces_in(data, base, start, stop),
            seen=seen,
            is_whole=base + len(data) == stop + MARGIN_BYTES,
        )

    async def _read(self, offset: int, length: int) -> tuple[bytes, int]:
        chunk = await self._range(offset, length)
        parts, got = [chunk.data], len(chunk.data)
        while got < length and chunk.data and offset + got < chunk.size:
            chunk = await self._range(offset + got, length - got)
            parts.append(chunk.data)
            got += len(chunk.data)
        data = b"".join(parts) if len(parts) > 1 else parts[0]
        # What was appended in between is left for the next look.
        return data, min(chunk.size, offset + got) if got < length else chunk.size

    async def _range(self, offset: int, length: int) -> LogChunk:
        return await self._engine.log_range(
            self.key, attempt=self.attempt, offset=offset, length=length, stream=self.stream
        )

    def _page(self, number: int) -> _Page:
        page = self._pages.get(number)
        if page is None or not (page.is_whole or page.seen == self._size):
            raise PageMissingError(number)
        self._pages.move_to_end(number)
        return page

    def _keep(self, number: int, page: _Page) -> None:
        self._pages[number] = page
        self._pages.move_to_end(number)
        while len(self._pages) > _PAGES_KEPT:
            self._pages.popitem(last=False)


def _next_character(data: bytes, at: int) -> int:
    """Return where a character begins, at `at` or up to three bytes behind it."""
    for cut in range(at, min(at + 3, len(data))):
        if not _FIRST_CONTINUATION <= data[cut] <= _LAST_CONTINUATION:
            return cut
    return min(at + 3, len(data))
