"""What is worth calling the operator back to the screen: a convoy's end, its first failure.

Each is told once, and not what had happened before the screen knew of it. It draws nothing and
rings nothing by itself; `ring` makes what the terminal is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_core.model import FAILURE_STATUSES
from aisquad_core.sanitise import one_line
from aisquad_tui.formatting import count
from aisquad_tui.views.notice import ending

if TYPE_CHECKING:
    from datetime import datetime

    from aisquad_core.api import ConvoyView
    from aisquad_tui.store import Frame
    from aisquad_tui.surroundings import Terminal

_LONGEST = 200
"""Characters of a notification."""
_BELL = "\x07"
_GOING, _FAILING, _ENDED = range(3)
"""How far a convoy is."""


class Herald:
    """Finds in frames what the operator is to be called for.

    Args:
        since: When the screen began; a convoy that is younger is news, however soon it ended.
        is_ascii: Whether the terminal shows ASCII alone.
    """

    def __init__(self, since: datetime, *, is_ascii: bool = False) -> None:
        self._since = since
        self._is_ascii = is_ascii
        self._told: dict[str, int] = {}
        """How far each convoy was when it was last told of, or first seen."""
        self._is_new = True
        """Whether the next picture is the first, or the first of an engine that came back."""

    def news_of(self, frame: Frame) -> str:
        """Return what to say, in one line; empty: there is no need to call anybody."""
        picture = frame.picture
        if picture.lost_at is not None or picture.engine is None:
            self._is_new = True
            return ""
        said: list[str] = []
        for convoy in picture.convoys.values():
            stage = _stage(convoy)
            is_old = self._is_new and convoy.created_at <= self._since
            before = self._told.get(convoy.id, stage if is_old else _GOING)
            self._told[convoy.id] = max(before, stage)
            if stage > before:
                said.append(ending(convoy) if stage == _ENDED else _failure(convoy, frame))
        if len(self._told) > len(picture.convoys):
            self._told = {id: self._told[id] for id in picture.convoys}
        self._is_new = False
        return self._joined(said)

    def _joined(self, said: list[str]) -> str:
        if not said:
            return ""
        more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
        text = one_line(f"aisquad: {said[0]}", _LONGEST - len(more)) + more
        return text.encode("ascii", "replace").decode("ascii") if self._is_ascii else text


def ring(text: str, terminal: Terminal) -> str:
    """Return what makes a terminal ring, and notify the desktop if it can (OSC 9).

    Args:
        text: What to say; it begins with a word, since numbers there mean other things.
        terminal: Whether it is tmux or screen, which hand on only what is wrapped.
    """
    notification = f"\x1b]9;{one_line(text, _LONGEST)}{_BELL}"
    match terminal.multiplexer:
        case "tmux":
            notification = "\x1bPtmux;" + notification.replace("\x1b", "\x1b\x1b") + "\x1b\\"
        case "screen":
            notification = f"\x1bP{notification}\x1b\\"
    return f"{_BELL}{notification}"


def _stage(convoy: ConvoyView) -> int:
    if convoy.status.is_final:
        return _ENDED
    return _FAILING if convoy.counts.failed + convoy.counts.lost else _GOING


def _failure(convoy: ConvoyView, frame: Frame) -> str:
    """Say what was the first to fail: `lint-all: fix-api failed, exit 1`."""
    name = one_line(convoy.name)
    for key, item in frame.items.items():
        if key.convoy_id == convoy.id and item.status in FAILURE_STATUSES:
            why = one_line(item.error or "", 60)
            if not why and item.exit_code is not None:
                why = f"exit {item.exit_code}"
            return f"{name}: {one_line(item.id)} failed" + (f", {why}" if why else "")
    return f"{name}: {count(convoy.counts.failed + convoy.counts.lost)} failed"
