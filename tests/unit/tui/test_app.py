"""What is the app's own: leaving, notices, faults, and frames for the screen in view."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from textual.events import Key
from textual.screen import ModalScreen
from textual.worker import WorkerFailed

from aisquad_core.api import StopMode
from aisquad_core.model import ItemKey, Operation
from aisquad_core.spec import AdHocSource
from aisquad_core.testing import FakeClock, FakeEngine
from aisquad_tui.app import SquadApp
from aisquad_tui.audience import Audience
from aisquad_tui.driver import KeyDone, TerminalGone
from aisquad_tui.keymap import Place, at
from aisquad_tui.messages import CopyText, Notify, OpenItem
from aisquad_tui.screens.dashboard import DashboardScreen
from aisquad_tui.screens.history import HistoryScreen
from aisquad_tui.screens.live import LiveScreen
from aisquad_tui.screens.operation import OperationScreen
from aisquad_tui.store import Frame, Part, Picture
from aisquad_tui.surroundings import Surroundings, Terminal
from aisquad_tui.theme import Look
from tests.tui import playing, scenes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from textual.message import Message
    from textual.widget import Widget


class Watching(LiveScreen):
    """A screen that keeps what it is shown."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings, Look(Terminal()))
        self.frames: list[Frame] = []

    def show(self, frame: Frame) -> None:
        self.frames.append(frame)


def frame(picture: Picture, parts: Part = Part.LOAD) -> Frame:
    return Frame(picture=picture, parts=parts, items={}, are_items_unknown=False)


@pytest.fixture
async def surroundings() -> AsyncIterator[Surroundings]:
    async with FakeEngine(clock=FakeClock(scenes.START)) as engine:
        yield playing.surroundings_of(engine, FakeClock(scenes.START))


@pytest.mark.parametrize("screen", [DashboardScreen, HistoryScreen, OperationScreen])
def test_a_key_of_every_place_works_on_every_screen(screen: type[LiveScreen]) -> None:
    actions = {f"action_{key.action}" for key in at(Place.EVERYWHERE)}
    assert actions - {*dir(screen), *dir(SquadApp)} == set()


async def test_frames_go_to_the_live_screen_on_top_beneath_a_dialog_too(
    surroundings: Surroundings,
) -> None:
    below, above = Watching(surroundings), Watching(surroundings)
    stack: list[Widget] = [below, above, ModalScreen[None]()]
    audience = Audience(lambda: stack)
    audience.show(frame(Picture()))
    assert (len(below.frames), len(above.frames)) == (0, 1)


async def test_a_screen_that_comes_back_gets_all_parts_at_once_and_changes_after_that(
    surroundings: Surroundings,
) -> None:
    below, above = Watching(surroundings), Watching(surroundings)
    stack: list[Widget] = [below]
    audience = Audience(lambda: stack)
    snapshot = await surroundings.engine.snapshot()
    audience.show(frame(Picture(engine=snapshot.engine), Part.ALL))
    stack.append(above)
    audience.show(frame(Picture(engine=snapshot.engine)))
    stack.pop()
    audience.show_again()
    assert (below.frames[-1].parts, below.frames[-1].are_items_unknown) == (Part.ALL, True)
    audience.show_again()
    audience.show(frame(Picture(engine=snapshot.engine)))
    assert [each.parts for each in below.frames] == [Part.ALL, Part.ALL, Part.LOAD]


async def test_the_first_wish_to_leave_counts() -> None:
    async with playing.playing(scenes.busy) as (app, pilot, _):
        app.leave(StopMode.DETACH, status=129)
        app.leave(StopMode.INTERRUPT, status=143)
        await pilot.pause()
    assert (app.stop_mode, app.return_code) == (StopMode.DETACH, 129)


async def test_a_terminal_that_is_gone_leaves_the_work_running() -> None:
    async with playing.playing(scenes.busy) as (app, pilot, _):
        app.post_message(TerminalGone())
        await playing.until(pilot, lambda: app.return_code is not None)
    assert (app.stop_mode, app.return_code) == (StopMode.DETACH, 129)


async def test_q_leaves_at_once_when_nothing_runs() -> None:
    async with playing.playing(scenes.empty) as (app, pilot, _):
        await pilot.press("q")
        await playing.until(pilot, lambda: app.return_code is not None)
    assert (app.stop_mode, app.return_code) == (StopMode.INTERRUPT, 0)


async def test_q_asks_when_work_would_be_stopped_and_escape_stays() -> None:
    async with playing.playing(scenes.busy) as (app, pilot, played):
        await pilot.press("q")
        await playing.until(pilot, lambda: isinstance(app.screen, ModalScreen))
        await played.clock.advance(1)
        await pilot.press("escape")
        await playing.until(pilot, lambda: isinstance(app.screen, DashboardScreen))
        assert app.return_code is None


