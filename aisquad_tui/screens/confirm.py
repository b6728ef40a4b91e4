"""The dialog that asks before work is stopped: the harmless answer is the default."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from aisquad_tui.formatting import cell_width
from aisquad_tui.ink import Role, line
from aisquad_tui.screens.dialog import DialogScreen, Hit
from aisquad_tui.views.layout import frame
from aisquad_tui.widgets.text_line import TextLine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.events import Click, Key

    from aisquad_tui.ink import Line
    from aisquad_tui.surroundings import Surroundings
    from aisquad_tui.theme import Look
    from aisquad_tui.views.question import Question

HARMLESS = 0
"""The answer that changes nothing."""
_DEAF_S = 0.25
"""Seconds after opening in which keys are dropped: they were meant for what was there before."""
_WIDEST = 66
_NO_BREAK = "\N{NO-BREAK SPACE}"


class ConfirmScreen(DialogScreen[int]):
    """Asks a question; ends with the number of the answer, 0 the harmless one.

    Args:
        surroundings: Where it runs.
        look: How roles look.
        question: What is asked.
    """

    def __init__(self, surroundings: Surroundings, look: Look, question: Question) -> None:
        super().__init__(surroundings, look)
        self.question = question
        self.chosen = HARMLESS
        self.typed = TextLine()
        self._complaint = ""
        self._opened_at = surroundings.clock.monotonic()

    def on_mount(self) -> None:
        """Begin to be deaf."""
        self._opened_at = self.surroundings.clock.monotonic()

    def on_key(self, event: Key) -> None:
        """Drop what was typed before the question could be read."""
        if self._is_deaf():
            event.stop()
            event.prevent_default()

    def on_click(self, event: Click) -> None:
        """Drop a click that was meant for what was there before."""
        if self._is_deaf():
            event.stop()
            event.prevent_default()

    def press(self, key: str, character: str | None) -> bool:
        """Choose, answer, or type the word."""
        match key:
            case "escape":
                self.dismiss(HARMLESS)
            case "tab" | "down":
                self._choose(self.chosen + 1)
            case "shift+tab" | "up":
                self._choose(self.chosen - 1)
            case "enter":
                self._enter()
            case _ if self.question.words:
                self._complaint = ""
                if not self.typed.press(key, character):
                    return False
            case _:
                keys = [choice.key for choice in self.question.choices]
                if character is None or character.lower() not in keys:
                    return False
                self.dismiss(keys.index(character.lower()))
        self.redraw()
        return True

    def click(self, name: str) -> None:
        """Answer."""
        self._answer(int(name))

    def paste(self, text: str) -> None:
        """Nothing: the word is to be typed, and pasted letters are no answers."""

    def extent(self, cells: int, rows: int) -> tuple[int, int]:
        """Return the room that the text takes."""
        width = min(_WIDEST, cells)
        return width, min(rows, len(self._body(width - 4)) + 2)

    def lines(self, cells: int, rows: int) -> Sequence[Line]:
        """Return the question with its answers."""
        body = self._body(cells - 4)
        first = len(body) - len(self.question.choices)
        self.hits = [
            Hit(first + place, 2, cells - 2, str(place))
            for place in range(len(self.question.choices))
        ]
        self.caret = (2 + cell_width(self._ask()), first - 2) if self.question.words else None
        title = line((self.question.title, Role.STRONG))
        return frame(title, (), body, cells, self.glyphs, is_focused=True)

    def _body(self, cells: int) -> list[Line]:
        question = self.question
        body: list[Line] = []
        for text in question.lines:
            body += [line(each) for each in _wrapped(text, max(1, cells))]
        body.append(())
        if question.words:
            ask = self._ask()
            room = max(4, cells - cell_width(ask))
            remark = (f" {self._complaint}" if self._complaint else "", Role.BAD)
            shown = self.typed.spans(room, self.glyphs, has_caret=True)
            body += [line(ask, *shown, remark), ()]
        for place, choice in enumerate(question.choices):
            is_chosen = place == self.chosen
            mark = f"{self.glyphs.arrow} " if is_chosen else "  "
            key = "" if question.words else f"{choice.key}  "
            role = Role.STRONG if is_chosen else Role.TEXT
            body.append(line((mark, Role.ACCENT), (key, Role.KEY), (choice.text, role)))
        body.append(line((self._hint(cells), Role.QUIET)))
        return body

    def _ask(self) -> str:
        return f"Type {' or '.join(self.question.words)} to {self.question.verb}: "

    def _hint(self, cells: int) -> str:
        gap = f" {self.glyphs.separator} "
        keys = "/".join(choice.key for choice in self.question.choices)
        enter = f"enter takes {self.glyphs.arrow}"
        pieces = [enter, "tab the other", "esc leaves it", *([] if self.question.words else [keys])]
        if self.question.words:
            pieces[0] = "enter once it is typed"
        while cell_width(gap.join(pieces)) > cells:
            pieces.pop()
        return gap.join(pieces)

    def _is_deaf(self) -> bool:
        return self.surroundings.clock.monotonic() - self._opened_at < _DEAF_S

    def _choose(self, place: int) -> None:
        self.chosen = place % len(self.question.choices)

    def _enter(self) -> None:
        """Give the marked answer; typing the word marks the other one."""
        if self.question.words and self.typed.text:
            self._answer(1)
        else:
            self._answer(self.chosen)

    def _answer(self, place: int) -> None:
        typed = self.typed.text.strip()
        if place != HARMLESS and self.question.words and typed not in self.question.words:
            self._complaint = "not the same" if typed else "to be typed first"
            self.redraw()
            return
        self.dismiss(place)


def _wrapped(text: str, cells: int) -> list[str]:
    """Return the text in lines; a number of seconds is not torn from its unit."""
    whole = re.sub(r"(?<=\d) (?=s\b)", _NO_BREAK, text)
    return [each.replace(_NO_BREAK, " ") for each in textwrap.wrap(whole, cells)]
