"""Every screen and dialog as a picture, at the sizes that operators have.

`pytest tests/tui/test_snapshots.py --snapshot-update` draws them anew; look at each before you
commit it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pytest_textual_snapshot import SVGImageExtension

from aisquad_tui.surroundings import ColorDepth, Terminal
from aisquad_tui.widgets.history_panes import ChartPane
from tests.tui import scenes
from tests.tui.playing import playing, settle, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from syrupy.assertion import SnapshotAssertion

    from tests.tui.scenes import Scene

    MakeScene = Callable[[], AbstractAsyncContextManager[Scene]]

NARROW, NORMAL, WIDE = (80, 24), (120, 40), (200, 60)
SIZES = pytest.mark.parametrize("size", [NARROW, NORMAL], ids=["80x24", "120x40"])
TERMINALS = pytest.mark.parametrize(
    "terminal",
    [
        pytest.param(Terminal(is_dark=False), id="light"),
        pytest.param(Terminal(depth=ColorDepth.INDEXED), id="256"),
        pytest.param(Terminal(depth=ColorDepth.ANSI), id="16"),
        pytest.param(Terminal(depth=ColorDepth.NONE), id="none"),
        pytest.param(Terminal(is_ascii=True), id="ascii"),
    ],
)
_DEEPER = "nxXql1FH"
"""Keys after which another widget gets the next key."""


@pytest.fixture
def picture(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(SVGImageExtension)


async def draw(
    scene: MakeScene,
    size: tuple[int, int],
    *keys: str,
    terminal: Terminal | None = None,
    is_lost: bool = False,
    sight: str = "",
) -> str:
    """Return the picture of a scene after some keys."""
    async with playing(scene, size=size, terminal=terminal) as (app, pilot, played):
        for key in keys:
            await pilot.press(key)
            if len(key) > 1 or key in _DEEPER:
                await settle(pilot)
        if is_lost:
            await played.engine.stop()
        await settle(pilot, sight=sight)
        return app.export_screenshot(title="aisquad")


@pytest.mark.parametrize("size", [NARROW, NORMAL, WIDE], ids=["80x24", "120x40", "200x60"])
@pytest.mark.parametrize("scene", [scenes.empty, scenes.busy, scenes.failing])
async def test_dashboard(
    picture: SnapshotAssertion, scene: MakeScene, size: tuple[int, int]
) -> None:
    assert await draw(scene, size) == picture


@pytest.mark.slow
@SIZES
@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(("n",), id="launch"),
        pytest.param(("x",), id="cancel-item"),
        pytest.param(("X",), id="kill-item"),
        pytest.param(("1", "x"), id="cancel-convoy"),
        pytest.param(("1", "X"), id="kill-convoy"),
        pytest.param(("q",), id="leave"),
        pytest.param(("question_mark",), id="help"),
        pytest.param(("colon",), id="palette"),
        pytest.param(("colon", *"retry"), id="palette-typed"),
        pytest.param(("space", "space", "down", "space"), id="marks"),
        pytest.param(("1", "enter"), id="work-of-a-convoy"),
        pytest.param(("z",), id="zoom"),
        pytest.param(("enter",), id="operation"),
        pytest.param(("l",), id="log"),
        pytest.param(("l", "slash", *"test_1", "enter"), id="log-search"),
        pytest.param(("F", "enter"), id="operation-failed"),
    ],
)
async def test_screens(
    picture: SnapshotAssertion, size: tuple[int, int], keys: tuple[str, ...]
) -> None:
    assert await draw(scenes.busy, size, *keys) == picture


@pytest.mark.slow
@SIZES
@pytest.mark.parametrize(
    ("typed", "sight"),
    [
        pytest.param("status:failed", "3 of 592", id="right"),
        pytest.param("stat:x", "no field", id="wrong"),
    ],
)
async def test_filter(
    picture: SnapshotAssertion, typed: str, sight: str, size: tuple[int, int]
) -> None:
    assert await draw(scenes.busy, size, "slash", *typed, sight=sight) == picture


@pytest.mark.slow
@SIZES
async def test_preview_of_a_launch(picture: SnapshotAssertion, size: tuple[int, int]) -> None:
    command = ("r", "u", "f", "f", "space", "c", "h", "e", "c", "k")
    keys = ("n", "down", *command, "tab", "s", "r", "c", "space", "w", "e", "b")
    assert await draw(scenes.busy, size, *keys, sight="2 operations") == picture


@pytest.mark.slow
@SIZES
async def test_launch_of_a_file_that_is_not_there(
    picture: SnapshotAssertion, size: tuple[int, int]
) -> None:
    keys = ("n", "o", "d", "d", ".", "t", "o", "m", "l")
    assert await draw(scenes.busy, size, *keys, sight="cannot be read") == picture


@SIZES
async def test_question_before_a_retry(picture: SnapshotAssertion, size: tuple[int, int]) -> None:
    assert await draw(scenes.busy, size, "F", "asterisk", "r", sight="Retry") == picture


@pytest.mark.parametrize("size", [(60, 16), (39, 9)], ids=["60x16", "39x9"])
async def test_small(picture: SnapshotAssertion, size: tuple[int, int]) -> None:
    assert await draw(scenes.busy, size) == picture


@SIZES
async def test_engine_away(picture: SnapshotAssertion, size: tuple[int, int]) -> None:
    assert await draw(scenes.busy, size, is_lost=True) == picture


@SIZES
async def test_disk_behind(picture: SnapshotAssertion, size: tuple[int, int]) -> None:
    assert await draw(scenes.crowded, size, sight="disk behind") == picture


@pytest.mark.slow
@TERMINALS
@pytest.mark.parametrize("keys", [(), ("1", "x")], ids=["dashboard", "cancel"])
async def test_terminals(
    picture: SnapshotAssertion, terminal: Terminal, keys: tuple[str, ...]
) -> None:
    assert await draw(scenes.busy, NORMAL, *keys, terminal=terminal) == picture


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "keys", "sight"),
    [
        pytest.param(NARROW, (), "05:50", id="80x24"),
        pytest.param(NARROW, ("4",), "05:50", id="80x24-page-2"),
        pytest.param(NARROW, ("6",), "7m 13s", id="80x24-page-3"),
        pytest.param(NARROW, ("z",), f"│      │{' ' * 60}", id="80x24-zoom"),
        pytest.param(NORMAL, (), "05:50", id="120x40"),
        pytest.param(WIDE, ("c", "3"), "05:50", id="200x60-convoy"),
    ],
)
async def test_history(
    picture: SnapshotAssertion, size: tuple[int, int], keys: tuple[str, ...], sight: str
) -> None:
    """The sight is there only after the last key's charts are: those are drawn on a thread."""
    assert await draw(scenes.remembered, size, "H", *keys, sight=sight) == picture


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scene", "sight"),
    [
        pytest.param(scenes.forgotten, "Nothing is recorded", id="empty"),
        pytest.param(scenes.busy, "Metrics are off", id="off"),
    ],
)
async def test_history_of_nothing(picture: SnapshotAssertion, scene: MakeScene, sight: str) -> None:
    assert await draw(scene, NARROW, "H", sight=sight) == picture


@pytest.mark.slow
async def test_history_while_the_engine_is_away(picture: SnapshotAssertion) -> None:
    async with playing(scenes.remembered, size=NORMAL) as (app, pilot, played):
        await pilot.press("H")
        await settle(pilot, sight="05:50")
        await played.engine.stop()
        await settle(pilot, sight="engine away since")
        panes = app.screen.query(ChartPane)
        await until(pilot, lambda: all(pane._is_stale for pane in panes), "all is dimmed")
        await settle(pilot)
        assert app.export_screenshot(title="aisquad") == picture


@pytest.mark.slow
@TERMINALS
async def test_history_on_terminals(picture: SnapshotAssertion, terminal: Terminal) -> None:
    drawn = await draw(scenes.remembered, NORMAL, "H", terminal=terminal, sight="05:50")
    assert drawn == picture
