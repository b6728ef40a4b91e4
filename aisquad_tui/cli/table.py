"""Tables of text: aligned, cut to a width, never wrapping. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aisquad_tui.cli.terminal import Ink
from aisquad_tui.formatting import cell_width, cut, pad

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_tui.cli.terminal import Stream

_GAP = "  "
Cell = tuple[str, Ink]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column; its text must be sanitised and on one line."""

    title: str
    is_right: bool = False
    """Aligned to the right, as numbers are."""
    floor: int | None = None
    """Cells down to which it may be cut, the last column first; None: only when nothing helps."""
    leaves: int = 0
    """Left out when even cut columns do not fit, the lowest number first; 0: never."""


class Table:
    """A table that may come in several lots of rows; the header goes before the first."""

    def __init__(self, columns: Sequence[Column], stream: Stream) -> None:
        self._columns = columns
        self._stream = stream
        self._natural = [cell_width(column.title) for column in columns]
        self._is_begun = False

    def lines(self, rows: Sequence[Sequence[Cell]]) -> list[str]:
        """Return the lines of these rows, fitted to the stream's width."""
        self._natural = [
            max(widest, *(cell_width(row[n][0]) for row in rows), 0)
            for n, widest in enumerate(self._natural)
        ]
        widths = _fit(self._columns, self._natural, self._stream.width())
        lines = [self._line(row, widths) for row in rows]
        if not self._is_begun:
            self._is_begun = True
            lines.insert(0, self._line([(c.title, Ink.DIM) for c in self._columns], widths))
        return lines

    def _line(self, row: Sequence[Cell], widths: dict[int, int]) -> str:
        cells = []
        for n in sorted(widths):
            text, ink = row[n]
            shown = cut(text, widths[n], self._stream.glyphs.ellipsis)
            space = " " * (widths[n] - cell_width(shown))
            inked = self._stream.ink(shown, ink)
            cells.append(space + inked if self._columns[n].is_right else inked + space)
        return _GAP.join(cells).rstrip()


def _fit(columns: Sequence[Column], natural: list[int], width: int | None) -> dict[int, int]:
    """Return the width of each column that is shown, by its number."""
    widths = dict(enumerate(natural))
    if width is None:
        return widths

    def excess() -> int:
        return max(0, sum(widths.values()) + len(_GAP) * (len(widths) - 1) - width)

    def shrink(n: int, floor: int) -> None:
        widths[n] -= min(excess(), max(0, widths[n] - floor))

    leaving = sorted((n for n in widths if columns[n].leaves), key=lambda n: columns[n].leaves)
    for dropped in (None, *leaving):
        if dropped is not None:
            del widths[dropped]
            widths.update({n: natural[n] for n in widths})
        for n in reversed(widths):
            floor = columns[n].floor
            if floor is not None:
                shrink(n, floor)
        if not excess():
            return widths
    for n in reversed(widths):
        shrink(n, 1)
    return widths


def facts(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Return names and values in two columns, the values as they are."""
    width = max((cell_width(name) for name, _ in pairs), default=0)
    return [f"{pad(name, width)}{_GAP}{value}".rstrip() for name, value in pairs]
