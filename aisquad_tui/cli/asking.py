"""A question before something is changed, and the items that it is about."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from aisquad_core.errors import InputError
from aisquad_core.model import ItemKey
from aisquad_core.sanitise import one_line
from aisquad_tui.cli.shapes import document, record
from aisquad_tui.formatting import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_core.api import ItemView
    from aisquad_tui.cli.terminal import Terminal

_MOST_NAMED = 10


def key_of(item: ItemView) -> ItemKey:
    """Return the item's name across convoys."""
    return ItemKey(item.convoy_id, item.id)


def item_lines(items: Sequence[ItemView]) -> list[str]:
    """Return a line for each item: its name and how it stands."""
    return [f"{one_line(str(key_of(item)))}  {item.status.word}" for item in items]


def show_items(items: Sequence[ItemView], terminal: Terminal, *, is_json: bool) -> None:
    """Print what a command would change."""
    if is_json:
        terminal.out.line(document([record(item) for item in items]))
        return
    for line in item_lines(items):
        terminal.out.line(line)


def is_confirmed(question: str, lines: Sequence[str], terminal: Terminal) -> bool:
    """Ask, below the first of some lines; only `y` or `yes` is a yes.

    Raises:
        InputError: Nobody can answer here.
    """
    if not sys.stdin.isatty() or not terminal.err.is_terminal:
        raise InputError(f"{question}? Nobody can answer here: --yes says so beforehand")
    for line in lines[:_MOST_NAMED]:
        terminal.say(f"  {line}")
    if len(lines) > _MOST_NAMED:
        terminal.say(f"  and {plural(len(lines) - _MOST_NAMED, 'more', 'more')}")
    terminal.err.file.write(f"{question}? [y/N] ")
    terminal.err.file.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
