"""Sampling off the loop, container limits, history and averages."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from typing import TYPE_CHECKING

import psutil
import pytest
from blockbuster import BlockingError, blockbuster_ctx

from aisquad_core.load.resource_monitor import (
    AverageLoad,
    Reading,
    ResourceMonitor,
    SystemSampler,
)
from aisquad_core.load.sources import ContainerLimits, Machine, MemoryUse
from aisquad_core.load.tuning import Thresholds
from aisquad_core.testing import FakeClock, FakeSampler

if TYPE_CHECKING:
    from collections.abc import Iterable

BOUND_S = 5.0


class FakeSource:
    """A boundary whose answers a test sets."""

    def __init__(
        self,
        *,
        cpu: Iterable[float | None] = (),
        count: float | None = None,
        memory: MemoryUse | None = None,
    ) -> None:
        self.cpu = [*cpu]
        self.count = count
        self.use = memory

    def cpu_ratio(self) -> float | None:
        return self.cpu.pop(0) if self.cpu else None

    def cpu_count(self) -> float | None:
        return self.count

    def memory(self) -> MemoryUse | None:
        return self.use


async def test_sampling_this_machine_never_blocks_the_loop() -> None:
    with blockbuster_ctx("aisquad_core"):
        sample = await asyncio.wait_for(ResourceMonitor().sample(), BOUND_S)
        with pytest.raises(BlockingError):
            SystemSampler().read()  # the same on the loop is noticed
    assert sample.problem is None
    assert 0 <= sample.cpu_percent <= 100
    assert 0 < sample.memory_percent <= 100
    assert 0 < sample.cpu_count <= (os.cpu_count() or 1)
    assert 0 < sample.memory_bytes <= psutil.virtual_memory().total


class SlowSampler(FakeSampler):
    """A machine that answers when a test says so, and counts the readings under way."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = threading.Event()
        self.may_answer = threading.Event()
        self.under_way = 0
        self.most_under_way = 0

    def read(self) -> Reading:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self.reading.set()
        assert self.may_answer.wait(BOUND_S)
        self.under_way -= 1
        return super().read()


async def test_the_loop_goes_on_while_the_machine_is_slow_to_answer() -> None:
    sampler = SlowSampler()
    monitor = ResourceMonitor(sampler)
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as tasks:
        sampling = tasks.create_task(monitor.sample())
        await asyncio.to_thread(sampler.reading.wait, BOUND_S)
        assert not sampling.done()
        sampler.may_answer.set()
    assert len(monitor.history) == 1


async def test_readings_never_overlap() -> None:
    sampler = SlowSampler()
    monitor = ResourceMonitor(sampler)
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(monitor.sample())
        await asyncio.to_thread(sampler.reading.wait, BOUND_S)
        sampler.may_answer.set()
    assert (len(monitor.history), sampler.most_under_way) == (3, 1)


async def test_a_cancelled_sample_is_forgotten_and_the_next_waits_for_its_reading() -> None:
    sampler = SlowSampler()
    monitor = ResourceMonitor(sampler)
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as tasks:
        cancelled = tasks.create_task(monitor.sample())
        await asyncio.to_thread(sampler.reading.wait, BOUND_S)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        assert monitor.history == ()
        following = tasks.create_task(monitor.sample())
        for _ in range(10):
            await asyncio.sleep(0)
        sampler.may_answer.set()
        await following
    assert (len(monitor.history), sampler.most_under_way, sampler.readings) == (1, 1, 2)


def test_the_boundary_closest_to_being_used_up_counts() -> None:
    machine = FakeSource(cpu=[None, 0.2, 0.9], count=16, memory=MemoryUse(40, 100))
    container = FakeSource(cpu=[None, 0.75, 0.1], count=1.5, memory=MemoryUse(9, 10))
    sampler = SystemSampler([machine, container])
    assert sampler.read() == Reading(
        cpu_percent=75.0, memory_percent=90.0, cpu_count=1.5, memory_bytes=10
    )
    container.use = MemoryUse(1, 10)
    assert sampler.read() == Reading(
        cpu_percent=90.0, memory_percent=40.0, cpu_count=1.5, memory_bytes=10
    )


def test_without_a_container_limit_the_machine_counts() -> None:
    machine = FakeSource(cpu=[None, 0.2], count=16, memory=MemoryUse(40, 100))
    assert SystemSampler([machine, FakeSource()]).read() == Reading(
        cpu_percent=20.0, memory_percent=40.0, cpu_count=16, memory_bytes=100
    )


def test_the_first_reading_is_measured_not_guessed() -> None:
    """The first answers of psutil and proclimits say nothing: they only begin a window."""
    machine = FakeSource(cpu=[0.0, 0.6], count=2, memory=MemoryUse(1, 2))
    assert SystemSampler([machine]).read().cpu_percent == 60.0


def test_the_cpu_load_of_the_machine_is_right_from_any_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`psutil.cpu_percent` answers 0.0 to each thread's first call."""
    times = psutil.cpu_times()
    zero = times._replace(**dict.fromkeys(times._fields, 0.0))
    series = [  # 3 s of work, 2 of them for a guest, out of 4; waiting for a disk is no work
        zero._replace(user=1.0, guest=0.0, idle=1.0, iowait=1.0),
        zero._replace(user=4.0, guest=2.0, idle=1.5, iowait=1.5),
    ]
    monkeypatch.setattr(psutil, "cpu_times", lambda: series.pop(0))
    machine = Machine()
    ratios: list[float | None] = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: ratios.append(machine.cpu_ratio()))
        thread.start()
        thread.join()
    assert ratios == [None, 0.75]


