from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from textual.app import App, ComposeResult

from aisquad_core.api import add_counts
from aisquad_tui.formatting import GLYPHS
from aisquad_tui.keymap import Place, at
from aisquad_tui.surroundings import Terminal
from aisquad_tui.theme import Look
from aisquad_tui.views.header import header
from aisquad_tui.views.meters import boxes, lines
from aisquad_tui.widgets.footer import KeyLine
from aisquad_tui.widgets.header import HeaderLine
from aisquad_tui.widgets.meters import Meters
from aisquad_tui.widgets.notice import Notice
from tests.unit.tui.pictures import NOW, PICTURE, make_surroundings, texts

if TYPE_CHECKING:
    import pytest
    from textual.widget import Widget


class _Bench(App[None]):
    """The four widgets above each other."""

    BINDINGS = [("x", "cancel", "cancel")]  # noqa: RUF012 - as Textual declares it

    def __init__(self) -> None:
        super().__init__()
        look = Look(Terminal())
        self.place = make_surroundings()
        self.head = HeaderLine(look, self.place)
        self.meters = Meters(look, GLYPHS)
        self.notice = Notice(look, GLYPHS)
        self.keys = KeyLine(look, GLYPHS)
        self.pressed = 0

    def compose(self) -> ComposeResult:
        yield from (self.head, self.meters, self.notice, self.keys)

    def action_cancel(self) -> None:
        self.pressed += 1


def _on_screen(widget: Widget) -> list[str]:
    return [widget.render_line(y).text.rstrip() for y in range(widget.size.height)]


async def test_widgets_show_what_the_views_draw_and_follow_the_width() -> None:
    app = _Bench()
    async with app.run_test(size=(120, 40)) as pilot:
        app.head.show(PICTURE, NOW)
        app.meters.show(PICTURE)
        app.keys.show(at(Place.WORK))
        await pilot.pause()
        assert _on_screen(app.head) == texts([header(PICTURE, app.place, NOW, 120)])
        assert _on_screen(app.meters) == texts(boxes(PICTURE, 120, GLYPHS))
        await pilot.resize_terminal(60, 24)
        await pilot.pause()
        assert _on_screen(app.head) == texts([header(PICTURE, app.place, NOW, 60)])
        assert _on_screen(app.keys)[0].startswith(" enter open")


async def test_without_boxes_the_meters_take_two_lines() -> None:
    app = _Bench()
    async with app.run_test(size=(80, 24)) as pilot:
        app.meters.is_boxed = False
        app.meters.show(PICTURE)
        await pilot.pause()
        assert _on_screen(app.meters) == texts(lines(PICTURE, 80, GLYPHS))


async def test_a_notice_replaces_the_one_before_and_can_be_cleared() -> None:
    app = _Bench()
    async with app.run_test(size=(80, 24)) as pilot:
        app.notice.show("3 cancelled")
        app.notice.show("no such file", is_error=True)
        await pilot.pause()
        assert _on_screen(app.notice) == [" ✗ no such file"]
        app.notice.clear()
        assert (_on_screen(app.notice), app.notice.text) == ([""], "")


async def test_a_click_on_a_key_of_the_footer_presses_it() -> None:
    app = _Bench()
    async with app.run_test(size=(120, 24)) as pilot:
        app.keys.show(at(Place.WORK))
        await pilot.pause()
        column = _on_screen(app.keys)[0].index("cancel")
        await pilot.click(KeyLine, offset=(column, 0))
        await pilot.pause()
        assert app.pressed == 1
        await pilot.click(KeyLine, offset=(0, 0))
        await pilot.pause()
        assert app.pressed == 1


async def test_the_same_picture_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    app = _Bench()
    async with app.run_test(size=(120, 24)) as pilot:
        app.head.show(PICTURE, NOW)
        app.meters.show(PICTURE)
        await pilot.pause()
        drawn: list[tuple[object, ...]] = []
        for widget in (app.head, app.meters):
            monkeypatch.setattr(widget, "refresh", lambda *regions: drawn.append(regions))
        app.head.show(replace(PICTURE, history=PICTURE.history), NOW)
        app.meters.show(replace(PICTURE, counts=add_counts([PICTURE.counts])))
        assert drawn == []
