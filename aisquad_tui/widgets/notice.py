"""The line above the footer: what an action led to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_tui.views.notice import notice
from aisquad_tui.widgets.canvas import Canvas

if TYPE_CHECKING:
    from textual.timer import Timer

    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.theme import Look

_SHOWN_S = 10.0
_ERROR_SHOWN_S = 30.0


class Notice(Canvas):
    """Shows one sentence for a while; a failure stays longer.

    Args:
        look: How roles look.
        glyphs: The signs of the terminal.
        id: The widget's id.
    """

    DEFAULT_CSS = "Notice { height: 1; width: 1fr; }"

    def __init__(self, look: Look, glyphs: Glyphs, *, id: str | None = None) -> None:
        super().__init__(look, id=id)
        self._glyphs = glyphs
        self._text, self._is_error = "", False
        self._timer: Timer | None = None

    @property
    def text(self) -> str:
        """What is shown; empty: nothing."""
        return self._text

    def show(self, text: str, *, is_error: bool = False) -> None:
        """Show a sentence in place of the one before."""
        self._text, self._is_error = text, is_error
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(_ERROR_SHOWN_S if is_error else _SHOWN_S, self.clear)
        self._redraw()

    def clear(self) -> None:
        """Show nothing."""
        self._text, self._is_error = "", False
        self._redraw()

    def on_resize(self) -> None:
        """Fit the new width."""
        self._redraw()

    def _redraw(self) -> None:
        if self.size.width:
            cells = self.size.width
            self.draw_lines([notice(self._text, cells, self._glyphs, is_error=self._is_error)])
