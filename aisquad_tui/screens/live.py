"""What every screen that shows the engine has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message
from textual.screen import Screen

from aisquad_tui.keymap import Place
from aisquad_tui.messages import ChangeParallelism, OpenHelp, OpenHistory, OpenPalette

if TYPE_CHECKING:
    from aisquad_tui.store import Frame
    from aisquad_tui.surroundings import Surroundings
    from aisquad_tui.theme import Look


class LiveScreen(Screen[None]):
    """A screen that is told each frame while it is in view.

    Args:
        surroundings: Where it runs.
        look: How roles look.
    """

    def __init__(self, surroundings: Surroundings, look: Look) -> None:
        super().__init__()
        self.surroundings = surroundings
        self.look = look

    class CameIntoView(Message):
        """This screen is on top now, and does not know what happened meanwhile."""

    def on_screen_resume(self) -> None:
        """Ask for a frame with all parts."""
        self.post_message(self.CameIntoView())

    def show_notice(self, text: str, *, is_error: bool = False) -> None:
        """Say something on the line above the keys."""
        raise NotImplementedError

    def show(self, frame: Frame) -> None:
        """Take what changed; called at most ten times a second, and with all parts on resume."""
        raise NotImplementedError

    def places(self) -> tuple[Place, ...]:
        """Return where its keys work, the nearest first: the order of the help."""
        return (Place.EVERYWHERE,)

    def convoy_at_hand(self) -> str | None:
        """Return the id of the convoy that the operator is at; None: at none."""
        return None

    def action_history(self) -> None:
        """Open the history."""
        self.post_message(OpenHistory(self.convoy_at_hand()))

    def action_more(self) -> None:
        """Pin the parallelism one higher."""
        self.post_message(ChangeParallelism(1))

    def action_fewer(self) -> None:
        """Pin the parallelism one lower."""
        self.post_message(ChangeParallelism(-1))

    def action_auto(self) -> None:
        """Give the parallelism back."""
        self.post_message(ChangeParallelism(None))

    def action_palette(self) -> None:
        """Open the command palette."""
        self.post_message(OpenPalette())

    def action_help(self) -> None:
        """Open the help."""
        self.post_message(OpenHelp())
