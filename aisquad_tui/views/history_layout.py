"""Which panes of the history are shown where, by the size of the terminal. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class HistoryPane(StrEnum):
    """A pane of the history, in the order of their numbers."""

    LOAD = "load"
    WORKERS = "workers"
    RESIZES = "resizes"
    THROUGHPUT = "throughput"
    DURATIONS = "durations"
    SLOWEST = "slowest"
    AGENTS = "agents"


OPENING_PANES = frozenset({HistoryPane.RESIZES, HistoryPane.SLOWEST})
"""Panes in which a row can be opened."""


class Box(NamedTuple):
    """Where a pane is, in cells from the top left corner of all panes."""

    x: int
    y: int
    cells: int
    rows: int


_LEFT = {HistoryPane.LOAD: 14, HistoryPane.WORKERS: 10, HistoryPane.THROUGHPUT: 13}
"""What has a time axis stands beneath each other, with the share of the rows that it gets."""
_RIGHT = {
    HistoryPane.RESIZES: 10,
    HistoryPane.DURATIONS: 12,
    HistoryPane.SLOWEST: 9,
    HistoryPane.AGENTS: 6,
}
_PAGES = (
    {HistoryPane.LOAD: 9, HistoryPane.WORKERS: 7, HistoryPane.RESIZES: 5},
    {HistoryPane.THROUGHPUT: 9, HistoryPane.DURATIONS: 12},
    {HistoryPane.SLOWEST: 12, HistoryPane.AGENTS: 9},
)
"""What shares a screen where there is no room for all, the most telling first."""
_CELLS_FOR_ALL, _ROWS_FOR_ALL = 110, 34
_ROWS_FOR_PAGES = 20


def arrange(
    cells: int, rows: int, at: HistoryPane, *, is_zoomed: bool = False
) -> Mapping[HistoryPane, Box]:
    """Return the panes that are shown, each with its place.

    Args:
        cells: Columns for all panes.
        rows: Rows for all panes.
        at: The pane that must be among them.
        is_zoomed: Whether it is to be alone.
    """
    if is_zoomed:
        return {at: Box(0, 0, cells, rows)}
    if cells >= _CELLS_FOR_ALL and rows >= _ROWS_FOR_ALL:
        left = cells * 11 // 20
        return {
            **_stacked(_LEFT, 0, left, rows),
            **_stacked(_RIGHT, left, cells - left, rows),
        }
    return _stacked(pages(rows)[page_of(at, rows)], 0, cells, rows)


def pages(rows: int) -> Sequence[Mapping[HistoryPane, int]]:
    """Return what shares a screen of so many rows, with the share of each."""
    return _PAGES if rows >= _ROWS_FOR_PAGES else [{pane: 1} for pane in HistoryPane]


def page_of(pane: HistoryPane, rows: int) -> int:
    """Return the index of the page that a pane is on."""
    return next(place for place, page in enumerate(pages(rows)) if pane in page)


def _stacked(
    shares: Mapping[HistoryPane, int], x: int, cells: int, rows: int
) -> dict[HistoryPane, Box]:
    """Return panes beneath each other that fill the rows."""
    whole, taken, y = sum(shares.values()), 0, 0
    boxes: dict[HistoryPane, Box] = {}
    for pane, share in shares.items():
        taken += share
        end = rows * taken // whole
        boxes[pane] = Box(x, y, cells, end - y)
        y = end
    return boxes
