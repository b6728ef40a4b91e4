from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import pytest

from aisquad_core.api import ItemFilter, StopMode
from aisquad_core.model import ItemKey, Operation, WorkStatus
from aisquad_core.spec import AdHocSource
from aisquad_core.testing import FakeClock, FakeEngine, ScriptedItem
from aisquad_tui.desk import Desk
from aisquad_tui.draft import Draft
from aisquad_tui.keymap import Place
from aisquad_tui.messages import (
    CancelConvoy,
    CancelItems,
    ChangeParallelism,
    LaunchConvoy,
    NewConvoy,
    OpenHelp,
    OpenPalette,
    RetryItems,
    TogglePause,
)
from aisquad_tui.palette import PaletteScreen
from aisquad_tui.screens.confirm import ConfirmScreen
from aisquad_tui.screens.help import HelpScreen
from aisquad_tui.screens.launch import LaunchScreen
from aisquad_tui.screens.live import LiveScreen
from aisquad_tui.steering import Steering
from aisquad_tui.surroundings import Surroundings, Terminal
from aisquad_tui.theme import Look

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from textual.screen import Screen

    from aisquad_core.api import Snapshot
    from aisquad_tui.views.question import Question

ResultT = TypeVar("ResultT")
RUNNING = ScriptedItem(status=WorkStatus.IN_PROGRESS, started_s=62.0)
FAILED = ScriptedItem(status=WorkStatus.FAILED, started_s=9.0, finished_s=3.0)


