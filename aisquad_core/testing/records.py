"""What FakeEngine remembers of a convoy, and how it sorts, filters and counts it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from aisquad_core.api import ItemField, ItemSort, ItemView, StatusCounts
from aisquad_core.model import FAILURE_STATUSES, ItemKey, WorkStatus
from aisquad_core.state import pattern

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from aisquad_core.api import ConvoyView, ItemFilter, ItemTerm
    from aisquad_core.model import Operation, Try
    from aisquad_core.testing.script import ScriptedItem

UNMET = FAILURE_STATUSES | {WorkStatus.CANCELLED, WorkStatus.SKIPPED}
"""Statuses of a dependency after which its dependents cannot run."""
_BEGUN = FAILURE_STATUSES | {WorkStatus.COMPLETED, WorkStatus.IN_PROGRESS}
_EXIT_CODES = {WorkStatus.COMPLETED: 0, WorkStatus.FAILED: 1}
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
    script: ScriptedItem | None = None
    """Where a test has put it, until it changes."""

    @property
    def key(self) -> ItemKey:
        """The item's name."""
        return ItemKey(self.view.convoy_id, self.view.id)

    @property
    def is_held(self) -> bool:
        """Whether it does not start by itself."""
        return self.script is not None and self.script.reason is not None


@dataclass(slots=True, kw_only=True, eq=False)
class FakeConvoy:
    """A convoy: its view, but for the counts, is its state."""

    view: ConvoyView
    cwd: str | None
    items: dict[str, FakeItem] = field(default_factory=dict)
    is_closing: bool = False
    """Whether nothing more of it starts or is tried again."""
    is_cancelled: bool = False
    ended_at: datetime | None = None
    """When it ended, if that is before it is added."""

    def shown(self) -> ConvoyView:
        """Return the view with its counts."""
        return replace(self.view, counts=count(self.items.values()))

    def unmet(self, item: FakeItem) -> bool:
        """Whether something that an item needs has ended without completing."""
        return any(self.items[need].view.status in UNMET for need in item.operation.needs)

    def obstacle(self, item: FakeItem, retried: Sequence[FakeItem]) -> FakeItem | None:
        """Return for what an item would wait in vain if only these were retried, if for anything.

        What was skipped runs again with them, unless a failure has stopped the convoy.
        """
        is_stopped = self.view.stop_on_first_failure and any(
            each not in retried for each in self.with_status(*FAILURE_STATUSES)
        )
        for need in (self.items[need] for need in item.operation.needs):
            is_skipped = need.view.status is WorkStatus.SKIPPED and not is_stopped
            if need in retried or is_skipped:
                if (obstacle := self.obstacle(need, retried)) is not None:
                    return obstacle
            elif need.view.status in UNMET:
                return need
        return None

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
    convoy: FakeConvoy, position: int, operation: Operation, script: ScriptedItem, now: datetime
) -> FakeItem:
    """Make the item of an operation, where the script has it."""
    created_at, status = convoy.view.created_at, script.status
    has_begun = status in _BEGUN
    exit_code = _EXIT_CODES.get(status) if script.exit_code is None else script.exit_code
    error = f"exit {exit_code}" if status is WorkStatus.FAILED else None
    view = ItemView(
        id=operation.id,
        convoy_id=convoy.view.id,
        status=status,
        agent_id=operation.agent_id,
        attempt=script.attempt,
        max_attempts=max(operation.retries + 1, script.attempt),
        priority=operation.priority,
        position=position,
        version=1,
        created_at=created_at,
        updated_at=now,
        started_at=_ago(now, script.started_s, created_at if has_begun else None),
        finished_at=_ago(now, script.finished_s, now if status.is_final else None),
        exit_code=exit_code,
        error=script.error or error,
        reason=script.reason,
    )
    printed = "".join(f"{line}\n" for line in script.lines)
    return FakeItem(
        convoy=convoy,
        operation=operation,
        view=view,
        output={script.attempt: printed.encode()} if has_begun else {},
        script=script,
    )


def _ago(now: datetime, seconds: float | None, otherwise: datetime | None) -> datetime | None:
    return otherwise if seconds is None else now - timedelta(seconds=seconds)


def count(items: Iterable[FakeItem]) -> StatusCounts:
    """Count items by status."""
    counts = Counter(item.view.status.word for item in items)
    return StatusCounts(**counts)


def fits(item: FakeItem, wanted: ItemFilter) -> bool:
    """Whether an item passes a filter."""
    view, text = item.view, wanted.text
    return (
        (not wanted.statuses or view.status in wanted.statuses)
        and (not wanted.convoy_ids or view.convoy_id in wanted.convoy_ids)
        and (not wanted.agent_ids or view.agent_id in wanted.agent_ids)
        and (not wanted.keys or (view.convoy_id, view.id) in wanted.keys)
        and any(pattern.contains(text, part) for part in (view.id, view.error, view.reason))
        and all(pattern.holds(term, *_texts(item, term)) for term in wanted.terms)
    )


def _texts(item: FakeItem, term: ItemTerm) -> tuple[str | None, ...]:
    """Return what a term looks at."""
    view = item.view
    texts: dict[ItemField, tuple[str | None, ...]] = {
        ItemField.ANY: (view.id, view.agent_id, view.error, view.reason),
        ItemField.ID: (view.id,),
        ItemField.AGENT: (view.agent_id,),
        ItemField.CONVOY: (view.convoy_id, item.convoy.view.name),
        ItemField.STATUS: (view.status.word,),
        ItemField.ERROR: (view.error,),
        ItemField.REASON: (view.reason,),
        ItemField.EXIT: (None if view.exit_code is None else str(view.exit_code),),
    }
    return texts[term.field]


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
