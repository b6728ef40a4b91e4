"""A change of the screen goes out as the changed cells and no more."""

from __future__ import annotations

import inspect
import re

import pytest
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, InlineUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from aisquad_tui.tight import TightUpdate, tightened

_RED, _BLUE = Style(color="#ff0000", bgcolor="#000000"), Style(color="#0000ff", bgcolor="#000000")
_MOVE = re.compile(r"\x1b\[(\d+);(\d+)H|\x1b\[([0-9;]*)m|(.)", re.DOTALL)


@pytest.fixture
def console() -> Console:
    return Console(color_system="truecolor", force_terminal=True, _environ={})


def test_only_the_changed_cells_are_sent(console: Console) -> None:
    update = _update([Segment("0123456789", _RED)], [(0, 6, 8)])
    assert _replay(update.render_segments(console)) == {(6, 0): "6", (7, 0): "7"}


def test_two_changes_in_a_row_leave_out_what_is_between(console: Console) -> None:
    update = _update([Segment("0123456789", _RED)], [(0, 1, 2), (0, 8, 10)])
    sent = update.render_segments(console)
    assert _replay(sent) == {(1, 0): "1", (8, 0): "8", (9, 0): "9"}


def test_a_wide_character_is_sent_whole(console: Console) -> None:
    update = _update([Segment("ab漢字cd", _RED)], [(0, 2, 6)])
    assert re.sub(r"\x1b\[[0-9;]*[mH]", "", update.render_segments(console)) == "漢字"


def test_a_style_is_named_once_for_neighbours(console: Console) -> None:
    pieces = [Segment("01", _RED), Segment("23", _RED), Segment("45", _BLUE)]
    sent = _update(pieces, [(0, 0, 6)]).render_segments(console)
    assert sent.count("38;2;255;0;0") == 1
    assert sent.count("38;2;0;0;255") == 1
    assert sent.endswith("\x1b[0m")


def test_a_style_does_not_reach_unstyled_text(console: Console) -> None:
    sent = _update([Segment("01", _RED), Segment("23")], [(0, 0, 4)]).render_segments(console)
    assert sent.endswith("01\x1b[0m23")


def test_an_attribute_ends_with_its_text(console: Console) -> None:
    pieces = [Segment("01", _RED + Style(bold=True)), Segment("23", _RED), Segment("45", _BLUE)]
    sent = _update(pieces, [(0, 0, 6)]).render_segments(console)
    looks = re.findall(r"\x1b\[([0-9;]*)m(\w*)", sent)
    assert looks == [
        ("1;38;2;255;0;0;48;2;0;0;0", "01"),
        ("0;38;2;255;0;0;48;2;0;0;0", "23"),
        ("38;2;0;0;255", "45"),
        ("0", ""),
    ]


def test_a_space_takes_no_colour_of_its_own_unless_it_would_show(console: Console) -> None:
    pieces = [Segment("01", _RED), Segment("  ", _BLUE), Segment("45", _RED)]
    assert _update(pieces, [(0, 0, 6)]).render_segments(console).count("38;2") == 1
    pieces[1] = Segment("  ", _BLUE + Style(reverse=True))
    assert _update(pieces, [(0, 0, 6)]).render_segments(console).count("38;2") == 3


def test_it_takes_fewer_bytes_than_textual(console: Console) -> None:
    pieces = [Segment(f"{n:<10}", _RED if n % 2 else _BLUE) for n in range(10)]
    chops, ends = [{0: Strip(pieces)}], [[100]]
    theirs = ChopsUpdate(chops, [(0, 90, 92)], ends).render_segments(console)
    ours = TightUpdate(chops, [(0, 90, 92)], ends).render_segments(console)
    assert len(ours) * 5 < len(theirs)


def test_the_whole_screen_is_sent_row_by_row(console: Console) -> None:
    rows = [[Strip([Segment("ab", _RED)]), Strip([Segment("c", _RED)])], [Strip([Segment("def")])]]
    update = tightened(LayoutUpdate(list(rows), Region(1, 2, 3, 2)))
    sent = update.render_segments(console)
    assert "".join(_replay(sent).values()) == "abcdef"
    assert set(_replay(sent)) == {(x, y) for x in (1, 2, 3) for y in (2, 3)}
    assert sent.count("38;2;255;0;0") == 1


def test_what_textual_sends_is_tightened_and_anything_else_is_left_alone() -> None:
    parts = tightened(ChopsUpdate([{0: Strip.blank(4)}], [(0, 0, 4)], [[4]]))
    inline = InlineUpdate([Strip.blank(4)])
    assert type(parts) is TightUpdate
    assert tightened(inline) is inline


def test_textual_still_has_the_private_names_that_are_touched() -> None:
    said = "Textual changed how it sends parts of the screen: see aisquad_tui/tight.py"
    assert list(inspect.signature(ChopsUpdate.__init__).parameters) == [
        "self",
        "chops",
        "spans",
        "chop_ends",
    ], said
    assert list(inspect.signature(ChopsUpdate.render_segments).parameters) == ["self", "console"], (
        said
    )
    assert list(inspect.signature(LayoutUpdate.__init__).parameters) == ["self", "strips", "region"]
    assert callable(Strip.render_ansi), said


def _update(pieces: list[Segment], spans: list[tuple[int, int, int]]) -> TightUpdate:
    strip = Strip(pieces)
    return TightUpdate([{0: strip}], spans, [[strip.cell_length]])


def _replay(sent: str) -> dict[tuple[int, int], str]:
    """Return the cells that a terminal would have written."""
    cells: dict[tuple[int, int], str] = {}
    x = y = 0
    for row, column, _, char in _MOVE.findall(sent):
        if row:
            x, y = int(column) - 1, int(row) - 1
        elif char:
            cells[x, y] = char
            x += 1
    return cells
