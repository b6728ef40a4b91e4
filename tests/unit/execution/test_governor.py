from __future__ import annotations

import asyncio

import pytest

from aisquad_core.errors import InputError
from aisquad_core.execution.governor import THROTTLE_S, Governor
from aisquad_core.load.resource_monitor import ResourceMonitor
from aisquad_core.load.semaphore import AdaptiveSemaphore
from aisquad_core.load.tuning import Policy
from aisquad_core.testing import FakeClock, FakeSampler


class Bench:
    """A governor over a machine, a clock and a semaphore that a test holds."""

    def __init__(self, size: int = 4, baseline: int = 2) -> None:
        self.clock = FakeClock()
        self.sampler = FakeSampler()
        self.semaphore = AdaptiveSemaphore(size)
        self.resizes: list[tuple[int, int]] = []
        self.governor = Governor(
            monitor=ResourceMonitor(self.sampler, self.clock),
            semaphore=self.semaphore,
            policy=Policy(baseline=baseline, max_parallelism=20),
            clock=self.clock,
            on_resize=self.note,
        )

    async def note(self, previous: int) -> None:
        self.resizes.append((previous, self.semaphore.size))

    async def overload(self, running: int) -> None:
        for slot in range(running):
            self.semaphore.acquire_nowait(slot)
        self.sampler.cpu_percent = 100.0
        self.sampler.memory_percent = 100.0
        await self.governor.tick()
        assert self.governor.decision.throttle == 1.0


async def test_a_tick_resizes_and_tells_from_which_size() -> None:
    bench = Bench(size=2)
    await bench.governor.tick()
    assert bench.resizes == [(2, 4)]


async def test_an_overloaded_machine_delays_the_next_start() -> None:
    bench = Bench()
    await bench.overload(running=3)
    async with asyncio.TaskGroup() as tasks:
        start = tasks.create_task(bench.governor.wait_for_calm(last_start_s=0.0))
        await bench.clock.advance(THROTTLE_S - 0.1)
        assert not start.done()
        await bench.clock.advance(0.2)
        assert start.done()


async def test_the_first_calm_tick_ends_the_delay() -> None:
    bench = Bench()
    await bench.overload(running=3)
    async with asyncio.TaskGroup() as tasks:
        start = tasks.create_task(bench.governor.wait_for_calm(last_start_s=0.0))
        await bench.clock.settle()
        bench.sampler.cpu_percent = bench.sampler.memory_percent = 10.0
        await bench.governor.tick()
        await bench.clock.settle()
        assert start.done()


async def test_fewer_than_the_baseline_are_never_delayed() -> None:
    bench = Bench()
    await bench.overload(running=2)
    async with asyncio.TaskGroup() as tasks:
        start = tasks.create_task(bench.governor.wait_for_calm(last_start_s=0.0))
        await bench.clock.settle()
        assert not start.done()
        bench.semaphore.release(0)
        bench.governor.note_end()
        await bench.clock.settle()
        assert start.done()


async def test_a_pin_holds_against_the_load_and_is_given_back() -> None:
    bench = Bench()
    assert await bench.governor.pin(9) == 9
    bench.sampler.cpu_percent = 100.0
    await bench.governor.tick()
    assert bench.semaphore.size == 9
    assert bench.governor.decision.throttle == 0.0
    assert await bench.governor.pin(None) == 2


@pytest.mark.parametrize("size", [0, -1, 1.5, True, 10_001])
async def test_a_pin_must_be_a_whole_number_in_range(size: float) -> None:
    bench = Bench()
    with pytest.raises(InputError, match="whole number from 1"):
        await bench.governor.pin(size)  # type: ignore[arg-type]  # that is the point
    assert bench.semaphore.size == 4
