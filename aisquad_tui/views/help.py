"""All keys by place, and what is worth knowing beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_tui.formatting import pad
from aisquad_tui.ink import Role, line
from aisquad_tui.keymap import KEYS, Key, Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aisquad_tui.ink import Line

_SIGN_CELLS = 14
_NAMES = {
    "escape": "esc",
    "plus": "+",
    "minus": "-",
    "equals_sign": "=",
    "slash": "/",
    "colon": ":",
    "question_mark": "?",
    "asterisk": "*",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "f1": "F1",
}
_MOVING = (
    ("arrows  j k", "up and down; also the mouse and its wheel"),
    ("PgUp PgDn", "a page; ctrl+u and ctrl+d half of one"),
    ("g G", "first and last; also Home and End"),
)
_FILTER = (
    ("word", "in the id, agent, error or reason; several: all of them"),
    ("!word", "not that"),
    ("status:failed", "a field: status agent convoy id exit error reason"),
    ("status:running,failed", "one of them"),
    ('"two words"', "together"),
    ("/regex/", "a regular expression"),
)


def places_in_order(here: Iterable[Place]) -> list[Place]:
    """Return all places, those where the operator is first."""
    return list(dict.fromkeys((*here, *Place)))


def signs(key: Key) -> str:
    """Return all keys of an action as people read them: `:  ctrl+p`."""
    first, *others = key.keys.split(",")
    return "  ".join([key.shown or _NAMES.get(first, first), *(_NAMES.get(k, k) for k in others)])


def help_lines(here: Sequence[Place], *, is_embedded: bool, has_mouse: bool) -> list[Line]:
    """Return the whole help: the keys of this place first."""
    lines: list[Line] = []
    for place in places_in_order(here):
        keys = [key for key in KEYS if place in key.places]
        mark = " (here)" if here and place is here[0] else ""
        lines += _section(f"{place}{mark}", ((signs(key), key.help) for key in keys))
        if place in {Place.WORK, Place.CONVOYS} and "Moving" not in _titles(lines):
            lines += _section("Moving", _MOVING)
    lines += _section("Filter", _FILTER)
    asks = (
        "asks when work runs: stop it, or let it run on"
        if is_embedded
        else "and the work goes on in the engine"
    )
    lines += _section("Leaving", (("q", f"leaves the screen; {asks}"),))
    if has_mouse:
        text = (("shift+drag", "selects text as the terminal does (option+drag on a Mac)"),)
        lines += _section("Selecting text", text)
    return lines[:-1]


def _section(title: str, rows: Iterable[tuple[str, str]]) -> list[Line]:
    body = [
        line("  ", (pad(sign, max(_SIGN_CELLS, len(sign) + 2)), Role.KEY), text)
        for sign, text in rows
    ]
    return [line((title, Role.STRONG)), *body, ()]


def _titles(lines: Iterable[Line]) -> set[str]:
    return {spans[0][0] for spans in lines if spans and spans[0][1] is Role.STRONG}