@dataclass
class FakeStage:
    """Answers dialogs as a test says, and keeps what it was told."""

    look: Look = field(default_factory=lambda: Look(Terminal()))
    live_screen: LiveScreen | None = None
    answer: Callable[[object], object] = lambda _: 0
    notices: list[tuple[str, bool]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    screens: list[object] = field(default_factory=list)

    def show_notice(self, text: str, is_error: bool = False) -> None:
        self.notices.append((text, is_error))

    def simulate_key(self, key: str) -> None:
        self.keys.append(key)

    async def push_screen_wait(self, screen: Screen[ResultT]) -> ResultT:
        self.screens.append(screen)
        await asyncio.sleep(0)
        return self.answer(screen)  # type: ignore[return-value]  # the test knows the dialog

    @property
    def questions(self) -> list[Question]:
        return [each.question for each in self.screens if isinstance(each, ConfirmScreen)]

    @property
    def said(self) -> str:
        return self.notices[-1][0]


@dataclass(frozen=True)
class Play:
    engine: FakeEngine
    stage: FakeStage
    steering: Steering
    convoy_id: str
    place: Surroundings

    def keys(self, *ids: str) -> list[ItemKey]:
        return [ItemKey(self.convoy_id, id) for id in ids]

    async def statuses(self) -> list[str]:
        page = await self.engine.items(ItemFilter(convoy_ids=(self.convoy_id,)))
        return [item.status.word for item in page.items]


def operation(id: str) -> Operation:
    return Operation(id=id, agent_id="shell", argv=("sleep", "100"))


async def begin(engine: FakeEngine, folder: str, running: int, **given: ScriptedItem) -> Play:
    """Begin with so many running operations, `run-0` and on, and those that are given."""
    states: dict[str, ScriptedItem | WorkStatus] = {f"run-{n}": RUNNING for n in range(running)}
    states |= {name.replace("_", "-"): state for name, state in given.items()}
    convoy_id = engine.add_convoy(
        "nightly", [operation(id) for id in states], statuses=states, age_s=130.0
    )
    place = Surroundings(
        engine=engine, clock=engine.clock, cwd=folder, env={}, place="~", host="h", state_dir=folder
    )
    stage = FakeStage()
    return Play(engine, stage, Steering(stage, place), convoy_id, place)


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    async with FakeEngine(clock=FakeClock(), parallelism=1) as fake:
        yield fake


async def test_cancelling_one_asks_with_its_name_and_age(
    engine: FakeEngine, tmp_path: Path
) -> None:
    play = await begin(engine, str(tmp_path), 2)
    play.stage.answer = lambda _: 1
    await play.steering.fulfil(CancelItems(play.keys("run-0")))
    [question] = play.stage.questions
    assert question.title == "Cancel run-0?"
    assert question.lines == (
        "1 running operation is stopped (TERM, then KILL after 10 s). It has run for 1m 00s.",
    )
    assert [choice.key for choice in question.choices] == ["n", "y"]
    assert question.words == ()
    assert await play.statuses() == ["cancelled", "running"]
    assert play.stage.notices == [
        ("cancelling 1 operation: TERM, then KILL after 10 s", False),
        ("1 operation cancelled", False),
    ]


async def test_a_harmless_answer_changes_nothing(engine: FakeEngine, tmp_path: Path) -> None:
    play = await begin(engine, str(tmp_path), 2)
    await play.steering.fulfil(CancelItems(play.keys("run-0", "run-1")))
    assert await play.statuses() == ["running", "running"]
    assert play.stage.notices == []


async def test_cancelling_several_tells_names_numbers_and_the_oldest(
    engine: FakeEngine, tmp_path: Path
) -> None:
    play = await begin(engine, str(tmp_path), 4, waits=ScriptedItem(reason="by hand"), bad=FAILED)
    ids = ("run-0", "run-1", "run-2", "run-3", "waits", "bad")
    await play.steering.fulfil(CancelItems(play.keys(*ids)))
    [question] = play.stage.questions
    assert question.title == "Cancel 5 operations?"
    assert question.lines == (
        "run-0, run-1, run-2 and 2 more.",
        "4 running operations are stopped (TERM, then KILL after 10 s). "
        "The oldest has run for 1m 00s.",
        "1 queued never starts. 1 ended stays.",
    )


@pytest.mark.parametrize(("running", "words"), [(10, ()), (11, ("11",))])
async def test_more_than_ten_running_need_their_number_typed(
    engine: FakeEngine, tmp_path: Path, running: int, words: tuple[str, ...]
) -> None:
    play = await begin(engine, str(tmp_path), running)
    keys = play.keys(*(f"run-{n}" for n in range(running)))
    await play.steering.fulfil(CancelItems(keys))
    assert play.stage.questions[0].words == words


async def test_killing_even_one_needs_its_number_typed(engine: FakeEngine, tmp_path: Path) -> None:
    play = await begin(engine, str(tmp_path), 1)
    play.stage.answer = lambda _: 1
    await play.steering.fulfil(CancelItems(play.keys("run-0"), is_kill=True))
    assert play.stage.questions[0].words == ("1",)
    assert "KILL at once" in play.stage.questions[0].lines[0]
    assert play.stage.said == "1 operation killed"


async def test_what_has_ended_is_not_asked_about(engine: FakeEngine, tmp_path: Path) -> None:
    play = await begin(engine, str(tmp_path), 0, bad=FAILED)
    await play.steering.fulfil(CancelItems(play.keys("bad")))
    assert play.stage.questions == []
    assert play.stage.said == "nothing to cancel: 1 operation has ended"


async def test_cancelling_a_convoy_takes_its_name_or_number_when_much_runs(
    engine: FakeEngine, tmp_path: Path
) -> None:
    play = await begin(engine, str(tmp_path), 12, waits=ScriptedItem(reason="by hand"))
    play.stage.answer = lambda _: 1
    await play.steering.fulfil(CancelConvoy(play.convoy_id))
    [question] = play.stage.questions
    assert question.title == "Cancel convoy nightly?"
    assert question.words == ("nightly", "12")
    assert question.lines == (
        "12 running operations are stopped (TERM, then KILL after 10 s).",
        "1 queued never starts.",
        "It began 1m 00s ago.",
    )
    assert set(await play.statuses()) == {"cancelled"}


async def test_a_convoy_that_is_not_there_is_told(engine: FakeEngine, tmp_path: Path) -> None:
    play = await begin(engine, str(tmp_path), 1)
    await play.steering.fulfil(CancelConvoy("gone"))
    assert play.stage.notices == [('no convoy "gone"', True)]


async def test_a_second_key_while_a_question_opens_is_dropped(
    engine: FakeEngine, tmp_path: Path
) -> None:
    play = await begin(engine, str(tmp_path), 1)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(play.steering.fulfil(CancelItems(play.keys("run-0"))))
    assert len(play.stage.questions) == 1
    await play.steering.fulfil(CancelItems(play.keys("run-0")))
    assert len(play.stage.questions) == 2


async def test_retrying_one_that_failed_asks_nothing(engine: FakeEngine, tmp_path: Path) -> None:
    play = await begin(engine, str(tmp_path), 1, bad=FAILED)
    await play.steering.fulfil(RetryItems(play.keys("bad")))
    assert play.stage.questions == []
    assert await play.statuses() == ["running", "pending"]
    assert play.stage.said == "1 operation will run again"


async def test_retrying_several_or_a_completed_one_asks(engine: FakeEngine, tmp_path: Path) -> None:
    done = ScriptedItem(status=WorkStatus.COMPLETED, started_s=9.0, finished_s=3.0)
    play = await begin(engine, str(tmp_path), 1, bad=FAILED, worse=FAILED, good=done)
    await play.steering.fulfil(RetryItems(play.keys("bad", "worse", "run-0")))
    await play.steering.fulfil(RetryItems(play.keys("good")))
    several, one = play.stage.questions
    assert (several.title, one.title) == ("Retry 2 operations?", "Retry good?")
    assert several.lines == ("bad, worse: 2 failed.", "1 that have not ended stay as they are.")
    assert one.lines == ("It has completed; its result is replaced.",)
    assert await play.statuses() == ["running", "failed", "failed", "completed"]


async def test_pause_and_resume_alternate(engine: FakeEngine, tmp_path: Path) -> None:
    play = await begin(engine, str(tmp_path), 1)
    for _ in range(2):
        await play.steering.fulfil(TogglePause(play.convoy_id))
    first, second = (text for text, _ in play.stage.notices)
    assert first.startswith("nightly is paused")
    assert second == "nightly goes on"


async def test_what_an_earlier_engine_left_is_resumed_not_paused(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = await begin(engine, str(tmp_path), 0, waits=ScriptedItem(reason="interrupted"))
    whole = await engine.snapshot()
    left = tuple(replace(convoy, is_interrupted=True) for convoy in whole.convoys)

    async def snapshot() -> Snapshot:
        return replace(whole, convoys=left)

    monkeypatch.setattr(engine, "snapshot", snapshot)
    await play.steering.fulfil(TogglePause(play.convoy_id))
    assert play.stage.said == "nightly goes on"


async def test_keys_pressed_while_a_dialog_opens_do_nothing_behind_it(
    engine: FakeEngine, tmp_path: Path
) -> None:
    play = await begin(engine, str(tmp_path), 0, bad=FAILED)
    play.stage.answer = lambda _: None
    wishes = (
        NewConvoy(),
        TogglePause(play.convoy_id),
        RetryItems(play.keys("bad")),
        ChangeParallelism(1),
    )
    async with asyncio.TaskGroup() as tasks:
        for wish in wishes:
            tasks.create_task(play.steering.fulfil(wish))
    assert [type(each) for each in play.stage.screens] == [LaunchScreen]
    assert play.stage.notices == []
    assert await play.statuses() == ["failed"]


async def test_two_keys_for_more_workers_make_two_steps(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = await begin(engine, str(tmp_path), 0)
    real = engine.snapshot

    async def snapshot() -> Snapshot:
        whole = await real()
        await asyncio.sleep(0)  # as an engine in a thread of its own
        return whole

    monkeypatch.setattr(engine, "snapshot", snapshot)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(play.steering.fulfil(ChangeParallelism(1)))
    assert (await real()).engine.parallelism == 3


async def test_a_launched_file_is_remembered(engine: FakeEngine, tmp_path: Path) -> None:
    path = tmp_path / "night.toml"
    path.write_text('[[operations]]\nid = "a"\nrun = "true"\n')
    play = await begin(engine, str(tmp_path), 0)

    def fill(screen: object) -> object:
        assert isinstance(screen, LaunchScreen)
        screen.fields["File"].set("night.toml")
        return screen.draft.source(str(tmp_path))

    play.stage.answer = fill
    await play.steering.fulfil(NewConvoy())
    assert play.stage.said.startswith("launched night")
    assert Desk(str(tmp_path)).recent() == (str(path),)
    play.stage.answer = lambda _: None
    await play.steering.fulfil(NewConvoy())
    second = play.stage.screens[-1]
    assert isinstance(second, LaunchScreen)
    assert second.draft == Draft()


async def test_what_was_typed_is_there_again_after_going_back(
    engine: FakeEngine, tmp_path: Path
) -> None:
    play = await begin(engine, str(tmp_path), 0)

    def fill(screen: object) -> object:
        assert isinstance(screen, LaunchScreen)
        screen.fields["or run"].insert("ls")
        return None

    play.stage.answer = fill
    for expected in ("ls", "lsls"):
        await play.steering.fulfil(NewConvoy())
        screen = play.stage.screens[-1]
        assert isinstance(screen, LaunchScreen)
        assert screen.draft.command == expected
    assert play.stage.notices == []


async def test_a_launch_that_is_refused_says_why_and_keeps_what_was_typed(
    engine: FakeEngine, tmp_path: Path
) -> None:
    play = await begin(engine, str(tmp_path), 0)
    await play.steering.fulfil(LaunchConvoy(AdHocSource(command="", inputs=("a",))))
    [(text, is_error)] = play.stage.notices
    assert is_error
    assert text.startswith("not launched: ")


class AtWork(LiveScreen):
    def places(self) -> tuple[Place, ...]:
        return (Place.WORK, Place.EVERYWHERE)


async def test_the_palette_presses_the_key_of_what_was_chosen(
    engine: FakeEngine, tmp_path: Path
) -> None:
    play = await begin(engine, str(tmp_path), 0)
    play.stage.live_screen = AtWork(play.place, play.stage.look)

    def choose(screen: object) -> object:
        assert isinstance(screen, PaletteScreen)
        [entry] = [each for each in screen.choices if each.short == "filter"]
        return entry

    play.stage.answer = choose
    await play.steering.fulfil(OpenPalette())
    assert play.stage.keys == ["slash"]


async def test_a_recent_file_chosen_in_the_palette_is_shown_before_it_is_launched(
    engine: FakeEngine, tmp_path: Path
) -> None:
    (tmp_path / "night.toml").touch()
    Desk(str(tmp_path)).remember(str(tmp_path / "night.toml"))
    play = await begin(engine, str(tmp_path), 0)
    play.stage.answer = lambda screen: (
        screen.choices[-1] if isinstance(screen, PaletteScreen) else None
    )
    await play.steering.fulfil(OpenPalette())
    launch = play.stage.screens[1]
    assert isinstance(launch, LaunchScreen)
    assert launch.draft == Draft(path="night.toml")


async def test_the_help_is_opened(engine: FakeEngine, tmp_path: Path) -> None:
    play = await begin(engine, str(tmp_path), 0)
    await play.steering.fulfil(OpenHelp())
    assert [type(each) for each in play.stage.screens] == [HelpScreen]


@pytest.mark.parametrize(
    ("answer", "mode"), [(0, None), (1, StopMode.INTERRUPT), (2, StopMode.DETACH)]
)
async def test_leaving_while_work_runs_asks_what_becomes_of_it(
    engine: FakeEngine, tmp_path: Path, answer: int, mode: StopMode | None
) -> None:
    play = await begin(engine, str(tmp_path), 1)
    play.stage.answer = lambda _: answer
    assert await play.steering.ask_to_leave() is mode
    assert len(play.stage.questions) == 1


async def test_leaving_asks_nothing_when_it_stops_no_work(
    engine: FakeEngine, tmp_path: Path
) -> None:
    idle = await begin(engine, str(tmp_path), 0)
    assert await idle.steering.ask_to_leave() is StopMode.INTERRUPT
    play = await begin(engine, str(tmp_path), 1)
    demo = Steering(play.stage, replace(play.place, is_demo=True))
    assert await demo.ask_to_leave() is StopMode.INTERRUPT
    remote = Steering(play.stage, replace(play.place, is_embedded=False))
    assert await remote.ask_to_leave() is StopMode.DETACH
    assert play.stage.questions == []


async def test_an_engine_that_has_stopped_is_told_and_left_without_a_question(
    engine: FakeEngine, tmp_path: Path
) -> None:
    play = await begin(engine, str(tmp_path), 1)
    await engine.stop()
    for wish in (CancelItems(play.keys("run-0")), TogglePause(play.convoy_id)):
        await play.steering.fulfil(wish)
    assert play.stage.notices == [("the engine has stopped", True)] * 2
    assert await play.steering.ask_to_leave() is StopMode.INTERRUPT
