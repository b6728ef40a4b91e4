from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aisquad_tui.ink import plain
from aisquad_tui.keymap import KEYS, Place
from aisquad_tui.screens.help import HelpScreen
from aisquad_tui.surroundings import ColorDepth, Terminal
from aisquad_tui.views.help import help_lines, signs
from tests.tui.dialogs import opened

if TYPE_CHECKING:
    from aisquad_tui.surroundings import Surroundings
    from aisquad_tui.theme import Look


def at_work(place: Surroundings, look: Look) -> HelpScreen:
    return HelpScreen(place, look, (Place.WORK, Place.DASHBOARD))


def text_of_help(*here: Place, is_embedded: bool = True, has_mouse: bool = True) -> str:
    lines = help_lines(here, is_embedded=is_embedded, has_mouse=has_mouse)
    return "\n".join(plain(each) for each in lines)


@pytest.mark.parametrize("place", list(Place))
def test_every_key_is_told_and_this_place_is_first(place: Place) -> None:
    text = text_of_help(place)
    assert text.startswith(f"{place} (here)\n")
    for key in KEYS:
        assert f"  {signs(key)}" in text
        assert key.help in text


def test_it_tells_the_filter_and_how_text_is_selected() -> None:
    text = text_of_help(Place.WORK)
    assert all(each in text for each in ("!word", "status:failed", "/regex/", "shift+drag"))
    assert "shift+drag" not in text_of_help(Place.WORK, has_mouse=False)


def test_it_tells_what_leaving_does_here() -> None:
    assert "asks when work runs" in text_of_help(Place.WORK)
    assert "the work goes on" in text_of_help(Place.WORK, is_embedded=False)


async def test_it_scrolls_to_its_end_and_back() -> None:
    async with opened(at_work, size=(80, 24)) as stage:
        assert "Work (here)" in stage.text
        await stage.press("end")
        assert "Work (here)" not in stage.text
        assert "shift+drag" in stage.text
        await stage.press("g")
        assert "Work (here)" in stage.text
        await stage.press("pagedown")
        assert "Work (here)" not in stage.text
        await stage.press("pageup", "down", "k")
        assert "Work (here)" in stage.text


async def test_it_closes() -> None:
    async with opened(at_work, size=(80, 24)) as stage:
        for key in ("escape", "q", "question_mark"):
            await stage.press(key)
            await stage.ends()
            await stage.open_again(at_work)


@pytest.mark.parametrize("depth", [ColorDepth.NONE, ColorDepth.ANSI])
async def test_it_is_there_without_colours(depth: ColorDepth) -> None:
    async with opened(at_work, size=(40, 12), terminal=Terminal(depth=depth)) as stage:
        assert "Work (here)" in stage.text
