from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aisquad_core.execution.recorder import Recorder
from aisquad_core.execution.scheduler import ConvoyState, Scheduler, Task
from aisquad_core.model import ConvoyRecord, ConvoyStatus, RunUpdate, WorkStatus
from aisquad_core.state.metrics import MetricsCollector
from aisquad_core.testing import FakeClock
from tests.unit.execution.convoys import Tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def metrics(tmp_path: Path, clock: FakeClock) -> AsyncIterator[MetricsCollector]:
    async with MetricsCollector(tmp_path / "metrics.db", clock=clock) as collector:
        yield collector


@pytest.fixture
def convoy(clock: FakeClock) -> ConvoyState:
    """One of two operations, the first completed."""
    now = clock.now()
    record = ConvoyRecord(
        id="work-1",
        name="work",
        status=ConvoyStatus.RUNNING,
        created_at=now,
        updated_at=now,
        total=2,
    )
    convoy = ConvoyState(record=record)
    for position, status in enumerate((WorkStatus.COMPLETED, WorkStatus.PENDING)):
        item_id = f"op-{position}"
        convoy.tasks[item_id] = Task(
            convoy, item_id, position=position, agent_id="shell", status=status
        )
        convoy.counts[status] += 1
    return convoy


async def test_a_convoy_in_memory_is_recorded_before_anything_of_it_changes(
    metrics: MetricsCollector, convoy: ConvoyState
) -> None:
    scheduler = Scheduler(Tokens(), {})
    scheduler.add(convoy)
    Recorder(metrics, scheduler).record_convoys()
    await metrics.flush()
    (recorded,) = await metrics.get_recent_convoy_metrics()
    assert (recorded.convoy_id, recorded.status) == ("work-1", ConvoyStatus.RUNNING)
    assert (recorded.operations, recorded.completed) == (2, 1)


async def test_a_tick_between_the_commit_of_an_end_and_its_news_records_no_end(
    metrics: MetricsCollector, convoy: ConvoyState, clock: FakeClock
) -> None:
    scheduler = Scheduler(Tokens(), {})
    scheduler.add(convoy)
    recorder = Recorder(metrics, scheduler)
    recorder.record_convoys()
    ended = replace(convoy.record, status=ConvoyStatus.PARTIAL, finished_at=clock.now())
    convoy.record = ended
    recorder.convoy_changed(convoy)
    recorder.record_convoys()
    assert await _statuses(metrics) == [ConvoyStatus.RUNNING]
    recorder.convoy_ended(convoy)
    assert await _statuses(metrics) == [ConvoyStatus.PARTIAL]


async def test_a_convoy_that_ends_within_a_tick_is_recorded_whole(
    metrics: MetricsCollector, convoy: ConvoyState, clock: FakeClock
) -> None:
    convoy.record = replace(convoy.record, status=ConvoyStatus.PARTIAL, finished_at=clock.now())
    Recorder(metrics, Scheduler(Tokens(), {})).convoy_ended(convoy)
    await metrics.flush()
    (recorded,) = await metrics.get_recent_convoy_metrics()
    assert (recorded.name, recorded.operations, recorded.status, recorded.end_time) == (
        "work",
        2,
        ConvoyStatus.PARTIAL,
        clock.now(),
    )


async def test_a_start_is_no_end(
    metrics: MetricsCollector, convoy: ConvoyState, clock: FakeClock
) -> None:
    start = RunUpdate(
        convoy_id="work-1",
        item_id="op-1",
        expected_version=1,
        previous=WorkStatus.PENDING,
        status=WorkStatus.IN_PROGRESS,
        started_at=clock.now(),
    )
    recorder = Recorder(metrics, Scheduler(Tokens(), {}))
    recorder.item_changed(convoy.tasks["op-1"], start)
    await metrics.flush()
    assert (await metrics.get_convoy_stats()).operation_durations.count == 0


async def _statuses(metrics: MetricsCollector) -> list[ConvoyStatus]:
    await metrics.flush()
    return [convoy.status for convoy in await metrics.get_recent_convoy_metrics()]
