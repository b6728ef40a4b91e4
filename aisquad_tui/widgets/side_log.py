"""The last lines of the selected row's log, where the terminal is wide and high enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_core.sanitise import one_line, sanitise
from aisquad_tui.formatting import cut
from aisquad_tui.ink import Role, line
from aisquad_tui.views.layout import dimmed, fitted, frame
from aisquad_tui.widgets.canvas import Canvas

if TYPE_CHECKING:
    from aisquad_core.model import ItemKey
    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line
    from aisquad_tui.theme import Look

READ_BYTES = 16_384
"""Bytes from a log's end that are enough for the last lines."""


class SideLog(Canvas):
    """Shows the end of one log.

    Args:
        look: How roles look.
        glyphs: The signs of the terminal.
        id: The widget's id.
    """

    DEFAULT_CSS = "SideLog { height: 12; width: 1fr; }"

    def __init__(self, look: Look, glyphs: Glyphs, *, id: str | None = None) -> None:
        super().__init__(look, id=id)
        self._glyphs = glyphs
        self._key: ItemKey | None = None
        self._lines: tuple[str, ...] = ()
        self._is_stale = False

    def stale(self, is_stale: bool) -> None:
        """Show whether the engine is away, so that what is shown may be old."""
        if is_stale is not self._is_stale:
            self._is_stale = is_stale
            self.redraw()

    def show(self, key: ItemKey | None, data: bytes, *, is_cut: bool = False) -> None:
        """Show the end of an item's log; None: no item is selected.

        Args:
            key: Whose log.
            data: Its last bytes.
            is_cut: Whether there are more before them, so that the first line may not be whole.
        """
        self._key, self._lines = key, last_lines(data)[1 if is_cut else 0 :]
        self.redraw()

    def on_resize(self) -> None:
        """Fit the new size."""
        self.redraw()

    def redraw(self) -> None:
        """Draw what changed."""
        cells, room = self.size.width, self.size.height - 2
        if cells < 4 or room < 1:
            self.draw([])
            return
        title = line(("Log", Role.STRONG))
        name = one_line(self._key.item_id) if self._key else ""
        info = line((cut(name, cells // 2, self._glyphs.ellipsis), Role.QUIET)) if name else ()
        body: list[Line] = [((text, Role.TEXT),) for text in self._lines[-room:]]
        if not body and self._key:
            body = [line(("no output yet", Role.QUIET))]
        body += [()] * (room - len(body))
        inner = [fitted(each, cells - 4, self._glyphs) for each in body]
        drawn = frame(title, info, inner, cells, self._glyphs)
        self.draw_lines([dimmed(each) for each in drawn] if self._is_stale else drawn)


def last_lines(data: bytes) -> tuple[str, ...]:
    """Return the lines of a log's end, harmless, each as it looks after its last overwriting."""
    lines = data.decode("utf-8", "replace").split("\n")
    seen = (each.rstrip("\r").rpartition("\r")[2] for each in lines)
    shown = [sanitise(each).expandtabs(8) for each in seen]
    while shown and not shown[-1].strip():
        shown.pop()
    return tuple(shown)
