"""Totals of ended operations that only grow."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from aisquad_core.model import RunUpdate, WorkStatus
from aisquad_core.state.connection_pool import ConnectionPool
from aisquad_core.state.metrics import MetricsCollector
from aisquad_core.state.metrics.ended import EndedOperations, EndedTotal
from aisquad_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


async def record(path: Path, *statuses: WorkStatus) -> None:
    clock = FakeClock()
    async with MetricsCollector(path, clock=clock) as metrics:
        for number, status in enumerate(statuses):
            metrics.record_operation(
                "engineer",
                RunUpdate(
                    convoy_id="c",
                    item_id=f"i{number}",
                    expected_version=2,
                    previous=WorkStatus.IN_PROGRESS,
                    status=status,
                    started_at=clock.now() - timedelta(seconds=2),
                    finished_at=clock.now(),
                ),
            )
        await metrics.flush()


@asynccontextmanager
async def counting(path: Path) -> AsyncIterator[EndedOperations]:
    pool = ConnectionPool(path, size=1, database="metrics")
    try:
        ended = EndedOperations(pool)
        await ended.begin()
        yield ended
    finally:
        await pool.close()


COMPLETED, FAILED = ("engineer", "completed"), ("engineer", "failed")


async def test_what_ended_before_it_began_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "metrics.db"
    await record(path, WorkStatus.COMPLETED)
    async with counting(path) as ended:
        assert await ended.read() == {}
        await record(path, WorkStatus.COMPLETED, WorkStatus.FAILED, WorkStatus.COMPLETED)
        expected = {
            COMPLETED: EndedTotal(count=2, timed=2, sum_s=4.0),
            FAILED: EndedTotal(count=1, timed=1, sum_s=2.0),
        }
        assert await ended.read() == expected
        assert await ended.read() == expected


async def test_all_of_a_database_that_came_later_counts(tmp_path: Path) -> None:
    path = tmp_path / "metrics.db"
    async with counting(path) as ended:
        await record(path, WorkStatus.COMPLETED)
        assert await ended.read() == {COMPLETED: EndedTotal(count=1, timed=1, sum_s=2.0)}


async def test_a_database_in_the_place_of_another_adds_to_the_totals(tmp_path: Path) -> None:
    path = tmp_path / "metrics.db"
    async with counting(path) as ended:
        await record(path, WorkStatus.COMPLETED, WorkStatus.COMPLETED)
        assert (await ended.read())[COMPLETED].count == 2
        for file in tmp_path.iterdir():  # noqa: ASYNC240 - nothing else runs
            file.unlink()
        await record(path, WorkStatus.COMPLETED)
        assert (await ended.read())[COMPLETED].count == 3
