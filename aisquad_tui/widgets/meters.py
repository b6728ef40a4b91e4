"""CPU, memory and workers over the last minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_tui.views import meters
from aisquad_tui.views.layout import dimmed
from aisquad_tui.widgets.canvas import Canvas

if TYPE_CHECKING:
    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.store import Picture
    from aisquad_tui.theme import Look


class Meters(Canvas):
    """Three boxes beside each other, or two lines where there is little room.

    Args:
        look: How roles look.
        glyphs: The signs of the terminal.
        id: The widget's id.
    """

    DEFAULT_CSS = f"Meters {{ height: {meters.BOX_ROWS}; width: 1fr; }}"

    def __init__(self, look: Look, glyphs: Glyphs, *, id: str | None = None) -> None:
        super().__init__(look, id=id)
        self._glyphs = glyphs
        self._is_boxed = True
        self._picture: Picture | None = None

    @property
    def is_boxed(self) -> bool:
        """Whether they are boxes; setting it changes the height."""
        return self._is_boxed

    @is_boxed.setter
    def is_boxed(self, is_boxed: bool) -> None:
        if is_boxed is not self._is_boxed:
            self._is_boxed = is_boxed
            self.styles.height = meters.BOX_ROWS if is_boxed else meters.LINE_ROWS
            self._redraw()

    def show(self, picture: Picture) -> None:
        """Show the newest samples of a picture."""
        self._picture = picture
        self._redraw()

    def on_resize(self) -> None:
        """Fit the new width."""
        self._redraw()

    def _redraw(self) -> None:
        if self._picture is None or not self.size.width:
            return
        draw = meters.boxes if self._is_boxed else meters.lines
        drawn = draw(self._picture, self.size.width, self._glyphs)
        self.draw_lines([dimmed(each) for each in drawn] if self._picture.lost_at else drawn)
