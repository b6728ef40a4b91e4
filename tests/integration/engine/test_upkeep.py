"""Old runs go by age and size, with real engines, databases and folders; the rest stays."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from aisquad_core.api import StopMode
from aisquad_core.clock import SystemClock
from aisquad_core.engine import Engine
from aisquad_core.errors import EngineRunningError
from aisquad_core.execution.removal import Removal
from aisquad_core.model import ConvoyStatus, ItemKey, WorkStatus
from aisquad_core.settings import Settings, load_settings
from aisquad_core.spec import SpecFormat, SpecSource
from aisquad_core.state.reader import Reader
from aisquad_core.testing import FakeSampler
from aisquad_core.upkeep import Upkeep, plan_upkeep, run_upkeep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from aisquad_core.api import EngineView

ENOUGH_S = 15


class LaterClock(SystemClock):
    """The machine's clock, some days on."""

    def __init__(self, days: float) -> None:
        self._days = days

    def now(self) -> datetime:
        return super().now() + timedelta(days=self._days)


def settings_of(folder: Path, **flags: object) -> Settings:
    return load_settings(
        cwd=folder,
        environ={"HOME": str(folder)},
        flags={"grace_seconds": 0.2, "tick_seconds": 0.1, **flags},
        state_dir=folder / "state",
    )


@asynccontextmanager
async def running(
    folder: Path, *, days: float = 0, is_resuming: bool = False, **flags: object
) -> AsyncIterator[Engine]:
    async with (
        asyncio.timeout(ENOUGH_S),
        Engine(
            settings_of(folder, **flags),
            sampler=FakeSampler(),
            clock=LaterClock(days),
            is_resuming=is_resuming,
        ) as engine,
    ):
        yield engine


async def launch(engine: Engine, folder: Path, line: str) -> str:
    text = json.dumps({"name": "work", "operations": [{"id": "op", "run": line}]})
    source = SpecSource(text=text, format=SpecFormat.JSON, origin="work.json", base_dir=str(folder))
    return await engine.launch(source, env={"PATH": os.environ["PATH"]}, cwd=str(folder))


async def until(engine: Engine, is_so: Callable[[], bool]) -> None:
    """Look again after every change, of which each tick is one."""
    async with engine.subscribe() as changes:
        async for _ in changes:
            if await asyncio.to_thread(is_so):
                return
    raise AssertionError("the engine stopped first")


async def view_when(engine: Engine, is_so: Callable[[EngineView], bool]) -> EngineView:
    """Return the engine's view once something is so of it."""
    async with engine.subscribe() as changes:
        async for _ in changes:
            view = (await engine.snapshot()).engine
            if is_so(view):
                return view
    raise AssertionError("the engine stopped first")


async def run_one(folder: Path, line: str = "echo hello", *, days: float = 0) -> str:
    async with running(folder, days=days, keep_runs_days=0) as engine:
        convoy_id = await launch(engine, folder, line)
        await engine.wait([convoy_id])
    return convoy_id


def folder_of(folder: Path, convoy_id: str) -> Path:
    return folder / "state" / "runs" / convoy_id


async def test_an_engine_prunes_what_ended_too_long_ago_and_keeps_its_rows(tmp_path: Path) -> None:
    old = await run_one(tmp_path)
    new = await run_one(tmp_path, days=20)
    async with running(tmp_path, days=31) as engine:
        await until(engine, lambda: os.listdir(tmp_path / "state" / "runs") == [new])
        chunk = await engine.log_range(ItemKey(old, "op"))
        assert (chunk.data, chunk.size, chunk.is_final) == (b"", 0, True)
        assert (await engine.item(ItemKey(old, "op"))).view.status is WorkStatus.COMPLETED
        assert (await engine.log_range(ItemKey(new, "op"))).data == b"hello\n"
        assert (await engine.snapshot()).engine.trouble is None


async def test_what_has_not_ended_is_never_pruned(tmp_path: Path) -> None:
    ended = await run_one(tmp_path)
    async with running(tmp_path) as engine:
        convoy_id = await launch(
            engine, tmp_path, "echo begun; touch begun; until [ -e go ]; do sleep 0.02; done"
        )
        await until(engine, (tmp_path / "begun").exists)
        await engine.stop(StopMode.DETACH)
    async with running(tmp_path, days=99, is_resuming=True, keep_runs_bytes=1) as engine:
        await until(engine, lambda: not folder_of(tmp_path, ended).exists())
        await asyncio.to_thread((tmp_path / "go").touch)
        (view,) = await engine.wait([convoy_id])
        assert view.status is ConvoyStatus.COMPLETED
        assert (await engine.log_range(ItemKey(convoy_id, "op"))).data == b"begun\n"


async def test_a_pruned_item_can_be_retried(tmp_path: Path) -> None:
    convoy_id = await run_one(tmp_path, "echo hello; [ -e go ]")
    async with running(tmp_path, days=31) as engine:
        await until(engine, lambda: not folder_of(tmp_path, convoy_id).exists())
        await asyncio.to_thread((tmp_path / "go").touch)
        key = ItemKey(convoy_id, "op")
        outcome = await engine.retry([key], env={"PATH": os.environ["PATH"]})
        assert outcome.changed == (key,)
        (view,) = await engine.wait([convoy_id])
        assert view.status is ConvoyStatus.COMPLETED
        assert (await engine.log_range(key)).data == b"hello\n"


