from __future__ import annotations

import asyncio
import math
import os
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest

from aisquad_core.api import ResizeNote
from aisquad_core.errors import InputError, StateError, StorageError
from aisquad_core.model import ConvoyStatus, ItemKey, Try, WorkStatus
from aisquad_core.state.metrics import (
    ConvoyMetrics,
    MetricsCollector,
    MetricsReader,
    OperationFailure,
    ResourceMetrics,
    saving,
)
from aisquad_core.state.metrics.collector import SAVE_EVERY_S, SPREAD_S
from aisquad_core.state.metrics.pending import BATCH_ROWS
from aisquad_core.state.metrics.saving import SLICE_ROWS, Batch
from aisquad_core.testing import FakeClock
from tests.unit.state.metrics.conftest import NOW

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from tests.unit.state.metrics.conftest import MakeEnd

SAMPLE = ResourceMetrics(
    timestamp=NOW,
    cpu_percent=40.0,
    memory_percent=20.0,
    active_workers=3,
    queue_depth=9,
    parallelism=5,
    throttle=0.5,
)


async def test_a_convoy_is_seen_from_its_start_to_its_end(
    collector: MetricsCollector, clock: FakeClock, make_end: MakeEnd
) -> None:
    collector.record_convoy_start("build-1", 3, name="build")
    await collector.flush()
    collector.record_operation("shell", make_end(2.0))
    collector.record_operation("shell", make_end(4.0, status=WorkStatus.FAILED))
    collector.update_convoy_metrics("build-1", completed=1, failed=1)
    await clock.advance(60)
    collector.record_convoy_complete("build-1", ConvoyStatus.PARTIAL, skipped=1)
    await collector.flush()
    assert await collector.get_recent_convoy_metrics() == (
        ConvoyMetrics(
            convoy_id="build-1",
            name="build",
            start_time=NOW,
            end_time=NOW + timedelta(seconds=60),
            status=ConvoyStatus.PARTIAL,
            operations=3,
            completed=1,
            failed=1,
            skipped=1,
            avg_duration=3.0,
        ),
    )


async def test_records_are_saved_each_second_without_anybody_asking(
    collector: MetricsCollector, path: Path, clock: FakeClock
) -> None:
    collector.record_resource_snapshot(SAMPLE)
    async with asyncio.timeout(10), MetricsReader(path, clock=clock) as reader:
        while not await reader.get_resource_metrics():
            await clock.advance(1)


async def test_the_database_is_there_before_the_first_second_is_over(
    path: Path, clock: FakeClock
) -> None:
    async with asyncio.timeout(10), MetricsCollector(path, clock=clock):
        while not await asyncio.to_thread(_has_tables, path):
            await clock.settle()


def _has_tables(path: Path) -> bool:
    if not path.exists():
        return False
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        [(version,)] = database.execute("PRAGMA user_version").fetchall()
    return bool(version > 0)


async def test_leaving_saves_what_is_left(path: Path, clock: FakeClock, make_end: MakeEnd) -> None:
    async with MetricsCollector(path, clock=clock) as collector:
        collector.record_operation("shell", make_end(1.0))
    async with MetricsReader(path, clock=clock) as reader:
        assert (await reader.get_convoy_stats()).operations == {WorkStatus.COMPLETED: 1}


async def test_leaving_while_cancelled_saves_what_is_left(
    path: Path, clock: FakeClock, make_end: MakeEnd
) -> None:
    async def record() -> None:
        async with MetricsCollector(path, clock=clock) as collector:
            collector.record_operation("shell", make_end(1.0))
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        recording = tasks.create_task(record())
        await clock.settle()
        recording.cancel()
    async with MetricsReader(path, clock=clock) as reader:
        assert (await reader.get_convoy_stats()).operations == {WorkStatus.COMPLETED: 1}


async def test_only_the_owner_can_read_the_database(
    collector: MetricsCollector, path: Path
) -> None:
    collector.record_resource_snapshot(SAMPLE)
    await collector.flush()
    files = sorted(path.parent.iterdir())
    assert [(file.name, file.stat().st_mode & 0o777) for file in files] == [
        ("metrics.db", 0o600),
        ("metrics.db-shm", 0o600),
        ("metrics.db-wal", 0o600),
    ]


