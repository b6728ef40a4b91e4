"""The first line of the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_tui.views.header import header
from aisquad_tui.widgets.canvas import Canvas

if TYPE_CHECKING:
    from datetime import datetime

    from aisquad_tui.store import Picture
    from aisquad_tui.surroundings import Surroundings
    from aisquad_tui.theme import Look


class HeaderLine(Canvas):
    """Says where this is, since when, what runs, and what ails the engine.

    Args:
        look: How roles look.
        surroundings: Where the screen runs.
        id: The widget's id.
    """

    DEFAULT_CSS = "HeaderLine { height: 1; width: 1fr; }"

    def __init__(self, look: Look, surroundings: Surroundings, *, id: str | None = None) -> None:
        super().__init__(look, id=id)
        self._surroundings = surroundings
        self._shown: tuple[Picture, datetime, datetime | None] | None = None

    def show(self, picture: Picture, now: datetime, held_since: datetime | None = None) -> None:
        """Show the picture at a moment; `held_since` when the operator holds the screen still."""
        self._shown = (picture, now, held_since)
        self._redraw()

    def on_resize(self) -> None:
        """Fit the new width."""
        self._redraw()

    def _redraw(self) -> None:
        if self._shown is not None and self.size.width:
            picture, now, held_since = self._shown
            cells = self.size.width
            self.draw_lines(
                [header(picture, self._surroundings, now, cells, held_since=held_since)]
            )
