from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisquad_core.api import AgentFigures, SlowOperation, ThroughputPoint
from aisquad_core.errors import InputError, StorageError
from aisquad_core.model import ConvoyStatus, ItemKey, RunUpdate, WorkStatus
from aisquad_core.state.metrics import (
    MetricsCollector,
    MetricsReader,
    ResourceMetrics,
    kept_bins,
)
from aisquad_core.testing import FakeClock
from tests.unit.state.metrics.conftest import NOW

if TYPE_CHECKING:
    from tests.unit.state.metrics.conftest import MakeEnd


async def test_without_a_database_every_answer_is_empty(path: Path, clock: FakeClock) -> None:
    async with MetricsReader(path, clock=clock) as reader:
        assert await reader.get_recent_convoy_metrics() == ()
        assert await reader.get_resource_metrics() == ()
        assert await reader.get_recent_failures() == ()
        assert await reader.get_agent_stats() == ()
        assert await reader.get_resizes() == ()
        stats = await reader.get_convoy_stats()
        assert (stats.total_convoys, stats.success_rate, stats.operations) == (0, 0.0, {})
        past = await reader.history(period_s=60.0)
    assert (past.is_recorded, past.start, past.end) == (True, NOW - timedelta(seconds=60), NOW)
    assert (past.load, past.throughput, past.durations, past.mean_s) == ((), (), (), None)
    assert not await asyncio.to_thread(path.exists)


async def test_a_file_that_is_no_database_cannot_be_read(path: Path) -> None:
    await asyncio.to_thread(path.write_bytes, b"this is no database" * 100)
    async with MetricsReader(path) as reader:
        with pytest.raises(StorageError, match="not a database"):
            await reader.get_convoy_stats()


async def test_a_reader_of_its_own_sees_what_a_collector_saved(
    collector: MetricsCollector, path: Path, clock: FakeClock, make_end: MakeEnd
) -> None:
    collector.record_operation("shell", make_end(1.0))
    await collector.flush()
    async with MetricsReader(path, clock=clock) as reader:
        assert await reader.get_agent_stats() == (
            AgentFigures(agent_id="shell", completed=1, failed=0, mean_s=1.0),
        )


async def test_stats_count_convoys_of_the_range_and_those_that_have_not_ended(
    collector: MetricsCollector, clock: FakeClock
) -> None:
    collector.record_convoy_start("running-1", 1)
    collector.record_convoy_complete("early-1", ConvoyStatus.COMPLETED)
    await clock.advance(3_601)
    for status in (ConvoyStatus.COMPLETED, ConvoyStatus.COMPLETED, ConvoyStatus.PARTIAL):
        convoy_id = f"{status}-{clock.monotonic()}"
        start = clock.now()
        await clock.advance(10)
        collector.record_convoy_start(convoy_id, 1, start_time=start)
        collector.record_convoy_complete(convoy_id, status)
    await collector.flush()
    stats = await collector.get_convoy_stats(60)
    assert stats.total_convoys == 4
    assert stats.convoys == {
        ConvoyStatus.RUNNING: 1,
        ConvoyStatus.COMPLETED: 2,
        ConvoyStatus.PARTIAL: 1,
    }
    assert stats.success_rate == pytest.approx(2 / 3)
    assert stats.convoy_durations.mean_s == 10.0
    assert stats.convoy_durations.p99_s == pytest.approx(10.0, rel=0.02)


@pytest.mark.parametrize("minutes", [20, 60, 5_000])
async def test_what_ended_after_a_clock_was_set_back_does_not_count_yet(
    collector: MetricsCollector, clock: FakeClock, make_end: MakeEnd, minutes: int
) -> None:
    now = clock.now()
    collector.record_operation("shell", make_end(4.0, finished_at=now))
    for seconds in (0.000_001, 60, 7_200):
        ahead = now + timedelta(seconds=seconds)
        collector.record_operation("shell", make_end(1.0, finished_at=ahead))
        collector.record_convoy_complete(f"ahead-{seconds}", ConvoyStatus.COMPLETED, end_time=ahead)
    await collector.flush()
    stats = await collector.get_convoy_stats(minutes)
    assert stats.operations == {WorkStatus.COMPLETED: 1}
    assert stats.operation_durations.mean_s == 4.0
    assert stats.total_convoys == 0
    assert await collector.get_agent_stats(minutes) == (
        AgentFigures(agent_id="shell", completed=1, failed=0, mean_s=4.0),
    )