async def test_leaving_leaves_one_file(path: Path, clock: FakeClock) -> None:
    async with MetricsCollector(path, clock=clock) as collector:
        collector.record_resource_snapshot(SAMPLE)
        await collector.flush()
        await collector.get_resource_metrics()
    assert [file.name for file in path.parent.iterdir()] == ["metrics.db"]


async def test_a_convoy_that_goes_on_has_not_ended(
    collector: MetricsCollector, clock: FakeClock
) -> None:
    collector.record_convoy_start("build-1", 2)
    collector.record_convoy_complete("build-1", ConvoyStatus.FAILED, failed=2)
    await collector.flush()
    await clock.advance(10)
    collector.record_convoy_start("build-1", 2)
    collector.update_convoy_metrics("build-1", failed=1)
    await collector.flush()
    (convoy,) = await collector.get_recent_convoy_metrics()
    assert (convoy.status, convoy.end_time, convoy.start_time, convoy.failed) == (
        ConvoyStatus.RUNNING,
        None,
        NOW,
        1,
    )
    stats = await collector.get_convoy_stats()
    assert (stats.total_convoys, stats.convoys) == (1, {ConvoyStatus.RUNNING: 1})


async def test_a_convoy_that_ended_twice_counts_once_in_the_sums(
    collector: MetricsCollector, clock: FakeClock
) -> None:
    for status in (ConvoyStatus.FAILED, ConvoyStatus.COMPLETED):
        collector.record_convoy_start("build-1", 1)
        await clock.advance(3 * 86_400)
        collector.record_convoy_complete("build-1", status)
        await collector.flush()
    await clock.advance(3 * 86_400)
    stats = await collector.get_convoy_stats(20 * 24 * 60)
    assert (stats.total_convoys, stats.convoys) == (1, {ConvoyStatus.COMPLETED: 1})
    assert stats.success_rate == 1.0


async def test_counts_said_after_the_end_leave_it_ended(collector: MetricsCollector) -> None:
    collector.record_convoy_complete("build-1", ConvoyStatus.COMPLETED)
    await collector.flush()
    collector.update_convoy_metrics("build-1", completed=4)
    await collector.flush()
    (convoy,) = await collector.get_recent_convoy_metrics()
    assert (convoy.status, convoy.end_time, convoy.completed) == (ConvoyStatus.COMPLETED, NOW, 4)


async def test_an_end_cannot_be_recorded_as_an_update(collector: MetricsCollector) -> None:
    with pytest.raises(InputError, match="record_convoy_complete records an end"):
        collector.update_convoy_metrics("build-1", status=ConvoyStatus.FAILED)
    with pytest.raises(InputError, match="does not end as that"):
        collector.record_convoy_complete("build-1", ConvoyStatus.RUNNING)


async def test_a_failure_is_kept_with_its_error_in_one_harmless_line(
    collector: MetricsCollector, make_end: MakeEnd
) -> None:
    failed = make_end(1.5, status=WorkStatus.FAILED, exit_code=3, error="bad\x1b[2J\nworse")
    collector.record_operation("engineer", make_end(1.0))
    collector.record_operation("engineer", failed)
    await collector.flush()
    assert await collector.get_recent_failures() == (
        OperationFailure(
            key=ItemKey("build-1", "lint"),
            agent_id="engineer",
            status=WorkStatus.FAILED,
            attempt=1,
            exit_code=3,
            error="bad worse",
            finished_at=NOW,
            duration_s=1.5,
        ),
    )


async def test_an_attempt_that_is_retried_counts_for_durations_alone(
    collector: MetricsCollector, make_end: MakeEnd
) -> None:
    retried = make_end(
        0.0,
        status=WorkStatus.PENDING,
        started_at=None,
        finished_at=NOW,
        attempt=2,
        ended_try=Try(
            attempt=1,
            status=WorkStatus.FAILED,
            exit_code=1,
            error="exit 1",
            started_at=NOW - timedelta(seconds=8),
            finished_at=NOW,
            token=None,
        ),
    )
    collector.record_operation("shell", retried)
    await collector.flush()
    stats = await collector.get_convoy_stats()
    assert (stats.operations, stats.operation_durations.mean_s) == ({}, 8.0)
    assert await collector.get_recent_failures() == ()
    assert await collector.get_agent_stats() == ()
    assert (await collector.history()).throughput == ()


