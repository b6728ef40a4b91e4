"""Lines put together: pieces that give way when there is little room, boxes, exact widths."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from aisquad_tui.formatting import GLYPHS, cell_width
from aisquad_tui.ink import Role, fit, line, width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line


class Piece(NamedTuple):
    """A part of a line that is there as a whole or not at all."""

    spans: Line
    rank: int
    """Higher stays longer."""
    gap: int = 2
    """Cells between it and the piece before."""


def fitted(spans: Line, cells: int, glyphs: Glyphs) -> Line:
    """Return the line in exactly so many cells, and with ASCII signs in ASCII alone."""
    whole = fit(spans, cells, ellipsis=glyphs.ellipsis)
    if glyphs is GLYPHS:
        return whole
    return tuple((_in_ascii(text), role) for text, role in whole)


def dimmed(spans: Line) -> Line:
    """Return the line as something that is no longer so for certain."""
    return tuple((text, Role.QUIET) for text, _ in spans)


def joined(pieces: Sequence[Piece], cells: int) -> Line:
    """Return the pieces beside each other, without those of lowest rank that have no room."""
    kept = [piece for piece in pieces if width(piece.spans)]
    while len(kept) > 1 and _extent(kept) > cells:
        lowest = min(piece.rank for piece in kept)
        kept.remove(next(piece for piece in reversed(kept) if piece.rank == lowest))
    whole = list[tuple[str, Role]]()
    for place, piece in enumerate(kept):
        whole += [(" " * piece.gap if place else "", Role.TEXT), *piece.spans]
    return line(*whole)


def frame_top(
    title: Line, info: Line, cells: int, glyphs: Glyphs, *, is_focused: bool = False
) -> Line:
    """Return the upper edge of a box, with a title at the left and a remark at the right.

    The remark gives way to the title where there is no room for both.
    """
    corners, flat, role = glyphs.frame, glyphs.frame[4], _edge(is_focused)
    room = cells - 3
    head = line((" ", role), *title, (" ", role)) if title else ()
    tail = line((" ", role), *info, (" ", role)) if info else ()
    if width(head) + width(tail) > room:
        tail = ()
    if width(head) > room:
        head = fit(head, max(0, room), ellipsis=glyphs.ellipsis)
    rule = flat * max(0, cells - 2 - width(head) - width(tail))
    edge = line((corners[0], role), *head, (rule, role), *tail, (corners[1], role))
    return fitted(edge, cells, glyphs)


def frame_bottom(cells: int, glyphs: Glyphs, *, is_focused: bool = False) -> Line:
    """Return the lower edge of a box."""
    corners, role = glyphs.frame, _edge(is_focused)
    edge = f"{corners[2]}{glyphs.frame[4] * max(0, cells - 2)}{corners[3]}"
    return fitted(line((edge, role)), cells, glyphs)


def frame_row(spans: Line, cells: int, glyphs: Glyphs, *, is_focused: bool = False) -> Line:
    """Return a line between the left and the right edge of a box, a space apart from each."""
    wall, role = glyphs.frame[5], _edge(is_focused)
    inner = fitted(spans, cells - 4, glyphs)
    return fitted(line((f"{wall} ", role), *inner, (f" {wall}", role)), cells, glyphs)


def frame(
    title: Line,
    info: Line,
    body: Sequence[Line],
    cells: int,
    glyphs: Glyphs,
    *,
    is_focused: bool = False,
) -> list[Line]:
    """Return a box around lines: its title at the left, a remark at the right of its upper edge."""
    return [
        frame_top(title, info, cells, glyphs, is_focused=is_focused),
        *(frame_row(each, cells, glyphs, is_focused=is_focused) for each in body),
        frame_bottom(cells, glyphs, is_focused=is_focused),
    ]


def _edge(is_focused: bool) -> Role:
    return Role.ACCENT if is_focused else Role.QUIET


def _extent(pieces: Sequence[Piece]) -> int:
    return sum(width(piece.spans) + piece.gap for piece in pieces) - pieces[0].gap


def _in_ascii(text: str) -> str:
    if text.isascii():
        return text
    return "".join(char if char.isascii() else "?" * cell_width(char) for char in text)
