from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aisquad_tui.draft import Draft
from aisquad_tui.keymap import Place
from aisquad_tui.palette import PaletteScreen, entries
from aisquad_tui.screens.confirm import ConfirmScreen
from aisquad_tui.screens.help import HelpScreen
from aisquad_tui.screens.launch import LaunchScreen
from aisquad_tui.views.question import Choice, Question
from tests.tui.dialogs import opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisquad_tui.screens.dialog import DialogScreen
    from aisquad_tui.surroundings import Surroundings
    from aisquad_tui.theme import Look

QUESTION = Question(
    title="Cancel it?",
    lines=("12 running operations are stopped, each of them (TERM, then KILL after 10 s).",),
    choices=(Choice(key="n", text="leave it"), Choice(key="y", text="cancel it")),
    words=("12",),
    verb="cancel it",
)
CHOICES = entries((Place.WORK, Place.EVERYWHERE), ["/x.toml"], "/")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "title"),
    [
        (lambda place, look: ConfirmScreen(place, look, QUESTION), "Cancel it?"),
        (lambda place, look: HelpScreen(place, look, (Place.WORK,)), "Keys"),
        (lambda place, look: PaletteScreen(place, look, CHOICES), "Commands"),
        (lambda place, look: LaunchScreen(place, look, Draft(inputs="'")), "New convoy"),
    ],
)
async def test_a_dialog_outlives_a_screen_without_room_and_comes_back(
    make: Callable[[Surroundings, Look], DialogScreen[None]], title: str
) -> None:
    async with opened(make, size=(1, 1)) as stage:
        await stage.press("tab", "a")
        for size in ((3, 3), (19, 5), (1, 1), (80, 24)):
            await stage.pilot.resize_terminal(*size)
        await stage.shows(f"{title} ─")


async def test_a_number_is_not_torn_from_its_unit() -> None:
    async with opened(lambda place, look: ConfirmScreen(place, look, QUESTION)) as stage:
        assert "after\n" not in "\n".join(row.strip(" │") for row in stage.text.split("\n"))
        assert "10 s)." in stage.text
