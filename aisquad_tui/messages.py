"""What a screen wishes to happen; the app's steering asks the operator and calls the engine.

Screens and widgets post these and nothing else: they hold no engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_core.model import ItemKey
    from aisquad_core.spec import ConvoySource


class Wish(Message):
    """Something that the operator wants done; bubbles up to the app."""

    def __init_subclass__(cls) -> None:
        """Keep apart from Textual's own messages, of which some have the same names."""
        super().__init_subclass__(namespace="squad")


class CancelItems(Wish):
    """Cancel these items, at once if `is_kill`."""

    def __init__(self, keys: Sequence[ItemKey], *, is_kill: bool = False) -> None:
        super().__init__()
        self.keys = tuple(keys)
        self.is_kill = is_kill


class CancelConvoy(Wish):
    """Cancel all of a convoy, at once if `is_kill`."""

    def __init__(self, convoy_id: str, *, is_kill: bool = False) -> None:
        super().__init__()
        self.convoy_id = convoy_id
        self.is_kill = is_kill


class RetryItems(Wish):
    """Put these items back."""

    def __init__(self, keys: Sequence[ItemKey]) -> None:
        super().__init__()
        self.keys = tuple(keys)


class TogglePause(Wish):
    """Pause a convoy, or let a paused one go on."""

    def __init__(self, convoy_id: str) -> None:
        super().__init__()
        self.convoy_id = convoy_id


class ChangeParallelism(Wish):
    """Pin the parallelism so many more (or fewer) than now; None: give it back to auto."""

    def __init__(self, change: int | None) -> None:
        super().__init__()
        self.change = change


class LaunchConvoy(Wish):
    """Launch this."""

    def __init__(self, source: ConvoySource) -> None:
        super().__init__()
        self.source = source


class NewConvoy(Wish):
    """Open the launch dialog, with the text of an input if there is one."""


class OpenItem(Wish):
    """Open the operation view of an item, its log first if `is_log`."""

    def __init__(self, key: ItemKey, *, is_log: bool = False) -> None:
        super().__init__()
        self.key = key
        self.is_log = is_log


class OpenHistory(Wish):
    """Open the history, with a convoy that it can be narrowed to; None: none is selected."""

    def __init__(self, convoy_id: str | None) -> None:
        super().__init__()
        self.convoy_id = convoy_id


class CopyText(Wish):
    """Put text on the operator's own clipboard; `what` names it for people."""

    def __init__(self, text: str, what: str) -> None:
        super().__init__()
        self.text = text
        self.what = what


class Notify(Wish):
    """Tell the operator something: one sentence, which may say what to do next."""

    def __init__(self, text: str, *, is_error: bool = False) -> None:
        super().__init__()
        self.text = text
        self.is_error = is_error


class OpenHelp(Wish):
    """Open the help, this place first."""


class OpenPalette(Wish):
    """Open the command palette."""


class Leave(Wish):
    """Leave the screen; asks if the engine is embedded and work runs."""


class HoldScreen(Wish):
    """Hold the screen still, or let it go on."""

    def __init__(self, *, is_held: bool) -> None:
        super().__init__()
        self.is_held = is_held