async def test_ids_that_are_no_text_do_not_cost_the_other_records(
    collector: MetricsCollector, make_end: MakeEnd
) -> None:
    collector.record_operation("shell", make_end(1.0, status=WorkStatus.LOST, item_id="a\udcff"))
    collector.record_operation("shell", make_end(1.0, status=WorkStatus.LOST, item_id="b"))
    await collector.flush()
    failures = await collector.get_recent_failures()
    assert {failure.key.item_id for failure in failures} == {r"a\xff", "b"}


async def test_many_records_are_saved_bit_by_bit_and_at_once_when_asked_for(
    collector: MetricsCollector, clock: FakeClock, make_end: MakeEnd
) -> None:
    count = 2 * BATCH_ROWS + 1
    _record_many(collector, make_end, count)
    await clock.advance(SAVE_EVERY_S)
    for saved in (BATCH_ROWS, 2 * BATCH_ROWS, count):
        while (seen := await _saved(collector)) < saved:  # noqa: ASYNC110  # another thread
            await asyncio.sleep(0.005)
        assert seen == saved
        await clock.advance(SPREAD_S / 3)
    _record_many(collector, make_end, count)
    await collector.flush()
    assert await _saved(collector) == 2 * count


@pytest.mark.parametrize("is_leaving", [False, True])
async def test_a_save_that_takes_its_time_makes_haste_when_it_is_waited_for(
    tmp_path: Path, make_end: MakeEnd, monkeypatch: pytest.MonkeyPatch, *, is_leaving: bool
) -> None:
    monkeypatch.setattr("aisquad_core.state.metrics.collector.SPREAD_S", 3_600.0)
    resting = threading.Event()
    insert = saving.save

    def save(
        connection: sqlite3.Connection, batch: Batch, rest: Callable[[], object] | None
    ) -> None:
        def tell_and_rest() -> None:
            assert rest is not None
            resting.set()
            rest()

        insert(connection, batch, None if rest is None else tell_and_rest)

    monkeypatch.setattr(saving, "save", save)
    clock = FakeClock(NOW)
    async with MetricsCollector(tmp_path / "slow.db", clock=clock) as slow:
        await slow.flush()
        _record_many(slow, make_end, 2 * SLICE_ROWS)
        while not resting.is_set():  # another thread
            await clock.advance(SAVE_EVERY_S)
            await asyncio.sleep(0.005)
        assert await _saved(slow) == 0
        if not is_leaving:
            await slow.flush()
            assert await _saved(slow) == 2 * SLICE_ROWS
    async with MetricsReader(tmp_path / "slow.db", clock=clock) as reader:
        assert await _saved(reader) == 2 * SLICE_ROWS


def _record_many(collector: MetricsCollector, make_end: MakeEnd, count: int) -> None:
    for number in range(count):
        collector.record_operation("shell", make_end(1.0, item_id=f"op-{number}"))


async def _saved(metrics: MetricsReader) -> int:
    operations = (await metrics.get_convoy_stats()).operations
    return sum(operations.values())


async def test_an_attempt_that_has_not_ended_is_refused(
    collector: MetricsCollector, make_end: MakeEnd
) -> None:
    with pytest.raises(InputError, match="has not ended"):
        collector.record_operation(
            "shell", msgspec.structs.replace(make_end(1.0), finished_at=None)
        )


async def test_a_record_that_is_no_good_costs_itself_and_no_more(
    collector: MetricsCollector, make_end: MakeEnd
) -> None:
    """Two of them among many, and each kind beside them."""
    for number in range(50):
        is_good = number not in {17, 33}
        cpu_percent = float(number) if is_good else math.nan
        collector.record_resource_snapshot(replace(SAMPLE, cpu_percent=cpu_percent))
        collector.record_operation("shell", make_end(1.0, item_id=f"op-{number}"))
    collector.record_convoy_start("build-1", 50)
    collector.record_resize(
        ResizeNote(at=NOW, previous=20, parallelism=5, auto=True, reason="CPU 91 % over 80 %")
    )
    with pytest.raises(StorageError, match="2 records given up"):
        await collector.flush()
    assert (await collector.get_convoy_stats()).operations == {WorkStatus.COMPLETED: 50}
    (convoy,) = await collector.get_recent_convoy_metrics()
    assert convoy.avg_duration == 1.0
    assert len(await collector.get_resizes()) == 1
    (mean,) = await collector.get_resource_metrics(points=1)
    assert mean.cpu_percent == pytest.approx((sum(range(50)) - 17 - 33) / 48)
    collector.record_operation("shell", make_end(1.0))
    await collector.flush()
    assert (collector.dropped, collector.trouble) == (2, None)


