"""A line to type into, with what is wrong with it at its place."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from textual.geometry import Offset
from textual.message import Message

from aisquad_core.sanitise import one_line
from aisquad_tui.formatting import cell_width, cut_words
from aisquad_tui.ink import Role, line, width
from aisquad_tui.views.layout import fitted
from aisquad_tui.widgets.canvas import Canvas

if TYPE_CHECKING:
    from textual.events import Key, Paste

    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line, Span
    from aisquad_tui.theme import Look

_LONGEST = 500


class PromptField(Canvas, can_focus=True):
    """Edits one line; tells each change, and how it ended.

    Args:
        look: How roles look.
        glyphs: The signs of the terminal.
        label: What is to be typed.
        hint: What stands beside an empty field.
        id: The widget's id.
    """

    DEFAULT_CSS = "PromptField { height: 1; width: 1fr; }"

    class Changed(Message):
        """The text is another."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Submitted(Message):
        """The operator wants to keep the text."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Dismissed(Message):
        """The operator wants things as they were."""

    def __init__(
        self, look: Look, glyphs: Glyphs, label: str, hint: str, *, id: str | None = None
    ) -> None:
        super().__init__(look, id=id)
        self._glyphs, self._label, self._hint = glyphs, label, hint
        self._text, self._caret = "", 0
        self._error: tuple[int, str] | None = None
        self._is_over = False

    @property
    def text(self) -> str:
        """What was typed."""
        return self._text

    def open(self, text: str) -> None:
        """Begin with a text, the caret behind it."""
        self._text, self._caret, self._error = text, len(text), None
        self._is_over = False
        self.redraw()

    def complain(self, column: int, text: str) -> None:
        """Say what is wrong at a column of the text, 0 the first; an empty text: nothing is."""
        self._error = (column, text) if text else None
        self._is_over = False
        self.redraw()

    def on_key(self, event: Key) -> None:
        """Edit; a key that means nothing here goes on to the screen."""
        text, caret = self._text, self._caret
        match event.key:
            case _ if self._is_over:
                pass  # typed before the field could go away: meant for nobody
            case "enter" | "tab":
                self._is_over = True
                self.post_message(self.Submitted(text))
            case "escape":
                self._is_over = True
                self.post_message(self.Dismissed())
            case "left" | "right":
                self._set(text, caret + (1 if event.key == "right" else -1))
            case "home" | "ctrl+a":
                self._set(text, 0)
            case "end" | "ctrl+e":
                self._set(text, len(text))
            case "backspace":
                self._set(text[: max(0, caret - 1)] + text[caret:], caret - 1)
            case "delete" | "ctrl+d":
                self._set(text[:caret] + text[caret + 1 :], caret)
            case "ctrl+u":
                self._set(text[caret:], 0)
            case "ctrl+w":
                kept = text[:caret].rstrip().rpartition(" ")
                before = kept[0] + kept[1]
                self._set(before + text[caret:], len(before))
            case _ if event.character and event.is_printable:
                self._insert(event.character)
            case _:
                return
        event.stop()
        event.prevent_default()

    def on_paste(self, event: Paste) -> None:
        """Insert pasted text as one line; a newline in it submits nothing."""
        event.stop()
        self._insert(one_line(event.text.replace("\r", " "), _LONGEST))

    def on_resize(self) -> None:
        """Fit the new width."""
        self.redraw()

    def redraw(self) -> None:
        """Draw what changed."""
        if not self.size.width:
            return
        drawn = self._line(self.size.width)
        self.draw_lines([drawn])
        if self.has_focus and self.look.terminal.shows_cursor:
            before = takewhile(lambda span: span[1] is not Role.MATCH, drawn)
            self.app.cursor_position = self.region.offset + Offset(width(before), 0)

    def _insert(self, piece: str) -> None:
        before, after = self._text[: self._caret], self._text[self._caret :]
        piece = piece[: max(0, _LONGEST - len(self._text))]
        self._set(before + piece + after, len(before) + len(piece))

    def _set(self, text: str, caret: int) -> None:
        is_changed = text != self._text
        self._text, self._caret = text, max(0, min(caret, len(text)))
        if is_changed:
            self._error = None
            self.post_message(self.Changed(text))
        self.redraw()

    def _line(self, cells: int) -> Line:
        head: list[Span] = [(f" {self._label} ", Role.KEY)]
        remark = self._remark()
        room = max(8, cells - width(head) - min(width(remark), cells // 2) - 4)
        start = 0
        while cell_width(self._text[start : self._caret]) >= room:
            start += 1
        for place in range(start, len(self._text)):
            head.append((self._text[place], self._role(place)))
            if width(head) >= room + 2 + cell_width(self._label):
                break
        if self._caret == len(self._text):
            head.append((" ", Role.MATCH))
        left = cells - width(head) - 3
        shown = tuple((cut_words(text, left, self._glyphs.ellipsis), role) for text, role in remark)
        return fitted(line(*head, "  ", *shown), cells, self._glyphs)

    def _role(self, place: int) -> Role:
        if place == self._caret:
            return Role.MATCH
        return Role.BAD if self._error is not None and place == self._error[0] else Role.STRONG

    def _remark(self) -> Line:
        if self._error is not None:
            return line((one_line(self._error[1]), Role.BAD))
        return line((self._hint, Role.QUIET)) if not self._text else ()
