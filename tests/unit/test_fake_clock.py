from __future__ import annotations

import asyncio
from datetime import timedelta

from aisquad_core.testing import FakeClock


async def test_time_stands_still_until_it_is_advanced() -> None:
    clock = FakeClock()
    before = (clock.monotonic(), clock.now())
    await clock.settle()
    assert (clock.monotonic(), clock.now()) == before


async def test_both_clocks_advance_together() -> None:
    clock = FakeClock()
    start = clock.now()
    await clock.advance(2.5)
    await clock.advance(1)
    assert clock.monotonic() == 3.5
    assert clock.now() - start == timedelta(seconds=3.5)


async def test_sleepers_wake_in_the_order_of_their_time_and_see_it() -> None:
    clock = FakeClock()
    woken: list[tuple[str, float]] = []

    async def sleep(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic()))

    async with asyncio.TaskGroup() as tasks:
        for name, seconds in (("late", 3.0), ("early", 1.0), ("also early", 1.0), ("never", 9.0)):
            last = tasks.create_task(sleep(name, seconds))
        await clock.settle()
        assert clock.sleepers == 4
        await clock.advance(5)
        assert woken == [("early", 1.0), ("also early", 1.0), ("late", 3.0)]
        assert clock.monotonic() == 5
        assert clock.sleepers == 1
        last.cancel()


async def test_a_sleeper_that_sleeps_again_wakes_within_the_same_advance() -> None:
    clock = FakeClock()
    woken: list[float] = []

    async def tick() -> None:
        for _ in range(3):
            await clock.sleep(1)
            woken.append(clock.monotonic())

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(tick())
        await clock.settle()
        await clock.advance(10)
    assert woken == [1, 2, 3]


async def test_a_sleep_of_nothing_gives_way_once() -> None:
    clock = FakeClock()
    steps: list[str] = []

    async def other() -> None:
        steps.append("other")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(other())
        await clock.sleep(0)
        await clock.sleep(-1)
        steps.append("slept")
    assert steps == ["other", "slept"]


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = FakeClock()
    async with asyncio.TaskGroup() as tasks:
        sleeper = tasks.create_task(clock.sleep(1))
        await clock.settle()
        sleeper.cancel()
        await clock.settle()
        assert clock.sleepers == 0
        await clock.advance(2)
    assert sleeper.cancelled()
