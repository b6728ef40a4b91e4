"""The operator's `on_finish` command: when it is called, with what, and that nothing waits."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from aisquad_core import notices
from aisquad_core.api import StopMode
from aisquad_core.engine import Engine
from aisquad_core.model import ConvoyStatus, ItemKey
from aisquad_core.settings import Settings
from aisquad_core.spec import SpecFormat, SpecSource
from aisquad_core.testing import FakeSampler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

ENOUGH_S = 15
TELL = ("sh", "-c", "env | grep ^AISQUAD_ >>told; echo >>told")
NEVER_ENDS = ("sh", "-c", "echo >began; sleep 600")
GATED = "until [ -e gate ]; do sleep 0.02; done"


@dataclass(frozen=True)
class Place:
    """A project's folder with its state."""

    folder: Path

    @asynccontextmanager
    async def engine(
        self, on_finish: tuple[str, ...] = TELL, *, grace_s: float = 10.0
    ) -> AsyncIterator[Engine]:
        settings = Settings(
            workstate_db=self.folder / "state" / "workstate.db",
            on_finish=on_finish,
            grace_s=grace_s,
            tick_s=0.1,
        )
        async with (
            asyncio.timeout(ENOUGH_S),
            Engine(settings, sampler=FakeSampler(), is_resuming=True) as engine,
        ):
            yield engine

    async def launch(self, engine: Engine, *operations: dict[str, object], **env: str) -> str:
        source = SpecSource(
            text=json.dumps({"name": "nightly\x1b work", "operations": operations}),
            format=SpecFormat.JSON,
            origin="work.json",
            base_dir=str(self.folder),
        )
        env = {"PATH": os.environ["PATH"], **env}
        return await engine.launch(source, env=env, cwd=str(self.folder))

    async def run(self, engine: Engine, *operations: dict[str, object], **env: str) -> str:
        """Launch a convoy and wait for its end."""
        convoy_id = await self.launch(engine, *operations, **env)
        await engine.wait([convoy_id])
        return convoy_id

    def told(self) -> list[dict[str, str]]:
        """Return what the command was told, call by call."""
        path = self.folder / "told"
        calls = path.read_text().split("\n\n")[:-1] if path.exists() else []
        return [dict(line.split("=", 1) for line in call.splitlines()) for call in calls]

    def events(self) -> list[str]:
        return [call["AISQUAD_EVENT"] for call in self.told()]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def until(is_so: Callable[[], bool]) -> None:
    """Look again and again until something is so, within the engine's bound."""
    while not is_so():  # noqa: ASYNC110 - a file tells nobody that it is there
        await asyncio.sleep(0.005)


async def test_an_end_is_told_with_the_convoys_facts(place: Place) -> None:
    async with place.engine() as engine:
        convoy_id = await place.run(engine, {"id": "a", "run": "true"}, {"id": "b", "run": "true"})
    (call,) = place.told()
    seconds = float(call.pop("AISQUAD_SECONDS"))
    assert 0 <= seconds < ENOUGH_S
    assert call == {
        "AISQUAD_EVENT": "ended",
        "AISQUAD_CONVOY": convoy_id,
        "AISQUAD_NAME": r"nightly\x1b work",
        "AISQUAD_STATUS": "completed",
        "AISQUAD_TOTAL": "2",
        "AISQUAD_COMPLETED": "2",
        "AISQUAD_FAILED": "0",
        "AISQUAD_LOST": "0",
        "AISQUAD_CANCELLED": "0",
        "AISQUAD_SKIPPED": "0",
        "AISQUAD_STATE_DIR": str(place.folder / "state"),
    }


async def test_the_first_failure_is_told_once_and_the_end_once(place: Place) -> None:
    async with place.engine() as engine:
        convoy_id = await place.launch(
            engine,
            {"id": "bad", "run": "exit 1"},
            {"id": "worse", "run": "exit 2", "needs": ["ok"]},
            {"id": "ok", "run": "until [ -e told ]; do sleep 0.02; done"},
        )
        await engine.wait([convoy_id])
    first, last = place.told()
    assert (first["AISQUAD_EVENT"], first["AISQUAD_FAILED_ITEM"]) == ("failed", "bad")
    assert (first["AISQUAD_STATUS"], first["AISQUAD_FAILED"]) == ("running", "1")
    assert (last["AISQUAD_EVENT"], last["AISQUAD_FAILED"]) == ("ended", "2")
    assert last["AISQUAD_STATUS"] == "partial"


async def test_a_failure_that_is_the_end_is_told_as_the_end_alone(place: Place) -> None:
    async with place.engine() as engine:
        await place.run(engine, {"id": "bad", "run": "exit 1"})
    assert place.events() == ["ended"]


async def test_what_was_told_is_not_told_again_after_a_retry_or_a_restart(place: Place) -> None:
    async with place.engine() as engine:
        convoy_id = await place.run(engine, {"id": "bad", "run": "exit 1"})
    for _ in range(2):
        async with place.engine() as engine:
            await engine.retry([ItemKey(convoy_id, "bad")], env={"PATH": os.environ["PATH"]})
            await engine.wait([convoy_id])
            await place.run(engine, {"id": "fine", "run": "true"})
    assert [call["AISQUAD_STATUS"] for call in place.told()] == ["failed"] + ["completed"] * 2


async def test_an_end_that_an_engine_could_not_tell_the_next_one_tells_once(place: Place) -> None:
    async with place.engine(NEVER_ENDS) as engine:
        convoy_id = await place.run(engine, {"id": "a", "run": "true"})
        await until((place.folder / "began").exists)
        await engine.stop(StopMode.KILL)
    assert place.told() == []
    for _ in range(2):
        async with place.engine():
            pass
    assert [call["AISQUAD_CONVOY"] for call in place.told()] == [convoy_id]
    assert list((place.folder / "state" / notices.OWED_FOLDER).iterdir()) == []


