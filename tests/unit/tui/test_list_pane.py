"""Lists, the filter's line and the log's end, each alone on a screen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from textual.app import App
from textual.events import Paste

from aisquad_core.api import ConvoyView, StatusCounts
from aisquad_core.model import ConvoyStatus, ItemKey
from aisquad_tui.formatting import ASCII_GLYPHS, GLYPHS
from aisquad_tui.store import Picture
from aisquad_tui.surroundings import Terminal
from aisquad_tui.theme import Look
from aisquad_tui.views.arrangement import Pane, arrange
from aisquad_tui.widgets.convoy_list import ConvoyList
from aisquad_tui.widgets.prompt_field import PromptField
from aisquad_tui.widgets.side_log import SideLog, last_lines

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.message import Message
    from textual.widget import Widget

    from aisquad_tui.widgets.canvas import Canvas

NOW = datetime(2026, 3, 14, 3, 0, tzinfo=UTC)


class _Alone(App[None]):
    """One widget, and what it told."""

    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self.widget = widget
        self.told: list[Message] = []

    def compose(self) -> ComposeResult:
        yield self.widget

    def on_mount(self) -> None:
        self.widget.focus()

    def on_prompt_field_submitted(self, message: PromptField.Submitted) -> None:
        self.told.append(message)

    def on_prompt_field_dismissed(self, message: PromptField.Dismissed) -> None:
        self.told.append(message)

    def on_convoy_list_opened(self, message: ConvoyList.Opened) -> None:
        self.told.append(message)


def _picture(*numbers: int, status: ConvoyStatus = ConvoyStatus.RUNNING) -> Picture:
    """Return convoys by number, the higher the older."""
    convoys = (
        ConvoyView(
            id=f"c{n}",
            name=f"convoy-{n:02d}",
            status=status,
            counts=StatusCounts(running=1),
            created_at=NOW - timedelta(minutes=n),
            started_at=NOW,
            finished_at=None,
            source=None,
        )
        for n in numbers
    )
    return Picture(convoys={convoy.id: convoy for convoy in convoys})


def _text(canvas: Canvas) -> list[str]:
    return [canvas.render_line(y).text for y in range(canvas.size.height)]


async def test_the_cursor_stays_on_its_convoy_when_others_come_before_it() -> None:
    pane = ConvoyList(Look(Terminal()), GLYPHS)
    async with _Alone(pane).run_test(size=(80, 12)) as pilot:
        pane.show(_picture(5, 6, 7), NOW)
        await pilot.press("j")
        pane.show(_picture(1, 2, 3, 5, 6, 7), NOW)
        assert pane.selected is not None
        assert pane.selected.id == "c6"
        assert pane.cursor_line() == 4


async def test_a_convoy_that_is_gone_gives_the_cursor_to_its_neighbour() -> None:
    pane = ConvoyList(Look(Terminal()), GLYPHS)
    async with _Alone(pane).run_test(size=(80, 12)) as pilot:
        pane.show(_picture(1, 2, 3), NOW)
        await pilot.press("j")
        pane.show(_picture(1, 3), NOW)
        assert pane.selected is not None
        assert pane.selected.id == "c3"


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["j", "down"], 2),
        (["G"], 29),
        (["end", "k", "up"], 27),
        (["G", "g"], 0),
        (["end", "home"], 0),
        (["pagedown"], 9),
        (["ctrl+d"], 4),
        (["G", "pageup"], 20),
        (["G", "ctrl+u"], 25),
        (["k"], 0),
    ],
)
async def test_every_key_of_a_list_moves_the_cursor_and_keeps_it_in_view(
    keys: list[str], expected: int
) -> None:
    pane = ConvoyList(Look(Terminal()), GLYPHS)
    async with _Alone(pane).run_test(size=(80, 12)) as pilot:
        pane.show(_picture(*range(30)), NOW)
        await pilot.press(*keys)
        assert pane.selected is not None
        assert pane.selected.id == f"c{expected}"
        assert any(f"convoy-{expected:02d}" in row for row in _text(pane))


async def test_enter_and_a_double_click_open_the_convoy() -> None:
    pane = ConvoyList(Look(Terminal()), GLYPHS)
    app = _Alone(pane)
    async with app.run_test(size=(80, 12)) as pilot:
        pane.show(_picture(1, 2), NOW)
        await pilot.press("enter")
        await pilot.click(ConvoyList, offset=(5, 3), times=2)
        await pilot.pause()
        opened = [told.convoy.id for told in app.told if isinstance(told, ConvoyList.Opened)]
        assert opened == ["c1", "c2"]


@pytest.mark.parametrize("size", [(80, 12), (20, 4), (4, 3), (3, 2), (1, 1)])
async def test_a_list_fits_any_box(size: tuple[int, int]) -> None:
    pane = ConvoyList(Look(Terminal()), GLYPHS)
    async with _Alone(pane).run_test(size=size):
        pane.show(_picture(1, 2, 3), NOW)
        assert {len(row) for row in _text(pane)} == {size[0]}


async def test_with_ascii_signs_a_list_is_ascii() -> None:
    pane = ConvoyList(Look(Terminal(is_ascii=True)), ASCII_GLYPHS)
    async with _Alone(pane).run_test(size=(100, 8)):
        pane.show(_picture(1, status=ConvoyStatus.PAUSED), NOW)
        assert "".join(_text(pane)).isascii()


async def test_a_name_cannot_act_on_the_terminal() -> None:
    pane = ConvoyList(Look(Terminal()), GLYPHS)
    async with _Alone(pane).run_test(size=(80, 8)):
        picture = _picture(1)
        (convoy,) = picture.convoys.values()
        object.__setattr__(convoy, "name", "\x1b]0;x\x07[red]odd\n[/]")
        pane.show(picture, NOW)
        shown = "".join(_text(pane))
        assert "[red]odd [/]" in shown
        assert shown.isprintable()


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([*"ab", "left", "c"], "acb"),
        ([*"abc", "home", "delete"], "bc"),
        ([*"abc", "backspace", "backspace"], "a"),
        (["backspace", "a"], "a"),
        ([*"one", "space", *"two", "ctrl+w", "x"], "one x"),
        ([*"abc", "left", "ctrl+u"], "c"),
        (["exclamation_mark", "slash", "colon"], "!/:"),
    ],
)
async def test_a_prompt_edits_its_line(keys: list[str], expected: str) -> None:
    prompt = PromptField(Look(Terminal()), GLYPHS, "filter", "hint")
    async with _Alone(prompt).run_test(size=(60, 3)) as pilot:
        await pilot.press(*keys)
        assert prompt.text == expected


async def test_a_pasted_newline_submits_nothing() -> None:
    prompt = PromptField(Look(Terminal()), GLYPHS, "filter", "hint")
    app = _Alone(prompt)
    async with app.run_test(size=(60, 3)) as pilot:
        app.post_message(Paste("one\rtwo\x1b[31m\n"))
        await pilot.pause()
        assert prompt.text == "one two"
        await pilot.press("enter")
        assert [type(told) for told in app.told] == [PromptField.Submitted]


async def test_what_is_wrong_is_said_until_the_text_changes() -> None:
    prompt = PromptField(Look(Terminal()), GLYPHS, "filter", "hint")
    async with _Alone(prompt).run_test(size=(60, 3)) as pilot:
        prompt.open("stat:x")
        prompt.complain(0, "no field 'stat'")
        assert "no field 'stat'" in _text(prompt)[0]
        await pilot.press("y")
        assert "no field" not in _text(prompt)[0]


@pytest.mark.parametrize("text", ["x" * 200, "漢" * 100])
async def test_the_end_of_a_long_text_is_in_view(text: str) -> None:
    prompt = PromptField(Look(Terminal()), GLYPHS, "filter", "hint")
    async with _Alone(prompt).run_test(size=(40, 3)):
        prompt.open(f"{text}END")
        row = prompt.render_line(0)
        assert "END" in row.text
        assert row.cell_length == 40


def test_a_log_shows_each_line_after_its_last_overwriting() -> None:
    data = b"one\r\n 10 %\r 50 %\r100 %\n\x1b[31mred\x1b[0m\xff\ttab\n\n"
    assert last_lines(data) == ("one", "100 %", "red\ufffd    tab")


async def test_a_log_without_output_says_so_and_a_cut_line_is_left_out() -> None:
    log = SideLog(Look(Terminal()), GLYPHS)
    key = ItemKey("c1", "one")
    async with _Alone(log).run_test(size=(40, 12)):
        log.show(key, b"")
        assert "no output yet" in "".join(_text(log))
        log.show(key, b"alf a line\nwhole\n", is_cut=True)
        shown = "".join(_text(log))
        assert "whole" in shown
        assert "alf a line" not in shown


@pytest.mark.parametrize("cells", [40, 79, 80, 99, 100, 199, 200, 300])
@pytest.mark.parametrize("rows", [10, 23, 24, 29, 30, 60, 80])
@pytest.mark.parametrize("zoomed", [None, Pane.CONVOYS, Pane.WORK])
def test_the_work_has_room_for_rows_at_every_size(
    cells: int, rows: int, zoomed: Pane | None
) -> None:
    found = arrange(cells, rows, convoys=50, zoomed=zoomed)
    meters = (5 if found.has_boxes else 2) if found.has_meters else 0
    above = found.convoy_rows if found.has_convoys and found.has_work and not found.is_wide else 0
    assert not found.sentence
    assert rows - 2 - meters - above - found.log_rows >= 8
    assert found.has_work or found.has_convoys
    assert zoomed is None or found.has_work is not found.has_convoys


def test_the_convoys_take_the_rows_that_they_need_within_bounds() -> None:
    assert [arrange(120, 40, convoys=n).convoy_rows for n in (0, 3, 5, 8, 50)] == [6, 6, 8, 11, 11]
    assert arrange(80, 24, convoys=50).convoy_rows == 8
