"""One work item and its log, on the screen."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from textual.events import MouseScrollDown, MouseScrollUp, Paste

from aisquad_core.model import ItemKey, Operation, OutputMode
from aisquad_core.testing import FakeClock, FakeEngine, ScriptedOutcome
from aisquad_tui.ink import Role
from aisquad_tui.messages import CancelItems, CopyText, OpenItem, RetryItems, TogglePause, Wish
from aisquad_tui.screens.operation import OperationScreen
from aisquad_tui.surroundings import ColorDepth, Terminal
from tests.tui.playing import playing, settle, text_of, until
from tests.tui.scenes import Scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from textual.pilot import Pilot

    from aisquad_tui.app import SquadApp

_CONVOY = "nightly-review-0001"
_FIX = ItemKey(_CONVOY, "fix-api-018")
_REPORT = ItemKey(_CONVOY, "report")
_LINES = tuple(f"line {n} of the log" for n in range(500))


def _outcome(operation: Operation, attempt: int) -> ScriptedOutcome:
    if operation.id == "lint":
        return ScriptedOutcome(duration_s=1.0)
    if operation.id == "report":
        return ScriptedOutcome(duration_s=1_000.0)
    if attempt == 1:
        return ScriptedOutcome(duration_s=2.0, exit_code=1, lines=("rate limit 429",))
    return ScriptedOutcome(duration_s=100.0, lines=_LINES)


@asynccontextmanager
async def _scene() -> AsyncIterator[Scene]:
    """A second try that runs, what it needed, and what waits for it."""
    clock = FakeClock()
    async with FakeEngine(clock=clock, outcome=_outcome) as engine:
        fix = Operation(
            id="fix-api-018",
            agent_id="engineer",
            argv=("claude", "-p", "Fix the lint findings"),
            needs=("lint",),
            retries=2,
            context={"file": "src/api/routes.py"},
        )
        report = Operation(
            id="report", argv=("report",), needs=("fix-api-018",), stdout=OutputMode.RESULT
        )
        lint = Operation(id="lint", argv=("ruff", "check"))
        engine.add_convoy("nightly-review", [lint, fix, report], cwd="/home/ada/src/shop")
        await clock.settle()
        await clock.advance(10)
        yield Scene(engine=engine, clock=clock)


async def _open(
    app: SquadApp, pilot: Pilot[None], key: ItemKey = _FIX, *, is_log: bool = False
) -> OperationScreen:
    app.post_message(OpenItem(key, is_log=is_log))
    await until(pilot, lambda: isinstance(app.screen, OperationScreen), "the operation is open")
    await until(pilot, lambda: ("Log" in text_of(app) and "agent" in text_of(app)) or is_log)
    screen = app.screen
    assert isinstance(screen, OperationScreen)
    await until(pilot, lambda: screen.feed is not None and screen.feed.reader.has_looked)
    await settle(pilot)
    return screen


async def test_the_operation_tells_everything_about_the_item() -> None:
    async with playing(_scene) as (app, pilot, _):
        await _open(app, pilot)
        shown = text_of(app)
        for part in (
            "fix-api-018",
            "● running",
            "try 2 of 3",
            "engineer",
            "claude -p 'Fix the lint findings'",
            "/home/ada/src/shop",
            "lint ✓",
            "report ·",
            "src/api/routes.py",
            "1  ✗ exit 1",
            "following · 500 lines",
            "line 499 of the log",
        ):
            assert part in shown, part


async def test_new_output_shows_while_it_follows_and_not_while_it_stands_still() -> None:
    async with playing(_scene) as (app, pilot, played):
        await _open(app, pilot)
        played.engine.write(_FIX, "fresh output\n")
        await played.clock.advance(0.25)
        await until(pilot, lambda: "fresh output" in text_of(app))
        await pilot.press("k")
        assert "stands at" in text_of(app)
        assert "f follows" in text_of(app)
        before = text_of(app)
        played.engine.write(_FIX, "later output\n")
        await played.clock.advance(0.25)
        await until(pilot, lambda: "502 lines" in text_of(app))
        assert "later output" not in text_of(app)
        assert before.count("line 49") == text_of(app).count("line 49")
        await pilot.press("f")
        await until(pilot, lambda: "later output" in text_of(app))


@pytest.mark.slow
async def test_the_end_of_a_try_is_read_and_the_next_one_opens() -> None:
    async with playing(_scene) as (app, pilot, played):
        await _open(app, pilot)
        await played.engine.cancel([_FIX])
        for _ in range(4):
            await played.clock.advance(0.5)
        await until(pilot, lambda: "ended · 500 lines" in text_of(app))
        await played.engine.retry([_FIX])
        for _ in range(4):
            await played.clock.advance(0.5)
        await until(pilot, lambda: "try 3 of 3" in text_of(app))
        await until(pilot, lambda: "following" in text_of(app))


@pytest.mark.slow
async def test_scroll_keys_reach_both_ends() -> None:
    async with playing(_scene) as (app, pilot, _):
        await _open(app, pilot)
        await pilot.press("g")
        await until(pilot, lambda: "line 0 of the log" in text_of(app))
        await pilot.press("pagedown", "j", "k", "ctrl+u", "ctrl+d")
        assert "line 0 of the log" not in text_of(app)
        await pilot.press("G")
        await until(pilot, lambda: "line 499 of the log" in text_of(app))
        assert "following" in text_of(app)


@pytest.mark.slow
async def test_search_goes_to_matches_in_both_directions_and_round() -> None:
    async with playing(_scene) as (app, pilot, _):
        screen = await _open(app, pilot)
        await pilot.press("slash", *"/line 1?7 /", "enter")
        await until(pilot, lambda: "line 7 of the log" in text_of(app), "it goes round")
        await until(pilot, lambda: "n next" in text_of(app))
        assert screen.log_view.has_focus
        await pilot.press("n")
        await until(pilot, lambda: "line 17 of the log" in text_of(app))
        await pilot.press("N", "N")
        await pilot.press("escape")
        assert app.screen is screen


@pytest.mark.slow
async def test_what_cannot_be_searched_is_said_at_the_field_and_esc_leaves_it() -> None:
    async with playing(_scene) as (app, pilot, _):
        await _open(app, pilot)
        await pilot.press("slash", *"/(/", "enter")
        await until(pilot, lambda: "no regular expression" in text_of(app))
        await pilot.press("escape")
        await until(pilot, lambda: "no regular expression" not in text_of(app))
        await pilot.press("slash", "Q", "Q", "enter")
        await until(pilot, lambda: "not found" in text_of(app))


async def test_a_field_has_the_focus_before_the_next_key() -> None:
    async with playing(_scene) as (app, pilot, _):
        screen = await _open(app, pilot)
        screen.action_search()
        assert app.focused is screen.query_field
        screen.action_save()
        assert app.focused is screen.path_field


@pytest.mark.slow
async def test_keys_that_are_typed_into_a_field_do_nothing_else() -> None:
    async with playing(_scene) as (app, pilot, played):
        await _open(app, pilot)
        await pilot.press("slash", *"qxXrpfwS", "escape")
        await settle(pilot)

        assert isinstance(app.screen, OperationScreen)
        assert (await played.engine.item(_FIX)).view.status.word == "running"


@pytest.mark.slow
async def test_save_writes_the_log_and_replaces_a_file_only_when_told_twice(
    tmp_path: Path,
) -> None:
    async with playing(_scene) as (app, pilot, _):
        screen = await _open(app, pilot)
        path = tmp_path / "saved.log"
        path.write_text("mine")
        await pilot.press("S", "ctrl+u")
        screen.path_field.post_message(Paste(str(path)))
        await pilot.press("enter")
        await until(pilot, lambda: "is there already" in text_of(app))
        assert path.read_text() == "mine"
        await pilot.press("enter")
        await until(pilot, lambda: "saved" in text_of(app))

        assert path.read_text() == "".join(f"{line}\n" for line in _LINES)
        assert os.listdir(tmp_path) == ["saved.log"]
        assert screen.log_view.has_focus


@pytest.mark.slow
async def test_a_file_that_cannot_be_written_is_named() -> None:
    async with playing(_scene) as (app, pilot, _):
        screen = await _open(app, pilot)
        await pilot.press("S", "ctrl+u")
        screen.path_field.post_message(Paste("/nowhere/at/all.log"))
        await pilot.press("enter")

        await until(pilot, lambda: "cannot write /nowhere/at/all.log" in text_of(app))


@pytest.mark.slow
async def test_other_tries_and_back() -> None:
    async with playing(_scene) as (app, pilot, _):
        await _open(app, pilot)
        await pilot.press("less_than_sign")
        await until(pilot, lambda: "rate limit 429" in text_of(app))
        assert "try 1 ·" in text_of(app)
        await pilot.press("less_than_sign")
        await until(pilot, lambda: "there is no earlier try" in text_of(app))
        await pilot.press("greater_than_sign")
        await until(pilot, lambda: "line 499 of the log" in text_of(app))


@pytest.mark.slow
async def test_an_item_that_has_not_begun_says_why_and_has_a_result_to_show() -> None:
    async with playing(_scene) as (app, pilot, _):
        await _open(app, pilot, _REPORT)
        await until(pilot, lambda: "has not begun: needs fix-api-018" in text_of(app))
        await pilot.press("o")
        await until(pilot, lambda: "result" in text_of(app))


async def test_no_output_yet_has_a_look() -> None:
    async with playing(_scene) as (app, pilot, played):
        await played.clock.advance(200)
        await _open(app, pilot, _REPORT)
        await until(pilot, lambda: "no output yet" in text_of(app))


async def test_keys_post_wishes_for_this_item() -> None:
    posted: list[Wish] = []
    async with playing(_scene) as (app, pilot, _):
        screen = await _open(app, pilot)
        with patch.object(screen, "post_message", posted.append):
            for key in ("cancel", "kill", "retry", "pause", "copy"):
                await screen.run_action(key)

        kinds = [type(wish) for wish in posted]
        assert kinds == [CancelItems, CancelItems, RetryItems, TogglePause, CopyText]
        first, second, third = posted[0], posted[1], posted[4]
        assert isinstance(first, CancelItems)
        assert (first.keys, first.is_kill) == ((_FIX,), False)
        assert isinstance(second, CancelItems)
        assert second.is_kill
        assert isinstance(third, CopyText)
        assert third.text.endswith("line 499 of the log")


@pytest.mark.slow
async def test_esc_comes_back_to_the_dashboard() -> None:
    async with playing(_scene) as (app, pilot, _):
        before = app.screen
        for key in ("escape", "q"):
            await _open(app, pilot)
            await pilot.press(key)
            await until(pilot, lambda: app.screen is before)


@pytest.mark.slow
async def test_low_terminals_show_the_log_alone_and_tiny_ones_a_sentence() -> None:
    async with playing(_scene, size=(80, 24)) as (app, pilot, _):
        await _open(app, pilot)
        assert "Tries" in text_of(app)
        await pilot.resize_terminal(80, 16)
        await until(pilot, lambda: "Tries" not in text_of(app))
        assert "line 499 of the log" in text_of(app)
        await pilot.resize_terminal(30, 8)
        await until(pilot, lambda: "aisquad needs" in text_of(app))
        await pilot.resize_terminal(200, 60)
        await until(pilot, lambda: "Tries" in text_of(app) and "line 470 of" in text_of(app))


async def test_z_shows_the_log_alone_and_l_opens_it_so() -> None:
    async with playing(_scene) as (app, pilot, _):
        await _open(app, pilot, is_log=True)
        assert "Tries" not in text_of(app)
        await pilot.press("z")
        await until(pilot, lambda: "Tries" in text_of(app))


@pytest.mark.slow
@pytest.mark.parametrize("depth", [ColorDepth.NONE, ColorDepth.ANSI, ColorDepth.INDEXED])
async def test_it_reads_without_colours_and_in_ascii(depth: ColorDepth) -> None:
    terminal = Terminal(depth=depth, is_ascii=True)
    async with playing(_scene, terminal=terminal) as (app, pilot, _):
        await _open(app, pilot)
        assert "> running" in text_of(app)
        assert text_of(app).isascii()


async def test_a_log_that_cannot_be_read_says_why_and_comes_back() -> None:
    async with playing(_scene) as (app, pilot, played):
        await _open(app, pilot)
        await played.engine.stop()
        await played.clock.advance(0.5)
        await until(pilot, lambda: "cannot read the log" in text_of(app))


async def test_output_cannot_become_markup_or_control_the_terminal() -> None:
    async with playing(_scene) as (app, pilot, played):
        await _open(app, pilot)
        played.engine.write(
            _FIX, "[@click=app.quit]x[/] \x1b]52;c;aGk=\x07\x1b[2J[/nope] 10 %\r20 %\n"
        )
        await played.clock.advance(0.25)
        await until(pilot, lambda: "20 %" in text_of(app))
        assert "\x1b" not in text_of(app)
        assert "10 %" not in text_of(app)


async def test_the_wheel_scrolls_the_log() -> None:
    async with playing(_scene) as (app, pilot, _):
        screen = await _open(app, pilot)
        before = screen.log_view.lines
        screen.log_view.post_message(_wheel(MouseScrollUp, screen))
        await until(pilot, lambda: screen.log_view.lines[3:] == before[:-3])
        screen.log_view.post_message(_wheel(MouseScrollDown, screen))
        await until(pilot, lambda: screen.log_view.lines == before)


def _wheel(
    kind: type[MouseScrollUp | MouseScrollDown], screen: OperationScreen
) -> MouseScrollUp | MouseScrollDown:
    return kind(
        widget=screen.log_view,
        x=5,
        y=5,
        delta_x=0,
        delta_y=0,
        button=0,
        shift=False,
        meta=False,
        ctrl=False,
    )


async def test_everything_is_dimmed_while_the_engine_is_away() -> None:
    async with playing(_scene) as (app, pilot, played):
        await _open(app, pilot)
        await played.engine.stop()
        await played.clock.advance(1)
        await until(pilot, lambda: "engine away since" in text_of(app))
        quiet = app.look.style(Role.QUIET)
        rows = app.screen._compositor.render_strips()
        shown = next(strip for strip in rows if "claude -p" in strip.text)
        styles = {segment.style for segment in shown if segment.text.strip()}
        assert styles == {quiet}


@pytest.mark.slow
async def test_leaving_while_a_log_is_saved_says_that_it_was_not(tmp_path: Path) -> None:
    async with playing(_scene) as (app, pilot, _):
        screen = await _open(app, pilot)
        has_begun = asyncio.Event()

        async def never_ends(*_: object, **__: object) -> int:
            has_begun.set()
            await asyncio.Event().wait()
            return 0

        with patch("aisquad_tui.screens.log_screen.save", never_ends):
            await pilot.press("S", "enter")
            await asyncio.wait_for(has_begun.wait(), 10)
            screen.dismiss()
            await until(pilot, lambda: "was not saved" in text_of(app))