async def test_cancelled_and_lost_attempts_have_no_duration_to_count(
    collector: MetricsCollector, make_end: MakeEnd
) -> None:
    for status in (WorkStatus.COMPLETED, WorkStatus.CANCELLED, WorkStatus.LOST):
        collector.record_operation("shell", make_end(1.0, status=status))
    await collector.flush()
    stats = await collector.get_convoy_stats()
    assert stats.operations == {
        WorkStatus.COMPLETED: 1,
        WorkStatus.CANCELLED: 1,
        WorkStatus.LOST: 1,
    }
    assert (stats.operation_durations.count, stats.operation_success_rate) == (1, 0.5)


async def test_the_busiest_agent_comes_first(
    collector: MetricsCollector, make_end: MakeEnd
) -> None:
    collector.record_operation("reviewer", make_end(1.0))
    for seconds in (2.0, 4.0):
        collector.record_operation("engineer", make_end(seconds, status=WorkStatus.FAILED))
    await collector.flush()
    assert await collector.get_agent_stats() == (
        AgentFigures(agent_id="engineer", completed=0, failed=2, mean_s=3.0),
        AgentFigures(agent_id="reviewer", completed=1, failed=0, mean_s=1.0),
    )


async def test_a_history_can_be_of_one_convoy(
    collector: MetricsCollector, make_end: MakeEnd
) -> None:
    collector.record_operation("shell", make_end(100.0, convoy_id="other-1"))
    collector.record_operation("shell", make_end(2.0))
    await collector.flush()
    past = await collector.history(period_s=600.0, points=10, convoy_id="build-1")
    assert past.slowest == (
        SlowOperation(
            key=ItemKey("build-1", "lint"),
            agent_id="shell",
            status=WorkStatus.COMPLETED,
            duration_s=2.0,
            finished_at=NOW,
        ),
    )
    assert past.throughput == (
        ThroughputPoint(at=NOW - timedelta(seconds=60), completed=1, failed=0),
    )
    assert past.agents == (AgentFigures(agent_id="shell", completed=1, failed=0, mean_s=2.0),)
    assert (past.mean_s, sum(each.count for each in past.durations)) == (2.0, 1)


async def test_the_slowest_operation_comes_first(
    collector: MetricsCollector, make_end: MakeEnd
) -> None:
    for seconds in (3.0, 5.0, 4.0):
        collector.record_operation("shell", make_end(seconds))
    await collector.flush()
    assert [each.duration_s for each in (await collector.history()).slowest] == [5.0, 4.0, 3.0]


@pytest.mark.parametrize("limit", [0, -1, 10_001])
async def test_a_limit_that_makes_no_sense_is_refused(
    collector: MetricsCollector, limit: int
) -> None:
    with pytest.raises(InputError, match=r"^limit "):
        await collector.get_recent_failures(limit)


async def test_a_time_range_that_makes_no_sense_is_refused(collector: MetricsCollector) -> None:
    with pytest.raises(InputError, match=r"^period "):
        await collector.get_convoy_stats(0)


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GRAINS = (timedelta(hours=1), timedelta(minutes=1))
"""Of the sums of samples; for shorter stretches there are the samples themselves."""
_AGES_S = st.integers(min_value=0, max_value=40 * 86_400)


def _end(age_s: int, duration_s: int) -> RunUpdate:
    finished_at = NOW - timedelta(seconds=age_s)
    return RunUpdate(
        convoy_id="build-1",
        item_id="lint",
        expected_version=1,
        previous=WorkStatus.IN_PROGRESS,
        status=WorkStatus.COMPLETED,
        started_at=finished_at - timedelta(seconds=duration_s),
        finished_at=finished_at,
    )


async def _with_operations(
    path: Path, ages_s: list[int], period_s: float, points: int
) -> tuple[Counter[datetime], int, int]:
    clock = FakeClock(NOW)
    async with MetricsCollector(path, clock=clock) as collector:
        for age_s in ages_s:
            collector.record_operation("shell", _end(age_s, 0))
        await collector.flush()
        past = await collector.history(period_s=period_s, points=points)
        ended = (await collector.get_convoy_stats(period_s / 60)).operations
    throughput = Counter({point.at: point.completed for point in past.throughput})
    return throughput, sum(each.count for each in past.durations), sum(ended.values())


