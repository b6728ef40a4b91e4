"""The history on the screen."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from aisquad_core.errors import StorageError
from aisquad_core.testing import FakeEngine
from aisquad_tui.screens.dashboard import DashboardScreen
from aisquad_tui.screens.help import HelpScreen
from aisquad_tui.screens.history import HistoryScreen
from aisquad_tui.screens.operation import OperationScreen
from aisquad_tui.views.history_layout import HistoryPane
from aisquad_tui.widgets.canvas import Canvas
from tests.tui import scenes
from tests.tui.playing import playing, settle, text_of, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from textual.geometry import Region
    from textual.pilot import Pilot

    from aisquad_core.api import History
    from aisquad_tui.app import SquadApp
    from aisquad_tui.ink import Line
    from aisquad_tui.views.timeline import Past
    from tests.tui.scenes import Scene

_CONVOY = "nightly-review-0004"
_GAP_S = 60.0


class _Asked:
    """What the engine of a test is asked of the past, and what it refuses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.all: list[tuple[float, str | None]] = []
        self.points: list[int] = []
        self.failure: Exception | None = None
        answer = FakeEngine.history

        async def history(
            engine: FakeEngine, *, period_s: float, points: int, convoy_id: str | None
        ) -> History:
            self.all.append((period_s, convoy_id))
            self.points.append(points)
            if self.failure is not None:
                raise self.failure
            return await answer(engine, period_s=period_s, points=points, convoy_id=convoy_id)

        monkeypatch.setattr(FakeEngine, "history", history)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> _Asked:
    return _Asked(monkeypatch)


@asynccontextmanager
async def opened(
    size: tuple[int, int] = (120, 40), *, is_embedded: bool = True
) -> AsyncIterator[tuple[SquadApp, Pilot[None], Scene]]:
    """Open the history of the busy night, and wait for its charts."""
    async with playing(scenes.remembered, size=size, is_embedded=is_embedded) as played:
        _, pilot, _ = played
        await pilot.press("H")
        await see(pilot, "05:50")
        yield played


async def see(pilot: Pilot[None], *texts: str) -> None:
    """Wait until all of this is on the screen."""
    await until(pilot, lambda: all(text in text_of(pilot.app) for text in texts), str(texts))


def history_of(app: SquadApp) -> HistoryScreen:
    screen = app.screen
    assert isinstance(screen, HistoryScreen)
    return screen


async def test_it_shows_all_at_once_where_there_is_room() -> None:
    async with opened() as (app, _, _played):
        text = text_of(app)
        for title in ("Load", "Workers", "Resizes", "Throughput", "Durations", "Slowest", "Agents"):
            assert f" {title} " in text
        assert "CPU 81 % over 80 %: baseline 5" in text


@pytest.mark.slow
async def test_three_keys_close_it_and_one_opens_it() -> None:
    async with opened() as (app, pilot, _):
        for key in ("escape", "q", "H"):
            await pilot.press(key)
            await until(pilot, lambda: isinstance(app.screen, DashboardScreen))
            await pilot.press("H")
            await until(pilot, lambda: isinstance(app.screen, HistoryScreen))


@pytest.mark.slow
async def test_arrows_look_further_back_and_less_far(asked: _Asked) -> None:
    days = 86_400
    there = [3600, 6 * 3600, days, 7 * days, 30 * days]
    async with opened() as (app, pilot, _):
        for key in (*["right"] * 5, *["left"] * 6):  # at each end one too many
            await pilot.press(key)
            await settle(pilot)
        assert "[15m]" in text_of(app)
    assert [period for period, _ in asked.all] == [*there, *there[-2::-1], 900]


async def test_a_click_chooses_a_period(asked: _Asked) -> None:
    async with opened() as (app, pilot, _):
        column = text_of(app).index("24h")
        await pilot.click(offset=(column, 0))
        await see(pilot, "[24h]")
        await until(pilot, lambda: asked.all[-1] == (86_400, None))


async def test_a_key_narrows_it_to_the_selected_convoy_and_back(asked: _Asked) -> None:
    async with opened() as (_, pilot, _played):
        await see(pilot, "History of all convoys")
        await pilot.press("c")
        await see(pilot, "History of nightly-review", "05:00–06:00")  # noqa: RUF001 - as shown
        await pilot.press("c")
        await see(pilot, "History of all convoys", "05:00–06:00")  # noqa: RUF001 - as shown
    assert [convoy for _, convoy in asked.all] == [None, _CONVOY, None]


