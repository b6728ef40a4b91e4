"""Lines that are made for the room that there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_tui.widgets.canvas import Canvas

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aisquad_tui.ink import Line
    from aisquad_tui.theme import Look


class Sheet(Canvas):
    """Shows what a pure view makes of its size.

    Args:
        look: How roles look.
        view: Returns lines for so many cells and rows.
        id: The widget's id.
    """

    DEFAULT_CSS = "Sheet { height: 1fr; width: 1fr; }"

    def __init__(
        self, look: Look, view: Callable[[int, int], Sequence[Line]], *, id: str | None = None
    ) -> None:
        super().__init__(look, id=id)
        self._view = view

    def redraw(self) -> None:
        """Draw what changed."""
        if self.size.width and self.size.height:
            self.draw_lines(self._view(self.size.width, self.size.height))

    def on_resize(self) -> None:
        """Fit the new size."""
        self.redraw()
