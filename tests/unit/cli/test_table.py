from __future__ import annotations

import io
from dataclasses import dataclass

import pytest

from aisquad_tui.cli.table import Column, Table, facts
from aisquad_tui.cli.terminal import Ink, Stream
from aisquad_tui.formatting import GLYPHS, cell_width

COLUMNS = (
    Column(title="ITEM", floor=6),
    Column(title="EXIT", is_right=True),
    Column(title="WHAT", floor=8, leaves=1),
)
ROWS = [
    [("fix-api-017-with-a-long-name", Ink.STRONG), ("1", Ink.BAD), ("AssertionError", Ink.PLAIN)],
    [("漢字", Ink.PLAIN), ("127", Ink.PLAIN), ("", Ink.PLAIN)],
]


@dataclass(frozen=True, slots=True)
class SizedStream(Stream):
    """A terminal of a given width."""

    columns: int | None = None

    def width(self) -> int | None:
        return self.columns


def sized(columns: int | None, *, has_color: bool = False) -> Stream:
    return SizedStream(io.StringIO(), columns is not None, has_color, GLYPHS, columns)


def test_a_pipe_gets_everything_aligned() -> None:
    assert Table(COLUMNS, sized(None)).lines(ROWS) == [
        "ITEM                          EXIT  WHAT",
        "fix-api-017-with-a-long-name     1  AssertionError",
        "漢字                           127",
    ]


@pytest.mark.parametrize("width", range(1, 60))
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = Table(COLUMNS, sized(width)).lines(ROWS)
    gaps_and_least = 2 + 2 + 3
    assert max(map(cell_width, lines)) <= max(width, gaps_and_least)


def test_columns_are_cut_before_one_is_left_out() -> None:
    assert Table(COLUMNS, sized(26)).lines(ROWS) == [
        "ITEM        EXIT  WHAT",
        "fix-api-0…     1  Asserti…",
        "漢字         127",
    ]


def test_a_column_leaves_when_cutting_is_not_enough() -> None:
    assert Table(COLUMNS, sized(16)).lines(ROWS)[0] == "ITEM        EXIT"


def test_colours_take_no_room() -> None:
    line = Table(COLUMNS, sized(None, has_color=True)).lines(ROWS)[1]
    assert line == (
        "\x1b[1mfix-api-017-with-a-long-name\x1b[0m     \x1b[31m1\x1b[0m  AssertionError"
    )


def test_later_rows_come_without_a_header_and_never_narrower() -> None:
    table = Table(COLUMNS, sized(None))
    table.lines(ROWS[:1])
    assert table.lines(ROWS[1:]) == ["漢字                           127"]


def test_facts_align_their_values() -> None:
    assert facts([("agent", "shell"), ("exit", "")]) == ["agent  shell", "exit"]
