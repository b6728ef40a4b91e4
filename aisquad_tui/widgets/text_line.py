"""One line of text that is being typed: the text, the caret, and how both are drawn."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from aisquad_core.sanitise import sanitise
from aisquad_tui.formatting import cell_width, cut
from aisquad_tui.ink import Role, line

if TYPE_CHECKING:
    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line

_LONGEST = 2_000_000


class TextLine:
    """Takes keys and pastes.

    Args:
        text: What it begins with, the caret behind it.
    """

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.caret = len(text)

    def set(self, text: str) -> None:
        """Replace the text; the caret goes behind it."""
        self.text, self.caret = text, len(text)

    def insert(self, piece: str) -> None:
        """Insert at the caret; what would make the text too long is left out."""
        piece = piece[: max(0, _LONGEST - len(self.text))]
        self.text = self.text[: self.caret] + piece + self.text[self.caret :]
        self.caret += len(piece)

    def press(self, key: str, character: str | None) -> bool:
        """Edit; return whether the key means anything here.

        Args:
            key: As Textual names it.
            character: What the key prints; None: nothing.
        """
        text, caret = self.text, self.caret
        match key:
            case "left":
                caret -= 1
            case "right":
                caret += 1
            case "home" | "ctrl+a":
                caret = 0
            case "end" | "ctrl+e":
                caret = len(text)
            case "backspace":
                text, caret = text[: max(0, caret - 1)] + text[caret:], caret - 1
            case "delete" | "ctrl+d":
                text = text[:caret] + text[caret + 1 :]
            case "ctrl+u":
                text, caret = text[caret:], 0
            case "ctrl+k":
                text = text[:caret]
            case "ctrl+w":
                kept = _without_word(text[:caret])
                text, caret = kept + text[caret:], len(kept)
            case _ if character and character.isprintable():
                self.insert(character)
                return True
            case _:
                return False
        self.text, self.caret = text, max(0, min(caret, len(text)))
        return True

    def column(self, cells: int) -> int:
        """Return the caret's column when drawn in so many cells."""
        return cell_width(self.text[self._start(cells) : self.caret])

    def spans(self, cells: int, glyphs: Glyphs, *, has_caret: bool, hint: str = "") -> Line:
        """Return the part around the caret, at most so many cells; a hint if there is no text."""
        if not self.text and not has_caret:
            return line((cut(hint, cells, glyphs.ellipsis), Role.QUIET))
        if not has_caret:
            return line((cut(self._clean(0, cells + 1), cells, glyphs.ellipsis), Role.TEXT))
        start = self._start(cells)
        before = self._clean(start, self.caret - start)
        under = self._clean(self.caret, 1) or " "
        room = cells - cell_width(before) - cell_width(under)
        after = cut(self._clean(self.caret + 1, max(0, room)), room, "")
        remark = cut(hint, room - 1, glyphs.ellipsis) if not self.text else ""
        return line(
            (before, Role.STRONG),
            (under, Role.MATCH),
            (after, Role.STRONG),
            (f" {remark}" if remark else "", Role.QUIET),
        )

    def _start(self, cells: int) -> int:
        """Return the first character on display: as many as fit before the caret."""
        start, room = self.caret, max(1, cells - 1)
        while start > 0:
            room -= max(1, cell_width(self.text[start - 1]))
            if room < 0:
                break
            start -= 1
        return start

    def _clean(self, start: int, length: int) -> str:
        return sanitise(self.text[start : start + length]).replace("\t", " ").replace("\n", " ")


def _without_word(text: str) -> str:
    """Return the text without its last word, or the last part of a path."""
    kept = text.rstrip()
    while kept and _is_word(kept[-1]):
        kept = kept[:-1]
    return kept if kept != text else kept[:-1]


def _is_word(char: str) -> bool:
    return char not in " /" and not unicodedata.category(char).startswith("Z")
