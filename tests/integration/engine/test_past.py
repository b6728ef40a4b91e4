"""The metrics of a real engine: recorded, left out, refused by their storage, caught up with."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from aisquad_core.clock import SystemClock
from aisquad_core.errors import StorageError
from aisquad_core.model import ConvoyStatus, Operation, WorkStatus
from aisquad_core.state.metrics import MetricsCollector, MetricsReader
from aisquad_core.testing import FakeClock
from tests.integration.engine.test_engine import launch, running, until

if TYPE_CHECKING:
    from pathlib import Path

    from aisquad_core.engine import Engine


async def _run_one(engine: Engine, folder: Path, run: str = "true") -> str:
    convoy_id = await launch(engine, folder, {"id": "only", "run": run})
    await engine.wait([convoy_id])
    return convoy_id


async def test_a_convoy_and_its_end_are_recorded(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        convoy_id = await _run_one(engine, tmp_path)
        (view,) = await engine.wait([convoy_id])
    async with MetricsReader(tmp_path / "state" / "metrics.db") as reader:
        (convoy,) = await reader.get_recent_convoy_metrics()
    assert (convoy.convoy_id, convoy.name, convoy.status) == (
        convoy_id,
        "work",
        ConvoyStatus.COMPLETED,
    )
    assert (convoy.operations, convoy.completed, convoy.failed) == (1, 1, 0)
    assert (convoy.start_time, convoy.end_time) == (view.created_at, view.finished_at)


async def test_a_convoy_that_is_left_unfinished_is_recorded_as_it_stands(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        convoy_id = await launch(
            engine,
            tmp_path,
            {"id": "first", "run": "true"},
            {"id": "second", "run": "sleep 60", "needs": ["first"]},
        )

        async def second_runs() -> bool:
            page = await engine.snapshot()
            return page.counts.running == 1 and page.counts.completed == 1

        await until(engine, second_runs)
    async with MetricsReader(tmp_path / "state" / "metrics.db") as reader:
        (convoy,) = await reader.get_recent_convoy_metrics()
    assert (convoy.convoy_id, convoy.end_time, convoy.completed) == (convoy_id, None, 1)


async def test_a_failure_that_is_retried_counts_once_at_its_end(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        operation = {"id": "only", "run": "exit 3", "retries": 1, "retry_delay": 0.01}
        convoy_id = await launch(engine, tmp_path, operation)
        await engine.wait([convoy_id])
    async with MetricsReader(tmp_path / "state" / "metrics.db") as reader:
        stats = await reader.get_convoy_stats()
        (failure,) = await reader.get_recent_failures()
    assert stats.operations == {WorkStatus.FAILED: 1}
    assert stats.operation_durations.count == 2
    assert (failure.attempt, failure.exit_code, failure.error) == (2, 3, "exit 3")


async def test_a_convoy_that_is_retried_has_ended_once(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        convoy_id = await _run_one(engine, tmp_path, "test -e go")
        (view,) = await engine.wait([convoy_id])
        assert view.status is ConvoyStatus.FAILED
        await asyncio.to_thread((tmp_path / "go").touch)
        (item,) = (await engine.history(convoy_id=convoy_id)).slowest
        await engine.retry([item.key], env={"PATH": "/usr/bin:/bin"})
        await engine.wait([convoy_id])
    async with MetricsReader(tmp_path / "state" / "metrics.db") as reader:
        stats = await reader.get_convoy_stats()
    assert stats.convoys == {ConvoyStatus.COMPLETED: 1}


async def test_metrics_that_are_off_leave_no_database(tmp_path: Path) -> None:
    async with running(tmp_path, enable_metrics=False) as engine:
        await _run_one(engine, tmp_path)
        past = await engine.history(period_s=60.0)
    assert (past.is_recorded, past.throughput) == (False, ())
    assert not await asyncio.to_thread((tmp_path / "state" / "metrics.db").exists)


async def test_the_database_can_be_elsewhere(tmp_path: Path) -> None:
    async with running(tmp_path, metrics_db=tmp_path / "other.db") as engine:
        await _run_one(engine, tmp_path)
    async with MetricsReader(tmp_path / "other.db") as reader:
        assert len(await reader.get_recent_convoy_metrics()) == 1


async def test_what_is_older_than_the_retention_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "metrics.db"
    async with MetricsCollector(path, clock=FakeClock()) as collector:  # of long ago
        collector.record_convoy_complete("old-1", ConvoyStatus.COMPLETED)
    async with (
        running(tmp_path, metrics_db=path, metrics_retention_days=1) as engine,
        MetricsReader(path) as reader,
    ):
        convoy_id = await _run_one(engine, tmp_path)
        await engine.history()
        convoys = await reader.get_recent_convoy_metrics()
    assert [convoy.convoy_id for convoy in convoys] == [convoy_id]


async def test_work_goes_on_without_metrics_and_the_engine_says_so(tmp_path: Path) -> None:
    path = tmp_path / "state" / "metrics.db"
    await asyncio.to_thread(path.mkdir, parents=True, mode=0o700)
    await asyncio.to_thread(path.parent.chmod, 0o700)
    async with running(tmp_path) as engine:
        convoy_id = await _run_one(engine, tmp_path)
        with pytest.raises(StorageError):
            await engine.history()
        trouble = (await engine.snapshot()).engine.trouble
        await asyncio.to_thread(path.rmdir)
        past = await engine.history(convoy_id=convoy_id)
        well = (await engine.snapshot()).engine.trouble
    assert trouble is not None
    assert trouble.startswith(f"metrics are not being recorded: {path}")
    assert [each.key.item_id for each in past.slowest] == ["only"]
    assert well is None


async def test_a_database_of_a_newer_aisquad_stops_no_work(tmp_path: Path) -> None:
    path = tmp_path / "state" / "metrics.db"
    await asyncio.to_thread(path.parent.mkdir, mode=0o700)
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    async with running(tmp_path) as engine:
        await _run_one(engine, tmp_path)
        with pytest.raises(StorageError, match="newer aisquad"):
            await engine.history()


@pytest.mark.parametrize("is_known", [True, False])
async def test_an_end_that_a_crash_kept_from_the_metrics_is_caught_up_with(
    tmp_path: Path, is_known: bool
) -> None:
    async with running(tmp_path, enable_metrics=False) as engine:
        convoy_id = await _run_one(engine, tmp_path) if is_known else "gone-1"
    path = tmp_path / "state" / "metrics.db"
    async with MetricsCollector(path, clock=SystemClock()) as collector:
        collector.record_convoy_start(convoy_id, 1)
    async with running(tmp_path) as engine, MetricsReader(path) as reader:

        async def is_caught_up() -> bool:
            await engine.history()
            return await reader.get_unfinished_convoys() == ()

        await until(engine, is_caught_up)
        (convoy,) = await reader.get_recent_convoy_metrics()
    assert convoy.status is (ConvoyStatus.COMPLETED if is_known else ConvoyStatus.CANCELLED)
    assert convoy.completed == is_known


async def test_callables_of_a_script_are_recorded_like_commands(tmp_path: Path) -> None:
    async def fail() -> None:
        raise ValueError("no\nway")

    async with running(tmp_path) as engine:
        convoy_id = await engine.launch_operations(
            "script", [Operation(id="call")], {"call": fail}, env={}, cwd=str(tmp_path)
        )
        await engine.wait([convoy_id])
    async with MetricsReader(tmp_path / "state" / "metrics.db") as reader:
        (failure,) = await reader.get_recent_failures()
    assert failure.error == "ValueError: no way"
