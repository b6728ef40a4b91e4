"""Everything in one line, for terminals that have room for a table and little more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_core.model import WorkStatus
from aisquad_core.sanitise import one_line
from aisquad_tui.formatting import cut_words
from aisquad_tui.ink import Role, line
from aisquad_tui.views.header import counters
from aisquad_tui.views.layout import Piece, fitted, joined

if TYPE_CHECKING:
    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line
    from aisquad_tui.store import Picture

LEAST_CELLS, LEAST_ROWS = 40, 10
"""Under this there is only a sentence."""


def status(picture: Picture, cells: int, glyphs: Glyphs, *, is_lasting: bool = False) -> Line:
    """Return what runs, waits and failed, and how busy the machine is.

    Args:
        picture: What is known of the engine.
        cells: How many the line takes.
        glyphs: The signs of the terminal.
        is_lasting: Whether an engine that is away is tried for again.
    """
    engine = picture.engine
    if picture.lost_at is not None:
        since = f" engine away since {picture.lost_at.astimezone():%H:%M:%S}"
        again = ", trying again" if is_lasting else ""
        return fitted(line((since + again, Role.QUIET)), cells, glyphs)
    if engine is not None and engine.trouble:
        said = f" {glyphs.item[WorkStatus.FAILED]} {one_line(engine.trouble)}"
        return fitted(line((cut_words(said, cells, glyphs.ellipsis), Role.BAD)), cells, glyphs)
    pieces = counters(picture.counts)
    if engine is not None:
        workers = f"{picture.counts.running} of {engine.parallelism} workers"
        pieces.append(Piece(line((workers, Role.QUIET)), 20, gap=3))
    if picture.history:
        load = picture.history[-1]
        pieces.append(Piece(line(("CPU ", Role.QUIET), f"{load.cpu_percent:.0f} %"), 30, gap=3))
        pieces.append(Piece(line(("MEM ", Role.QUIET), f"{load.memory_percent:.0f} %"), 25))
    return fitted(line(" ", *joined(pieces, cells - 1)), cells, glyphs)


def too_small(cells: int, rows: int) -> str:
    """Say that there is no room; empty when there is."""
    if cells >= LEAST_CELLS and rows >= LEAST_ROWS:
        return ""
    needs = f"aisquad needs {LEAST_CELLS}x{LEAST_ROWS}"
    return next(
        said
        for said in (
            f"{needs}; this terminal has {cells}x{rows}",
            f"{needs}, not {cells}x{rows}",
            needs,
        )
        if len(said) <= cells or said is needs
    )
