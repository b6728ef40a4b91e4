"""Which rows of a log are on display, for a width and a height; pure.

A log is a sequence of pieces: its lines, and parts of lines that are too long. The viewport asks
for pieces by the offset of their bytes alone, so that nothing depends on how long the log is. Where
a piece is not at hand the answer is a `PageMissingError`, and the viewport stays as it was.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

from aisquad_core.sanitise import sanitise
from aisquad_tui.formatting import cell_width

if TYPE_CHECKING:
    from collections.abc import Iterator

_TAB_CELLS = 8
_WRAPS_KEPT = 256


class PageMissingError(LookupError):
    """A part of the log that is not in memory is needed.

    Args:
        page: Its number.
    """

    def __init__(self, page: int) -> None:
        super().__init__(f"page {page} of the log is not in memory")
        self.page = page


class Piece(NamedTuple):
    """A line, or a part of one that is too long."""

    start: int
    """Offset of its first byte."""
    end: int
    """Offset behind its last byte, the line end included."""


class Pieces(Protocol):
    """A log of which some pieces are in memory."""

    @property
    def size(self) -> int:
        """Bytes in the log."""
        ...

    def at(self, offset: int) -> Piece:
        """Return the piece with the byte at `offset`.

        Raises:
            PageMissingError: It is not in memory.
        """
        ...

    def text(self, piece: Piece) -> str:
        """Return a piece as it is shown.

        Raises:
            PageMissingError: It is not in memory.
        """
        ...


class Place(NamedTuple):
    """A row of a log."""

    start: int
    """Of its piece."""
    row: int = 0
    """Counted from 0 within its piece."""


class Row(NamedTuple):
    """What one row of the screen shows."""

    start: int
    """Of its piece."""
    begin: int
    """Where in the piece's text its own begins, in characters."""
    text: str


def shape(raw: bytes) -> str:
    """Return a line as a terminal would leave it: what was written over it last, made harmless."""
    raw = raw.rstrip(b"\r\n")
    text = raw[raw.rfind(b"\r") + 1 :].decode("utf-8", "replace")
    if not text.isprintable():
        text = sanitise(text).expandtabs(_TAB_CELLS)
    return text


def wrap(text: str, cells: int) -> list[int]:
    """Return where each row of a wrapped text begins, in characters; at least one row."""
    cells = max(1, cells)
    if text.isascii():
        return list(range(0, len(text), cells)) or [0]
    begins, room = [0], cells
    for index, char in enumerate(text):
        taken = _char_cells(char)
        if taken > room and index > begins[-1]:
            begins.append(index)
            room = cells
        room -= taken
    return begins


def cut_left(text: str, cells: int) -> int:
    """Return how many characters to leave out so that so many cells are gone."""
    if text.isascii():
        return min(cells, len(text))
    for index, char in enumerate(text):
        if cells <= 0:
            return index
        cells -= _char_cells(char)
    return len(text)


