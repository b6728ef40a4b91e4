"""The words of the engine as frozen data: operations, work items, convoys and their legal moves.

Nothing here does I/O or knows a clock; every other part speaks in these types.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from aisquad_core.errors import IllegalTransitionError


class WorkStatus(StrEnum):
    """Where a work item stands."""

    PENDING = "pending"
    """May start as soon as there is room for it."""
    BLOCKED = "blocked"
    """Waits for the operations that it needs."""
    IN_PROGRESS = "in_progress"
    """Runs, or its start is committed; shown as `running`."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    """Something that it needs did not complete, or its convoy stopped before it."""
    LOST = "lost"
    """Its process ended unseen, so nobody knows how far it came."""

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens to the item unless someone retries it."""
        return self in FINAL_STATUSES

    @property
    def word(self) -> str:
        """The word that operators see."""
        return "running" if self is WorkStatus.IN_PROGRESS else self.value


FINAL_STATUSES = frozenset(
    {
        WorkStatus.COMPLETED,
        WorkStatus.FAILED,
        WorkStatus.CANCELLED,
        WorkStatus.SKIPPED,
        WorkStatus.LOST,
    }
)
FAILURE_STATUSES = frozenset({WorkStatus.FAILED, WorkStatus.LOST})
"""Those after which dependents are skipped and a convoy counts as (partly) failed."""

TRANSITIONS: Mapping[WorkStatus, frozenset[WorkStatus]] = {
    WorkStatus.PENDING: frozenset(
        {WorkStatus.IN_PROGRESS, WorkStatus.BLOCKED, WorkStatus.CANCELLED, WorkStatus.SKIPPED}
    ),
    WorkStatus.BLOCKED: frozenset({WorkStatus.PENDING, WorkStatus.CANCELLED, WorkStatus.SKIPPED}),
    WorkStatus.IN_PROGRESS: frozenset(
        {
            WorkStatus.PENDING,  # it never ran, was interrupted, or is retried by itself
            WorkStatus.COMPLETED,
            WorkStatus.FAILED,
            WorkStatus.CANCELLED,
            WorkStatus.LOST,
        }
    ),
    WorkStatus.COMPLETED: frozenset({WorkStatus.PENDING, WorkStatus.BLOCKED}),
    WorkStatus.FAILED: frozenset({WorkStatus.PENDING, WorkStatus.BLOCKED}),
    WorkStatus.CANCELLED: frozenset({WorkStatus.PENDING, WorkStatus.BLOCKED}),
    WorkStatus.SKIPPED: frozenset({WorkStatus.PENDING, WorkStatus.BLOCKED}),
    WorkStatus.LOST: frozenset({WorkStatus.PENDING, WorkStatus.BLOCKED}),
}
"""Which status may follow which; a status may always follow itself (a changed reason, say)."""


def check_transition(item_id: str, current: WorkStatus, wanted: WorkStatus) -> None:
    """Refuse a status that does not follow from the current one.

    Raises:
        IllegalTransitionError: `wanted` is neither `current` nor among its followers.
    """
    if wanted is not current and wanted not in TRANSITIONS[current]:
        raise IllegalTransitionError(item_id, current.value, wanted.value)


class ConvoyStatus(StrEnum):
    """Where a convoy stands."""

    PENDING = "pending"
    """Nothing of it has started yet."""
    RUNNING = "running"
    PAUSED = "paused"
    """Nothing more of it starts until it is resumed."""
    COMPLETED = "completed"
    PARTIAL = "partial"
    """It ended; some operations completed, some did not."""
    FAILED = "failed"
    """It ended; no operation completed."""
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the convoy has ended (until someone retries a part of it)."""
        return self not in {ConvoyStatus.PENDING, ConvoyStatus.RUNNING, ConvoyStatus.PAUSED}


class StopReason(StrEnum):
    """Why a running operation is being stopped; durable before the first signal."""

    CANCEL = "cancel"
    """An operator's wish: it ends as `cancelled`."""
    INTERRUPT = "interrupt"
    """The engine leaves: it goes back to `pending`, same attempt."""
    TIMEOUT = "timeout"
    """Its time, or its convoy's, is over: it ends as `failed`."""


class OutputMode(StrEnum):
    """Where an operation's standard output goes."""

    LOG = "log"
    """Into `output.log`, together with standard error."""
    RESULT = "result"
    """Into `result`, apart from standard error (machine-readable answers)."""


