"""Samples over time as a row of heights: what sparklines are drawn from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from aisquad_tui.ink import Role, line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aisquad_core.api import Load
    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line

_STEPS_S = (2, 5, 10, 20, 30, 60, 120)
"""Seconds that a column may stand for: between two steps only the newest column changes."""
_SHOWN_S = 180
"""Seconds of history that the columns should cover once there is as much."""

Heights = tuple[float | None, ...]
"""A value for each column, oldest first; None where nothing is known."""


def heights(history: Sequence[Load], value: Callable[[Load], float], columns: int) -> Heights:
    """Return the highest value of each column's time, the newest at the right.

    A column without a sample keeps the value before it. Columns begin at whole steps of the wall
    clock, so that they move on together, every few seconds.
    """
    if not history or columns <= 0:
        return (None,) * max(0, columns)
    newest = history[-1].at.timestamp()
    span_s = min(_SHOWN_S, newest - history[0].at.timestamp())
    step_s = next((step for step in _STEPS_S if step * columns >= span_s), _STEPS_S[-1])
    last = math.floor(newest / step_s)
    shown: list[float | None] = [None] * columns
    before: float | None = None
    for load in history:
        place = math.floor(load.at.timestamp() / step_s) - last + columns - 1
        if place >= columns:  # the wall clock was set back
            continue
        if place < 0:
            before = value(load)
            continue
        known = shown[place]
        shown[place] = value(load) if known is None else max(known, value(load))
    for place, known in enumerate(shown):
        before = shown[place] = before if known is None else known
    return tuple(shown)


def sparkline(
    values: Heights,
    top: float,
    rows: int,
    glyphs: Glyphs,
    *,
    role: Role = Role.ACCENT,
    limit: float | None = None,
) -> list[Line]:
    """Return rows of block glyphs, upper row first; a value over the limit has the role WARN.

    Args:
        values: A value for each column.
        top: The value of a full column.
        rows: How many rows high it is.
        glyphs: The signs of the terminal.
        role: Of values that are not over the limit.
        limit: Highest value that is well; None: none is.
    """
    steps = len(glyphs.levels)
    levels = [
        0 if value is None else min(rows * steps, max(1, round(value / top * rows * steps)))
        for value in values
    ]
    roles = [
        Role.WARN if limit is not None and value is not None and value > limit else role
        for value in values
    ]
    drawn = []
    for row in reversed(range(rows)):
        signs = [min(steps, max(0, level - row * steps)) for level in levels]
        drawn.append(_runs([glyphs.levels[sign - 1] if sign else " " for sign in signs], roles))
    return drawn


def _runs(signs: Sequence[str], roles: Sequence[Role]) -> Line:
    """Return signs as few spans as their roles allow."""
    spans: list[tuple[str, Role]] = []
    for sign, role in zip(signs, roles, strict=True):
        if spans and spans[-1][1] is role:
            spans[-1] = (spans[-1][0] + sign, role)
        else:
            spans.append((sign, role))
    return line(*spans)
