"""The first line: where this is, since when, and the three numbers that matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_core.model import WorkStatus
from aisquad_core.sanitise import one_line
from aisquad_tui.formatting import count, cut_words, elapsed, glyphs_for, uptime
from aisquad_tui.ink import Role, line, width
from aisquad_tui.views.layout import Piece, dimmed, fitted, joined

if TYPE_CHECKING:
    from datetime import datetime

    from aisquad_core.api import StatusCounts
    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line
    from aisquad_tui.store import Picture
    from aisquad_tui.surroundings import Surroundings

_SAFE = "what is recorded is safe"
_RUNNING, _QUEUED, _FAILED = _NUMBERS = (80, 70, 90)
"""Ranks of the three numbers."""


def header(
    picture: Picture,
    surroundings: Surroundings,
    now: datetime,
    cells: int,
    *,
    held_since: datetime | None = None,
) -> Line:
    """Return the first line.

    Args:
        picture: What is known of the engine.
        surroundings: Where the screen runs.
        now: The time, aware, in UTC.
        cells: How many the line takes.
        held_since: Since when the operator holds the screen still; None: it goes on.
    """
    glyphs = glyphs_for(surroundings.terminal.is_ascii)
    pieces = [
        Piece(line(("aisquad", Role.KEY)), 60),
        Piece(line((one_line(surroundings.place), Role.TEXT)), 40, gap=1),
        Piece(line((f"on {one_line(surroundings.host)}", Role.QUIET)), 10, gap=1),
        Piece(line(("demo", Role.WARN) if surroundings.is_demo else ""), 30),
        _state(picture, now, glyphs),
        *_trying(picture, surroundings),
        *_held(held_since, now),
        *_crowded(picture),
        *counters(picture.counts),
        *_leaving(picture, surroundings),
    ]
    trouble = picture.engine.trouble if picture.engine else None
    if trouble and picture.lost_at is None:
        whole = _in_trouble(trouble, pieces, cells - 1, glyphs)
    else:
        whole = joined(pieces, cells - 1)
    whole = dimmed(whole) if picture.lost_at else whole
    return fitted(line(" ", *whole), cells, glyphs)


def counters(counts: StatusCounts) -> list[Piece]:
    """Return what runs, what waits and what failed, which is the last to give way."""
    failed = counts.failed + counts.lost
    roles = (
        Role.TEXT if counts.running else Role.QUIET,
        Role.TEXT if counts.queued else Role.QUIET,
        Role.BAD if failed else Role.QUIET,
    )
    return [
        Piece(line((f"{count(counts.running)} running", roles[0])), _RUNNING, gap=3),
        Piece(line((f"{count(counts.queued)} queued", roles[1])), _QUEUED),
        Piece(line((f"{count(failed)} failed", roles[2])), _FAILED),
    ]


def _state(picture: Picture, now: datetime, glyphs: Glyphs) -> Piece:
    engine = picture.engine
    if picture.lost_at is not None:
        since = f"engine away since {picture.lost_at.astimezone():%H:%M:%S}"
        return Piece(line((f"{glyphs.waiting} {since}", Role.WARN)), 85)
    if engine is None:
        return Piece(line((f"{glyphs.waiting} waiting for the engine", Role.QUIET)), 85)
    if engine.phase != "running":
        return Piece(line((f"{glyphs.waiting} {engine.phase}", Role.WARN)), 85)
    up = f" up {uptime((now - engine.started_at).total_seconds())}"
    return Piece(line((glyphs.alive, Role.GOOD), up), 50)


def _trying(picture: Picture, surroundings: Surroundings) -> list[Piece]:
    if picture.lost_at is None or surroundings.is_embedded:
        return []
    pieces = [Piece(line((", trying again", Role.WARN)), 45, gap=0)]
    if picture.is_silent:
        pieces.insert(0, Piece(line((": does not answer", Role.WARN)), 84, gap=0))
    return pieces


def _held(held_since: datetime | None, now: datetime) -> list[Piece]:
    if held_since is None:
        return []
    held = f"held {elapsed((now - held_since).total_seconds())}"
    return [Piece(line((held, Role.WARN)), 86)]


def _crowded(picture: Picture) -> list[Piece]:
    """Say that launches are refused because the disk does not keep up."""
    engine = picture.engine
    if engine is None or picture.lost_at is not None or not engine.is_crowded:
        return []
    said = f"disk behind: {count(engine.writes_pending)} writes wait"
    return [Piece(line((said, Role.WARN)), 84)]


def _leaving(picture: Picture, surroundings: Surroundings) -> list[Piece]:
    if surroundings.is_embedded or picture.lost_at or not picture.counts.running:
        return []
    return [Piece(line(("q leaves, work goes on", Role.QUIET)), 5, gap=3)]


def _in_trouble(trouble: str, pieces: list[Piece], cells: int, glyphs: Glyphs) -> Line:
    """Return the line with the trouble in words before anything else."""
    name = pieces[0]._replace(rank=96)
    said = f"{glyphs.item[WorkStatus.FAILED]} {one_line(trouble)}"
    room = cells - width(name.spans) - 2
    alarm = Piece(line((cut_words(said, room, glyphs.ellipsis), Role.BAD)), 95)
    comfort = [] if "safe" in trouble else [Piece(line(f"; {_SAFE}"), 75, gap=0)]
    numbers = [piece for piece in pieces if piece.rank in _NUMBERS]
    return joined([name, alarm, *comfort, *numbers], cells)
