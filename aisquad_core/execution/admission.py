"""Takes new convoys: commits all of their items, or nothing, and gives them to the scheduler."""

from __future__ import annotations

import asyncio
import gc
import re
from typing import TYPE_CHECKING

from aisquad_core.execution.scheduler import ConvoyState, Task
from aisquad_core.model import WorkItem, WorkStatus
from aisquad_core.state.operation_text import encode_operation

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

    from aisquad_core.execution.ledger import Ledger
    from aisquad_core.execution.scheduler import Scheduler
    from aisquad_core.load.backpressure import Place, StorageBackpressure
    from aisquad_core.model import ConvoyRecord, Operation
    from aisquad_core.state.workstate import WorkState

_LARGE = 1_000
"""Operations from which a convoy is kept out of garbage collections."""
_SUFFIX_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
"""Without those that are mistaken for each other."""


class Admission:
    """Commits new convoys.

    Args:
        state: Where they become durable.
        scheduler: Where they wait.
        ledger: Wakes the dispatcher.
        backpressure: Refuses them, or lets them wait, while too many writes wait for the disk.
    """

    def __init__(
        self,
        *,
        state: WorkState,
        scheduler: Scheduler,
        ledger: Ledger,
        backpressure: StorageBackpressure,
    ) -> None:
        self._backpressure = backpressure
        self._state = state
        self._scheduler = scheduler
        self._ledger = ledger
        self._under_way: dict[str, asyncio.Future[None]] = {}
        """By convoy: done when the scheduler has it, or it is refused."""

    def place(self, *, is_patient: bool) -> Place:
        """Return the place in the queue of writes that a convoy holds while it is admitted.

        Raises:
            BackpressureError: On entering, if too many writes wait and the caller is not patient.
        """
        return self._backpressure.admit(is_patient=is_patient)

    async def admit(
        self,
        record: ConvoyRecord,
        operations: Iterable[Operation],
        calls: Mapping[str, Callable[[], Awaitable[object]]] | None = None,
    ) -> ConvoyState:
        """Commit a convoy with its items and let the scheduler have it.

        Args:
            record: The new convoy.
            operations: Read once, a few at a time.
            calls: Async callables by operation id, for operations that are not processes.
        """
        convoy = ConvoyState(record=record)
        self._under_way[record.id] = done = asyncio.get_running_loop().create_future()
        try:
            await self._state.create_convoy(record, self._items(convoy, operations, calls or {}))
            await asyncio.to_thread(self._scheduler.link, convoy)
            self._scheduler.add(convoy)
        finally:
            del self._under_way[record.id]
            done.set_result(None)
        keep_out_of_collections(convoy)
        self._ledger.startable.set()
        return convoy

    async def until_admitted(self, convoy_id: str) -> None:
        """Return when the scheduler has a convoy that may be in the database already."""
        if (done := self._under_way.get(convoy_id)) is not None:
            await asyncio.wait((done,))

    def _items(
        self,
        convoy: ConvoyState,
        operations: Iterable[Operation],
        calls: Mapping[str, Callable[[], Awaitable[object]]],
    ) -> Iterator[WorkItem]:
        """Make each operation's task for the memory, and yield its item for the database."""
        record = convoy.record
        needs_seen: dict[tuple[str, ...], tuple[str, ...]] = {}
        for position, operation in enumerate(operations):
            if position and position % _LARGE == 0:
                keep_out_of_collections(convoy)
            call = calls.get(operation.id)
            needs = needs_seen.setdefault(operation.needs, operation.needs)
            status = WorkStatus.BLOCKED if needs else WorkStatus.PENDING
            convoy.tasks[operation.id] = Task(
                convoy,
                operation.id,
                position=position,
                agent_id=operation.agent_id,
                priority=operation.priority,
                retries=operation.retries,
                needs=needs,
                status=status,
                operation=encode_operation(operation),
                call=call,
            )
            yield WorkItem(
                id=operation.id,
                status=status,
                agent_id=operation.agent_id,
                convoy_id=record.id,
                version=1,
                created_at=record.created_at,
                updated_at=record.created_at,
                context=operation.context,
                metadata=operation.metadata,
                dependencies=needs,
                operation=operation if call is None else None,
                position=position,
                priority=operation.priority,
            )


def keep_out_of_collections(convoy: ConvoyState) -> None:
    """Let the garbage collector leave out a large convoy.

    Going over the tasks of 100,000 operations stalls the loop for 100 ms each time; they die by
    their reference counts when the convoy ends. The ledger undoes this when nothing is left.
    """
    if len(convoy.tasks) >= _LARGE:
        gc.freeze()


def new_convoy_id(name: str, chance: random.Random) -> str:
    """Return a slug of the name and a random suffix: readable, and unique in a state folder."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower())[:40].strip("-") or "convoy"
    suffix = "".join(chance.choice(_SUFFIX_LETTERS) for _ in range(5))
    return f"{slug}-{suffix}"
