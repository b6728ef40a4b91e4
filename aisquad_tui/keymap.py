"""Every key: where it works, what it does, what the footer and the help say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.binding import Binding

from aisquad_tui.history_keys import HISTORY_KEYS
from aisquad_tui.key import Key, Place

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["KEYS", "Key", "Place", "at", "bindings", "footer"]

_LISTS = (Place.CONVOYS, Place.WORK)
_LOGS = (Place.LOG, Place.OPERATION)
_WORK = (Place.WORK, Place.OPERATION)
_ALL = (*_LISTS, Place.OPERATION)
_DEEPER = (*_LOGS, Place.HISTORY)

KEYS: tuple[Key, ...] = (
    Key(keys="enter", action="open", word="open", help="go deeper", places=_LISTS, rank=80),
    Key(keys="l", action="log", word="log", help="show the log", places=(Place.WORK,), rank=60),
    Key(keys="n", action="new", word="new", help="new convoy", places=_LISTS, rank=85),
    Key(
        keys="x",
        action="cancel",
        word="cancel",
        help="cancel: TERM, grace, KILL; asks first",
        places=_ALL,
        rank=75,
    ),
    Key(
        keys="X",
        action="kill",
        word="kill",
        help="kill now, without grace; asks harder",
        places=_ALL,
    ),
    Key(keys="r", action="retry", word="retry", help="retry what ended", places=_ALL, rank=55),
    Key(
        keys="p",
        action="pause",
        word="pause",
        help="pause or resume the convoy",
        places=_ALL,
        rank=40,
    ),
    Key(
        keys="plus",
        action="more",
        word="more",
        help="one worker more (pins)",
        places=(Place.EVERYWHERE,),
        shown="+",
    ),
    Key(
        keys="minus",
        action="fewer",
        word="fewer",
        help="one worker fewer (pins)",
        places=(Place.EVERYWHERE,),
        shown="-",
    ),
    Key(
        keys="equals_sign",
        action="auto",
        word="auto",
        help="parallelism back to auto",
        places=(Place.EVERYWHERE,),
        shown="=",
    ),
    Key(
        keys="slash",
        action="filter",
        word="filter",
        help="filter: text, !not, field:value, /regex/",
        places=_LISTS,
        rank=70,
        shown="/",
    ),
    Key(keys="F", action="failures", word="failures", help="show only what failed", places=_LISTS),
    Key(
        keys="space",
        action="mark",
        word="mark",
        help="mark or unmark the row",
        places=(Place.WORK,),
        rank=20,
    ),
    Key(
        keys="asterisk",
        action="mark_all",
        word="mark all",
        help="mark all that the filter shows",
        places=(Place.WORK,),
        shown="*",
    ),
    Key(keys="U", action="unmark", word="unmark", help="unmark all", places=(Place.WORK,)),
    Key(
        keys="s",
        action="sort",
        word="sort",
        help="sort by the next column",
        places=(Place.WORK,),
        rank=15,
    ),
    Key(
        keys="R",
        action="reverse",
        word="reverse",
        help="turn the order round",
        places=(Place.WORK,),
    ),
    Key(
        keys="z",
        action="zoom",
        word="zoom",
        help="this pane alone, or all again",
        places=(*_LISTS, Place.OPERATION, Place.HISTORY),
        rank=10,
    ),
    Key(
        keys="Z",
        action="hold",
        word="hold",
        help="hold the screen still, or let it go on",
        places=(Place.DASHBOARD, Place.HISTORY),
    ),
    Key(
        keys="y",
        action="copy",
        word="copy",
        help="copy to your clipboard",
        places=(*_ALL, Place.LOG),
        rank=12,
    ),
    Key(keys="tab", action="next_pane", word="pane", help="next pane", places=(Place.DASHBOARD,)),
    Key(
        keys="shift+tab",
        action="previous_pane",
        word="pane",
        help="previous pane",
        places=(Place.DASHBOARD,),
    ),
    Key(keys="1", action="pane(1)", word="convoys", help="the convoys", places=(Place.DASHBOARD,)),
    Key(keys="2", action="pane(2)", word="work", help="the work", places=(Place.DASHBOARD,)),
    Key(
        keys="f",
        action="follow",
        word="follow",
        help="follow the end of the log, or stand still",
        places=_LOGS,
        rank=50,
    ),
    Key(
        keys="slash",
        action="search",
        word="search",
        help="search the log: text or /regex/",
        places=_LOGS,
        rank=70,
        shown="/",
    ),
    Key(keys="n", action="next_match", word="next", help="next match", places=_LOGS),
    Key(keys="N", action="previous_match", word="previous", help="previous match", places=_LOGS),
    Key(
        keys="w",
        action="wrap",
        word="wrap",
        help="wrap long lines, or cut them",
        places=_LOGS,
        rank=30,
    ),
    Key(keys="S", action="save", word="save", help="save the log to a file", places=_LOGS, rank=25),
    Key(
        keys="o",
        action="result",
        word="result",
        help="the result instead of the log, or back",
        places=_LOGS,
    ),
    Key(
        keys="less_than_sign",
        action="previous_try",
        word="try",
        help="the try before",
        places=_LOGS,
        shown="<",
    ),
    Key(
        keys="greater_than_sign",
        action="next_try",
        word="try",
        help="the next try",
        places=_LOGS,
        shown=">",
    ),
    *HISTORY_KEYS,
    Key(
        keys="escape",
        action="back",
        word="back",
        help="clear the filter, close, back",
        places=(Place.EVERYWHERE,),
        rank=35,
        shown="esc",
    ),
    Key(
        keys="H",
        action="history",
        word="history",
        help="load, workers, throughput and durations over time",
        places=(Place.EVERYWHERE,),
        rank=8,
    ),
    Key(
        keys="colon,ctrl+p",
        action="palette",
        word="commands",
        help="every action by its name",
        places=(Place.EVERYWHERE,),
        rank=14,
        shown=":",
    ),
    Key(keys="T", action="theme", word="theme", help="dark or light", places=(Place.EVERYWHERE,)),
    Key(
        keys="ctrl+l",
        action="redraw",
        word="redraw",
        help="draw the whole screen again",
        places=(Place.EVERYWHERE,),
    ),
    Key(
        keys="ctrl+z",
        action="suspend",
        word="suspend",
        help="suspend; `fg` comes back",
        places=(Place.EVERYWHERE,),
    ),
    Key(
        keys="ctrl+c",
        action="interrupt",
        word="copy",
        help="copy a selection; never stops work",
        places=(Place.EVERYWHERE,),
    ),
    Key(keys="q", action="leave", word="back", help="back", places=_DEEPER),
    Key(
        keys="q",
        action="leave",
        word="leave",
        help="back; at the dashboard leave",
        places=(Place.EVERYWHERE,),
        rank=90,
    ),
    Key(
        keys="ctrl+q",
        action="leave_now",
        word="leave",
        help="leave from anywhere",
        places=(Place.EVERYWHERE,),
    ),
    Key(
        keys="question_mark,f1",
        action="help",
        word="help",
        help="the keys, this place first",
        places=(Place.EVERYWHERE,),
        rank=100,
        shown="?",
    ),
)
"""In the order of the footer and the help."""


def at(*places: Place) -> tuple[Key, ...]:
    """Return the keys that work at any of these places.

    What a key does at one of them comes before what it does everywhere.
    """
    found = [key for key in KEYS if set(key.places) & set(places)]
    taken = {key.keys for key in found if Place.EVERYWHERE not in key.places}
    return tuple(
        key for key in found if Place.EVERYWHERE not in key.places or key.keys not in taken
    )


def bindings(*places: Place) -> list[Binding]:
    """Return the bindings of these places, for a screen or widget that has the actions."""
    return [Binding(key.keys, key.action, key.word, show=False) for key in at(*places)]


def footer(keys: Iterable[Key], cells: int) -> list[Key]:
    """Return the keys that fit into a footer of so many cells, the least important dropped."""
    shown = [key for key in keys if key.rank]
    while shown and sum(len(key.sign) + len(key.word) + 3 for key in shown) - 2 > cells - 2:
        shown.remove(min(shown, key=lambda key: key.rank))
    return shown
