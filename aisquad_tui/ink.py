"""Lines of text with roles: what every pure view returns and every widget draws.

A role says what a piece of text means; the theme decides how that looks on this terminal.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from aisquad_tui.formatting import cell_width, cut

if TYPE_CHECKING:
    from collections.abc import Iterable


class Role(StrEnum):
    """What a piece of text means."""

    TEXT = "text"
    STRONG = "strong"
    """A name or number that the eye looks for."""
    QUIET = "quiet"
    """Labels, borders, what is over."""
    ACCENT = "accent"
    """Focus, and what runs."""
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    KEY = "key"
    """A key in a hint."""
    MATCH = "match"
    """A place that a search found."""


class Ground(StrEnum):
    """What a row lies on."""

    PLAIN = "plain"
    CURSOR = "cursor"
    """The row under the cursor of the pane that has the focus."""
    REST = "rest"
    """The row under the cursor of another pane."""


Span = tuple[str, Role]
Line = tuple[Span, ...]


def line(*spans: Span | str) -> Line:
    """Make a line; a bare string has the role TEXT. Empty pieces are left out."""
    both = ((span, Role.TEXT) if isinstance(span, str) else span for span in spans)
    return tuple(span for span in both if span[0])


def width(spans: Iterable[Span]) -> int:
    """Return how many cells a line takes."""
    return sum(cell_width(text) for text, _ in spans)


def plain(spans: Iterable[Span]) -> str:
    """Return the text alone."""
    return "".join(text for text, _ in spans)


def fit(spans: Line, cells: int, *, ellipsis: str = "…") -> Line:
    """Return the line in exactly so many cells: cut with an ellipsis, or filled with spaces."""
    room, kept = max(0, cells), list[Span]()
    for text, role in spans:
        taken = cell_width(text)
        if taken > room:
            kept.append((cut(text, room, ellipsis), role))
            room -= cell_width(kept[-1][0])
            break
        kept.append((text, role))
        room -= taken
    if room:
        kept.append((" " * room, Role.TEXT))
    return line(*kept)
