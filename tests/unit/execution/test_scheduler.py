from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisquad_core.execution import dependencies
from aisquad_core.execution.scheduler import ConvoyState, Scheduler, Task, name_some
from aisquad_core.load.rate_limiter import Quota, RateLimiter
from aisquad_core.model import WorkStatus
from aisquad_core.testing import FakeClock
from tests.unit.execution.convoys import Tokens, make_convoy


class SetClock(FakeClock):
    """A clock that a test sets without a loop."""

    time_s = 1_000.0

    def monotonic(self) -> float:
        return self.time_s


def add(scheduler: Scheduler, *convoys: ConvoyState) -> None:
    for convoy in convoys:
        scheduler.link(convoy)
        scheduler.add(convoy)


def run_one(scheduler: Scheduler) -> Task | None:
    """Pick, run and complete one operation, freeing what it held back."""
    task = scheduler.pick()
    if task is not None:
        end(scheduler, task, WorkStatus.COMPLETED)
    return task


def end(scheduler: Scheduler, task: Task, status: WorkStatus) -> None:
    scheduler.vacate(task)
    task.convoy.set_status(task, status)
    for freed in dependencies.complete(task) if status is WorkStatus.COMPLETED else ():
        freed.convoy.set_status(freed, WorkStatus.PENDING)
        scheduler.enqueue(freed)


def test_operations_start_in_file_order() -> None:
    scheduler = Scheduler(Tokens(), {})
    add(scheduler, make_convoy("c", {"b": (), "a": (), "c": ()}))
    picked = [run_one(scheduler) for _ in range(3)]
    assert [task.item_id for task in picked if task] == ["b", "a", "c"]
    assert scheduler.pick() is None


def test_higher_priority_goes_first_across_convoys() -> None:
    scheduler = Scheduler(Tokens(), {})
    add(
        scheduler,
        make_convoy("one", {"low": (), "mid": ()}, priorities={"mid": 1}),
        make_convoy("two", {"high": ()}, priorities={"high": 5}),
    )
    picked = [run_one(scheduler) for _ in range(3)]
    assert [task.item_id for task in picked if task] == ["high", "mid", "low"]


def test_a_small_convoy_beside_a_large_one_takes_every_other_slot() -> None:
    scheduler = Scheduler(Tokens(), {})
    large = make_convoy("large", {str(n): () for n in range(10_000)})
    add(scheduler, large)
    for _ in range(5_000):
        run_one(scheduler)
    add(scheduler, make_convoy("small", {"x": (), "y": (), "z": ()}))
    picked = [run_one(scheduler) for _ in range(6)]
    assert Counter(task.convoy.record.name for task in picked if task) == {"large": 3, "small": 3}


def test_a_convoy_that_was_blocked_for_long_does_not_hog_the_slots_afterwards() -> None:
    scheduler = Scheduler(Tokens(), {})
    waiting = make_convoy("waiting", {"gate": (), **{f"w{n}": ("gate",) for n in range(50)}})
    busy = make_convoy("busy", {str(n): () for n in range(1_000)})
    add(scheduler, waiting, busy)
    gate = scheduler.pick()
    assert gate is not None
    assert gate.item_id == "gate"
    for _ in range(500):
        run_one(scheduler)
    end(scheduler, gate, WorkStatus.COMPLETED)
    picked = [run_one(scheduler) for _ in range(20)]
    names = Counter(task.convoy.record.name for task in picked if task)
    assert abs(names["waiting"] - names["busy"]) <= 2


def test_an_agent_at_its_limit_lets_others_pass_and_says_so() -> None:
    scheduler = Scheduler(Tokens(), {"slow": 1})
    slow = make_convoy("slow", {"a": (), "b": ()}, agent_id="slow")
    add(scheduler, slow, make_convoy("fast", {"c": (), "d": ()}))
    picked = [scheduler.pick() for _ in range(4)]
    assert sorted(task.item_id for task in picked if task) == ["a", "c", "d"]
    assert scheduler.why(slow.tasks["b"], 0.0) == "agent slow at its limit of 1"