async def test_the_oldest_go_by_size_without_an_engine(tmp_path: Path) -> None:
    first = await run_one(tmp_path, "head -c 300000 /dev/zero")
    second = await run_one(tmp_path, "head -c 300000 /dev/zero")
    settings = settings_of(tmp_path, keep_runs_bytes=400_000)
    planned = await plan_upkeep(settings)
    assert [run.convoy_id for run in planned.runs] == [first]
    assert planned.kept_bytes >= 300_000
    assert await asyncio.to_thread(folder_of(tmp_path, first).exists)
    report = await run_upkeep(settings)
    assert (report.runs, report.problems) == (planned.runs, ())
    assert await asyncio.to_thread(os.listdir, tmp_path / "state" / "runs") == [second]
    assert (await run_upkeep(settings)).runs == ()


async def test_beside_an_engine_one_may_look_but_not_prune(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        convoy_id = await launch(engine, tmp_path, "echo hello")
        await engine.wait([convoy_id])
        settings = settings_of(tmp_path, keep_runs_bytes=1)
        assert [run.convoy_id for run in (await plan_upkeep(settings)).runs] == [convoy_id]
        with pytest.raises(EngineRunningError):
            await run_upkeep(settings)
        assert await asyncio.to_thread(folder_of(tmp_path, convoy_id).exists)


async def test_no_state_has_nothing_to_prune(tmp_path: Path) -> None:
    assert (await plan_upkeep(settings_of(tmp_path))).runs == ()
    assert (await run_upkeep(settings_of(tmp_path))).runs == ()


async def test_folders_that_no_convoy_names_stay_and_half_removed_ones_go(tmp_path: Path) -> None:
    runs = tmp_path / "state" / "runs"

    def make() -> None:
        (tmp_path / "state").mkdir(mode=0o700)
        for name in ("unknown", "pruned~0123456789abcdef", "pruned~short"):
            (runs / name / "item" / "1-abc").mkdir(parents=True)
            (runs / name / "item" / "1-abc" / "output.log").write_text("hello")

    await asyncio.to_thread(make)
    assert (await run_upkeep(settings_of(tmp_path, keep_runs_bytes=1))).problems == ()
    assert sorted(await asyncio.to_thread(os.listdir, runs)) == ["pruned~short", "unknown"]


async def test_a_convoy_that_is_worked_on_again_stays(tmp_path: Path) -> None:
    convoy_id = await run_one(tmp_path)
    settings = settings_of(tmp_path, keep_runs_bytes=1)
    async with Reader.open(settings.workstate_db) as reader:
        upkeep = Upkeep(
            settings,
            reader=reader,
            clock=SystemClock(),
            is_busy=lambda busy_id: busy_id == convoy_id,
            convoy_ends=asyncio.Lock(),
        )
        assert (await upkeep.run()).runs == ()
    assert await asyncio.to_thread(folder_of(tmp_path, convoy_id).exists)


async def test_a_folder_with_a_held_lock_stays_and_is_told(tmp_path: Path) -> None:
    convoy_id = await run_one(tmp_path)
    (lock,) = await asyncio.to_thread(lambda: [*folder_of(tmp_path, convoy_id).glob("*/*/lock")])
    descriptor = await asyncio.to_thread(os.open, lock, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        report = await run_upkeep(settings_of(tmp_path, keep_runs_bytes=1))
    finally:
        os.close(descriptor)
    assert report.runs == ()
    assert report.problems == (f"{convoy_id}: an operation of it still holds its lock",)
    assert await asyncio.to_thread(lock.exists)


async def test_a_log_is_cut_while_it_runs_and_one_with_a_second_name_is_told(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, log_limit_bytes=100_000) as engine:
        convoy_id = await launch(
            engine, tmp_path, "head -c 400000 /dev/zero; until [ -e go ]; do sleep 0.02; done"
        )

        def logs() -> list[Path]:
            return [*folder_of(tmp_path, convoy_id).glob("*/*/output.log")]

        def is_cut() -> bool:
            return any(
                log.stat().st_size == 400_000 and log.stat().st_blocks * 512 < 100_000
                for log in logs()
            )

        await until(engine, is_cut)
        await asyncio.to_thread(lambda: (tmp_path / "other").hardlink_to(logs()[0]))
        trouble = await view_when(engine, lambda view: view.trouble is not None)
        assert "it has a second name" in str(trouble.trouble)
        await asyncio.to_thread((tmp_path / "go").touch)
        await engine.wait([convoy_id])


async def test_the_engine_tells_the_size_of_its_wal(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        view = await view_when(engine, lambda view: view.wal_bytes > 0)
        assert view.oldest_reader_s == 0.0


def fill(folder: Path, outside: Path) -> None:
    """Put into a folder what an enemy would."""
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(outside)
    (folder / "dangling").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "link").symlink_to(outside)
    (folder / "a" / "b" / "same").write_text("1")
    (folder / "b" / "b").mkdir(parents=True)
    (folder / "b" / "b" / "same").write_text("2")
    here = os.open(folder, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d" * 200, dir_fd=here)
        deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)


@pytest.mark.parametrize("entries", [1, 7, 100_000])
def test_removal_follows_no_link_and_minds_no_depth(tmp_path: Path, entries: int) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("kept")
    fill(tmp_path / "doomed", outside)
    removal = Removal(str(tmp_path), "doomed")
    slices = 1
    while not removal.advance(entries):
        slices += 1
        assert slices < 5_000
    assert removal.problems == []
    assert os.listdir(tmp_path) == ["outside"]
    assert (outside / "precious").read_text() == "kept"


def test_removal_of_a_link_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").touch()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(OSError, match=r"."):
        Removal(str(tmp_path), "link").advance(100)
    assert (tmp_path / "real" / "file").exists()
