"""The dialog that tells all keys, those of this place first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_tui.ink import Role, line
from aisquad_tui.screens.dialog import DialogScreen, Hit
from aisquad_tui.views.help import help_lines
from aisquad_tui.views.layout import frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_tui.ink import Line
    from aisquad_tui.keymap import Place
    from aisquad_tui.surroundings import Surroundings
    from aisquad_tui.theme import Look

_WIDEST = 84


class HelpScreen(DialogScreen[None]):
    """Shows the help, which scrolls.

    Args:
        surroundings: Where it runs.
        look: How roles look.
        places: Where the operator is, the nearest first.
    """

    def __init__(self, surroundings: Surroundings, look: Look, places: Sequence[Place]) -> None:
        super().__init__(surroundings, look)
        self._text = help_lines(
            places,
            is_embedded=surroundings.is_embedded,
            has_mouse=surroundings.terminal.has_mouse,
        )
        self._first = 0
        self._height = 1

    def press(self, key: str, character: str | None) -> bool:
        """Scroll, or close."""
        page = max(1, self._height - 1)
        match key:
            case "escape" | "q" | "question_mark" | "f1" | "enter":
                self.dismiss(None)
            case "down" | "j":
                self.scroll_by(1)
            case "up" | "k":
                self.scroll_by(-1)
            case "pagedown" | "space":
                self.scroll_by(page)
            case "pageup":
                self.scroll_by(-page)
            case "ctrl+d":
                self.scroll_by(page // 2)
            case "ctrl+u":
                self.scroll_by(-page // 2)
            case "home" | "g":
                self.scroll_by(-len(self._text))
            case "end" | "G":
                self.scroll_by(len(self._text))
            case _:
                return False
        return True

    def click(self, name: str) -> None:
        """Close."""
        self.dismiss(None)

    def scroll_by(self, rows: int) -> None:
        """Show what comes so many rows later."""
        self._first += rows
        self.redraw()

    def extent(self, cells: int, rows: int) -> tuple[int, int]:
        """Return as much as the text needs and the screen has."""
        return min(_WIDEST, cells), min(len(self._text) + 3, max(3, rows - rows // 12))

    def lines(self, cells: int, rows: int) -> Sequence[Line]:
        """Return the part of the help that is on display."""
        self._height = max(1, rows - 3)
        last = max(0, len(self._text) - self._height)
        self._first = max(0, min(self._first, last))
        shown = self._text[self._first : self._first + self._height]
        shown += [()] * (self._height - len(shown))
        end = min(len(self._text), self._first + self._height)
        info = f"{self._first + 1}{self.glyphs.dash}{end} of {len(self._text)}" if last else ""
        hint = line(
            ("esc", Role.KEY),
            (" back", Role.QUIET),
            *((("   up down PgUp PgDn", Role.KEY), (" scroll", Role.QUIET)) if last else ()),
        )
        self.hits = [Hit(rows - 2, 2, 10, "back")]
        body = [*shown, hint]
        title = line(("Keys", Role.STRONG))
        remark = line((info, Role.QUIET))
        return frame(title, remark, body, cells, self.glyphs, is_focused=True)
