"""Every setting does what it says: set as an operator sets it, seen in what a whole engine does.

A test's name begins with `test_` and the setting's key; the last test sees to it that none is
missing.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aisquad_core.api import ItemFilter, Sampled
from aisquad_core.clock import SystemClock
from aisquad_core.engine import Engine
from aisquad_core.errors import BackpressureError
from aisquad_core.model import ItemKey, Operation, WorkStatus
from aisquad_core.monitoring import Monitoring
from aisquad_core.settings import load_settings
from aisquad_core.settings.values import describe
from aisquad_core.spec import SpecFormat, SpecSource
from aisquad_core.state.metrics import MetricsReader
from aisquad_core.testing import FakeClock, FakeSampler
from aisquad_core.testing.machine import FakeBacklog
from aisquad_core.upkeep import plan_upkeep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from aisquad_core.api import EngineView
    from aisquad_core.clock import Clock
    from aisquad_core.settings import Settings

BOUND_S = 15
CALM = FakeSampler(cpu_percent=10.0, memory_percent=10.0)


def set_to(folder: Path, **variables: object) -> Settings:
    """Load the settings of a folder with these `AI_SQUAD_…` variables."""
    environ = {f"AI_SQUAD_{name.upper()}": str(value) for name, value in variables.items()}
    return load_settings(cwd=folder, environ={"HOME": str(folder), **environ}, flags={})


@asynccontextmanager
async def running(
    folder: Path,
    others: Mapping[str, object] | None = None,
    *,
    sampler: FakeSampler = CALM,
    clock: Clock | None = None,
    **variables: object,
) -> AsyncIterator[Engine]:
    settings = set_to(folder, **{"tick_seconds": 0.1, **variables, **(others or {})})
    async with asyncio.timeout(BOUND_S), Engine(settings, sampler=sampler, clock=clock) as engine:
        yield engine


async def launch(engine: Engine, folder: Path, line: str) -> str:
    """Launch a convoy of one shell line, `op`."""
    text = f'operations = [{{ id = "op", run = """{line}""" }}]\nname = "work"'
    source = SpecSource(text=text, format=SpecFormat.TOML, origin="work.toml", base_dir=str(folder))
    return await engine.launch(source, env={"PATH": os.environ["PATH"]}, cwd=str(folder))


async def launch_calls(engine: Engine, count: int, agent_id: str = "engineer") -> str:
    """Launch so many callables of an agent that end at once."""

    async def work() -> None:
        pass

    operations = [Operation(id=f"op-{number}", agent_id=agent_id) for number in range(count)]
    calls = {operation.id: work for operation in operations}
    return await engine.launch_operations("calls", operations, calls, env={}, cwd="/")


async def until(engine: Engine, is_so: Callable[[], Awaitable[bool]]) -> None:
    """Look again after every change, of which each tick is one."""
    async with engine.subscribe() as changes:
        async for _ in changes:
            if await is_so():
                return
    raise AssertionError("the engine stopped first")


async def view_when(engine: Engine, is_so: Callable[[EngineView], bool]) -> EngineView:
    """Return what the engine says of itself once something is so."""

    async def look() -> bool:
        return is_so((await engine.snapshot()).engine)

    await until(engine, look)
    return (await engine.snapshot()).engine


async def parallelism_after(engine: Engine, ticks: int) -> int:
    async with engine.subscribe() as changes:
        async for change in changes:
            ticks -= isinstance(change, Sampled)
            if not ticks:
                break
    return (await engine.snapshot()).engine.parallelism


async def test_workstate_db_is_where_the_state_is(tmp_path: Path) -> None:
    async with running(tmp_path, workstate_db=tmp_path / "elsewhere" / "work.db") as engine:
        await engine.wait([await launch(engine, tmp_path, "true")])
    names = set(await asyncio.to_thread(os.listdir, tmp_path / "elsewhere"))
    assert {"work.db", "runs", "lock"} <= names
    assert not await asyncio.to_thread((tmp_path / ".ai_squad").exists)


@pytest.mark.parametrize(("use_pooling", "is_kept"), [("true", True), ("false", False)])
async def test_use_pooling_keeps_readers_open_between_reads(
    tmp_path: Path, use_pooling: str, is_kept: bool
) -> None:
    async with running(tmp_path, use_pooling=use_pooling) as engine:
        await engine.items(ItemFilter())
        stats = engine._state.pool.get_stats()
    assert (stats["open_connections"] > stats["active_connections"]) == is_kept


async def test_pool_size_is_the_most_readers_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, pool_size=2) as engine, asyncio.TaskGroup() as tasks:
        for _ in range(10):
            tasks.create_task(engine.items(ItemFilter()))
    stats = engine._state.pool.get_stats()
    assert (stats["pool_size"], stats["waits"] > 0) == (2, True)


@pytest.mark.parametrize(("rate_limit", "wait_s"), [(5, 12), (60, 1)])
async def test_rate_limit_is_how_many_starts_a_minute_an_agent_has(
    tmp_path: Path, rate_limit: int, wait_s: int
) -> None:
    settings = {"rate_limit": rate_limit, "rate_burst": 1}
    async with running(tmp_path, settings, clock=FakeClock()) as engine:
        convoy_id = await launch_calls(engine, 2)
        await until(engine, lambda: are_completed(engine, 1))
        assert (
            await engine.item(ItemKey(convoy_id, "op-1"))
        ).view.reason == f"rate limit: {wait_s} s"


@pytest.mark.parametrize("rate_burst", [1, 3])
async def test_rate_burst_is_how_many_starts_an_agent_has_at_once(
    tmp_path: Path, rate_burst: int
) -> None:
    async with running(tmp_path, clock=FakeClock(), rate_burst=rate_burst) as engine:
        convoy_id = await launch_calls(engine, 5)
        await until(engine, lambda: are_completed(engine, rate_burst))
        for number in range(rate_burst, 5):
            view = (await engine.item(ItemKey(convoy_id, f"op-{number}"))).view
            assert (view.status, view.reason) == (WorkStatus.PENDING, "rate limit: 1 s")


async def are_completed(engine: Engine, count: int) -> bool:
    page = await engine.items(ItemFilter(statuses=(WorkStatus.COMPLETED,)))
    return page.total == count


@pytest.mark.parametrize(("is_enabled", "size"), [("true", 9), ("false", 5)])
async def test_enable_auto_tuning_follows_the_load(
    tmp_path: Path, is_enabled: str, size: int
) -> None:
    async with running(tmp_path, enable_auto_tuning=is_enabled, max_parallelism=9) as engine:
        assert await parallelism_after(engine, 4) == size
        assert (await engine.snapshot()).engine.auto == (is_enabled == "true")


@pytest.mark.parametrize("kind", ["cpu", "memory"])
@pytest.mark.parametrize(("threshold", "is_over"), [(50, True), (70, False)])
async def test_cpu_threshold_and_memory_threshold_bring_it_down_to_the_baseline(
    tmp_path: Path, kind: str, threshold: int, is_over: bool
) -> None:
    sampler = FakeSampler(**{"cpu_percent": 10.0, "memory_percent": 10.0, f"{kind}_percent": 60.0})
    async with running(tmp_path, {f"{kind}_threshold": threshold}, sampler=sampler) as engine:
        size = await parallelism_after(engine, 3)
        view = (await engine.snapshot()).engine
    assert (size == 5) == is_over
    name = "CPU" if kind == "cpu" else "memory"
    assert (f"{name} 60 % over 50 %" in view.reason) == is_over


async def test_baseline_parallelism_is_what_runs_under_load(tmp_path: Path) -> None:
    sampler = FakeSampler(cpu_percent=99.0)
    async with running(tmp_path, sampler=sampler, baseline_parallelism=3) as engine:
        assert await parallelism_after(engine, 3) == 3


async def test_max_parallelism_is_never_passed(tmp_path: Path) -> None:
    async with running(tmp_path, max_parallelism=8) as engine:
        assert await parallelism_after(engine, 5) == 8


@pytest.mark.parametrize(("grace_seconds", "is_clean"), [(0.05, False), (30, True)])
async def test_grace_seconds_is_the_time_to_end_in_order(
    tmp_path: Path, grace_seconds: float, is_clean: bool
) -> None:
    ending = "until [ -e go ]; do sleep 0.02; done; touch clean; exit"
    line = f"trap '{ending}' TERM; touch begun; while :; do sleep 0.02; done"
    async with running(tmp_path, grace_seconds=grace_seconds) as engine:
        convoy_id = await launch(engine, tmp_path, line)
        await until(engine, lambda: asyncio.to_thread((tmp_path / "begun").exists))
        if is_clean:
            await asyncio.to_thread((tmp_path / "go").touch)
        await engine.cancel(convoy_id)
        assert (await engine.snapshot()).engine.grace_s == grace_seconds
    assert await asyncio.to_thread((tmp_path / "clean").exists) == is_clean


async def test_tick_seconds_is_the_time_between_two_looks(tmp_path: Path) -> None:
    often, seldom = FakeSampler(), FakeSampler()
    async with running(tmp_path, sampler=often, tick_seconds=0.1) as engine:
        await parallelism_after(engine, 3)
    async with running(tmp_path, sampler=seldom, tick_seconds=3600) as engine:
        await engine.wait([await launch(engine, tmp_path, "sleep 0.3")])
    assert often.readings >= 3
    assert seldom.readings == 1


async def test_log_limit_bytes_leaves_head_and_tail_of_a_log(tmp_path: Path) -> None:
    line = "echo head; head -c 400000 /dev/zero; echo tail; until [ -e go ]; do sleep 0.02; done"
    async with running(tmp_path, log_limit_bytes=100_000) as engine:
        convoy_id = await launch(engine, tmp_path, line)

        def is_cut() -> bool:
            logs = [*(tmp_path / ".ai_squad" / "runs").glob("*/*/*/output.log")]
            sizes = [(log.stat().st_size, log.stat().st_blocks * 512) for log in logs]
            return any(size > 400_000 and used <= 110_000 for size, used in sizes)

        await until(engine, lambda: asyncio.to_thread(is_cut))
        key = ItemKey(convoy_id, "op")
        assert (await engine.log_range(key, length=5)).data == b"head\n"
        assert (await engine.log_range(key, offset=-5)).data == b"tail\n"
        await asyncio.to_thread((tmp_path / "go").touch)
        await engine.wait([convoy_id])


@pytest.mark.parametrize(("days", "gone"), [(1, 1), (30, 0), (0, 0)])
async def test_keep_runs_days_is_how_long_logs_are_kept(
    tmp_path: Path, days: int, gone: int
) -> None:
    async with running(tmp_path) as engine:
        await engine.wait([await launch(engine, tmp_path, "echo hello")])
    planned = await plan_upkeep(set_to(tmp_path, keep_runs_days=days), clock=LaterClock(days=2))
    assert len(planned.runs) == gone


@pytest.mark.parametrize(("size", "gone"), [(1, 1), (10_000_000, 0), (0, 0)])
async def test_keep_runs_bytes_is_how_much_is_kept(tmp_path: Path, size: int, gone: int) -> None:
    async with running(tmp_path) as engine:
        await engine.wait([await launch(engine, tmp_path, "echo hello")])
    assert len((await plan_upkeep(set_to(tmp_path, keep_runs_bytes=size))).runs) == gone


async def test_on_finish_is_run_when_a_convoy_ends(tmp_path: Path) -> None:
    told = tmp_path / "told"
    command = json.dumps(
        ["sh", "-c", f'echo "$AISQUAD_EVENT" >"{told}.new"; mv "{told}.new" {told}']
    )
    async with running(tmp_path, on_finish=command) as engine:
        await engine.wait([await launch(engine, tmp_path, "true")])
        await until(engine, lambda: asyncio.to_thread(told.exists))
    assert await asyncio.to_thread(told.read_text) == "ended\n"


@pytest.mark.parametrize(("threshold", "is_refused"), [(0.5, True), (0.8, False)])
async def test_backpressure_threshold_is_where_launches_are_refused(
    tmp_path: Path, threshold: float, is_refused: bool
) -> None:
    writer = FakeBacklog()
    writer.backlog = 600
    async with running(tmp_path, backpressure_threshold=threshold) as engine:
        engine._backpressure.watch(writer)
        try:
            await launch_calls(engine, 1)
        except BackpressureError:
            assert is_refused
        else:
            assert not is_refused
        assert (await engine.snapshot()).engine.writes_threshold == threshold


@pytest.mark.parametrize("is_enabled", [True, False])
async def test_enable_metrics_records_what_happens(tmp_path: Path, is_enabled: bool) -> None:
    async with running(tmp_path, enable_metrics=str(is_enabled).lower()) as engine:
        await engine.wait([await launch(engine, tmp_path, "true")])
        past = await engine.history(period_s=600)
    assert past.is_recorded == is_enabled
    assert sum(point.completed for point in past.throughput) == is_enabled
    assert await asyncio.to_thread((tmp_path / ".ai_squad" / "metrics.db").exists) == is_enabled


async def test_metrics_db_is_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.db"
    async with running(tmp_path, metrics_db=path) as engine:
        await engine.wait([await launch(engine, tmp_path, "true")])
    async with MetricsReader(path) as reader:
        assert len(await reader.get_recent_convoy_metrics()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("days", "left"), [(1, 0), (30, 1)])
async def test_metrics_retention_days_is_how_long_they_are_kept(
    tmp_path: Path, days: int, left: int
) -> None:
    async with running(tmp_path) as engine:
        await engine.wait([await launch(engine, tmp_path, "true")])
    later = running(tmp_path, clock=LaterClock(days=3), metrics_retention_days=days)
    async with later as engine, MetricsReader(set_to(tmp_path).metrics_db) as reader:

        async def are_left() -> bool:
            return len(await reader.get_recent_convoy_metrics()) == left

        await until(engine, are_left)
        await engine.history()  # returns when what is due has been saved, and pruned
        assert await are_left()


async def test_monitoring_port_is_where_the_monitoring_api_listens(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    async with Monitoring(set_to(tmp_path, monitoring_port=port)) as served:
        assert served.url == f"http://127.0.0.1:{port}"
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()


async def test_monitoring_address_is_where_it_is_reached(tmp_path: Path) -> None:
    settings = set_to(tmp_path, monitoring_port=0, monitoring_address="127.0.0.2")
    async with Monitoring(settings) as served:
        _, writer = await asyncio.open_connection("127.0.0.2", served.port)
        writer.close()
        await writer.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", served.port)


class LaterClock(SystemClock):
    """The machine's clock, some days on."""

    def __init__(self, days: float) -> None:
        self._ahead = timedelta(days=days)

    def now(self) -> datetime:
        return super().now() + self._ahead


def test_no_setting_is_without_a_test(tmp_path: Path) -> None:
    names = re.findall(
        r"^(?:async )?def test_(\w+)", Path(__file__).read_text("utf-8"), re.MULTILINE
    )
    tested = " ".join(names)
    keys = {row.name for row in describe(set_to(tmp_path))}
    assert {key for key in keys if not re.search(rf"\b{key}_|_{key}_", tested)} == set()