async def test_the_convoy_is_the_one_under_the_cursor() -> None:
    async with playing(scenes.remembered) as (app, pilot, _):
        await pilot.press("1", "down", "H")
        await until(pilot, lambda: isinstance(app.screen, HistoryScreen))
        assert history_of(app).convoy_at_hand() == "dep-upgrades-0003"


async def test_without_a_convoy_the_key_says_so(asked: _Asked) -> None:
    async with playing(scenes.empty) as (app, pilot, _):
        await pilot.press("H")
        await until(pilot, lambda: isinstance(app.screen, HistoryScreen))
        await pilot.press("c")
        await see(pilot, "no convoy was selected")
    assert asked.all == [(3600, None)]


@pytest.mark.slow
async def test_tab_goes_from_pane_to_pane_and_from_page_to_page() -> None:
    async with opened((80, 24)) as (app, pilot, _):
        screen = history_of(app)
        seen = []
        for _ in HistoryPane:
            assert screen.pane_of(screen.focused) is screen.at
            seen.append((screen.at, screen.page))
            await pilot.press("tab")
        assert seen == list(zip(HistoryPane, [(n, 3) for n in (1, 1, 1, 2, 2, 3, 3)], strict=True))
        seen.append((screen.at, screen.page))
        assert seen[-1] == seen[0]
        await pilot.press("shift+tab")
        await see(pilot, "3 of 3", "reviewer")


@pytest.mark.slow
async def test_numbers_go_to_panes_and_zoom_shows_one_alone(asked: _Asked) -> None:
    async with opened() as (app, pilot, _):
        narrow = asked.points[-1]
        await pilot.press("4", "z")
        await until(pilot, lambda: " Load " not in text_of(app))
        assert " Throughput " in text_of(app)
        await until(pilot, lambda: asked.points[-1] > narrow)
        await pilot.press("escape")
        await see(pilot, " Load ", " Throughput ")
        assert isinstance(app.screen, HistoryScreen)


async def test_a_click_on_a_pane_is_where_keys_go() -> None:
    async with opened() as (app, pilot, _):
        await pilot.click(offset=(80, 3))
        await until(pilot, lambda: history_of(app).at is HistoryPane.RESIZES)


async def test_enter_opens_the_operation_and_comes_back_to_its_row() -> None:
    async with opened() as (app, pilot, _):
        await pilot.press("6", "down", "down", "enter")
        await until(pilot, lambda: isinstance(app.screen, OperationScreen), "the operation")
        assert isinstance(app.screen, OperationScreen)
        assert app.screen.key.item_id == "fix-web-001"
        await pilot.press("H")
        await until(pilot, lambda: isinstance(app.screen, HistoryScreen))
        assert history_of(app).at is HistoryPane.SLOWEST
        assert len(app.screen_stack) == 2


async def test_enter_on_a_resize_tells_its_reason_in_full() -> None:
    async with opened() as (_, pilot, _played):
        await pilot.press("3", "down", "enter")
        await see(pilot, "CPU 80 %, memory 32 %: up to 12, growing by 2")


async def test_the_cursor_stays_on_its_operation_when_a_slower_one_comes() -> None:
    async with opened() as (app, pilot, played):
        past = played.engine.past
        assert past is not None
        await pilot.press("6", "down")
        slower = replace(past.slowest[4], duration_s=1000, finished_at=past.end)
        played.engine.past = replace(past, slowest=(slower, *past.slowest))
        await played.clock.advance(_GAP_S + 10)
        await see(pilot, "16m 40s")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, OperationScreen), "the operation")
        assert isinstance(app.screen, OperationScreen)
        assert app.screen.key.item_id == "fix-db-001"


async def test_it_reads_on_by_itself_but_not_beneath_a_dialog(asked: _Asked) -> None:
    async with opened() as (app, pilot, played):
        assert len(asked.all) == 1
        await played.clock.advance(_GAP_S + 10)
        await until(pilot, lambda: len(asked.all) == 2, "it is read again")
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen), "the help")
        for _ in range(5):
            await played.clock.advance(_GAP_S + 10)
        await settle(pilot)
        assert len(asked.all) == 2
        await pilot.press("escape")
        await until(pilot, lambda: len(asked.all) == 3, "the reading goes on")


