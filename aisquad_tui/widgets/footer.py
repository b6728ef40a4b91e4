"""The last line of the screen: keys, which can be clicked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_tui.views.footer import footer, key_at
from aisquad_tui.widgets.canvas import Canvas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.events import Click

    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.keymap import Key
    from aisquad_tui.theme import Look


class KeyLine(Canvas):
    """Tells the keys that work here and now; a click on one presses it.

    Args:
        look: How roles look.
        glyphs: The signs of the terminal.
        id: The widget's id.
    """

    DEFAULT_CSS = "KeyLine { height: 1; width: 1fr; }"

    def __init__(self, look: Look, glyphs: Glyphs, *, id: str | None = None) -> None:
        super().__init__(look, id=id)
        self._glyphs = glyphs
        self._keys: tuple[Key, ...] = ()

    def show(self, keys: Sequence[Key]) -> None:
        """Show these keys, as far as there is room."""
        self._keys = tuple(keys)
        self._redraw()

    def on_resize(self) -> None:
        """Fit the new width."""
        self._redraw()

    def on_click(self, event: Click) -> None:
        """Press the key under the pointer."""
        key = key_at(self._keys, event.x, self.size.width)
        if key is not None:
            event.stop()
            self.app.simulate_key(key.keys.split(",")[0])

    def _redraw(self) -> None:
        if self.size.width:
            self.draw_lines([footer(self._keys, self.size.width, self._glyphs)])
