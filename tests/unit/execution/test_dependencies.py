"""What a failure dooms, what a retry frees, and what would wait for ever."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisquad_core.execution import dependencies
from aisquad_core.execution.scheduler import ConvoyState, Scheduler, Task
from aisquad_core.model import WorkStatus
from tests.unit.execution.convoys import Tokens, make_convoy

ENDS = [status for status in WorkStatus if status.is_final]


def linked(needs: dict[str, set[str]], *, stop_on_first_failure: bool = False) -> ConvoyState:
    convoy = make_convoy("c", needs, stop_on_first_failure=stop_on_first_failure)
    Scheduler(Tokens(), {}).link(convoy)
    return convoy


def set_all(convoy: ConvoyState, statuses: dict[str, WorkStatus]) -> None:
    for item_id, status in statuses.items():
        convoy.set_status(convoy.tasks[item_id], status)


def names(tasks: list[Task]) -> list[str]:
    return [task.item_id for task in tasks]


CHAIN: dict[str, set[str]] = {"a": set(), "b": {"a"}, "c": {"b"}, "d": set()}


def test_a_failure_dooms_everything_behind_it_and_a_retry_frees_it() -> None:
    convoy = linked(CHAIN)
    set_all(convoy, {"a": WorkStatus.FAILED})
    doomed = dependencies.doomed_by(convoy.tasks["a"])
    assert set(names(doomed)) == {"b", "c"}
    set_all(convoy, dict.fromkeys(names(doomed), WorkStatus.SKIPPED))
    assert dependencies.freed_by_retry(convoy) == []
    set_all(convoy, {"a": WorkStatus.PENDING})
    assert names(dependencies.freed_by_retry(convoy)) == ["b", "c"]


def test_stop_on_first_failure_frees_nothing_while_another_failure_remains() -> None:
    convoy = linked({"a": set(), "b": set(), "c": set()}, stop_on_first_failure=True)
    failed = WorkStatus.FAILED
    set_all(convoy, {"a": WorkStatus.PENDING, "b": failed, "c": WorkStatus.SKIPPED})
    assert dependencies.freed_by_retry(convoy) == []
    set_all(convoy, {"b": WorkStatus.PENDING})
    assert names(dependencies.freed_by_retry(convoy)) == ["c"]


@pytest.mark.parametrize(
    ("retried", "in_vain"),
    [("b", "b"), ("c", "c"), ("bc", "bc"), ("a", ""), ("ac", ""), ("abc", ""), ("d", "")],
)
def test_what_needs_a_failure_that_is_not_retried_waits_in_vain(retried: str, in_vain: str) -> None:
    convoy = linked(CHAIN)
    skipped = dict.fromkeys("bc", WorkStatus.SKIPPED)
    set_all(convoy, {"a": WorkStatus.FAILED, "d": WorkStatus.FAILED, **skipped})
    chosen = {convoy.tasks[item_id] for item_id in retried}
    found = dependencies.waiting_in_vain(convoy, chosen)
    assert {task.item_id for task in found if task in chosen} == set(in_vain)
    assert all(obstacle.item_id == "a" for task, obstacle in found.items())


@settings(max_examples=400)
@given(data=st.data(), size=st.integers(2, 6), stop_on_first_failure=st.booleans())
def test_of_what_is_retried_exactly_that_runs_which_does_not_wait_in_vain(
    data: st.DataObject, size: int, stop_on_first_failure: bool
) -> None:
    ids = [str(number) for number in range(size)]
    graph = {
        item_id: data.draw(st.sets(st.sampled_from(ids[:number]), max_size=2)) if number else set()
        for number, item_id in enumerate(ids)
    }
    convoy = linked(graph, stop_on_first_failure=stop_on_first_failure)
    tasks = [*convoy.tasks.values()]
    chosen: set[Task] = set()
    for task in tasks:
        has_run = all(convoy.tasks[need].status is WorkStatus.COMPLETED for need in task.needs)
        ends = ENDS if has_run else [WorkStatus.SKIPPED, WorkStatus.CANCELLED]
        convoy.set_status(task, data.draw(st.sampled_from(ends)))
        if data.draw(st.booleans()):
            chosen.add(task)
    in_vain = dependencies.waiting_in_vain(convoy, chosen)
    for wanted in (chosen, chosen - in_vain.keys()):
        ended = {task.item_id: task.status for task in tasks}
        for task in wanted:
            convoy.set_status(task, WorkStatus.PENDING)
        for task in dependencies.freed_by_retry(convoy):
            convoy.set_status(task, WorkStatus.PENDING)
        for task in tasks:  # in the order of their needs
            may_run = all(convoy.tasks[need].status is WorkStatus.COMPLETED for need in task.needs)
            if may_run and task.status is WorkStatus.PENDING:
                convoy.set_status(task, WorkStatus.COMPLETED)
        stuck = {task for task in wanted if task.status is WorkStatus.PENDING}
        assert stuck == wanted & in_vain.keys()
        set_all(convoy, ended)
