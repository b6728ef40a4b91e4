"""The dashboard answers keys, keeps its places, and fits its terminal."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from textual.geometry import Offset, Region

from aisquad_core.model import ItemKey, Operation, WorkStatus
from aisquad_core.testing import ScriptedItem
from aisquad_tui.ink import Role
from aisquad_tui.messages import CancelConvoy, CancelItems, OpenItem, RetryItems, Wish
from aisquad_tui.screens.dashboard import DashboardScreen
from aisquad_tui.store import Frame, Part
from aisquad_tui.surroundings import ColorDepth, Terminal
from tests.tui.playing import playing, settle, text_of, until
from tests.tui.scenes import busy, empty, failing

if TYPE_CHECKING:
    from rich.style import Style
    from textual.pilot import Pilot

    from aisquad_core.testing import FakeEngine
    from aisquad_tui.app import SquadApp
    from aisquad_tui.widgets.list_pane import ListPane


def board(app: SquadApp) -> DashboardScreen:
    screen = app.screen
    assert isinstance(screen, DashboardScreen)
    return screen


async def filled(app: SquadApp, pilot: Pilot[None]) -> DashboardScreen:
    """Wait until the rows are there."""
    screen = board(app)
    await until(pilot, lambda: screen.window.cursor is not None, "no rows came")
    return screen


async def shows(app: SquadApp, pilot: Pilot[None], text: str) -> None:
    await until(pilot, lambda: text in text_of(app), f"{text!r} is not on the screen")


@pytest.fixture
def wishes(monkeypatch: pytest.MonkeyPatch) -> list[Wish]:
    """What was wished for; nothing of it is fulfilled."""
    made: list[Wish] = []

    def keep(_: DashboardScreen, wish: Wish) -> None:
        wish.stop()
        made.append(wish)

    for kind in (CancelItems, CancelConvoy, RetryItems, OpenItem):
        monkeypatch.setattr(DashboardScreen, kind.handler_name, keep, raising=False)
    return made


def add_many(engine: FakeEngine, number: int) -> str:
    """Add a convoy whose first items run for ever and whose others wait."""
    operations = [
        Operation(id=f"unit-{n:04d}", agent_id="shell", argv=("true",)) for n in range(number)
    ]
    return engine.add_convoy("many", operations)


async def test_keys_reach_the_work_at_once() -> None:
    async with playing(busy) as (app, pilot, _):
        screen = await filled(app, pilot)
        assert screen.work.has_focus
        assert screen.window.cursor_row == 0
        await pilot.press("j", "j", "down")
        assert screen.window.cursor_row == 3
        await pilot.press("k", "up")
        assert screen.window.cursor_row == 1


@pytest.mark.slow
async def test_the_cursor_stays_on_its_item_while_a_thousand_changes_come() -> None:
    async with playing(busy) as (app, pilot, scene):
        screen = await filled(app, pilot)
        add_many(scene.engine, 500)
        scene.engine.resize(100)
        await pilot.press("j", "j", "j")
        key = screen.window.cursor
        for _ in range(12):
            await scene.clock.advance(0.1)
            await pilot.pause()
            assert screen.window.cursor == key
        await until(pilot, lambda: screen.picture.counts.completed > 500, "too few changes")
        assert screen.window.cursor == key
        assert key is not None
        row = screen.window.cursor_row
        assert row is not None
        shown = screen.window.shown()[row]
        assert shown is not None
        assert (shown.convoy_id, shown.id) == key


async def test_a_filter_narrows_the_table_while_it_is_typed() -> None:
    async with playing(busy) as (app, pilot, _):
        screen = await filled(app, pilot)
        await pilot.press("slash", *"bump")
        await until(pilot, lambda: screen.window.filter_text == "bump")
        await until(pilot, lambda: screen.window.total == 12)
        await pilot.press("enter")
        assert screen.work.has_focus
        assert screen.window.filter_text == "bump"
        await shows(app, pilot, "filter: bump")


@pytest.mark.slow
async def test_escape_leaves_the_filter_as_it_was_before() -> None:
    async with playing(busy) as (app, pilot, _):
        screen = await filled(app, pilot)
        await pilot.press("slash", *"bump")
        await until(pilot, lambda: screen.window.filter_text == "bump")
        await pilot.press("escape")
        assert (screen.window.filter_text, screen.work.has_focus) == ("", True)


async def test_an_error_in_the_filter_is_said_and_keeps_the_rows() -> None:
    async with playing(busy) as (app, pilot, _):
        screen = await filled(app, pilot)
        await pilot.press("slash", *"stat:x", "enter")
        await shows(app, pilot, "no field 'stat'")
        assert screen.prompt.has_focus
        assert screen.window.filter_text == ""


async def test_letters_typed_into_the_filter_press_no_key(wishes: list[Wish]) -> None:
    async with playing(busy) as (app, pilot, _):
        screen = await filled(app, pilot)
        await pilot.press("slash", *"xrXq")
        await settle(pilot)
        assert screen.prompt.text == "xrXq"
        assert wishes == []


async def test_keys_of_one_packet_go_where_they_would_one_by_one(wishes: list[Wish]) -> None:
    async with playing(busy) as (app, pilot, _):
        screen = await filled(app, pilot)
        for char in "/xqn":
            app.simulate_key("slash" if char == "/" else char)
        await until(pilot, lambda: screen.prompt.text == "xqn")
        app.simulate_key("enter")
        app.simulate_key("x")
        await until(pilot, lambda: screen.work.has_focus)
        await settle(pilot)
        assert screen.window.filter_text == "xqn"
        assert wishes == []


async def test_f_shows_failures_and_escape_shows_all_again() -> None:
    async with playing(busy) as (app, pilot, _):
        screen = await filled(app, pilot)
        await pilot.press("F")
        await until(pilot, lambda: screen.window.total == 3)
        assert {item.status for item in screen.window.shown() if item} == {WorkStatus.FAILED}
        await pilot.press("escape")
        await until(pilot, lambda: (screen.window.total or 0) > 500)


async def test_actions_are_for_the_marks_if_there_are_any(wishes: list[Wish]) -> None:
    async with playing(busy) as (app, pilot, _):
        screen = await filled(app, pilot)
        under_cursor = screen.window.cursor
        await pilot.press("x")
        await pilot.press("space", "space")
        marked = tuple(screen.window.marks)
        assert marked[0] == under_cursor
        assert screen.window.cursor not in marked
        await pilot.press("x", "X", "r")
        await settle(pilot)
        assert [type(wish) for wish in wishes] == [
            CancelItems,
            CancelItems,
            CancelItems,
            RetryItems,
        ]
        first, second, third, _ = wishes
        assert isinstance(first, CancelItems)
        assert isinstance(second, CancelItems)
        assert isinstance(third, CancelItems)
        assert (first.keys, second.keys, third.is_kill) == ((under_cursor,), marked, True)
        await pilot.press("U")
        assert not screen.window.marks


async def test_a_star_marks_everything_that_the_filter_shows() -> None:
    async with playing(busy) as (app, pilot, _):
        screen = await filled(app, pilot)
        await pilot.press("F")
        await until(pilot, lambda: screen.window.total == 3)
        await pilot.press("asterisk")
        await until(pilot, lambda: len(screen.window.marks) == 3)
        await shows(app, pilot, "3 marked")


async def test_sorting_goes_through_the_columns_and_keeps_the_cursor_on_its_item() -> None:
    async with playing(busy) as (app, pilot, _):
        screen = await filled(app, pilot)
        await pilot.press("j", "j")
        key = screen.window.cursor
        await pilot.press("s", "s")
        await shows(app, pilot, "sort: id")
        await until(pilot, lambda: not screen.window.lacks_rows)
        assert screen.window.cursor == key
        await pilot.press("R")
        await until(pilot, lambda: screen.window.is_reversed)
        assert screen.window.cursor == key


@pytest.mark.slow
async def test_a_click_on_a_heading_sorts_by_it() -> None:
    async with playing(busy) as (app, pilot, _):
        screen = await filled(app, pilot)
        await pilot.click("#work", offset=(4, 1))
        assert (screen.window.sort.value, screen.window.is_reversed) == ("id", False)
        await pilot.click("#work", offset=(4, 1))
        assert screen.window.is_reversed


@pytest.mark.slow
async def test_a_click_selects_and_a_second_one_opens(wishes: list[Wish]) -> None:
    async with playing(busy) as (app, pilot, _):
        screen = await filled(app, pilot)
        await pilot.click("#work", offset=(8, 5))
        assert screen.window.cursor_row == 3
        await pilot.click("#work", offset=(8, 6), times=2)
        await settle(pilot)
        assert [wish.key for wish in wishes if isinstance(wish, OpenItem)] == [screen.window.cursor]


async def test_enter_on_a_convoy_shows_its_work_and_escape_comes_back_to_its_row() -> None:
    async with playing(busy) as (app, pilot, _):
        screen = await filled(app, pilot)
        await pilot.press("tab", "j", "enter")
        assert screen.work.has_focus
        chosen = screen.convoys.selected
        assert chosen is not None
        assert screen.window.convoy_id == chosen.id
        await until(pilot, lambda: screen.window.total == chosen.counts.total)
        await shows(app, pilot, f"Work of {chosen.name}")
        await pilot.press("escape")
        assert screen.convoys.has_focus
        assert screen.convoys.selected == chosen
        assert screen.window.convoy_id is None


async def test_an_item_is_opened_and_its_log_by_its_own_key(wishes: list[Wish]) -> None:
    async with playing(busy) as (app, pilot, _):
        screen = await filled(app, pilot)
        await pilot.press("enter", "l")
        await settle(pilot)
        opened = [(wish.key, wish.is_log) for wish in wishes if isinstance(wish, OpenItem)]
        assert opened == [(screen.window.cursor, False), (screen.window.cursor, True)]


async def test_retrying_a_convoy_is_for_what_failed_in_it(wishes: list[Wish]) -> None:
    async with playing(busy) as (app, pilot, _):
        screen = await filled(app, pilot)
        await pilot.press("1", "r")
        await until(pilot, lambda: bool(wishes))
        convoy = screen.convoys.selected
        assert convoy is not None
        retried = wishes[0]
        assert isinstance(retried, RetryItems)
        assert {key.convoy_id for key in retried.keys} == {convoy.id}
        assert len(retried.keys) == convoy.counts.failed == 2


async def test_zoom_shows_the_pane_alone_and_all_again() -> None:
    async with playing(busy) as (app, pilot, _):
        screen = await filled(app, pilot)
        height = screen.work.size.height
        await pilot.press("z")
        await until(pilot, lambda: not screen.convoys.display)
        await until(pilot, lambda: screen.work.size.height == 38)
        assert screen.window.height == 35
        await pilot.press("escape")
        await until(pilot, lambda: screen.work.size.height == height)


@pytest.mark.slow
async def test_a_small_terminal_shows_one_pane_after_the_other_and_a_larger_one_both() -> None:
    async with playing(busy, size=(79, 20)) as (app, pilot, _):
        screen = await filled(app, pilot)
        await pilot.press("tab")
        await until(pilot, lambda: screen.convoys.has_focus)
        assert (screen.convoys.display, screen.work.region.area) == (True, 0)
        await pilot.press("F")
        await until(pilot, lambda: screen.work.has_focus)
        await pilot.press("escape", "tab", "enter")
        await until(pilot, lambda: screen.work.has_focus)
        await pilot.press("escape")
        await until(pilot, lambda: screen.convoys.has_focus)
        await pilot.resize_terminal(120, 40)
        await until(pilot, lambda: screen.work.region.area > 0)
        assert screen.convoys.display


@pytest.mark.slow
async def test_holding_keeps_the_picture_until_it_is_let_go() -> None:
    async with playing(busy) as (app, pilot, scene):
        screen = await filled(app, pilot)
        await pilot.press("Z")
        await shows(app, pilot, "held")
        scene.engine.set_load(13.0, 14.0)
        await scene.clock.advance(1)
        await settle(pilot)
        assert screen.picture.history[-1].cpu_percent != 13.0
        await pilot.press("Z")
        await until(pilot, lambda: screen.picture.history[-1].cpu_percent == 13.0)
        assert "held" not in text_of(app)


LAYOUTS = (
    ((120, 40), ("Convoys", "Work", "Memory", "CONVOY"), ("Log",)),
    ((80, 24), ("Convoys", "Work", "MEM"), ("Memory",)),
    ((200, 60), ("Convoys", "Work of nightly-review", "Log"), ()),
    ((79, 24), ("Work", "of 12 workers"), ("Convoys",)),
    ((60, 12), ("Work", "fix-web-042"), ("Convoys",)),
    ((39, 24), ("needs 40x10",), ("Work",)),
    ((120, 9), ("needs 40x10",), ("Work",)),
)


@pytest.mark.slow
async def test_each_size_has_its_layout() -> None:
    async with playing(busy) as (app, pilot, _):
        for size, shown, hidden in LAYOUTS:
            await pilot.resize_terminal(*size)
            for text in shown:
                await shows(app, pilot, text)
            assert [text for text in hidden if text in text_of(app)] == []


@pytest.mark.slow
async def test_resizing_keeps_the_cursor_on_its_item_and_leaves_nothing_behind() -> None:
    async with playing(busy, size=(80, 24)) as (app, pilot, _):
        screen = await filled(app, pilot)
        await pilot.press(*"jjjjjjjj")
        key = screen.window.cursor
        for width, height in ((200, 60), (120, 40), (30, 8), (1, 1), (80, 24)):
            await pilot.resize_terminal(width, height)
            await settle(pilot)
        assert key is not None
        await shows(app, pilot, key.item_id)
        lines = text_of(app).splitlines()
        assert len(lines) == 24
        assert all(len(line) == 80 for line in lines)


async def test_before_the_first_convoy_the_screen_tells_the_way_on() -> None:
    async with playing(empty) as (app, pilot, scene):
        await shows(app, pilot, "No convoys yet.")
        assert "sort:" not in text_of(app)
        add_many(scene.engine, 3)
        await shows(app, pilot, "unit-0002")
        assert board(app).work.has_focus


async def test_what_ails_the_engine_is_in_the_first_line() -> None:
    async with playing(failing) as (app, pilot, _):
        await shows(app, pilot, "disk full")
        assert "disk full" in text_of(app).splitlines()[0]


async def test_when_the_engine_goes_everything_stays_dimmed() -> None:
    async with playing(busy, size=(200, 60)) as (app, pilot, scene):
        screen = await filled(app, pilot)
        await scene.engine.stop()
        await shows(app, pilot, "engine away")
        quiet = app.look.style(Role.QUIET)
        for pane in (screen.work, screen.convoys, screen.log_box, screen.meters):
            styles = {each.style for each in pane.render_line(0) if not each.text.isspace()}
            assert styles == {quiet}
        assert "nightly-review" in text_of(app)


@pytest.mark.slow
async def test_the_end_of_a_convoy_is_told() -> None:
    async with playing(busy) as (app, pilot, scene):
        await filled(app, pilot)
        scene.engine.add_convoy(
            "short",
            [Operation(id="one", agent_id="shell", argv=("sh", "-c", "exit 3"))],
            statuses={"one": ScriptedItem(status=WorkStatus.IN_PROGRESS, runs_for_s=5.0)},
        )
        await settle(pilot)
        await scene.clock.advance(6)
        await shows(app, pilot, "short: 1 done")


@pytest.mark.slow
async def test_the_first_failure_of_a_convoy_is_told() -> None:
    async with playing(busy) as (app, pilot, scene):
        await filled(app, pilot)
        operations = [
            Operation(id="bad", agent_id="shell", argv=("sh", "-c", "exit 3"), priority=9),
            Operation(id="long", agent_id="shell", argv=("sh", "-c", "sleep 900")),
        ]
        convoy_id = scene.engine.add_convoy("short", operations)
        scene.engine.resize(40)
        await until(pilot, lambda: convoy_id in board(app).picture.convoys)
        await scene.clock.advance(1)
        await shows(app, pilot, "1 failed: bad exit 3")


async def test_convoys_that_an_earlier_engine_left_are_told_once() -> None:
    async with playing(busy) as (app, pilot, _):
        screen = await filled(app, pilot)
        (first, *_rest) = screen.picture.convoys.values()
        left = replace(first, id="left", is_interrupted=True)
        picture = replace(screen.picture, convoys={"left": left, **screen.picture.convoys})
        frame = Frame(picture=picture, parts=Part.CONVOYS, items={}, are_items_unknown=False)
        screen.show(frame)
        await shows(app, pilot, "1 convoy was interrupted earlier")
        screen.notice.clear()
        screen.show(frame)
        assert screen.notice.text == ""


async def test_focus_is_seen_on_one_pane_alone() -> None:
    async with playing(busy) as (app, pilot, _):
        screen = await filled(app, pilot)
        panes = (screen.work, screen.convoys)
        for focused, other in (panes, panes[::-1]):
            await until(pilot, lambda pane=focused: pane.has_focus)  # type: ignore[misc]  # mypy cannot infer it
            assert _edge(focused) == app.look.style(Role.ACCENT)
            assert _edge(other) == app.look.style(Role.QUIET)
            await pilot.press("tab")


def _edge(pane: ListPane) -> Style | None:
    return next(iter(pane.render_line(0))).style


@pytest.mark.slow
async def test_the_end_of_the_selected_log_stands_beside_it_on_a_large_terminal() -> None:
    async with playing(busy, size=(200, 60)) as (app, pilot, scene):
        screen = await filled(app, pilot)
        key = screen.window.cursor
        assert isinstance(key, ItemKey)
        scene.engine.write(key, "a line\x1b]0;title\x07 of its own\n")
        scene.engine.set_load(50.0, 50.0)
        await shows(app, pilot, "a line of its own")


@pytest.mark.parametrize("depth", [ColorDepth.NONE, ColorDepth.ANSI])
async def test_every_depth_of_colour_shows_the_dashboard(depth: ColorDepth) -> None:
    terminal = Terminal(depth=depth, is_dark=False)
    async with playing(busy, terminal=terminal, size=(100, 30)) as (app, pilot, _):
        await filled(app, pilot)
        await shows(app, pilot, "fix-web-042")


async def test_switching_the_theme_repaints_everything() -> None:
    async with playing(busy) as (app, pilot, _):
        screen = await filled(app, pilot)
        dark = _edge(screen.work)
        await pilot.press("T")
        await until(pilot, lambda: not app.look.is_dark)
        await settle(pilot)
        drawn = next(iter(screen.work.render_lines(Region(0, 0, 10, 1))[0])).style
        assert drawn != dark
        assert drawn is not None
        assert drawn.bgcolor == app.look.style(Role.ACCENT).bgcolor


@pytest.mark.slow
async def test_the_real_cursor_stands_on_the_selected_row_where_it_is_wanted() -> None:
    async with playing(busy, terminal=Terminal(shows_cursor=True)) as (app, pilot, _):
        screen = await filled(app, pilot)
        await pilot.press("j", "j")
        assert app.cursor_position == screen.work.region.offset + Offset(2, 4)
        await pilot.press("slash", *"ab", "left")
        assert app.cursor_position == screen.prompt.region.offset + Offset(len(" filter a"), 0)


async def test_moving_the_cursor_repaints_two_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    async with playing(busy) as (app, pilot, _):
        screen = await filled(app, pilot)
        await settle(pilot)
        painted: set[int] = set()
        monkeypatch.setattr(
            screen.work, "refresh", lambda *regions: painted.update(each.y for each in regions)
        )
        await pilot.press("j")
        assert painted == {2, 3}