def test_an_agent_out_of_tokens_holds_nothing_up_and_says_for_how_long() -> None:
    tokens = Tokens()
    scheduler = Scheduler(tokens, {})
    limited = make_convoy("limited", {"a": ()}, agent_id="engineer")
    add(scheduler, limited, make_convoy("free", {"b": ()}))
    tokens.waits_s["engineer"] = 11.2
    picked = scheduler.pick()
    assert picked is not None
    assert picked.item_id == "b"
    assert scheduler.pick() is None
    assert scheduler.why(limited.tasks["a"], 0.0) == "rate limit: 12 s"
    assert scheduler.next_due_s(100.0) == pytest.approx(111.2)


def limited_to(per_minute: int, burst: int = 1) -> tuple[Scheduler, SetClock]:
    """Return a scheduler whose agent `engineer` has so many tokens, and the clock they come by."""
    clock = SetClock()
    quotas = {"engineer": Quota(per_minute=per_minute, burst=burst)}
    return Scheduler(RateLimiter(None, overrides=quotas, clock=clock), {}), clock


def mixed_convoy() -> ConvoyState:
    """Return a convoy of much shell work and some for the engineer."""
    mixed = make_convoy("mixed", {f"s{n}": () for n in range(1_000)})
    for number in range(50):
        added = Task(mixed, f"e{number}", position=2_000 + number, agent_id="engineer")
        mixed.tasks[added.item_id] = added
    return mixed


def test_two_convoys_share_an_agents_tokens_evenly_whatever_else_they_start() -> None:
    scheduler, clock = limited_to(60)
    mixed = mixed_convoy()
    only = make_convoy("only", {str(n): () for n in range(50)}, agent_id="engineer")
    add(scheduler, mixed, only)
    by_engineer: Counter[str] = Counter()
    shells = 0
    for _ in range(40):
        for _ in range(10):
            task = run_one(scheduler)
            assert task is not None
            if task.agent_id == "engineer":
                by_engineer[task.convoy.record.name] += 1
            else:
                shells += 1
        clock.time_s += 1.0
    assert by_engineer == {"mixed": 20, "only": 20}
    assert shells == 360


@given(
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=4),
    burst=st.integers(1, 5),
    seconds=st.integers(1, 60),
)
def test_no_convoy_gets_two_tokens_more_than_another_that_wants_them(
    sizes: list[int], burst: int, seconds: int
) -> None:
    scheduler, clock = limited_to(60, burst)
    convoys = [
        make_convoy(str(index), {str(n): () for n in range(size)}, agent_id="engineer")
        for index, size in enumerate(sizes)
    ]
    add(scheduler, *convoys)
    started: Counter[str] = Counter()
    for _ in range(seconds):
        while (task := run_one(scheduler)) is not None:
            started[task.convoy.record.name] += 1
            wanting = [
                each.record.name
                for each in convoys
                if started[each.record.name] < each.counts.total()
            ]
            counts = [started[name] for name in wanting]
            assert not counts or max(counts) - min(counts) <= 1
        clock.time_s += 1.0
    assert started.total() == min(sum(sizes), burst + seconds - 1)


def test_an_agents_places_are_shared_evenly_too() -> None:
    scheduler = Scheduler(Tokens(), {"engineer": 1})
    mixed = mixed_convoy()
    only = make_convoy("only", {str(n): () for n in range(50)}, agent_id="engineer")
    add(scheduler, mixed, only)
    picked = [task for _ in range(100) if (task := run_one(scheduler)) is not None]
    names = Counter(task.convoy.record.name for task in picked if task.agent_id == "engineer")
    assert abs(names["mixed"] - names["only"]) <= 1


