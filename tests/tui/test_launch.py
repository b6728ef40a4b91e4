from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from textual.events import Paste

from aisquad_core.errors import EngineStoppedError
from aisquad_core.spec import AdHocSource, SpecSource
from aisquad_tui.draft import Draft
from aisquad_tui.formatting import GLYPHS
from aisquad_tui.screens.launch import LaunchScreen
from aisquad_tui.surroundings import ColorDepth, Terminal
from tests.tui import scenes
from tests.tui.dialogs import opened
from tests.tui.playing import playing, text_of, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from aisquad_core.api import Preview
    from aisquad_core.spec import ConvoySource
    from aisquad_tui.surroundings import Surroundings
    from aisquad_tui.theme import Look
    from tests.tui.dialogs import Stage

    Launching = Callable[..., AbstractAsyncContextManager[Stage[ConvoySource | None]]]

NIGHT = """
name = "nightly-review"

[[operations]]
id = "lint"
run = "ruff check ."

[[operations]]
id = "fix-{file}"
for_each = { file = ["a.py", "b.py", "c.py"] }
run = "ruff check --fix {file}"
needs = ["lint"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "convoys").mkdir()
    (tmp_path / "convoys" / "nightly-review.toml").write_text(NIGHT)
    (tmp_path / "convoys" / "bad.toml").write_text(NIGHT.replace('["lint"]', '["lnit"]'))
    return tmp_path


@pytest.fixture
def launching(project: Path) -> Launching:
    """Open the dialog in the project."""

    def launch(
        draft: Draft | None = None,
        *,
        recent: tuple[str, ...] = (),
        size: tuple[int, int] = (120, 40),
        terminal: Terminal | None = None,
    ) -> AbstractAsyncContextManager[Stage[ConvoySource | None]]:
        def make(place: Surroundings, look: Look) -> LaunchScreen:
            return LaunchScreen(place, look, draft or Draft(), recent)

        return opened(
            make,
            size=size,
            terminal=terminal,
            change=lambda place: replace(place, cwd=str(project)),
        )

    return launch


async def paste(stage: Stage[ConvoySource | None], text: str) -> None:
    stage.pilot.app.post_message(Paste(text))
    await stage.pilot.pause()


async def test_tab_completes_a_file_which_two_enters_launch(launching: Launching) -> None:
    async with launching() as stage:
        await stage.press("c", "tab")
        await stage.shows("File     convoys/")
        await stage.press("n", "tab")
        await stage.shows("File     convoys/nightly-review.toml")
        await stage.shows("nightly-review · 4 operations · agent: shell 4")
        assert f"3 {GLYPHS.times}  needs lint" in stage.text
        await stage.press("enter")
        assert stage.results == []
        await stage.press("enter")
        source = await stage.ends()
        assert isinstance(source, SpecSource)
        assert (source.origin, source.text) == ("convoys/nightly-review.toml", NIGHT)


async def test_a_command_runs_for_each_input_and_enter_on_the_last_field_launches(
    launching: Launching,
) -> None:
    async with launching() as stage:
        await stage.press("down")
        await paste(stage, "ruff check {}")
        await stage.press("enter")
        await paste(stage, "convoys/*.toml x")
        await stage.shows("ruff · 3 operations · agent: shell 3")
        await stage.press("enter")
        source = await stage.ends()
        assert source == AdHocSource(
            command="ruff check {}",
            inputs=("convoys/bad.toml", "convoys/nightly-review.toml", "x"),
        )


async def test_launching_before_the_preview_came_waits_for_it(launching: Launching) -> None:
    async with launching(Draft(command="ls")) as stage:
        await stage.press("down", "x", "enter")
        assert await stage.ends() == AdHocSource(command="ls", inputs=("x",))


async def test_an_error_stands_at_its_place_and_nothing_is_launched(launching: Launching) -> None:
    async with launching(Draft(path="convoys/bad.toml")) as stage:
        await stage.shows("✗ convoys/bad.toml operations[1].needs")
        assert 'did you mean "lint"?' in stage.text
        assert "not before it is right" in stage.text
        await stage.press("enter", "enter", "ctrl+enter")
        await stage.click("Launch")
        assert stage.results == []


async def test_a_problem_of_a_field_marks_it(launching: Launching) -> None:
    async with launching(Draft(command="echo", inputs="no/*.py")) as stage:
        await stage.shows('✗ for each: no file fits "no/*.py"')
        await stage.press("down", "ctrl+u", "'")
        await stage.shows("✗ for each: the quote ' does not end")


@pytest.mark.parametrize("newline", ["\n", "\r", "\r\n"])
async def test_pasted_lines_are_inputs_and_submit_nothing(
    launching: Launching, newline: str
) -> None:
    async with launching(Draft(command="echo")) as stage:
        await stage.press("down")
        await paste(stage, newline.join(["one", "two words", "*.py", ""]))
        await stage.shows("3 operations")
        assert stage.results == []
        assert isinstance(stage.screen, LaunchScreen)
        assert stage.screen.draft.inputs == "one 'two words' '*.py' "


async def test_a_pasted_command_is_one_line_and_its_letters_are_no_keys(
    launching: Launching,
) -> None:
    async with launching() as stage:
        await stage.press("down")
        await paste(stage, "make all \\\n  \x1b[31m-j2\n")
        assert isinstance(stage.screen, LaunchScreen)
        assert stage.screen.draft.command == "make all \\ -j2"
        assert stage.results == []


async def test_a_paste_of_a_megabyte_is_taken(launching: Launching) -> None:
    async with launching(Draft(command="echo")) as stage:
        await stage.press("down")
        await paste(stage, "\n".join(["x" * 99] * 10_000))
        await stage.shows("10,000 operations")


async def test_recent_files_are_offered_and_up_or_a_click_takes_them(
    launching: Launching, project: Path
) -> None:
    recent = tuple(str(project / "convoys" / name) for name in ("nightly-review.toml", "bad.toml"))
    async with launching(recent=recent) as stage:
        assert "recent convoys/nightly-review.toml · convoys/bad.toml" in stage.text
        await stage.press("up")
        await stage.shows("nightly-review · 4 operations")
        await stage.click("up: recent")
        await stage.shows('did you mean "lint"?')


async def test_the_name_and_the_agent_can_be_chosen(launching: Launching) -> None:
    async with launching(Draft(command="ls", inputs="a")) as stage:
        await stage.press("down", "down", *"list", "tab", *"sh", "tab", "enter")
        source = await stage.ends()
        assert source == AdHocSource(command="ls", inputs=("a",), name="list", agent="shell")


async def test_escape_keeps_what_was_typed(launching: Launching) -> None:
    async with launching() as stage:
        await stage.press("n", "down", "l", "s", "escape")
        assert await stage.ends() is None
        assert isinstance(stage.screen, LaunchScreen)
        assert stage.screen.draft == Draft(path="n", command="ls")


async def test_only_the_newest_preview_is_shown(
    launching: Launching, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with launching(Draft(command="ls", inputs="a")) as stage:
        await stage.shows("1 operation ")
        real, slow, asked = stage.engine.preview, asyncio.Event(), asyncio.Event()

        async def preview(source: ConvoySource, *, cwd: str, limit: int = 20) -> Preview:
            assert isinstance(source, AdHocSource)
            if source.inputs == ("ab",):
                asked.set()
                await slow.wait()
            return await real(source, cwd=cwd, limit=limit)

        monkeypatch.setattr(stage.engine, "preview", preview)
        await stage.press("down", "b")
        await stage.comes(asked.is_set)
        await stage.press("space", "c", "space", "d")
        await stage.shows("3 operations")
        slow.set()
        await stage.pilot.pause()
        assert "3 operations" in stage.text


async def test_an_engine_that_has_stopped_is_told(
    launching: Launching, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with launching() as stage:

        async def preview(source: ConvoySource, *, cwd: str, limit: int = 20) -> Preview:
            raise EngineStoppedError

        monkeypatch.setattr(stage.engine, "preview", preview)
        await stage.press("down", "l", "s", "ctrl+enter")
        await stage.shows("✗ engine: ")
        assert stage.results == []


@pytest.mark.parametrize(
    ("size", "terminal"),
    [
        ((80, 24), Terminal(depth=ColorDepth.NONE)),
        ((80, 24), Terminal(depth=ColorDepth.ANSI)),
        ((80, 24), Terminal(is_ascii=True)),
        ((40, 12), Terminal(is_dark=False)),
    ],
    ids=["none", "ansi", "ascii", "light and small"],
)
async def test_it_is_whole_on_any_terminal(
    launching: Launching, size: tuple[int, int], terminal: Terminal
) -> None:
    async with launching(
        Draft(path="convoys/nightly-review.toml"), size=size, terminal=terminal
    ) as stage:
        await stage.shows("nightly-review · 4" if not terminal.is_ascii else "nightly-review - 4")
        rows = stage.text.split("\n")
        assert "New convoy" in rows[0]
        assert "esc" in rows[-2]
        assert "Launch" in rows[-2]
        assert stage.text.isascii() is terminal.is_ascii


@pytest.mark.slow
async def test_n_opens_it_and_what_it_launches_runs() -> None:
    async with playing(scenes.empty) as (app, pilot, scene):
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen))
        await pilot.press("down", *"true", "enter", *"a b", "enter")
        await until(pilot, lambda: "launched true" in text_of(app))
        [convoy] = (await scene.engine.snapshot()).convoys
        assert (convoy.name, convoy.counts.total) == ("true", 2)
