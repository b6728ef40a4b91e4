"""Resizing while slots are lent: no over-admission, no lost slot, no lost waiter."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisquad_core.load.semaphore import AdaptiveSemaphore

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

BOUND_S = 5.0

factories = pytest.mark.parametrize(
    "is_eager",
    [
        pytest.param(False, id="default"),
        pytest.param(
            True,
            id="eager",
            marks=pytest.mark.skipif(
                sys.version_info < (3, 12), reason="eager tasks came with Python 3.12"
            ),
        ),
    ],
)
"""Textual leaves an eager task factory on the loop."""


def run(work: Coroutine[object, object, None], *, is_eager: bool) -> None:
    with asyncio.Runner() as runner:
        if sys.version_info >= (3, 12) and is_eager:
            runner.get_loop().set_task_factory(asyncio.eager_task_factory)
        runner.run(asyncio.wait_for(work, BOUND_S))


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class Crowd:
    """Borrowers that take a slot in the order of their numbers and keep it until told."""

    def __init__(self, size: int) -> None:
        self.semaphore = AdaptiveSemaphore(size)
        self.admitted: list[int] = []
        """Who ever got a slot, in that order."""
        self.holding: set[int] = set()
        self.tasks: list[asyncio.Task[None]] = []
        self._leave: list[asyncio.Event] = []

    def arrive(self) -> None:
        self._leave.append(asyncio.Event())
        self.tasks.append(asyncio.create_task(self._borrow(len(self.tasks))))

    async def _borrow(self, number: int) -> None:
        await self.semaphore.acquire(number)
        self.admitted.append(number)
        self.holding.add(number)
        try:
            await self._leave[number].wait()
        finally:
            self.holding.remove(number)
            self.semaphore.release(number)

    def leave(self, number: int) -> None:
        if number in self.holding:
            self._leave[number].set()

    def cancel(self, number: int) -> None:
        if number < len(self.tasks):
            self.tasks[number].cancel()

    async def go_home(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.just(0)),
        st.tuples(st.just("resize"), st.integers(1, 5)),
        st.tuples(st.sampled_from(["leave", "cancel"]), st.integers(0, 12)),
        st.tuples(st.just("settle"), st.just(0)),
    ),
    max_size=60,
)


@factories
@given(size=st.integers(1, 5), steps=STEPS)
def test_no_interleaving_over_admits_or_loses_a_slot_or_a_waiter(
    size: int,
    steps: Sequence[tuple[str, int]],
    *,
    is_eager: bool,
) -> None:
    async def interleave() -> None:
        crowd = Crowd(size)
        semaphore = crowd.semaphore
        for step, number in steps:
            before = semaphore.in_use
            if step == "arrive":
                crowd.arrive()
            elif step == "resize":
                semaphore.resize(number)
                assert semaphore.size == number
            elif step == "leave":
                crowd.leave(number)
            elif step == "cancel":
                crowd.cancel(number)
            else:
                await settle()
                assert semaphore.in_use == len(crowd.holding)
                assert semaphore.waiting == 0 or semaphore.in_use >= semaphore.size
            assert semaphore.in_use <= max(before, semaphore.size)
        await settle()
        assert crowd.admitted == sorted(crowd.admitted)
        assert semaphore.waiting == 0 or semaphore.in_use >= semaphore.size
        await crowd.go_home()
        assert (semaphore.in_use, semaphore.waiting) == (0, 0)

    run(interleave(), is_eager=is_eager)


@factories
def test_growing_wakes_as_many_waiters_as_there_are_new_slots(*, is_eager: bool) -> None:
    async def grow() -> None:
        crowd = Crowd(1)
        for _ in range(5):
            crowd.arrive()
        await settle()
        assert (crowd.admitted, crowd.semaphore.waiting) == ([0], 4)
        crowd.semaphore.resize(3)
        assert crowd.semaphore.in_use == 3  # at once, not at the next pass of the loop
        await settle()
        assert (crowd.admitted, crowd.semaphore.waiting) == ([0, 1, 2], 2)
        await crowd.go_home()

    run(grow(), is_eager=is_eager)


@factories
def test_shrinking_interrupts_nobody_and_then_lends_nothing_until_enough_came_back(
    *, is_eager: bool
) -> None:
    async def shrink() -> None:
        crowd = Crowd(4)
        for _ in range(5):
            crowd.arrive()
        await settle()
        crowd.semaphore.resize(2)
        await settle()
        assert crowd.holding == {0, 1, 2, 3}
        assert not crowd.semaphore.acquire_nowait("me")
        for number, holding in ((0, {1, 2, 3}), (1, {2, 3}), (2, {3, 4})):
            crowd.leave(number)
            await settle()
            assert crowd.holding == holding
        await crowd.go_home()

    run(shrink(), is_eager=is_eager)


@factories
def test_shrink_then_grow_never_over_admits(*, is_eager: bool) -> None:
    """anyio before 4.15 lent slots that shrinking had already taken away."""

    async def shrink_then_grow() -> None:
        crowd = Crowd(5)
        for _ in range(10):
            crowd.arrive()
        await settle()
        crowd.semaphore.resize(1)
        crowd.semaphore.resize(3)
        await settle()
        assert len(crowd.holding) == 5
        for number in range(3):
            crowd.leave(number)
        await settle()
        assert crowd.holding == {3, 4, 5}
        await crowd.go_home()

    run(shrink_then_grow(), is_eager=is_eager)


@factories
def test_cancelled_while_it_waits_a_borrower_leaves_the_queue(*, is_eager: bool) -> None:
    async def cancel_waiting() -> None:
        crowd = Crowd(1)
        for _ in range(3):
            crowd.arrive()
        await settle()
        crowd.cancel(1)
        await settle()
        assert crowd.semaphore.waiting == 1
        crowd.leave(0)
        await settle()
        assert crowd.admitted == [0, 2]
        await crowd.go_home()

    run(cancel_waiting(), is_eager=is_eager)


@factories
def test_cancelled_after_the_grant_a_borrower_passes_its_slot_on(*, is_eager: bool) -> None:
    async def cancel_granted() -> None:
        crowd = Crowd(1)
        for _ in range(3):
            crowd.arrive()
        await settle()
        crowd.semaphore.resize(2)  # grants to 1, which has not run yet
        crowd.cancel(1)
        await settle()
        assert crowd.holding == {0, 2}
        assert crowd.tasks[1].cancelled()
        await crowd.go_home()

    run(cancel_granted(), is_eager=is_eager)


@factories
def test_nobody_overtakes_those_who_wait(*, is_eager: bool) -> None:
    async def overtake() -> None:
        crowd = Crowd(1)
        crowd.arrive()
        crowd.arrive()
        await settle()
        crowd.leave(0)
        assert not crowd.semaphore.acquire_nowait("me")
        await settle()
        assert crowd.holding == {1}
        await crowd.go_home()
        assert crowd.semaphore.acquire_nowait("me")
        crowd.semaphore.release("me")

    run(overtake(), is_eager=is_eager)


async def test_a_borrower_holds_or_waits_for_one_slot_at_a_time() -> None:
    semaphore = AdaptiveSemaphore(1)
    assert semaphore.acquire_nowait("a")
    with pytest.raises(RuntimeError, match="already holding"):
        semaphore.acquire_nowait("a")
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(semaphore.acquire("b"))
        await settle()
        with pytest.raises(RuntimeError, match="waits for a slot already"):
            await semaphore.acquire("b")
        semaphore.release("a")
        await asyncio.wait_for(waiting, BOUND_S)
    semaphore.release("b")
    with pytest.raises(RuntimeError, match="isn't holding"):
        semaphore.release("b")


@pytest.mark.parametrize("size", [0, -1])
async def test_a_semaphore_has_at_least_one_slot(size: int) -> None:
    with pytest.raises(ValueError, match="at least one slot"):
        AdaptiveSemaphore(size)
    semaphore = AdaptiveSemaphore(3)
    with pytest.raises(ValueError, match="at least one slot"):
        semaphore.resize(size)
    assert semaphore.size == 3