def test_a_newcomer_shares_the_tokens_from_its_first_on_and_catches_nothing_up() -> None:
    scheduler, clock = limited_to(60)
    old = make_convoy("old", {str(n): () for n in range(200)}, agent_id="engineer")
    add(scheduler, old)
    for _ in range(100):
        run_one(scheduler)
        clock.time_s += 1.0
    add(scheduler, make_convoy("new", {str(n): () for n in range(200)}, agent_id="engineer"))
    started: Counter[str] = Counter()
    for _ in range(20):
        task = run_one(scheduler)
        assert task is not None
        started[task.convoy.record.name] += 1
        clock.time_s += 1.0
    assert started == {"old": 10, "new": 10}


def test_a_convoy_that_was_held_back_catches_nothing_up() -> None:
    scheduler = Scheduler(Tokens(), {})
    held = make_convoy("held", {str(n): () for n in range(100)})
    busy = make_convoy("busy", {str(n): () for n in range(1_000)})
    held.hold = "interrupted"
    add(scheduler, held, busy)
    for _ in range(500):
        run_one(scheduler)
    scheduler.join(held)
    held.hold = None
    picked = [run_one(scheduler) for _ in range(20)]
    assert Counter(task.convoy.record.name for task in picked if task) == {"held": 10, "busy": 10}


def test_paused_and_held_convoys_start_nothing_and_say_why() -> None:
    scheduler = Scheduler(Tokens(), {})
    held = make_convoy("held", {"a": ()})
    held.hold = "interrupted"
    add(scheduler, held)
    assert scheduler.pick() is None
    assert scheduler.why(held.tasks["a"], 0.0) == "interrupted"


def test_backoff_delays_a_task_until_its_time() -> None:
    scheduler = Scheduler(Tokens(), {})
    convoy = make_convoy("c", {"a": ()})
    add(scheduler, convoy)
    task = scheduler.pick()
    assert task is not None
    scheduler.vacate(task)
    task.attempt, task.retries = 2, 3
    scheduler.enqueue(task, not_before_s=50.0)
    assert scheduler.pick() is None
    assert scheduler.why(task, 45.5) == "retry 1 of 3 in 5 s"
    assert scheduler.next_due_s(45.5) == 50.0
    assert scheduler.wake_delayed(50.0)
    assert scheduler.pick() is task


def test_a_task_queued_twice_is_picked_once() -> None:
    scheduler = Scheduler(Tokens(), {})
    convoy = make_convoy("c", {"a": ()})
    add(scheduler, convoy)
    scheduler.enqueue(convoy.tasks["a"])
    scheduler.enqueue(convoy.tasks["a"], not_before_s=1.0)
    scheduler.enqueue(convoy.tasks["a"])
    assert scheduler.pick() is convoy.tasks["a"]
    assert not scheduler.wake_delayed(2.0)
    assert scheduler.pick() is None


@given(
    needs=st.lists(st.sets(st.integers(0, 30), max_size=4), min_size=1, max_size=30),
    slots=st.integers(1, 6),
    data=st.data(),
)
def test_everything_runs_once_and_only_after_what_it_needs(
    needs: list[set[int]], slots: int, data: st.DataObject
) -> None:
    operations = {
        str(index): [str(need) for need in wanted if need < index]
        for index, wanted in enumerate(needs)
    }
    scheduler = Scheduler(Tokens(), {})
    convoy = make_convoy("c", operations)
    add(scheduler, convoy)
    running: list[Task] = []
    done: list[str] = []
    while True:
        while len(running) < slots and (task := scheduler.pick()) is not None:
            assert set(task.needs) <= set(done)
            running.append(task)
        if not running:
            break
        task = running.pop(data.draw(st.integers(0, len(running) - 1)))
        done.append(task.item_id)
        end(scheduler, task, WorkStatus.COMPLETED)
    assert sorted(done) == sorted(operations)
    assert convoy.unfinished == 0
    assert convoy.running == 0


def test_many_ids_are_named_by_the_first_three() -> None:
    assert name_some(["a", "b"]) == "a, b"
    assert name_some(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
