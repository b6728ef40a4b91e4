from __future__ import annotations

from dataclasses import replace

import pytest

from aisquad_tui.formatting import GLYPHS
from aisquad_tui.ink import Role
from aisquad_tui.store import Picture
from aisquad_tui.views.empty import AgentFound, empty
from tests.unit.tui.pictures import PICTURE, make_engine, make_load, texts

FOUND = (
    AgentFound(name="claude", path="/bin/claude", version="2.1.0"),
    AgentFound(name="codex", path="/bin/codex"),
    AgentFound(name="gemini", path=None),
)
IDLE = Picture(engine=make_engine(parallelism=16), history=(make_load(12, 48),))


def test_an_empty_dashboard_tells_the_way_on() -> None:
    assert texts(empty(IDLE, FOUND, 120, 20, GLYPHS)) == [
        "",
        "  No convoys yet.",
        "",
        "  n   new convoy: a command over many inputs, or a file",
        "  ?   every key",
        "  q   leave",
        "",
        "  In a shell     aisquad demo   a lively convoy of harmless commands",
        "                 aisquad init   a first convoy file, to begin with",
        "  Agents found   claude 2.1.0, codex",
        "  Not found      gemini",
        "  This machine   2 cores, 8.3 GiB free → up to 16 at once (CPU 12 %, memory 48 %),"
        " starting with 5",
    ]


def test_a_low_terminal_loses_the_empty_lines_first() -> None:
    drawn = texts(empty(IDLE, FOUND, 120, 8, GLYPHS))
    assert len(drawn) == 8
    assert "" not in drawn


def test_narrow_facts_wrap_between_words_and_percentages_stay_whole() -> None:
    drawn = texts(empty(IDLE, FOUND, 60, 20, GLYPHS))
    assert drawn[-2:] == [
        "  This machine   2 cores, 8.3 GiB free → up to 16 at once",
        "                 (CPU 12 %, memory 48 %), starting with 5",
    ]


@pytest.mark.parametrize("cells", range(40, 121, 4))
def test_a_number_and_its_percent_sign_stay_together(cells: int) -> None:
    drawn = texts(empty(IDLE, FOUND, cells, 20, GLYPHS))
    assert [shown for shown in drawn if shown.lstrip().startswith("%")] == []


def test_without_any_agent_it_says_that_commands_run() -> None:
    missing = tuple(replace(agent, path=None) for agent in FOUND)
    drawn = texts(empty(IDLE, missing, 120, 20, GLYPHS))
    assert "  Not found      claude, codex, gemini; any command runs" in drawn
    assert not any("Agents found" in shown for shown in drawn)


def test_before_anything_is_known_the_keys_are_there() -> None:
    drawn = texts(empty(Picture(), (), 120, 20, GLYPHS, is_demo=True))
    assert drawn[-1] == "  q   leave"


def test_a_pinned_machine_says_so() -> None:
    picture = replace(PICTURE, engine=make_engine(auto=False, parallelism=3))
    assert texts(empty(picture, (), 120, 20, GLYPHS))[-1].endswith(
        "up to 3 at once (CPU 50 %, memory 32 %), pinned by hand"
    )


def test_keys_are_drawn_as_keys() -> None:
    drawn = empty(IDLE, FOUND, 120, 20, GLYPHS)
    assert [span[0].strip() for each in drawn for span in each if span[1] is Role.KEY] == [
        "n",
        "?",
        "q",
    ]
