from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aisquad_tui.keymap import Place, at
from aisquad_tui.palette import PaletteScreen, entries, fitting
from aisquad_tui.screens.help import HelpScreen
from aisquad_tui.surroundings import ColorDepth, Terminal
from tests.tui import scenes
from tests.tui.dialogs import opened
from tests.tui.playing import playing, until

if TYPE_CHECKING:
    from aisquad_tui.surroundings import Surroundings
    from aisquad_tui.theme import Look

PLACES = (Place.WORK, Place.DASHBOARD, Place.EVERYWHERE)
CHOICES = entries(PLACES, ["/home/ada/src/shop/night.toml"], "/home/ada/src/shop")


def palette(place: Surroundings, look: Look) -> PaletteScreen:
    return PaletteScreen(place, look, CHOICES)


def test_every_action_of_the_place_is_there_with_its_key() -> None:
    offered = {(each.words, each.sign) for each in CHOICES}
    for key in at(*PLACES):
        if key.action != "palette":
            assert (key.help, key.sign) in offered


def test_a_key_is_that_of_the_nearest_place() -> None:
    found = entries((Place.LOG, Place.WORK), [], "/")
    assert [each.place for each in found if each.sign == "n"] == [Place.LOG]


@pytest.mark.parametrize(
    ("text", "first"),
    [("cancel", "x"), ("kill", "X"), ("show log", "l"), ("FILTER", "/"), ("dark", "T")],
)
def test_words_find_an_action_best_first(text: str, first: str) -> None:
    assert fitting(CHOICES, text)[0].sign == first


def test_words_that_fit_nothing_find_nothing() -> None:
    assert fitting(CHOICES, "cancel zebra") == []


async def test_enter_runs_what_is_found() -> None:
    async with opened(palette) as stage:
        await stage.press(*"kill", "enter")
        chosen = await stage.ends()
        assert chosen is not None
        assert chosen.key == "X"


async def test_arrows_move_and_a_recent_file_can_be_launched() -> None:
    async with opened(palette, size=(80, 24)) as stage:
        await stage.press("up", *["pagedown"] * 3, "enter")
        chosen = await stage.ends()
        assert chosen is not None
        assert chosen.path == "/home/ada/src/shop/night.toml"


async def test_a_click_runs_it_and_nothing_found_runs_nothing() -> None:
    async with opened(palette, size=(80, 24), terminal=Terminal(depth=ColorDepth.NONE)) as stage:
        await stage.press(*"zebra", "enter")
        await stage.shows("nothing fits")
        assert stage.results == []
        await stage.press("ctrl+u", *"night")
        await stage.click("launch night.toml")
        chosen = await stage.ends()
        assert chosen is not None
        assert chosen.path is not None


async def test_escape_runs_nothing_on_a_terminal_of_sixteen_colours() -> None:
    async with opened(palette, terminal=Terminal(depth=ColorDepth.ANSI)) as stage:
        await stage.press("escape")
        assert await stage.ends() is None


@pytest.mark.slow
async def test_the_colon_opens_it_and_it_opens_the_help() -> None:
    async with playing(scenes.empty) as (app, pilot, _):
        await pilot.press("colon")
        await until(pilot, lambda: isinstance(app.screen, PaletteScreen))
        await pilot.press(*"the keys", "enter")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