class Viewport:
    """The part of a log that is on display.

    Args:
        pieces: The log.
    """

    def __init__(self, pieces: Pieces) -> None:
        self.is_following = True
        """Whether the last rows are shown, whatever comes."""
        self.left = 0
        """Cells left out at the left where lines are cut."""
        self.is_wrapped = True
        self.cells = 80
        self.rows = 20
        self._pieces = pieces
        self._top = Place(0)
        self._wraps: dict[tuple[Piece, int], list[int]] = {}

    @property
    def top(self) -> Place:
        """The first row on display, but while it follows."""
        return self._top

    def resize(self, cells: int, rows: int) -> None:
        """Take another size; the first piece on display stays."""
        if self.is_wrapped and cells != self.cells:
            self._top = Place(self._top.start)
        self.cells, self.rows = max(1, cells), max(1, rows)

    def toggle_wrap(self) -> None:
        """Wrap long lines, or cut them."""
        self.is_wrapped = not self.is_wrapped
        self.left = 0
        self._top = Place(self._top.start)

    def follow(self) -> None:
        """Show the last rows from now on."""
        self.is_following = True

    def hold(self) -> None:
        """Stand still from now on."""
        if self.is_following:
            self._top = self._end_top()
            self.is_following = False

    def scroll(self, rows: int) -> None:
        """Go down (up if negative) by so many rows, as far as there are any."""
        end = self._end_top()
        now = end if self.is_following else min(self._top, end)
        then = min(self._walk(now, rows), end)
        self.is_following = self.is_following and then == end
        self._top = then

    def to_start(self) -> None:
        """Show the first rows."""
        self._top, self.is_following = Place(0), False

    def shift(self, cells: int) -> None:
        """Show what is further right (left if negative) where lines are cut."""
        if not self.is_wrapped:
            self.left = max(0, self.left + cells)

    def show(self, offset: int, char: int = 0) -> None:
        """Bring a character of the piece at an offset on display, with some rows above it."""
        piece = self._pieces.at(offset)
        begins = self._begins(piece)
        row = max(index for index, begin in enumerate(begins) if begin <= char)
        left = self.left
        if not self.is_wrapped:
            before = cell_width(self._pieces.text(piece)[:char])
            if not left <= before < left + self.cells - 4:
                left = 0 if before < self.cells - 4 else before - self.cells // 2
        seen = [(each.start, each.begin) for each in self.visible()]
        if self.is_following or (piece.start, begins[row]) not in seen:
            above = self._walk(Place(piece.start, row), -(self.rows // 3))
            self._top = min(above, self._end_top())
        self.left, self.is_following = left, False

    def visible(self) -> list[Row]:
        """Return the rows on display; fewer than there is room for only where the log is short."""
        if not self._pieces.size:
            return []
        end = self._end_top()
        place = end if self.is_following else min(self._top, end)
        shown: list[Row] = []
        for row in self._rows_from(place):
            shown.append(row)
            if len(shown) == self.rows:
                break
        return shown

    def _rows_from(self, place: Place) -> Iterator[Row]:
        piece = self._pieces.at(place.start)
        skipped = place.row
        while True:
            text, begins = self._pieces.text(piece), self._begins(piece)
            for index in range(min(skipped, len(begins) - 1), len(begins)):
                yield self._row(piece, text, begins, index)
            if piece.end >= self._pieces.size:
                return
            piece, skipped = self._pieces.at(piece.end), 0

    def _row(self, piece: Piece, text: str, begins: list[int], index: int) -> Row:
        if self.is_wrapped:
            stop = begins[index + 1] if index + 1 < len(begins) else len(text)
            return Row(piece.start, begins[index], text[begins[index] : stop])
        begin = cut_left(text, self.left)
        return Row(piece.start, begin, text[begin : begin + 2 * self.cells])

    def _begins(self, piece: Piece) -> list[int]:
        if not self.is_wrapped:
            return [0]
        key = (piece, self.cells)
        found = self._wraps.get(key)
        if found is None:
            found = wrap(self._pieces.text(piece), self.cells)
            if len(self._wraps) >= _WRAPS_KEPT:
                self._wraps.clear()
            self._wraps[key] = found
        return found

    def _end_top(self) -> Place:
        """Return the first row on display when the last one stands at the bottom."""
        if not self._pieces.size:
            return Place(0)
        last = self._pieces.at(self._pieces.size - 1)
        return self._walk(Place(last.start, len(self._begins(last)) - 1), 1 - self.rows)

    def _walk(self, place: Place, rows: int) -> Place:
        """Return the row that is so many rows further, or the last one on the way."""
        if not self._pieces.size:
            return Place(0)
        piece = self._pieces.at(place.start)
        row = min(place.row, len(self._begins(piece)) - 1) + rows
        while row < 0 and piece.start > 0:
            piece = self._pieces.at(piece.start - 1)
            row += len(self._begins(piece))
        while row >= (count := len(self._begins(piece))) and piece.end < self._pieces.size:
            piece = self._pieces.at(piece.end)
            row -= count
        return Place(piece.start, min(max(0, row), count - 1))


@lru_cache(maxsize=4096)
def _char_cells(char: str) -> int:
    return cell_width(char)
