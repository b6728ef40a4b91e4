"""The bound on writes under way: never more than it, in order, and nobody forgotten."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisquad_core.errors import BackpressureError, EngineStoppedError
from aisquad_core.load.backpressure import StorageBackpressure
from aisquad_core.testing import FakeClock
from aisquad_core.testing.machine import FakeBacklog

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

BOUND_S = 5.0


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class Crowd:
    """Callers that take a place in the order of their numbers and keep it until told."""

    def __init__(self, capacity: int, threshold: float = 0.5) -> None:
        self.backlog = FakeBacklog()
        self.queue = StorageBackpressure(capacity, threshold=threshold, clock=FakeClock())
        self.queue.watch(self.backlog)
        self.admitted: list[int] = []
        """Who ever got a place, in that order."""
        self.refused: set[int] = set()
        self.holding: set[int] = set()
        self.tasks: list[asyncio.Task[None]] = []
        self._leave: list[asyncio.Event] = []

    def arrive(self, place: AbstractAsyncContextManager[None]) -> None:
        number = len(self.tasks)
        self._leave.append(asyncio.Event())
        self.tasks.append(asyncio.create_task(self._write(number, place)))

    async def _write(self, number: int, place: AbstractAsyncContextManager[None]) -> None:
        try:
            async with place:
                self.admitted.append(number)
                self.holding.add(number)
                try:
                    await self._leave[number].wait()
                finally:
                    self.holding.remove(number)
        except BackpressureError:
            self.refused.add(number)

    def leave(self, number: int) -> None:
        if number in self.holding:
            self._leave[number].set()

    def cancel(self, number: int) -> None:
        if number < len(self.tasks):
            self.tasks[number].cancel()

    def set_backlog(self, count: int) -> None:
        self.backlog.backlog = count
        self.queue.note_drain(1, 0.001)

    async def go_home(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["write", "launch", "impatient", "settle"]), st.just(0)),
        st.tuples(st.sampled_from(["leave", "cancel"]), st.integers(0, 12)),
        st.tuples(st.just("backlog"), st.integers(0, 8)),
    ),
    max_size=60,
)


@given(capacity=st.integers(1, 5), threshold=st.sampled_from([0.2, 0.5, 1.0]), steps=STEPS)
def test_no_interleaving_passes_the_bound_or_forgets_or_overtakes_a_caller(
    capacity: int, threshold: float, steps: Sequence[tuple[str, int]]
) -> None:
    async def interleave() -> None:
        crowd = Crowd(capacity, threshold)
        queue = crowd.queue
        for step, number in steps:
            if step == "write":
                crowd.arrive(queue.acquire())
            elif step == "launch":
                crowd.arrive(queue.admit(is_patient=True))
            elif step == "impatient":
                crowd.arrive(queue.admit())
            elif step == "leave":
                crowd.leave(number)
            elif step == "cancel":
                crowd.cancel(number)
            elif step == "backlog":
                crowd.set_backlog(number)
            else:
                await settle()
                assert queue.pending == len(crowd.holding) + crowd.backlog.backlog
            assert len(crowd.holding) <= capacity
            assert 0 <= queue.get_utilization() <= 1
        await settle()
        assert crowd.admitted == sorted(crowd.admitted)
        assert crowd.refused.isdisjoint(crowd.admitted)
        crowd.set_backlog(0)
        for _ in [None, *crowd.tasks]:
            for number in sorted(crowd.holding):
                crowd.leave(number)
            await settle()
        stats = queue.get_stats()
        assert (stats["pending"], stats["waiting"]) == (0, 0)
        assert stats["admitted"] >= len(crowd.admitted)
        assert stats["refused"] == len(crowd.refused)
        assert all(task.done() for task in crowd.tasks)

    asyncio.run(asyncio.wait_for(interleave(), BOUND_S))


@given(
    backlog=st.integers(0, 1_200), threshold=st.floats(0.01, 1.0), capacity=st.integers(1, 1_000)
)
def test_new_work_is_refused_just_when_the_queue_is_full_or_over_the_threshold(
    backlog: int, threshold: float, capacity: int
) -> None:
    writer = FakeBacklog()
    writer.backlog = backlog
    queue = StorageBackpressure(capacity, threshold=threshold)
    queue.watch(writer)
    is_over = backlog >= capacity or queue.get_utilization() > threshold
    assert queue.should_reject() == is_over
    assert (queue.get_retry_after() > 0) == is_over


async def test_it_takes_a_thousand_and_refuses_over_eight_hundred() -> None:
    crowd = Crowd(1_000, 0.8)
    for _ in range(1_001):
        crowd.arrive(crowd.queue.acquire())
    await settle()
    assert (len(crowd.holding), crowd.queue.get_utilization()) == (1_000, 1.0)
    assert crowd.queue.get_stats()["waiting"] == 1
    for number in range(200):
        crowd.leave(number)
    await settle()
    assert crowd.queue.pending == 801
    assert crowd.queue.should_reject()
    crowd.leave(200)
    await settle()
    assert (crowd.queue.pending, crowd.queue.should_reject()) == (800, False)
    await crowd.go_home()


async def test_a_refusal_says_how_much_waits_and_for_how_long() -> None:
    crowd = Crowd(1_000, 0.8)
    crowd.queue.note_drain(500, 2.0)
    crowd.set_backlog(900)
    crowd.queue.note_drain(500 - 1, 2.0 - 0.001)
    with pytest.raises(BackpressureError) as raised:
        async with crowd.queue.admit():
            raise AssertionError("admitted")
    error = raised.value
    assert (error.pending, error.capacity, error.retry_after_s) == (900, 1_000, 0.4)
    assert str(error) == (
        "900 of 1,000 writes wait for the disk, and nothing new is taken; try again in 0.4 s"
    )


async def test_while_the_disk_is_stuck_the_wait_grows_up_to_a_minute() -> None:
    crowd = Crowd(1_000, 0.8)
    assert crowd.queue.get_retry_after() == 0
    crowd.backlog.backlog = 900
    assert crowd.queue.get_retry_after() == 1.0
    waits = []
    for crowd.backlog.stalled_s in (0.5, 7.0, 3_600.0):
        waits.append(crowd.queue.get_retry_after())
    assert waits == [1.0, 7.0, 60.0]


async def test_without_a_writer_the_rate_is_that_of_the_places() -> None:
    clock = FakeClock()
    queue = StorageBackpressure(10, threshold=0.5, clock=clock)
    for _ in range(4):
        async with queue.acquire():
            await clock.advance(0.25)
    await clock.advance(100)  # idle: nothing is measured
    assert queue.get_stats()["drain_per_s"] == 4.0


async def test_who_is_patient_waits_until_the_queue_is_under_the_threshold() -> None:
    crowd = Crowd(10, 0.5)
    crowd.set_backlog(9)
    crowd.arrive(crowd.queue.admit(is_patient=True))
    for backlog in (8, 6):
        crowd.set_backlog(backlog)
        await settle()
        assert crowd.admitted == []
    crowd.set_backlog(5)
    await settle()
    assert crowd.admitted == [0]
    await crowd.go_home()


async def test_nobody_overtakes_who_waits() -> None:
    crowd = Crowd(10, 0.5)
    crowd.set_backlog(9)
    crowd.arrive(crowd.queue.admit(is_patient=True))
    await settle()
    crowd.arrive(crowd.queue.acquire())  # there is room for a write, but not before the launch
    crowd.backlog.backlog = 0  # and there is room for both before anybody was told
    crowd.arrive(crowd.queue.admit())
    await settle()
    assert (crowd.admitted, crowd.refused) == ([], {2})
    crowd.set_backlog(0)
    await settle()
    assert crowd.admitted == [0, 1]
    await crowd.go_home()


async def test_when_the_engine_stops_who_waits_is_told() -> None:
    crowd = Crowd(10, 0.5)
    crowd.set_backlog(9)
    crowd.arrive(crowd.queue.admit(is_patient=True))
    await settle()
    crowd.queue.dismiss(lambda: EngineStoppedError("over"))
    with pytest.raises(EngineStoppedError, match="over"):
        await crowd.tasks[0]
    assert crowd.queue.get_stats()["pending"] == 9


@pytest.mark.parametrize(("capacity", "threshold"), [(0, 0.5), (1, 0.0), (1, 1.5)])
def test_bounds_that_make_no_sense_are_refused(capacity: int, threshold: float) -> None:
    with pytest.raises(ValueError, match="expected 1 or more, and 0 to 1"):
        StorageBackpressure(capacity, threshold=threshold)
