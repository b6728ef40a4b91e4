from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from textual.events import Paste

from aisquad_core.api import ItemFilter
from aisquad_core.model import WorkStatus
from aisquad_tui.screens.confirm import ConfirmScreen
from aisquad_tui.surroundings import ColorDepth, Terminal
from aisquad_tui.views.question import Choice, Question
from tests.tui import scenes
from tests.tui.dialogs import opened
from tests.tui.playing import playing, text_of, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisquad_tui.surroundings import Surroundings
    from aisquad_tui.theme import Look

QUESTION = Question(
    title="Cancel fix-api-018?",
    lines=("1 running operation is stopped (TERM, then KILL after 10 s). It has run for 41s.",),
    choices=(Choice(key="n", text="leave it alone"), Choice(key="y", text="cancel it")),
)
TYPED = replace(QUESTION, words=("nightly", "12"), verb="cancel it")


def asking(question: Question) -> Callable[[Surroundings, Look], ConfirmScreen]:
    return lambda place, look: ConfirmScreen(place, look, question)


async def test_each_key_gives_the_answer_that_the_dialog_names() -> None:
    answers = {
        "enter": 0,
        "escape": 0,
        "n": 0,
        "N": 0,
        "y": 1,
        "tab enter": 1,
        "down enter": 1,
        "tab tab enter": 0,
        "shift+tab enter": 1,
    }
    async with opened(asking(QUESTION)) as stage:
        given: dict[str, int | None] = {}
        for keys in answers:
            await stage.press(*keys.split())
            given[keys] = await stage.ends()
            await stage.open_again(asking(QUESTION))
        assert given == answers


async def test_other_keys_and_pasted_letters_are_no_answers() -> None:
    async with opened(asking(QUESTION)) as stage:
        await stage.press("x", "q", "space", "j")
        stage.pilot.app.post_message(Paste("y\n"))
        await stage.pilot.pause()
        assert stage.results == []


async def test_a_click_on_an_answer_gives_it() -> None:
    async with opened(asking(QUESTION)) as stage:
        await stage.click("cancel it")
        assert await stage.ends() == 1


async def test_keys_and_clicks_of_the_first_quarter_second_are_dropped() -> None:
    async with opened(asking(QUESTION), is_read=False) as stage:
        await stage.press("y", "enter", "escape")
        await stage.click("cancel it")
        await stage.clock.advance(0.24)
        await stage.press("y")
        assert stage.results == []
        await stage.clock.advance(0.01)
        await stage.press("y")
        assert await stage.ends() == 1


@pytest.mark.parametrize("word", TYPED.words)
async def test_the_name_or_the_number_typed_does_it(word: str) -> None:
    async with opened(asking(TYPED)) as stage:
        await stage.press(*word, "enter")
        assert await stage.ends() == 1


async def test_anything_else_typed_does_nothing_and_says_so() -> None:
    async with opened(asking(TYPED)) as stage:
        await stage.press("y", "enter")
        await stage.shows("not the same")
        await stage.press("backspace", "tab", "enter")
        await stage.shows("to be typed first")
        await stage.click("cancel it  " if "cancel it  " in stage.text else "cancel it")
        stage.pilot.app.post_message(Paste("nightly"))
        await stage.pilot.pause()
        assert stage.results == []
        await stage.press("escape")
        assert await stage.ends() == 0


async def test_enter_without_a_word_is_harmless() -> None:
    async with opened(asking(TYPED)) as stage:
        await stage.press("enter")
        assert await stage.ends() == 0


@pytest.mark.parametrize(
    ("size", "terminal"),
    [
        ((120, 40), Terminal(is_dark=False)),
        ((80, 24), Terminal(depth=ColorDepth.ANSI)),
        ((80, 24), Terminal(depth=ColorDepth.NONE)),
        ((80, 24), Terminal(is_ascii=True)),
        ((40, 12), Terminal()),
    ],
    ids=["light", "ansi", "none", "ascii", "small"],
)
async def test_it_says_all_on_any_terminal(size: tuple[int, int], terminal: Terminal) -> None:
    async with opened(asking(TYPED), size=size, terminal=terminal) as stage:
        said = " ".join(stage.text.replace("│", " ").replace("|", " ").split())
        assert "Cancel fix-api-018?" in said
        assert "KILL after 10 s" in said
        assert "Type nightly or 12 to cancel it:" in said
        assert "leave it alone" in said
        assert "enter once it is typed" in said
        assert stage.text.isascii() is terminal.is_ascii


@pytest.mark.slow
async def test_x_asks_on_the_dashboard_and_y_cancels_the_item_under_the_cursor() -> None:
    async with playing(scenes.busy) as (app, pilot, scene):
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert "Cancel fix-web-042?" in text_of(app)
        await scene.clock.advance(0.3)
        await pilot.press("y")
        await until(pilot, lambda: "1 operation cancelled" in text_of(app))
        cancelled = ItemFilter(statuses=(WorkStatus.CANCELLED,))
        [item] = (await scene.engine.items(cancelled)).items
        assert item.id == "fix-web-042"


@pytest.mark.slow
async def test_leaving_while_work_runs_asks_and_staying_stays() -> None:
    async with playing(scenes.busy) as (app, pilot, scene):
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert "Leave while 12 operations run?" in text_of(app)
        await scene.clock.advance(0.3)
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(app.screen, ConfirmScreen))
        assert app.is_running