@pytest.mark.parametrize("is_link", [False, True])
async def test_nothing_is_told_of_a_work_state_from_elsewhere(place: Place, is_link: bool) -> None:
    async with place.engine(NEVER_ENDS) as engine:
        held = await place.launch(engine, {"id": "a", "run": GATED})
        await place.run(engine, {"id": "a", "run": "true"})
        await until((place.folder / "began").exists)
        await engine.stop(StopMode.KILL)
    (place.folder / "state" / "workstate.db-origin").unlink()
    if is_link:
        owed = place.folder / "state" / notices.OWED_FOLDER
        owed.rename(place.folder / "elsewhere")
        owed.symlink_to(place.folder / "elsewhere")
    async with place.engine() as engine:
        await engine.cancel(held)
        await engine.wait([held])
        own = await place.run(engine, {"id": "a", "run": "true"})
    assert [call["AISQUAD_CONVOY"] for call in place.told()] == [own]
    assert (place.folder / "elsewhere").exists() is is_link


async def test_a_stop_that_waits_for_the_command_can_be_hastened(place: Place) -> None:
    async with place.engine(NEVER_ENDS, grace_s=600) as engine, asyncio.TaskGroup() as tasks:
        await place.run(engine, {"id": "a", "run": "true"})
        await until((place.folder / "began").exists)
        patient = tasks.create_task(engine.stop(StopMode.DETACH))
        await asyncio.wait((patient,), timeout=0.05)
        assert not patient.done()
        await engine.stop(StopMode.KILL)


async def test_what_ended_before_there_was_a_command_is_not_told(place: Place) -> None:
    async with place.engine(()) as engine:
        await place.run(engine, {"id": "a", "run": "true"})
    async with place.engine():
        pass
    assert place.told() == []
    assert not (place.folder / "state" / notices.OWED_FOLDER).exists()


async def test_nothing_waits_for_the_command_and_one_runs_at_a_time(place: Place) -> None:
    gated = f"mkdir busy || echo >overlap; echo >>begun; {GATED}; rmdir busy; echo >>done"
    async with place.engine(("sh", "-c", gated)) as engine:
        for _ in range(3):
            convoy_id = await place.run(engine, {"id": "a", "run": "true"})
            (view,) = await engine.wait([convoy_id])
            assert view.status is ConvoyStatus.COMPLETED
        await until((place.folder / "begun").exists)
        assert not (place.folder / "done").exists()
        (place.folder / "gate").touch()
    assert (place.folder / "done").read_text() == "\n" * 3
    assert not (place.folder / "overlap").exists()


async def test_it_has_the_engines_environment_and_no_secret_of_a_convoy(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_ENGINE", "yes")
    monkeypatch.setenv("CLAUDECODE", "1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/nobody")
    monkeypatch.setenv("AISQUAD_TOKEN", "another operation's")
    async with place.engine(("sh", "-c", "env >told")) as engine:
        await place.run(engine, {"id": "a", "run": "true"}, SECRET="hunter2")
    told = dict(
        line.split("=", 1)
        for line in (place.folder / "told").read_text().splitlines()
        if "=" in line
    )
    assert told["OF_THE_ENGINE"] == "yes"
    assert not {"SECRET", "CLAUDECODE", "NOTIFY_SOCKET", "AISQUAD_TOKEN"} & told.keys()


async def test_a_failure_and_what_it_said_go_to_the_log_and_nothing_else_happens(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "aisquad_core.notices")
    command = ("sh", "-c", r"printf 'no such\033]0;x\a host\n' >&2; exit 6")
    async with place.engine(command) as engine:
        convoy_id = await place.run(engine, {"id": "a", "run": "true"})
        assert (await engine.snapshot()).engine.trouble is None
    said = [(each.levelname, each.message) for each in caplog.records]
    assert said == [
        ("WARNING", f"on_finish, ended, {convoy_id}: exit 6"),
        ("WARNING", f"on_finish, ended, {convoy_id}: | no such host"),
    ]


async def test_one_that_takes_too_long_is_ended_and_the_next_is_told(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "TIMEOUT_S", 0.2)
    command = ("sh", "-c", "[ -e began ] || { echo >began; exec sleep 600; }; echo >>told")
    async with place.engine(command) as engine:
        for _ in range(2):
            await place.run(engine, {"id": "a", "run": "true"})
    assert (place.folder / "told").read_text() == "\n"
    assert "it took longer than 0.2 s" in caplog.text


async def test_more_than_may_wait_is_left_to_the_next_engine(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "_MOST_WAITING", 1)
    async with place.engine(("sh", "-c", f"echo >began; {GATED}")) as engine:
        await place.run(engine, {"id": "a", "run": "true"})
        await until((place.folder / "began").exists)
        for _ in range(2):
            left = await place.run(engine, {"id": "a", "run": "true"})
        (place.folder / "gate").touch()
    assert f"1 notices wait already; ended of {left} is not told now" in caplog.text
    async with place.engine():
        pass
    assert [call["AISQUAD_CONVOY"] for call in place.told()] == [left]


async def test_rubbish_among_what_is_owed_is_passed_over(place: Place) -> None:
    async with place.engine(()):
        pass
    owed = place.folder / "state" / notices.OWED_FOLDER
    owed.mkdir()
    (owed / "gone-abcde").write_text("gone-abcde")
    (owed / "other").write_text("../../elsewhere")
    (owed / "link").symlink_to("/etc/passwd")
    async with place.engine() as engine:
        await place.run(engine, {"id": "a", "run": "true"})
    assert place.events() == ["ended"]
    assert sorted(os.listdir(owed)) == ["link", "other"]