async def test_a_convoy_goes_on_though_its_old_end_is_beyond_the_retention(
    collector: MetricsCollector, clock: FakeClock
) -> None:
    long_ago = NOW - timedelta(days=90)
    collector.record_convoy_start("old-1", 1, start_time=long_ago)
    collector.record_convoy_complete("old-1", ConvoyStatus.FAILED, end_time=long_ago)
    await collector.flush()
    await clock.advance(7_200)
    await collector.flush()
    collector.record_convoy_start("old-1", 1)
    collector.record_convoy_complete("old-1", ConvoyStatus.COMPLETED)
    await collector.flush()
    assert (await collector.get_convoy_stats(200 * 24 * 60)).convoys == {ConvoyStatus.COMPLETED: 1}


async def test_a_resize_is_kept_with_its_reason(collector: MetricsCollector) -> None:
    note = ResizeNote(at=NOW, previous=20, parallelism=5, auto=True, reason="CPU 91 % over 80 %")
    collector.record_resize(note)
    await collector.flush()
    assert await collector.get_resizes() == (note,)


async def test_a_closed_collector_flushes_nothing(path: Path, clock: FakeClock) -> None:
    async with MetricsCollector(path, clock=clock) as collector:
        pass
    with pytest.raises(StateError, match="closed"):
        await collector.flush()


async def test_records_wait_for_storage_that_refuses_and_are_saved_when_it_is_well(
    collector: MetricsCollector, path: Path, make_end: MakeEnd
) -> None:
    os.mkdir(path)
    collector.record_operation("shell", make_end(1.0))
    collector.record_convoy_start("build-1", 1)
    with pytest.raises(StorageError, match="metrics are not being recorded"):
        await collector.flush()
    assert str(path) in (collector.trouble or "")
    collector.update_convoy_metrics("build-1", completed=1)
    os.rmdir(path)
    await collector.flush()
    assert collector.trouble is None
    assert (await collector.get_convoy_stats()).operations == {WorkStatus.COMPLETED: 1}
    (convoy,) = await collector.get_recent_convoy_metrics()
    assert (convoy.operations, convoy.completed) == (1, 1)


async def test_the_oldest_unsaved_records_go_and_are_counted(
    path: Path, clock: FakeClock, make_end: MakeEnd
) -> None:
    os.mkdir(path)
    async with MetricsCollector(path, clock=clock, max_unsaved=10) as collector:
        for number in range(13):
            end = make_end(1.0, status=WorkStatus.FAILED, item_id=str(number))
            collector.record_operation("shell", end)
        with pytest.raises(StorageError, match="3 records given up"):
            await collector.flush()
        os.rmdir(path)
        await collector.flush()
        failures = await collector.get_recent_failures()
        assert [failure.key.item_id for failure in failures] == [str(n) for n in range(12, 2, -1)]
        assert collector.dropped == 3