async def test_leaving_from_a_dialog_asks_once_however_often_it_is_pressed() -> None:
    async with playing.playing(scenes.busy) as (app, pilot, _):
        await pilot.press("question_mark", "ctrl+q", "ctrl+q")
        await playing.settle(pilot)
        await pilot.press("ctrl+q")
        await playing.settle(pilot)
        assert [type(screen).__name__ for screen in app.screen_stack] == [
            "DashboardScreen",
            "HelpScreen",
            "ConfirmScreen",
        ]


@pytest.mark.parametrize("scene", [scenes.empty, scenes.busy])
async def test_ctrl_c_says_what_leaves_and_what_cancels(scene: type) -> None:
    async with playing.playing(scene) as (app, pilot, _):
        await pilot.press("ctrl+c")
        await playing.settle(pilot, sight="q leaves, x cancels")
        assert app.return_code is None


async def test_a_notice_is_shown_on_the_screen_in_view() -> None:
    async with playing.playing(scenes.busy) as (app, pilot, _):
        app.screen.post_message(Notify("the disk is [bold]full[/bold]", is_error=True))
        await playing.settle(pilot, sight="the disk is [bold]full[/bold]")


async def test_an_item_opens_above_the_dashboard_and_q_comes_back_to_it() -> None:
    async with playing.playing(scenes.busy) as (app, pilot, _):
        dashboard = app.screen
        assert isinstance(dashboard, DashboardScreen)
        convoy_id = next(iter(dashboard.picture.convoys))
        app.screen.post_message(OpenItem(ItemKey(convoy_id, "fix-db-001")))
        await playing.until(pilot, lambda: isinstance(app.screen, OperationScreen))
        await playing.settle(pilot, sight="fix-db-001")
        await pilot.press("q")
        await playing.until(pilot, lambda: app.screen is dashboard)


async def test_t_goes_from_dark_to_light_and_back() -> None:
    async with playing.playing(scenes.busy) as (app, pilot, _):
        seen = [app.theme]
        for _ in range(2):
            await pilot.press("T")
            seen.append(app.theme)
        assert seen == ["squad-dark", "squad-light", "squad-dark"]
        assert app.look.is_dark


async def test_what_is_to_be_launched_at_once_is_launched(surroundings: Surroundings) -> None:
    source = AdHocSource(command="true", inputs=("a", "b"), name="at-once")
    fields = {name: getattr(surroundings, name) for name in surroundings.__slots__}
    app = SquadApp(Surroundings(**fields | {"first": [source]}))
    async with app.run_test(size=(120, 40)) as pilot:
        await playing.settle(pilot, sight="at-once")


@pytest.mark.parametrize(
    ("changes", "rings"),
    [
        ({}, 1),
        ({"is_demo": True}, 0),
        ({"terminal": Terminal(has_bell=False)}, 0),
    ],
)
async def test_an_end_rings_once_unless_it_must_not(
    surroundings: Surroundings,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
    rings: int,
) -> None:
    engine = surroundings.engine
    assert isinstance(engine, FakeEngine)
    convoy_id = engine.add_convoy("quick", [Operation(id="a", argv=("sleep", "1"))])
    app = SquadApp(replace(surroundings, **changes))  # type: ignore[arg-type]  # one of its own
    async with app.run_test(size=(120, 40)) as pilot:
        await playing.settle(pilot, sight="quick")
        written: list[str] = []
        monkeypatch.setattr(app._driver, "write", written.append)
        await engine.cancel(convoy_id)
        await playing.settle(pilot, sight="quick cancelled")
        assert "".join(written).count("\x07\x1b]9;aisquad: quick cancelled: ") == rings


async def test_a_text_that_is_copied_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with playing.playing(scenes.busy) as (app, pilot, _):
        app.screen.post_message(CopyText("fix-db-001", "the id"))
        await playing.settle(pilot, sight="copied to the terminal's clipboard")


async def test_a_mark_follows_each_key_so_that_keys_of_one_packet_find_what_the_first_opens(
    surroundings: Surroundings,
) -> None:
    seen: list[str] = []

    def note(message: Message) -> None:
        if isinstance(message, Key):
            seen.append(message.key)
        elif isinstance(message, KeyDone):
            seen.append("done")

    app = SquadApp(surroundings)
    async with app.run_test(size=(120, 40), message_hook=note) as pilot:
        await playing.settle(pilot)
        await pilot.press("j", "k")
    first = seen.index("done")
    assert set(seen[:first]) == {"j"}
    assert "k" in seen[first:]


async def test_a_fault_ends_the_app_with_status_one_and_is_kept(
    surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(screen: DashboardScreen, frame: Frame) -> None:
        raise RuntimeError("a frame too many")

    monkeypatch.setattr(DashboardScreen, "show", fail)
    app = SquadApp(surroundings)
    with pytest.raises(WorkerFailed, match="a frame too many"):
        async with app.run_test(size=(120, 40)) as pilot:
            await playing.until(pilot, lambda: app.fault is not None)
    assert isinstance(app.fault, ExceptionGroup)
    assert app.return_code == 1
