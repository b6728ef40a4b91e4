"""What FakeEngine remembers of a convoy, and how it sorts, filters and counts it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from aisquad_core.api import ItemSort, ItemView, StatusCounts
from aisquad_core.model import FAILURE_STATUSES, WorkStatus

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable
    from datetime import datetime

    from aisquad_core.api import ConvoyView, ItemFilter
    from aisquad_core.model import Operation, Try

UNMET = FAILURE_STATUSES | {WorkStatus.CANCELLED, WorkStatus.SKIPPED}
"""Statuses of a dependency after which its dependents cannot run."""
_STATUS_ORDER = (
    WorkStatus.IN_PROGRESS,
    WorkStatus.FAILED,
    WorkStatus.LOST,
    WorkStatus.PENDING,
    WorkStatus.BLOCKED,
    WorkStatus.CANCELLED,
    WorkStatus.SKIPPED,
    WorkStatus.COMPLETED,
)


@dataclass(slots=True, kw_only=True, eq=False)
class FakeItem:
    """A work item: its view is its state."""

    convoy: FakeConvoy
    operation: Operation
    view: ItemView
    tries: tuple[Try, ...] = ()
    output: dict[int, bytes] = field(default_factory=dict)
    """By attempt."""
    not_before_s: float = 0.0
    """Monotonic end of the wait before a retry."""
    body: asyncio.Task[None] | None = None
    """Pretends to be its process while it runs."""


@dataclass(slots=True, kw_only=True, eq=False)
class FakeConvoy:
    """A convoy: its view, but for the counts, is its state."""

    view: ConvoyView
    cwd: str | None
    items: dict[str, FakeItem] = field(default_factory=dict)
    is_closing: bool = False
    """Whether nothing more of it starts or is tried again."""
    is_cancelled: bool = False

    def shown(self) -> ConvoyView:
        """Return the view with its counts."""
        return replace(self.view, counts=count(self.items.values()))

    def unmet(self, item: FakeItem) -> bool:
        """Whether something that an item needs has ended without completing."""
        return any(self.items[need].view.status in UNMET for need in item.operation.needs)

    def open_needs(self, item: FakeItem) -> list[str]:
        """Return the ids of what an item still waits for."""
        return [
            need
            for need in item.operation.needs
            if self.items[need].view.status is not WorkStatus.COMPLETED
        ]

    def waiting_status(self, item: FakeItem) -> WorkStatus:
        """Return the status of an item that waits: blocked while its needs are open."""
        return WorkStatus.BLOCKED if self.open_needs(item) else WorkStatus.PENDING

    def with_status(self, *statuses: WorkStatus) -> list[FakeItem]:
        """Return its items that have one of the statuses now."""
        return [item for item in self.items.values() if item.view.status in statuses]


def new_item(
    convoy: FakeConvoy, position: int, operation: Operation, status: WorkStatus
) -> FakeItem:
    """Make the item of an operation, which waits or has ended already."""
    at = convoy.view.created_at
    exit_code = {WorkStatus.COMPLETED: 0, WorkStatus.FAILED: 1}.get(status)
    view = ItemView(
        id=operation.id,
        convoy_id=convoy.view.id,
        status=status,
        agent_id=operation.agent_id,
        attempt=1,
        max_attempts=operation.retries + 1,
        priority=operation.priority,
        position=position,
        version=1,
        created_at=at,
        updated_at=at,
        started_at=None if exit_code is None else at,
        finished_at=at if status.is_final else None,
        exit_code=exit_code,
        error="exit 1" if status is WorkStatus.FAILED else None,
        reason=None,
    )
    return FakeItem(convoy=convoy, operation=operation, view=view)


def count(items: Iterable[FakeItem]) -> StatusCounts:
    """Count items by status."""
    counts = Counter(item.view.status.word for item in items)
    return StatusCounts(**counts)


def fits(view: ItemView, wanted: ItemFilter) -> bool:
    """Whether an item passes a filter."""
    text = wanted.text.casefold()
    return (
        (not wanted.statuses or view.status in wanted.statuses)
        and (not wanted.convoy_ids or view.convoy_id in wanted.convoy_ids)
        and (not wanted.agent_ids or view.agent_id in wanted.agent_ids)
        and (not wanted.keys or (view.convoy_id, view.id) in wanted.keys)
        and any(text in (part or "").casefold() for part in (view.id, view.error, view.reason))
    )


def sort_key(view: ItemView, sort: ItemSort) -> str:
    """Return what an item is sorted by, before its convoy and position."""
    match sort:
        case ItemSort.POSITION:
            return ""
        case ItemSort.STATUS:
            return str(_STATUS_ORDER.index(view.status))
        case ItemSort.ID:
            return view.id
        case ItemSort.AGENT:
            return view.agent_id
        case ItemSort.STARTED:
            return _stamp(view.started_at)
        case ItemSort.FINISHED:
            return _stamp(view.finished_at)


def _stamp(at: datetime | None) -> str:
    return "" if at is None else at.isoformat()