async def test_a_full_disk_costs_no_record_while_there_is_room_in_memory(
    collector: MetricsCollector, make_end: MakeEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = saving.prepare

    def prepare_full(connection: sqlite3.Connection) -> None:
        prepare(connection)
        [(pages,)] = connection.execute("PRAGMA page_count").fetchall()
        connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()

    monkeypatch.setattr(saving, "prepare", prepare_full)
    for number in range(500):
        collector.record_operation("shell", make_end(1.0, item_id=str(number)))
    with pytest.raises(StorageError, match="full"):
        await collector.flush()
    monkeypatch.undo()
    await collector.flush()
    assert (await collector.get_convoy_stats()).operations == {WorkStatus.COMPLETED: 500}
    assert (collector.dropped, collector.trouble) == (0, None)


async def test_a_locked_database_costs_nothing_but_time(
    collector: MetricsCollector, path: Path, make_end: MakeEnd
) -> None:
    await collector.flush()
    collector.record_operation("shell", make_end(1.0))
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked"):
            await collector.flush()
        await asyncio.to_thread(other.execute, "ROLLBACK")
    await collector.flush()
    assert (await collector.get_convoy_stats()).operations == {WorkStatus.COMPLETED: 1}


async def test_a_deleted_database_is_made_anew(
    collector: MetricsCollector, path: Path, make_end: MakeEnd
) -> None:
    collector.record_operation("shell", make_end(1.0))
    await collector.flush()
    for file in path.parent.iterdir():
        file.unlink()
    collector.record_operation("shell", make_end(1.0))
    with pytest.raises(StorageError, match="No such file"):
        await collector.flush()
    await collector.flush()
    assert (await collector.get_convoy_stats()).operations == {WorkStatus.COMPLETED: 1}


@pytest.mark.parametrize(
    ("content", "said"), [(b"this is no database" * 100, "not a database"), (None, "newer aisquad")]
)
async def test_a_database_that_cannot_be_used_is_said_in_one_line_and_left_alone(
    path: Path, clock: FakeClock, content: bytes | None, said: str
) -> None:
    if content is None:
        with closing(sqlite3.connect(path)) as newer:
            newer.execute("PRAGMA user_version = 99")
        content = await asyncio.to_thread(path.read_bytes)
    else:
        await asyncio.to_thread(path.write_bytes, content)
    async with MetricsCollector(path, clock=clock) as collector:
        collector.record_resource_snapshot(SAMPLE)
        with pytest.raises(StorageError, match=said):
            await collector.flush()
        assert collector.trouble is not None
        assert "\n" not in collector.trouble
    assert await asyncio.to_thread(path.read_bytes) == content


async def test_what_is_older_than_the_retention_goes_in_small_slices(
    path: Path, clock: FakeClock, make_end: MakeEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aisquad_core.state.metrics.collector.PRUNED_ROWS", 3)
    async with MetricsCollector(path, clock=clock, retention_days=7) as collector:
        collector.record_convoy_complete("old-1", ConvoyStatus.COMPLETED)
        collector.record_resource_snapshot(SAMPLE)
        collector.record_resize(
            ResizeNote(at=NOW, previous=1, parallelism=2, auto=True, reason="calm")
        )
        for _ in range(10):
            collector.record_operation("shell", make_end(1.0))
        await collector.flush()
        await clock.advance(9 * 86_400)
        collector.record_operation("shell", make_end(1.0, convoy_id="new-1"))
        await collector.flush()
        slices = [await asyncio.to_thread(_count_rows, path)]
        while slices[-1:] != slices[-2:-1]:
            await collector.flush()
            slices.append(await asyncio.to_thread(_count_rows, path))
    assert len(slices) > 2
    assert slices[-1] == {
        "convoys": 0,
        "operations": 1,
        "ends": 2,
        "agent_ends": 2,
        "samples": 0,
        "sample_sums": 0,
        "resizes": 0,
    }


class SetClock(FakeClock):
    """A clock whose wall somebody sets."""

    offset = timedelta()

    def now(self) -> datetime:
        return super().now() + self.offset


async def test_a_wall_clock_set_forward_removes_nothing(path: Path, make_end: MakeEnd) -> None:
    clock = SetClock(NOW)
    async with MetricsCollector(path, clock=clock, retention_days=7) as collector:
        collector.record_operation("shell", make_end(1.0))
        collector.record_resource_snapshot(SAMPLE)
        await collector.flush()
        before = await asyncio.to_thread(_count_rows, path)
        clock.offset = timedelta(days=365)
        await clock.advance(7_200)
        await collector.flush()
        assert await asyncio.to_thread(_count_rows, path) == before
        clock.offset = timedelta()
        await clock.advance(9 * 86_400)
        async with asyncio.timeout(10):
            while (await asyncio.to_thread(_count_rows, path))["operations"]:
                await clock.advance(3_600)
                await collector.flush()


def _count_rows(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        tables = ("convoys", "operations", "ends", "agent_ends", "samples", "sample_sums")
        return {
            table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in (*tables, "resizes")
        }


async def test_single_samples_are_kept_two_days_and_their_sums_as_long_as_the_rest(
    collector: MetricsCollector, path: Path, clock: FakeClock
) -> None:
    collector.record_resource_snapshot(SAMPLE)
    await collector.flush()
    await clock.advance(3 * 86_400)
    await collector.flush()
    await collector.flush()
    rows = await asyncio.to_thread(_count_rows, path)
    assert (rows["samples"], rows["sample_sums"]) == (0, 2)
