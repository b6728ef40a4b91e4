"""The last line: the keys that work here and now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_tui.ink import Role, line
from aisquad_tui.keymap import footer as shown_keys
from aisquad_tui.views.layout import fitted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line, Span
    from aisquad_tui.keymap import Key

_GAP = 2


def footer(keys: Sequence[Key], cells: int, glyphs: Glyphs) -> Line:
    """Return the keys with their words; what has no room is left out, no word is cut."""
    spans: list[Span] = [(" ", Role.TEXT)]
    for place, key in enumerate(shown_keys(keys, cells)):
        spans.append((" " * _GAP if place else "", Role.TEXT))
        spans += [(key.sign, Role.KEY), (f" {key.word}", Role.QUIET)]
    return fitted(line(*spans), cells, glyphs)


def key_at(keys: Sequence[Key], x: int, cells: int) -> Key | None:
    """Return the key whose sign or word stands in a column."""
    start = 1
    for key in shown_keys(keys, cells):
        end = start + len(key.sign) + 1 + len(key.word)
        if start <= x < end:
            return key
        start = end + _GAP
    return None
