from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from aisquad_core.errors import StorageError
from aisquad_core.model import ItemKey, Operation, WorkStatus
from aisquad_core.spec import AdHocSource, SpecFormat, SpecSource
from aisquad_core.testing import FakeEngine, ScriptedItem
from aisquad_tui import commands
from aisquad_tui.commands import Answer
from aisquad_tui.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from aisquad_core.api import ConvoyView, Outcome
    from aisquad_core.spec import ConvoySource

_ENV = {"PATH": "/bin", "TOKEN": "secret"}


class _Recorder(FakeEngine):
    """Keeps the environments that it was given, and can fail."""

    def __init__(self) -> None:
        super().__init__()
        self.envs: list[Mapping[str, str] | None] = []
        self.failure: Exception | None = None

    async def cancel(
        self,
        targets: Sequence[ItemKey] | str,
        *,
        is_kill: bool = False,
        is_waiting: bool = True,
    ) -> Outcome:
        if self.failure is not None:
            raise self.failure
        return await super().cancel(targets, is_kill=is_kill, is_waiting=is_waiting)

    async def retry(
        self, targets: Sequence[ItemKey], *, env: Mapping[str, str] | None = None
    ) -> Outcome:
        self.envs.append(env)
        return await super().retry(targets, env=env)

    async def launch(
        self,
        source: ConvoySource,
        *,
        env: Mapping[str, str],
        cwd: str,
        is_patient: bool = False,
    ) -> str:
        self.envs.append(env)
        return await super().launch(source, env=env, cwd=cwd, is_patient=is_patient)

    async def resume(self, convoy_id: str, *, env: Mapping[str, str] | None = None) -> None:
        self.envs.append(env)
        await super().resume(convoy_id, env=env)


class _Desk:
    """An engine with one convoy: two run, one failed, one completed, one waits."""

    def __init__(self, engine: _Recorder) -> None:
        self.engine = engine
        self.place = Surroundings(
            engine=engine, clock=engine.clock, cwd="/", env=_ENV, place="~", host="build-07"
        )
        self.id = engine.add_convoy(
            "night\nly",
            [Operation(id=id) for id in ("r1", "r2", "bad", "good", "later")],
            statuses={
                "r1": WorkStatus.IN_PROGRESS,
                "r2": WorkStatus.IN_PROGRESS,
                "bad": WorkStatus.FAILED,
                "good": WorkStatus.COMPLETED,
                "later": ScriptedItem(reason="held"),
            },
        )

    def keys(self, *ids: str) -> list[ItemKey]:
        return [ItemKey(self.id, id) for id in ids]

    async def convoy(self) -> ConvoyView:
        return (await self.engine.snapshot()).convoys[0]

    async def status(self, id: str) -> WorkStatus:
        return (await self.engine.item(ItemKey(self.id, id))).view.status


@asynccontextmanager
async def _desk() -> AsyncIterator[_Desk]:
    engine = _Recorder()
    async with engine:
        yield _Desk(engine)


async def test_cancelled_items_are_counted() -> None:
    async with _desk() as desk:
        answer = await commands.cancel_items(desk.place, desk.keys("r1", "r2"))
        assert answer == Answer(text="2 operations cancelled")
        assert await desk.status("r1") is WorkStatus.CANCELLED


async def test_one_that_is_left_alone_is_named_with_the_reason() -> None:
    async with _desk() as desk:
        answer = await commands.cancel_items(desk.place, desk.keys("r1", "good"), is_kill=True)
        assert answer == Answer(text="1 operation killed, good left alone: it is completed")


async def test_several_that_are_left_alone_are_counted_and_the_first_is_named() -> None:
    async with _desk() as desk:
        answer = await commands.cancel_items(desk.place, desk.keys("good", "bad", "r1"))
        assert answer.text == (
            f"1 operation cancelled, 2 left alone, {desk.id}/good: it is completed"
        )
        assert not answer.is_error


async def test_when_nothing_was_changed_it_is_an_error() -> None:
    async with _desk() as desk:
        answer = await commands.cancel_items(desk.place, desk.keys("good"))
        assert answer == Answer(text="good left alone: it is completed", is_error=True)


async def test_a_convoy_is_cancelled_by_name_and_once() -> None:
    async with _desk() as desk:
        convoy = await desk.convoy()
        first = await commands.cancel_convoy(desk.place, convoy, is_kill=False)
        assert first == Answer(text="3 operations of night ly cancelled")
        again = await commands.cancel_convoy(desk.place, convoy, is_kill=True)
        assert again == Answer(text="nothing of night ly was left to be killed")


async def test_what_is_retried_runs_with_the_operator_s_environment() -> None:
    async with _desk() as desk:
        answer = await commands.retry_items(desk.place, desk.keys("bad"))
        assert answer == Answer(text="1 operation will run again")
        assert desk.engine.envs == [_ENV]


