"""The command palette: every action by its words, with its key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aisquad_core.sanitise import one_line
from aisquad_tui.completion import short_path
from aisquad_tui.formatting import cell_width, cut, pad
from aisquad_tui.ink import Role, line
from aisquad_tui.keymap import at
from aisquad_tui.screens.dialog import DialogScreen, Hit
from aisquad_tui.views.layout import frame
from aisquad_tui.widgets.text_line import TextLine

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aisquad_tui.ink import Line
    from aisquad_tui.keymap import Place
    from aisquad_tui.surroundings import Surroundings
    from aisquad_tui.theme import Look

_WIDEST, _HIGHEST = 76, 22
_UNLISTED = {"palette"}
"""Actions that make no sense in here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that can be done."""

    words: str
    """What it does."""
    place: str
    """Where it belongs."""
    short: str = ""
    """What the footer calls it."""
    sign: str = ""
    """Its key as people read it."""
    key: str | None = None
    """The key to be pressed for it, as Textual names it."""
    path: str | None = None
    """The convoy file to be launched."""


def entries(places: Sequence[Place], recent: Iterable[str], cwd: str) -> list[Entry]:
    """Return what can be done at these places, then the recent files.

    Of several actions with the same key only that of the nearest place can be reached by it.
    """
    found: dict[str, Entry] = {}
    for place in places:
        for key in at(place):
            name = key.keys.split(",")[0]
            if key.action not in _UNLISTED and name not in found:
                found[name] = Entry(
                    words=key.help, short=key.word, place=place, sign=key.sign, key=name
                )
    files = [
        Entry(words=f"launch {short_path(path, cwd)}", place="recent", path=path) for path in recent
    ]
    return [*found.values(), *files]


def fitting(choices: Iterable[Entry], text: str) -> list[Entry]:
    """Return the entries in which each typed word is found, best first.

    An entry that begins with the text comes before one with a word that does, that before others.
    """
    wanted = text.lower().split()
    kept = [each for each in choices if all(word in _haystack(each) for word in wanted)]
    if not wanted:
        return kept
    return sorted(kept, key=lambda each: _rank(each, wanted[0]))


class PaletteScreen(DialogScreen["Entry | None"]):
    """Finds an action by typing; ends with the one that is to be run.

    Args:
        surroundings: Where it runs.
        look: How roles look.
        choices: What can be done.
    """

    def __init__(self, surroundings: Surroundings, look: Look, choices: Sequence[Entry]) -> None:
        super().__init__(surroundings, look)
        self.choices = choices
        self.field = TextLine()
        self._at = 0
        self._first = 0
        self._height = 1

    @property
    def shown(self) -> list[Entry]:
        """What fits what was typed."""
        return fitting(self.choices, self.field.text)

    def press(self, key: str, character: str | None) -> bool:
        """Narrow the list, move in it, run or go back."""
        match key:
            case "escape":
                self.dismiss(None)
                return True
            case "enter":
                self._run(self._at)
            case "down" | "tab" | "ctrl+n":
                self._at += 1
            case "up" | "shift+tab" | "ctrl+p":
                self._at -= 1
            case "pagedown":
                self._at += self._height
            case "pageup":
                self._at -= self._height
            case _:
                if not self.field.press(key, character):
                    return False
                self._at = 0
        self.redraw()
        return True

    def paste(self, text: str) -> None:
        """Search for pasted text."""
        self.field.insert(one_line(text))
        self._at = 0
        self.redraw()

    def click(self, name: str) -> None:
        """Run what was clicked."""
        self._run(int(name))

    def scroll_by(self, rows: int) -> None:
        """Move in the list."""
        self._at += rows
        self.redraw()

    def extent(self, cells: int, rows: int) -> tuple[int, int]:
        """Return the same size whatever fits, so that nothing jumps."""
        height = min(_HIGHEST, len(self.choices) + 4, rows)
        return min(_WIDEST, cells), max(5, height)

    def lines(self, cells: int, rows: int) -> Sequence[Line]:
        """Return the field and the part of the list around the cursor."""
        shown, inner = self.shown, cells - 4
        self._height = max(1, rows - 4)
        self._at = max(0, min(self._at, len(shown) - 1))
        least = self._at - self._height + 1
        self._first = max(least, min(self._first, self._at))
        field = self.field.spans(inner - 2, self.glyphs, has_caret=True, hint="type to find")
        self.caret = (4 + self.field.column(inner - 2), 1)
        body: list[Line] = [line((": ", Role.KEY), *field)]
        self.hits = []
        for place in range(self._first, min(len(shown), self._first + self._height)):
            self.hits.append(Hit(len(body) + 1, 2, cells - 2, str(place)))
            body.append(self._row(shown[place], inner, is_chosen=place == self._at))
        if not shown:
            body.append(line(("  nothing fits", Role.QUIET)))
        body += [()] * (self._height + 1 - len(body))
        body.append(
            line(
                ("enter", Role.KEY),
                (" runs it   ", Role.QUIET),
                ("esc", Role.KEY),
                (" back", Role.QUIET),
            )
        )
        info = line((f"{len(shown)} of {len(self.choices)}", Role.QUIET))
        title = line(("Commands", Role.STRONG))
        return frame(title, info, body, cells, self.glyphs, is_focused=True)

    def _row(self, entry: Entry, cells: int, *, is_chosen: bool) -> Line:
        tail = pad(entry.sign, 10, is_right=True)
        place = f"  {entry.place}"
        room = cells - 2 - len(place) - cell_width(tail)
        words = pad(cut(one_line(entry.words), room, self.glyphs.ellipsis), room)
        return line(
            (f"{self.glyphs.arrow} " if is_chosen else "  ", Role.ACCENT),
            (words, Role.STRONG if is_chosen else Role.TEXT),
            (place, Role.QUIET),
            (tail, Role.KEY),
        )

    def _run(self, place: int) -> None:
        shown = self.shown
        if 0 <= place < len(shown):
            self.dismiss(shown[place])


def _haystack(entry: Entry) -> str:
    return f"{entry.short} {entry.words} {entry.place} {entry.sign}".lower()


def _rank(entry: Entry, word: str) -> int:
    words = entry.words.lower()
    if entry.short.startswith(word) or words.startswith(word):
        return 0
    return 1 if f" {word}" in words else 2