def test_a_clock_of_the_machine_that_stands_still_is_no_load(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = psutil.cpu_times()
    monkeypatch.setattr(psutil, "cpu_times", lambda: times)
    machine = Machine()
    assert [machine.cpu_ratio(), machine.cpu_ratio()] == [None, None]


def test_the_limits_of_this_process_can_be_read() -> None:
    limits = ContainerLimits()
    count, use = limits.cpu_count(), limits.memory()
    assert limits.cpu_ratio() is None  # the first only begins a window
    assert count is None or 0 < count <= (os.cpu_count() or 1)
    assert use is None or 0 < use.used_bytes <= use.total_bytes


async def test_the_history_keeps_the_newest_samples() -> None:
    sampler = FakeSampler()
    monitor = ResourceMonitor(sampler, FakeClock(), history_size=60)
    for load in range(100):
        sampler.cpu_percent = load
        await monitor.sample()
    assert [sample.cpu_percent for sample in monitor.history] == [*range(40, 100)]
    current = monitor.get_current_metrics()
    assert current is not None
    assert current.cpu_percent == 99


def test_a_history_shorter_than_a_minute_of_ticks_is_refused() -> None:
    with pytest.raises(ValueError, match="60 or more"):
        ResourceMonitor(FakeSampler(), history_size=59)


async def test_averages_are_over_a_window_that_ends_now() -> None:
    clock, sampler = FakeClock(), FakeSampler()
    monitor = ResourceMonitor(sampler, clock)
    assert monitor.get_average(10) is None
    for cpu, memory in ((95.0, 10.0), (10.0, 20.0), (30.0, 60.0)):
        await clock.advance(5)
        sampler.cpu_percent, sampler.memory_percent = cpu, memory
        await monitor.sample()
    assert monitor.get_average(0) == AverageLoad(cpu_percent=30, memory_percent=60, samples=1)
    assert monitor.get_average(5) == AverageLoad(cpu_percent=20, memory_percent=40, samples=2)
    assert monitor.get_average(60) == AverageLoad(cpu_percent=45, memory_percent=30, samples=3)
    await clock.advance(60)
    assert monitor.get_average(59) is None


async def test_stamps_come_from_the_clock() -> None:
    clock = FakeClock()
    await clock.advance(7)
    sample = await ResourceMonitor(FakeSampler(), clock).sample()
    assert (sample.at, sample.monotonic_s) == (clock.now(), 7.0)


async def test_before_the_first_sample_nothing_is_assumed() -> None:
    monitor = ResourceMonitor(FakeSampler())
    assert monitor.get_current_metrics() is None
    assert monitor.calculate_optimal_parallelism() == 5
    assert monitor.calculate_optimal_parallelism(baseline=9, max_parallelism=3) == 3
    assert not monitor.should_throttle()
    assert monitor.get_throttle_factor() == 0.0


async def test_the_newest_sample_decides() -> None:
    sampler = FakeSampler(cpu_percent=10, memory_percent=20)
    monitor = ResourceMonitor(sampler, thresholds=Thresholds(cpu_percent=75, memory_percent=75))
    await monitor.sample()
    assert monitor.calculate_optimal_parallelism() == 20
    assert not monitor.should_throttle()
    sampler.cpu_percent = 76
    await monitor.sample()
    assert monitor.calculate_optimal_parallelism(baseline=3, max_parallelism=9) == 3
    assert monitor.should_throttle()
    assert monitor.get_throttle_factor() == pytest.approx(0.48)


@pytest.mark.parametrize(("raw", "shown"), [(100.4, 100.0), (-0.1, 0.0)])
async def test_percentages_are_clamped(raw: float, shown: float) -> None:
    sample = await ResourceMonitor(FakeSampler(raw, raw)).sample()
    assert (sample.cpu_percent, sample.memory_percent) == (shown, shown)


@pytest.mark.parametrize("is_nan", [False, True])
async def test_a_machine_that_cannot_be_read_is_a_sample_with_a_problem(*, is_nan: bool) -> None:
    clock, sampler = FakeClock(), FakeSampler(cpu_percent=90, memory_percent=30)
    monitor = ResourceMonitor(sampler, clock)
    seen = await monitor.sample()
    await clock.advance(1)
    if is_nan:
        sampler.cpu_percent = float("nan")
    else:
        sampler.failure = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    blind = await monitor.sample()
    assert blind.problem == ("the load is not a number" if is_nan else "Too many open files")
    assert (blind.cpu_percent, blind.memory_percent) == (seen.cpu_percent, seen.memory_percent)
    assert blind.at == clock.now()
    assert not monitor.should_throttle()
    assert monitor.get_throttle_factor() == 0.0
    assert monitor.calculate_optimal_parallelism() == 5
    assert monitor.get_average(60) == AverageLoad(cpu_percent=90, memory_percent=30, samples=1)


async def test_a_machine_that_was_never_read_has_no_load_but_a_problem() -> None:
    sampler = FakeSampler()
    sampler.failure = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    blind = await ResourceMonitor(sampler).sample()
    assert (blind.problem, blind.cpu_percent, blind.cpu_count) == ("Permission denied", 0.0, 1.0)


async def test_a_fault_of_the_program_is_not_taken_for_one_of_the_machine() -> None:
    class Broken(FakeSampler):
        def read(self) -> Reading:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await ResourceMonitor(Broken()).sample()
