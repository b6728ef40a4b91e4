"""What operations that need each other do to each other: who is freed, doomed, or waits in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_core.model import FAILURE_STATUSES, WorkStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from aisquad_core.execution.scheduler import ConvoyState, Task

_UNMET = FAILURE_STATUSES | {WorkStatus.CANCELLED, WorkStatus.SKIPPED}
"""Statuses of a dependency after which its dependents cannot run."""


def complete(task: Task) -> list[Task]:
    """Return the blocked dependents that a completed task leaves with nothing to wait for."""
    freed = []
    for dependent in task.dependents or ():
        dependent.open_needs -= 1
        if not dependent.open_needs and dependent.status is WorkStatus.BLOCKED:
            freed.append(dependent)
    return freed


def doomed_by(task: Task) -> list[Task]:
    """Return the queued tasks that can no longer run since `task` did not complete."""
    doomed: dict[str, Task] = {}
    frontier = [task]
    while frontier:
        for dependent in frontier.pop().dependents or ():
            if dependent.status is WorkStatus.BLOCKED and dependent.item_id not in doomed:
                doomed[dependent.item_id] = dependent
                frontier.append(dependent)
    return list(doomed.values())


def recount(tasks: Iterable[Task], reopened: Collection[Task]) -> None:
    """Count anew what the given tasks wait for; what is reopened counts as not completed."""
    for task in tasks:
        needed = [task.convoy.tasks[need] for need in task.needs]
        task.open_needs = sum(
            each.status is not WorkStatus.COMPLETED or each in reopened for each in needed
        )


def freed_by_retry(convoy: ConvoyState) -> list[Task]:
    """Return the skipped tasks of a convoy that nothing stands in the way of any more."""
    if convoy.record.stop_on_first_failure and any(
        convoy.counts[status] for status in FAILURE_STATUSES
    ):
        return []
    obstacles = {
        task: sum(convoy.tasks[need].status in _UNMET for need in task.needs)
        for task in convoy.tasks.values()
        if task.status is WorkStatus.SKIPPED
    }
    freed = [task for task, count in obstacles.items() if not count]
    for task in freed:  # grows while it is read
        for dependent in task.dependents or ():
            if dependent in obstacles:
                obstacles[dependent] -= 1
                if not obstacles[dependent]:
                    freed.append(dependent)
    return freed


def waiting_in_vain(convoy: ConvoyState, retried: Collection[Task]) -> dict[Task, Task]:
    """Return what would wait for ever if only these ended tasks were retried, each with why.

    Why is a task that it needs, which did not complete and would not run again.
    """
    unmet = [
        task for task in convoy.tasks.values() if task.status in _UNMET and task not in retried
    ]
    frees_nothing = convoy.record.stop_on_first_failure and any(
        task.status in FAILURE_STATUSES for task in unmet
    )
    frontier = [
        (task, task) for task in unmet if frees_nothing or task.status is not WorkStatus.SKIPPED
    ]
    in_vain: dict[Task, Task] = {}
    while frontier:
        task, obstacle = frontier.pop()
        for dependent in task.dependents or ():
            waits = dependent in retried or dependent.status is WorkStatus.SKIPPED
            if waits and dependent not in in_vain:
                in_vain[dependent] = obstacle
                frontier.append((dependent, obstacle))
    return in_vain