class ItemKey(NamedTuple):
    """Names one work item: its id is unique within its convoy."""

    convoy_id: str
    item_id: str

    def __str__(self) -> str:
        return f"{self.convoy_id}/{self.item_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What to run: immutable, and JSON-able unless its arguments are not UTF-8."""

    id: str
    """Unique within the convoy; control characters already escaped."""
    argv: tuple[str, ...] = ()
    """Program and arguments, as `os.fsdecode` gives them; empty for an async callable."""
    agent_id: str = "shell"
    """The profile that runs it; key of `max_parallel` and of the rate limit."""
    cwd: str | None = None
    """Absolute folder to run in; None: where the convoy was launched."""
    stdin: str | None = field(default=None, repr=False)
    """Text for standard input; None: /dev/null."""
    stdin_file: str | None = None
    """Absolute path of a file for standard input."""
    stdout: OutputMode = OutputMode.LOG
    needs: tuple[str, ...] = ()
    """Ids of the operations of the same convoy that must complete first."""
    priority: int = 0
    """Higher goes first."""
    timeout_s: float | None = None
    """Seconds of one attempt; None: no limit."""
    retries: int = 0
    """How often a failed attempt is tried again by itself."""
    retry_delay_s: float = 1.0
    """Seconds before the first retry; doubles with each one, with jitter, up to five minutes."""
    context: Mapping[str, Any] = field(default_factory=dict)
    """JSON for the agent and for people: the values of `for_each`, the prompt."""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One attempt that ended and was followed by another."""

    attempt: int
    status: WorkStatus
    exit_code: int | None
    error: str | None
    started_at: datetime | None
    finished_at: datetime | None
    token: str | None
    """Names the start's folder, so that its log can still be read."""


class WorkItem(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The durable state of one operation; a row of `work_items`.

    It and `RunUpdate` are made for every change, so they are structs of msgspec, made in a tenth
    of the time of a frozen dataclass; `msgspec.structs.replace` makes a changed copy. The garbage
    collector leaves them out (`gc=False`): they are part of no cycle, and thousands may wait.
    """

    id: str
    status: WorkStatus
    agent_id: str
    convoy_id: str
    version: int
    """Counts the changes from 1; compared and incremented by every update."""
    created_at: datetime
    updated_at: datetime
    context: Mapping[str, Any] = msgspec.field(default_factory=dict)
    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict)
    artifacts: Mapping[str, Any] = msgspec.field(default_factory=dict)
    dependencies: tuple[str, ...] = ()
    operation: Operation | None = None
    """What to run; None for an async callable, which dies with its process."""
    position: int = 0
    """Place in its convoy, from 0."""
    priority: int = 0
    attempt: int = 1
    node: str = "local"
    """Where this attempt runs."""
    token: str | None = None
    """Random name of the present start; None while nothing was started."""
    boot_id: str | None = None
    """The kernel's boot id at the start: another one means a reboot in between."""
    stopping: StopReason | None = None
    exit_code: int | None = None
    """0 to 255, 128 + n after signal n as the shell says it; None while unknown."""
    error: str | None = None
    """What went wrong, in one sanitised line."""
    reason: str | None = None
    """Why it does not run, in words."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    tries: tuple[Try, ...] = ()
    """Earlier attempts, oldest first."""

    @property
    def key(self) -> ItemKey:
        """The item's name across convoys."""
        return ItemKey(self.convoy_id, self.id)


class RunUpdate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A compare-and-set of everything about an item that running it changes.

    Every field is written as given, except `ended_try`, which is appended to `tries`.
    """

    convoy_id: str
    item_id: str
    expected_version: int
    previous: WorkStatus
    """The status that the caller believes current; the transition is checked against it."""
    status: WorkStatus
    attempt: int = 1
    token: str | None = None
    boot_id: str | None = None
    stopping: StopReason | None = None
    exit_code: int | None = None
    error: str | None = None
    reason: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    ended_try: Try | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvoyRecord:
    """The durable state of one convoy; a row of `convoys`."""

    id: str
    """Slug of the name and a random suffix, such as `nightly-review-k3f9`."""
    name: str
    status: ConvoyStatus
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    total: int = 0
    """Number of its operations."""
    stop_on_first_failure: bool = False
    timeout_s: float | None = None
    """Seconds from its first start, for all of it; None: no limit."""
    source: str | None = None
    """The convoy file, or None for an ad-hoc command or a script's callables."""
    cwd: str | None = None
    """Where it was launched: the default folder of its operations."""
    stopping: StopReason | None = None
    reason: str | None = None
    """Why it stands still or ended early, in words."""
    is_local: bool = False
    """True for a script's async callables, which no other process can continue."""
