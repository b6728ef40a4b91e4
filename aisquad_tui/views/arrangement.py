"""What of the dashboard is shown where, by the size of the terminal. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from aisquad_tui.views.meters import BOX_ROWS, LINE_ROWS
from aisquad_tui.views.status import too_small

_EDGES = 3
"""Rows of a list's box that are not its rows."""
_LOG_ROWS = 14


class Pane(StrEnum):
    """A pane that can be alone."""

    CONVOYS = "convoys"
    WORK = "work"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """The parts of the dashboard."""

    sentence: str = ""
    """Shown in place of everything else; empty: there is room."""
    is_small: bool = False
    """Whether there is room for the table and one line only."""
    has_meters: bool = False
    has_boxes: bool = False
    """Whether the meters are boxes and not lines."""
    has_convoys: bool = False
    has_work: bool = False
    is_wide: bool = False
    """Whether the convoys stand at the left of the work and not above it."""
    convoy_rows: int = 0
    """Rows of the convoys' box, where it stands above the work."""
    convoy_cells: int = 0
    """Cells of the convoys' box, where it stands at the left."""
    log_rows: int = 0
    """Rows of the box with the selected row's log; 0: there is none."""


def arrange(cells: int, rows: int, *, convoys: int, zoomed: Pane | None = None) -> Arrangement:
    """Return what a terminal has room for.

    Args:
        cells: Its columns.
        rows: Its rows.
        convoys: How many rows of convoys are wanted.
        zoomed: The pane that is to be alone.
    """
    sentence = too_small(cells, rows)
    if sentence:
        return Arrangement(sentence=sentence)
    if cells < 80 or rows < 24:
        has_convoys = zoomed is Pane.CONVOYS
        return Arrangement(is_small=True, has_convoys=has_convoys, has_work=not has_convoys)
    if zoomed is not None:
        is_convoys = zoomed is Pane.CONVOYS
        return Arrangement(has_convoys=is_convoys, has_work=not is_convoys)
    has_boxes = cells >= 100 and rows >= 30
    rest = rows - 2 - (BOX_ROWS if has_boxes else LINE_ROWS)
    is_wide = cells >= 200
    return Arrangement(
        has_meters=True,
        has_boxes=has_boxes,
        has_convoys=True,
        has_work=True,
        is_wide=is_wide,
        convoy_rows=_EDGES + min(max(3, min(8, convoys)), max(3, rest // 4)),
        convoy_cells=cells * 2 // 5,
        log_rows=_LOG_ROWS if is_wide and rest >= 3 * _LOG_ROWS else 0,
    )
