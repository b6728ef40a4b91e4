"""Convoys as the scheduler keeps them, made by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_core.execution.scheduler import ConvoyState, Task
from aisquad_core.model import ConvoyRecord, ConvoyStatus, WorkStatus
from aisquad_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class Tokens:
    """A rate that a test sets by hand."""

    def __init__(self) -> None:
        self.waits_s: dict[str, float] = {}

    def try_acquire(self, agent_id: str) -> bool:
        return not self.waits_s.get(agent_id)

    def get_wait_time(self, agent_id: str) -> float:
        return self.waits_s.get(agent_id, 0.0)


def make_convoy(
    name: str,
    operations: Mapping[str, Collection[str]],
    *,
    agent_id: str = "shell",
    priorities: Mapping[str, int] | None = None,
    stop_on_first_failure: bool = False,
) -> ConvoyState:
    now = FakeClock().now()
    record = ConvoyRecord(
        id=name,
        name=name,
        status=ConvoyStatus.RUNNING,
        created_at=now,
        updated_at=now,
        total=len(operations),
        stop_on_first_failure=stop_on_first_failure,
    )
    convoy = ConvoyState(record=record)
    for position, (item_id, needs) in enumerate(operations.items()):
        convoy.tasks[item_id] = Task(
            convoy,
            item_id,
            position=position,
            agent_id=agent_id,
            priority=(priorities or {}).get(item_id, 0),
            needs=tuple(needs),
            status=WorkStatus.BLOCKED if needs else WorkStatus.PENDING,
        )
    return convoy
