"""A wall clock that is set forward or back changes no duration, limit or time-out."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from aisquad_core.api import ItemFilter, Sampled, StopMode
from aisquad_core.clock import SteadyWall, SystemClock
from aisquad_core.engine import Engine
from aisquad_core.model import ConvoyStatus, WorkStatus
from aisquad_core.settings import Settings, load_settings
from aisquad_core.spec import SpecFormat, SpecSource
from aisquad_core.state.reader import Reader
from aisquad_core.testing import FakeSampler
from aisquad_core.upkeep import EndedRun, Upkeep, plan
from aisquad_tui.formatting import age, between, duration, elapsed, uptime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aisquad_core.api import ItemView

ENOUGH_S = 15
DAY = timedelta(days=1)
PENDING, RUNNING = WorkStatus.PENDING, WorkStatus.IN_PROGRESS
GATED = "echo >began; until [ -e gate ]; do sleep 0.02; done"


class SetClock(SystemClock):
    """A machine whose wall clock somebody sets."""

    def __init__(self, offset: timedelta = timedelta()) -> None:
        self.offset = offset

    def now(self) -> datetime:
        return super().now() + self.offset


@asynccontextmanager
async def running(folder: Path, clock: SetClock) -> AsyncIterator[Engine]:
    settings = load_settings(
        cwd=folder,
        environ={"HOME": str(folder)},
        flags={"grace_seconds": 0.2, "tick_seconds": 0.1, "rate_limit": 1, "rate_burst": 1},
        state_dir=folder / "state",
    )
    async with (
        asyncio.timeout(ENOUGH_S),
        Engine(settings, sampler=FakeSampler(), clock=clock, is_resuming=True) as engine,
    ):
        yield engine


async def launch(
    engine: Engine, folder: Path, *operations: dict[str, object], **top: object
) -> str:
    text = json.dumps({"name": "work", "operations": operations, **top})
    source = SpecSource(text=text, format=SpecFormat.JSON, origin="work.json", base_dir=str(folder))
    return await engine.launch(source, env={"PATH": os.environ["PATH"]}, cwd=str(folder))


async def items(engine: Engine) -> dict[str, ItemView]:
    return {item.id: item for item in (await engine.items(ItemFilter())).items}


async def until_begun(engine: Engine, folder: Path) -> None:
    async with engine.subscribe() as news:
        async for _ in news:  # a tick every 0.1 s, at least
            if await asyncio.to_thread((folder / "began").exists):
                return


async def ticks(engine: Engine, count: int) -> None:
    async with engine.subscribe() as news:
        async for each in news:
            count -= isinstance(each, Sampled)
            if count < 0:
                return


@pytest.mark.slow
async def test_a_clock_set_while_the_engine_runs_ends_nothing_early_and_nothing_late(
    tmp_path: Path,
) -> None:
    clock = SetClock()
    async with running(tmp_path, clock) as engine:
        convoy_id = await launch(
            engine,
            tmp_path,
            {"id": "long", "run": GATED},
            {"id": "limited", "run": "true", "agent": "claude"},
            {"id": "waiting", "run": "true", "agent": "claude"},
            timeout="1h",
        )
        await until_begun(engine, tmp_path)
        for offset in (DAY, -2 * DAY):
            clock.offset = offset
            await ticks(engine, 2)
            found = await items(engine)
            assert found["long"].status is RUNNING
            # A second start in this minute is not due because the day is another.
            assert [found[each].status for each in ("limited", "waiting")].count(PENDING) == 1
        timed = await launch(engine, tmp_path, {"id": "timed", "run": "sleep 60"}, timeout=0.2)
        (view,) = await engine.wait([timed])
        assert view.status is ConvoyStatus.FAILED
        assert "the convoy's time of 0.2 s is over" in (view.reason or "")
        await engine.cancel(convoy_id)


async def test_a_clock_set_back_between_two_engines_makes_no_age_negative(tmp_path: Path) -> None:
    async with running(tmp_path, SetClock(DAY)) as engine:
        convoy_id = await launch(engine, tmp_path, {"id": "long", "run": GATED}, timeout="1h")
        await until_begun(engine, tmp_path)
        await engine.stop(StopMode.DETACH)
    clock = SetClock()
    async with running(tmp_path, clock) as engine:
        await engine.wait([])
        await ticks(engine, 2)
        assert (await items(engine))["long"].status is RUNNING
        (tmp_path / "gate").touch()
        (view,) = await engine.wait([convoy_id])
        item = (await items(engine))["long"]
    assert view.status is ConvoyStatus.COMPLETED
    assert item.started_at is not None
    assert item.finished_at is not None
    assert item.finished_at < item.started_at
    assert between(item.started_at, item.finished_at, clock.now()) == "0.0s"


async def test_a_convoy_that_ran_out_of_time_while_no_engine_ran_is_over(tmp_path: Path) -> None:
    async with running(tmp_path, SetClock()) as engine:
        convoy_id = await launch(engine, tmp_path, {"id": "long", "run": GATED}, timeout="1h")
        await until_begun(engine, tmp_path)
        await engine.stop(StopMode.DETACH)
    async with running(tmp_path, SetClock(DAY)) as engine:
        (view,) = await engine.wait([convoy_id])
    assert view.status is ConvoyStatus.FAILED


async def test_a_clock_set_forward_makes_no_logs_old(tmp_path: Path) -> None:
    clock = SetClock()
    settings = Settings(workstate_db=tmp_path / "state" / "workstate.db", keep_runs_days=1)
    async with running(tmp_path, clock) as engine, Reader.open(settings.workstate_db) as reader:
        await engine.wait([await launch(engine, tmp_path, {"id": "new", "run": "true"})])
        upkeep = Upkeep(
            settings,
            reader=reader,
            clock=clock,
            is_busy=lambda _: False,
            convoy_ends=asyncio.Lock(),
        )
        clock.offset = 365 * DAY
        planned = await upkeep.plan()
    assert (planned.runs, planned.kept) == ((), 1)


def test_a_clock_set_back_makes_things_younger_and_set_right_again_as_old_as_they_are() -> None:
    clock = SetClock()
    wall = SteadyWall(clock)
    for offset, expected in ((DAY, timedelta()), (-DAY, -DAY), (timedelta(), timedelta())):
        clock.offset = offset
        off_by = wall.now() - SystemClock().now() - expected
        assert abs(off_by) < timedelta(minutes=1)


def test_what_ended_in_the_future_is_new_and_goes_only_by_size() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    runs = [
        EndedRun(convoy_id="future", finished_at=now + 100 * DAY, size_bytes=10),
        EndedRun(convoy_id="today", finished_at=now, size_bytes=10),
    ]
    assert plan(runs, now=now, keep_days=30, keep_bytes=0).runs == ()
    by_size = plan(runs, now=now, keep_days=30, keep_bytes=10).runs
    assert [run.convoy_id for run in by_size] == ["today"]


def test_negative_times_are_shown_as_none() -> None:
    assert [duration(-5), elapsed(-5), age(-5), uptime(-5)] == ["0.0s", "0s", "now", "<1m"]
