"""What a key is, and the places where keys work."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Place(StrEnum):
    """Where keys work; its value heads a section of the help."""

    DASHBOARD = "Dashboard"
    CONVOYS = "Convoys"
    WORK = "Work"
    OPERATION = "Operation"
    LOG = "Log"
    HISTORY = "History"
    EVERYWHERE = "Everywhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One action and its keys.

    Bound to the method `action_NAME` of the screen or widget of its place.
    """

    keys: str
    """As Textual names them, comma separated; the first is the one shown."""
    action: str
    word: str
    """What the footer says: a verb, a word."""
    help: str
    """What help and palette say: a sentence part, in the imperative."""
    places: tuple[Place, ...]
    rank: int = 0
    """Higher stays longer in a narrow footer; 0: not in the footer."""
    shown: str | None = None
    """The key as people read it; None: the first of `keys`."""

    @property
    def sign(self) -> str:
        """The key as people read it."""
        return self.shown or self.keys.split(",")[0]
