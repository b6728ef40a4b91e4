"""Hands frames to the screen in view, and everything anew to one that comes back into view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_tui.screens.live import LiveScreen
from aisquad_tui.store import Frame, Part, Picture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.widget import Widget


class Audience:
    """The live screen nearest to the operator, beneath a dialog too.

    Args:
        screens: Returns the screens that are open, the one on top last.
    """

    def __init__(self, screens: Callable[[], Sequence[Widget]]) -> None:
        self._screens = screens
        self._shown: LiveScreen | None = None
        self.picture = Picture()
        """The newest one."""

    @property
    def screen(self) -> LiveScreen | None:
        """The live screen that is on top of the others; None: none is open."""
        live = (screen for screen in reversed(self._screens()) if isinstance(screen, LiveScreen))
        return next(live, None)

    def show(self, frame: Frame) -> None:
        """Hand a frame on; the screen that did not get the ones before gets all parts."""
        self.picture = frame.picture
        screen = self.screen
        if screen is None:
            return
        if screen is not self._shown:
            frame = Frame(
                picture=frame.picture, parts=Part.ALL, items=frame.items, are_items_unknown=True
            )
        self._shown = screen
        screen.show(frame)

    def show_again(self) -> None:
        """Show what is known to a screen that has just come into view."""
        if self.screen is not self._shown and self.picture.engine is not None:
            self.show(Frame(picture=self.picture, parts=Part.ALL, items={}, are_items_unknown=True))