@pytest.mark.slow
@pytest.mark.timeout(120)
@settings(max_examples=20, deadline=None)
@given(
    st.lists(_AGES_S, max_size=30),
    st.integers(min_value=1, max_value=35 * 86_400),
    st.integers(min_value=1, max_value=200),
)
def test_no_operation_is_missed_or_counted_twice(
    ages_s: list[int], period_s: int, points: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        throughput, in_bins, ended = asyncio.run(
            _with_operations(Path(folder) / "metrics.db", ages_s, float(period_s), points)
        )
    expected = sum(age_s < period_s for age_s in ages_s)
    assert (in_bins, ended) == (expected, expected)
    if period_s < points * 3_600:
        assert throughput.total() == expected
    start = NOW - timedelta(seconds=period_s)
    stretches = {start + number * timedelta(seconds=period_s) / points for number in range(points)}
    assert set(throughput) <= stretches


async def _asked_again_and_again(
    path: Path, saves: list[list[tuple[int, int]]], period_s: float
) -> None:
    clock = FakeClock(NOW)
    async with (
        MetricsCollector(path, clock=clock) as collector,
        MetricsReader(path, clock=clock) as asked_before,
    ):
        for ends in saves:
            for age_s, duration_s in ends:
                collector.record_operation("shell", _end(age_s, duration_s))
            await collector.flush()
            async with MetricsReader(path, clock=clock) as new:
                for minutes in (period_s / 60, 60 * 24 * 30):
                    expected = await new.get_convoy_stats(minutes)
                    assert await asked_before.get_convoy_stats(minutes) == expected
                history = await new.history(period_s=period_s)
            assert await asked_before.history(period_s=period_s) == history


@pytest.mark.parametrize("most_kept", [2, kept_bins.MOST_KEPT])
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    saves=st.lists(
        st.lists(st.tuples(_AGES_S, st.integers(0, 3)), max_size=6), min_size=2, max_size=5
    ),
    period_s=st.integers(min_value=1, max_value=35 * 86_400),
)
def test_a_reader_that_was_asked_before_says_what_a_new_one_says(
    monkeypatch: pytest.MonkeyPatch,
    most_kept: int,
    saves: list[list[tuple[int, int]]],
    period_s: int,
) -> None:
    monkeypatch.setattr(kept_bins, "MOST_KEPT", most_kept)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_asked_again_and_again(Path(folder) / "metrics.db", saves, float(period_s)))


async def _with_samples(
    path: Path, ages_s: list[int], period_s: float, points: int
) -> tuple[ResourceMetrics, ...]:
    clock = FakeClock(NOW)
    async with MetricsCollector(path, clock=clock, retention_days=60) as collector:
        for age_s in ages_s:
            collector.record_resource_snapshot(
                ResourceMetrics(
                    timestamp=NOW - timedelta(seconds=age_s),
                    cpu_percent=age_s / 1e5,
                    memory_percent=1.0,
                    active_workers=0,
                    queue_depth=0,
                )
            )
        await collector.flush()
        return await collector.get_resource_metrics(period_s / 60, points)


@pytest.mark.slow
@pytest.mark.timeout(120)
@settings(max_examples=20, deadline=None)
@given(
    st.lists(_AGES_S, max_size=30),
    st.integers(min_value=1, max_value=35 * 86_400),
    st.integers(min_value=1, max_value=200),
)
def test_each_sample_is_in_the_mean_of_its_own_stretch(
    ages_s: list[int], period_s: int, points: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        means = asyncio.run(
            _with_samples(Path(folder) / "metrics.db", ages_s, float(period_s), points)
        )
    start, period = NOW - timedelta(seconds=period_s), timedelta(seconds=period_s)
    grain = next((each for each in GRAINS if period >= points * each), timedelta())
    stretches: dict[int, list[float]] = {}
    for age_s in ages_s:
        at = NOW - timedelta(seconds=age_s)
        if grain:
            at -= (at - EPOCH) % grain
        if at > start - grain:
            number = max(0, min((at - start) * points // period, points - 1))
            stretches.setdefault(number, []).append(age_s / 1e5)
    assert [each.timestamp for each in means] == [
        start + number * period / points for number in sorted(stretches)
    ]
    assert [each.cpu_percent for each in means] == pytest.approx(
        [sum(stretches[number]) / len(stretches[number]) for number in sorted(stretches)]
    )
    assert len(means) <= points