async def test_holding_keeps_what_is_on_display_until_it_is_let_go(asked: _Asked) -> None:
    async with opened() as (app, pilot, played):
        await pilot.press("Z")
        await see(pilot, "held")
        await played.clock.advance(_GAP_S + 10)
        await settle(pilot)
        assert len(asked.all) == 1
        await pilot.press("Z")
        await until(pilot, lambda: len(asked.all) == 2, "it is read again")
        assert "held" not in text_of(app)


async def test_an_answer_sends_only_what_it_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[Canvas] = []
    shown: list[HistoryScreen] = []
    refresh, show = Canvas.refresh, HistoryScreen._show

    def watch_refresh(canvas: Canvas, *regions: Region, **options: bool) -> Canvas:
        drawn.append(canvas)
        return refresh(canvas, *regions, **options)

    def watch_show(screen: HistoryScreen, past: Past, charts: Mapping[str, list[Line]]) -> None:
        show(screen, past, charts)  # type: ignore[arg-type]  # as it came
        shown.append(screen)

    async with opened() as (app, pilot, played):
        await settle(pilot)
        monkeypatch.setattr(Canvas, "refresh", watch_refresh)
        monkeypatch.setattr(HistoryScreen, "_show", watch_show)
        past = played.engine.past
        assert past is not None
        played.engine.past = replace(past, end=past.end + timedelta(milliseconds=1))
        await played.clock.advance(_GAP_S + 10)
        await until(pilot, lambda: len(shown) == 1, "the second answer is shown")
        assert drawn == []
        played.engine.past = replace(past, throughput=())
        await played.clock.advance(_GAP_S + 10)
        await until(pilot, lambda: len(shown) == 2, "the third answer is shown")
        assert {history_of(app).pane_of(each) for each in drawn} == {HistoryPane.THROUGHPUT}


async def test_an_error_is_said_and_what_was_read_stays(asked: _Asked) -> None:
    async with opened() as (app, pilot, played):
        asked.failure = StorageError("metrics.db: database is locked")
        await played.clock.advance(_GAP_S + 10)
        await see(pilot, "✗ metrics.db: database is locked")
        assert "335 completed" in text_of(app)


async def test_an_error_before_anything_was_read_is_said(asked: _Asked) -> None:
    asked.failure = StorageError("metrics.db: database is locked")
    async with playing(scenes.remembered) as (_, pilot, _played):
        await pilot.press("H")
        await see(pilot, "✗ metrics.db: database is locked", "cannot be read; trying again")


async def test_an_engine_that_goes_away_leaves_its_picture_dimmed() -> None:
    async with opened(is_embedded=False) as (app, pilot, played):
        await played.engine.stop()
        await see(pilot, "engine away since")
        assert "335 completed" in text_of(app)


async def test_metrics_that_are_off_say_how_to_switch_them_on() -> None:
    async with playing(scenes.busy) as (_, pilot, _played):
        await pilot.press("H")
        await see(pilot, "AI_SQUAD_ENABLE_METRICS")


async def test_nothing_recorded_yet_says_so() -> None:
    async with playing(scenes.forgotten) as (_, pilot, _played):
        await pilot.press("H")
        await see(pilot, "Nothing is recorded of this time.")


@pytest.mark.slow
@pytest.mark.parametrize("size", [(39, 9), (40, 10), (60, 16), (300, 80)])
async def test_any_size_will_do_and_coming_back_shows_all(size: tuple[int, int]) -> None:
    async with opened() as (app, pilot, _):
        await pilot.resize_terminal(*size)
        await settle(pilot)
        await pilot.press("tab", "z", "right", "z", "left", "shift+tab")
        await pilot.resize_terminal(120, 40)
        await see(pilot, "05:50")
        assert " Load " in text_of(app)
        assert " Agents " in text_of(app)


@pytest.mark.slow
async def test_help_and_palette_know_it() -> None:
    async with opened() as (app, pilot, _):
        await pilot.press("question_mark")
        await see(pilot, "History (here)")
        await pilot.press("escape")
        await pilot.press("colon", *"longer")
        await see(pilot, "a longer time")
        await pilot.press("enter")
        await see(pilot, "[6h]")
        assert isinstance(app.screen, HistoryScreen)