async def test_a_pause_tells_what_runs_on_and_the_key_that_resumes() -> None:
    async with _desk() as desk:
        convoy = await desk.convoy()
        answer = await commands.pause(desk.place, convoy)
        assert answer.text == "night ly is paused; 2 operations run on · p resumes"
        one = replace(convoy, counts=replace(convoy.counts, running=1))
        assert "1 operation runs on" in (await commands.pause(desk.place, one)).text
        none = replace(convoy, counts=replace(convoy.counts, running=0))
        assert (await commands.pause(desk.place, none)).text.endswith("is paused · p resumes")


async def test_a_paused_convoy_goes_on_with_the_operator_s_environment() -> None:
    async with _desk() as desk:
        convoy = await desk.convoy()
        await commands.pause(desk.place, convoy)
        assert await commands.resume(desk.place, convoy) == Answer(text="night ly goes on")
        assert desk.engine.envs == [_ENV]


async def test_the_parallelism_is_pinned_one_more_or_fewer_and_given_back() -> None:
    async with _desk() as desk:
        engine = (await desk.engine.snapshot()).engine
        more = await commands.change_parallelism(desk.place, engine, 1)
        assert more == Answer(text="parallelism pinned at 6 · = gives it back to auto")
        least = replace(engine, parallelism=1)
        fewer = await commands.change_parallelism(desk.place, least, -1)
        assert fewer.text.startswith("parallelism pinned at 1")
        auto = await commands.change_parallelism(desk.place, engine, None)
        assert auto.text.startswith("parallelism follows the load again, now ")


async def test_a_launch_names_the_convoy_and_says_what_leaving_means() -> None:
    source = AdHocSource(command="true", inputs=("a",), name="c")
    async with _desk() as desk:
        answer = await commands.launch(desk.place, source)
        assert (answer.text, answer.convoy_id) == ("launched c-0002", "c-0002")
        assert desk.engine.envs == [_ENV]
        away = replace(desk.place, is_embedded=False)
        assert (await commands.launch(away, source)).text == (
            "launched c-0003 · q leaves, work goes on"
        )


async def test_a_launch_that_is_refused_says_when_to_try_again() -> None:
    async with _desk() as desk:
        desk.engine.set_backlog(900, drained_per_s=250)
        answer = await commands.launch(desk.place, AdHocSource(command="true", inputs=("a",)))
    assert (answer.is_error, answer.convoy_id) == (True, None)
    assert answer.text == (
        "not launched: 900 of 1,000 writes wait for the disk, and nothing new is taken; "
        "try again in 0.4 s"
    )


async def test_a_file_with_problems_is_not_launched_and_says_the_first() -> None:
    source = SpecSource(
        text="[[operations]]\nid = 1\n[[operations]]\nid = 2\n",
        format=SpecFormat.TOML,
        origin="c.toml",
        base_dir="/",
    )
    async with _desk() as desk:
        answer = await commands.launch(desk.place, source)
        assert answer.is_error
        assert answer.convoy_id is None
        assert answer.text.startswith("not launched: ")
        assert "c.toml" in answer.text
        assert "more)" in answer.text


async def test_what_does_not_exist_is_told() -> None:
    async with _desk() as desk:
        answer = await commands.cancel_items(desk.place, [ItemKey("no", "such")])
        assert answer.is_error
        assert answer.text.startswith("not cancelled: ")


async def test_a_state_that_refuses_is_told_in_one_line_without_control_characters() -> None:
    async with _desk() as desk:
        desk.engine.failure = StorageError("disk\x1b[31m full\nreally")
        answer = await commands.cancel_items(desk.place, desk.keys("r1"))
        assert answer.is_error
        assert answer.text.startswith("not cancelled: disk")
        assert not any(sign in answer.text for sign in "\x1b\n")


async def test_with_the_engine_stopped_every_command_says_so() -> None:
    source = AdHocSource(command="true", inputs=("a",))
    async with _desk() as desk:
        convoy, engine = await desk.convoy(), (await desk.engine.snapshot()).engine
        await desk.engine.stop()
        answers = [
            await commands.cancel_items(desk.place, desk.keys("r1")),
            await commands.cancel_convoy(desk.place, convoy, is_kill=True),
            await commands.retry_items(desk.place, desk.keys("bad")),
            await commands.pause(desk.place, convoy),
            await commands.resume(desk.place, convoy),
            await commands.change_parallelism(desk.place, engine, 1),
            await commands.launch(desk.place, source),
        ]
        assert all(answer.is_error for answer in answers)
        assert {answer.text.partition(": ")[2] for answer in answers} == {"the engine has stopped"}
