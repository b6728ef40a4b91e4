"""The seam between the engine and everyone who watches or steers it.

All of it is frozen data and async calls, JSON-able, so that the same protocol holds in the
process, on a thread of its own and across a socket. An event carries the state after the change,
never a difference, and a sequence number that grows by one for each change of the engine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol

from aisquad_core.errors import InputError, Problem
from aisquad_core.model import ConvoyStatus, ItemKey, Operation, Try, WorkStatus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from aisquad_core.spec import ConvoySource


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCounts:
    """How many items of a convoy (or of all) stand where; they add up to `total`."""

    pending: int = 0
    blocked: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    lost: int = 0
    cancelled: int = 0
    skipped: int = 0

    @property
    def total(self) -> int:
        """All items."""
        return self.queued + self.running + self.ended

    @property
    def queued(self) -> int:
        """Items that still wait for their start."""
        return self.pending + self.blocked

    @property
    def ended(self) -> int:
        """Items to which nothing more happens."""
        return self.completed + self.failed + self.lost + self.cancelled + self.skipped


def add_counts(counts: Iterable[StatusCounts]) -> StatusCounts:
    """Return the sum of several convoys' counts."""
    sums = Counter[str]()
    for each in counts:
        for name in _COUNTED:
            sums[name] += getattr(each, name)
    return StatusCounts(**sums)


_COUNTED = tuple(status.name for status in fields(StatusCounts))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvoyView:
    """One convoy as operators see it."""

    id: str
    name: str
    status: ConvoyStatus
    counts: StatusCounts
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    source: str | None
    reason: str | None = None
    """Why nothing of it moves, or why it ended early, in words."""
    is_interrupted: bool = False
    """Left over from an earlier engine: nothing of it starts until it is resumed."""
    stop_on_first_failure: bool = False
    timeout_s: float | None = None
    rate_per_s: float | None = None
    """Operations ended a second over the last minute; None when nothing ended in it."""
    eta_s: float | None = None
    """Seconds to its end at that rate; None when unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemView:
    """One work item as a row of a table."""

    id: str
    convoy_id: str
    status: WorkStatus
    agent_id: str
    attempt: int
    max_attempts: int
    priority: int
    position: int
    version: int
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    exit_code: int | None
    error: str | None
    reason: str | None
    """Why it does not run, in words; None while it runs or when it completed."""
    last_line: str | None = None
    """Newest line of its output, sanitised; None when not known without reading the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelatedItem:
    """A dependency or a dependent."""

    id: str
    status: WorkStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemDetail:
    """Everything about one work item."""

    view: ItemView
    operation: Operation | None
    """None for a script's async callable."""
    cwd: str | None
    pid: int | None
    """Process of the launcher while it runs here."""
    token: str | None
    tries: tuple[Try, ...]
    dependencies: tuple[RelatedItem, ...]
    dependents: tuple[RelatedItem, ...]
    context: Mapping[str, Any]
    metadata: Mapping[str, Any]
    artifacts: Mapping[str, Any]
    cpu_percent: float | None = None
    """What its processes used since the last question, 100 a core; None unless it runs here."""
    rss_bytes: int | None = None
    """Memory of its processes; None unless it runs here."""


class ItemSort(StrEnum):
    """Orders of `items`; ties go by convoy and position."""

    POSITION = "position"
    """Newest convoy first, then the order of the convoy file."""
    STATUS = "status"
    """Running, failed, lost, pending, blocked, then what ended well."""
    ID = "id"
    AGENT = "agent"
    STARTED = "started"
    FINISHED = "finished"


class ItemField(StrEnum):
    """What a term of a filter looks at."""

    ANY = "any"
    """Id, agent, error and committed reason."""
    ID = "id"
    AGENT = "agent"
    CONVOY = "convoy"
    """The convoy's id or name."""
    STATUS = "status"
    """The status as its word, such as `running`."""
    ERROR = "error"
    REASON = "reason"
    EXIT = "exit"
    """The exit status as text; a term must be equal to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemTerm:
    """One condition on the text of an item, without regard to case."""

    text: str
    """Part of the field, or with `is_regex` a regular expression that is found in it."""
    field: ItemField = ItemField.ANY
    is_negated: bool = False
    is_regex: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFilter:
    """Which items; an empty field does not restrict."""

    statuses: tuple[WorkStatus, ...] = ()
    convoy_ids: tuple[str, ...] = ()
    agent_ids: tuple[str, ...] = ()
    keys: tuple[ItemKey, ...] = ()
    text: str = ""
    """Part of an id, error or reason, without regard to case."""
    terms: tuple[ItemTerm, ...] = ()
    """All of them must hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemPage:
    """One window of the items that fit a filter."""

    items: tuple[ItemView, ...]
    total: int | None
    """How many items fit the filter; None when that was not asked for."""
    next_after: str | None
    """Opaque key for the next page; None at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChunk:
    """Raw bytes of a log: untrusted, to be sanitised before a terminal sees them."""

    data: bytes
    offset: int
    """Where `data` begins."""
    size: int
    """Bytes in the log now."""
    is_final: bool
    """Whether the attempt has ended, so that nothing more will come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewOperation:
    """One operation template of a convoy file, or an expanded operation, as it would run."""

    id: str
    agent_id: str
    command: str
    """The command as a person would type it, sanitised."""
    count: int
    """How many operations this template makes."""
    needs: tuple[str, ...]
    timeout_s: float | None
    retries: int
    priority: int
    cwd: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a launch would run; with problems there is nothing to launch."""

    name: str
    total: int
    agents: Mapping[str, int]
    """Operations by agent, most first."""
    templates: tuple[PreviewOperation, ...]
    operations: tuple[PreviewOperation, ...]
    """The expanded operations, up to the limit that was asked for."""
    timeout_s: float | None
    stop_on_first_failure: bool
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one tick saw and decided."""

    at: datetime
    cpu_percent: float
    """0 to 100, of what this process may use."""
    memory_percent: float
    """0 to 100, of what this process may use."""
    parallelism: int
    throttle: float
    """0 (none) to 1; the wait before the next start is this times five seconds."""
    cpu_count: float = 0.0
    """Cores that this process may use; 0 when unknown."""
    memory_bytes: int = 0
    """Memory that this process may use; 0 when unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """One machine that runs operations; today there is one, `local`."""

    name: str
    parallelism: int
    running: int
    cpu_count: float
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineView:
    """The engine and its semaphore."""

    pid: int
    version: str
    sqlite_version: str
    state_dir: str
    started_at: datetime
    parallelism: int
    """Sum over the nodes."""
    baseline: int
    max: int
    auto: bool
    """False while pinned by hand or with auto tuning off."""
    running: int
    queued: int
    cpu_percent: float
    memory_percent: float
    cpu_threshold: float
    memory_threshold: float
    throttle: float
    reason: str
    """Why the semaphore has its size, in words."""
    waiting: str | None
    """Why nothing starts although work waits, in words; None when something may start."""
    phase: Literal["recovering", "running", "stopping", "stopped"] = "running"
    trouble: str | None = None
    """What ails the engine itself (disk full, …); None when well."""
    resized_from: int | None = None
    """The parallelism before the last resize; None before the first."""
    grace_s: float = 10.0
    """Seconds between TERM and KILL when an operation is stopped."""
    wal_bytes: int = 0
    """Size of the database's write-ahead log."""
    oldest_reader_s: float = 0.0
    """Seconds that the longest read of the database by this engine has taken so far."""
    writes_pending: int = 0
    """Writes to the work state that wait for the disk; an engine's own may exceed the capacity."""
    writes_capacity: int = 1_000
    """How many may wait."""
    writes_threshold: float = 0.8
    """Fraction of the capacity, 0 to 1, over which launches are refused or wait."""
    writes_per_s: float | None = None
    """How fast the disk has lately taken them; None: nothing was measured yet."""
    launches_waiting: int = 0
    """Launches that wait for room."""
    launches_refused: int = 0
    """Launches that were refused since the engine started."""

    @property
    def writes_utilization(self) -> float:
        """How full the queue of writes is, 0 to 1."""
        return min(1.0, self.writes_pending / self.writes_capacity)

    @property
    def is_crowded(self) -> bool:
        """Whether so many writes wait that launches are refused."""
        return (
            self.writes_pending >= self.writes_capacity
            or self.writes_pending / self.writes_capacity > self.writes_threshold
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The whole picture at one sequence number, without the items."""

    seq: int
    at: datetime
    engine: EngineView
    nodes: tuple[NodeView, ...]
    convoys: tuple[ConvoyView, ...]
    """Newest first."""
    counts: StatusCounts
    history: tuple[Load, ...] = field(default_factory=tuple)
    """Samples of the last minutes, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvoyChanged:
    """A convoy is new, or its status or counts changed."""

    seq: int
    convoy: ConvoyView
    type: Literal["convoy"] = "convoy"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemChanged:
    """A work item's committed state changed."""

    seq: int
    item: ItemView
    type: Literal["item"] = "item"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resized:
    """The semaphore has another size."""

    seq: int
    at: datetime
    previous: int
    parallelism: int
    auto: bool
    reason: str
    type: Literal["resized"] = "resized"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """One tick of the resource monitor."""

    seq: int
    load: Load
    type: Literal["sampled"] = "sampled"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineState:
    """The engine itself changed: its phase, its trouble, why nothing starts."""

    seq: int
    engine: EngineView
    type: Literal["engine"] = "engine"


Event = ConvoyChanged | ItemChanged | Resized | Sampled | EngineState


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a steering call did."""

    changed: tuple[ItemKey, ...]
    """Items that it concerned and changed (or whose stop it began)."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """`convoy/item` to the reason why that one was left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPoint:
    """What the samples of one stretch of time come to."""

    at: datetime
    """Where the stretch begins; all stretches of a history are equally long."""
    cpu_percent: float
    """Mean, 0 to 100."""
    memory_percent: float
    """Mean, 0 to 100."""
    parallelism: float
    """Mean size of the semaphore."""
    active_workers: float
    """Mean number of running operations."""
    queue_depth: float
    """Mean number of operations that waited for their start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeNote:
    """One change of the parallelism."""

    at: datetime
    previous: int
    parallelism: int
    auto: bool
    reason: str
    """Why, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThroughputPoint:
    """Operations that ended in one stretch of time."""

    at: datetime
    """Where the stretch begins."""
    completed: int
    failed: int
    """Failed or lost, for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationBin:
    """How many attempts took so long."""

    lower_s: float
    upper_s: float
    """Seconds; not part of the bin."""
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowOperation:
    """One of the operations that took longest."""

    key: ItemKey
    agent_id: str
    status: WorkStatus
    duration_s: float
    finished_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFigures:
    """What one agent's operations came to."""

    agent_id: str
    completed: int
    failed: int
    mean_s: float
    """Mean duration in seconds; 0 when none ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The past as the metrics keep it, over engines, restarts and crashes."""

    is_recorded: bool
    """False: metrics are off (`enable_metrics`) and all else is empty."""
    start: datetime
    end: datetime
    load: tuple[LoadPoint, ...] = ()
    """Oldest first; a stretch without a sample, as while no engine ran, is left out."""
    resizes: tuple[ResizeNote, ...] = ()
    """The latest of them, oldest first."""
    throughput: tuple[ThroughputPoint, ...] = ()
    """Oldest first; a stretch in which nothing ended is left out."""
    durations: tuple[DurationBin, ...] = ()
    """Shortest first, without gaps between the first and the last."""
    mean_s: float | None = None
    """Mean duration in seconds; None when nothing ended."""
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    slowest: tuple[SlowOperation, ...] = ()
    """Slowest first."""
    agents: tuple[AgentFigures, ...] = ()
    """By the number of operations that ended, most first."""


class StopMode(StrEnum):
    """How the engine leaves; each hastens the ones before it."""

    DRAIN = "drain"
    """Nothing more starts; what runs is waited for."""
    INTERRUPT = "interrupt"
    """TERM, grace, KILL; what ran goes back to `pending`, same attempt."""
    KILL = "kill"
    """The same without grace."""
    DETACH = "detach"
    """Operations run on; the next engine adopts them."""


_LONGEST_S = 36_500 * 86_400.0
MOST_POINTS = 2_000
"""Stretches into which a history may be divided."""


def check_history(period_s: float, points: int) -> None:
    """Refuse what no history can be made of.

    Raises:
        InputError: `period_s` or `points` is not positive, or there are over 2,000 points.
    """
    if not 0 < period_s <= _LONGEST_S:
        raise InputError(f"period {period_s!r}: expected seconds from 0 to a century")
    if not 0 < points <= MOST_POINTS:
        raise InputError(f"points {points!r}: expected a whole number from 1 to {MOST_POINTS}")


class ItemReader(Protocol):
    """Reads what is committed about work items, and their logs."""

    async def items(
        self,
        filter: ItemFilter,
        *,
        sort: ItemSort = ItemSort.POSITION,
        is_reversed: bool = False,
        after: str | None = None,
        offset: int = 0,
        limit: int = 100,
        is_counted: bool = True,
        has_last_lines: bool = False,
    ) -> ItemPage:
        """Return one window of committed items.

        Args:
            filter: Which items.
            sort: In which order.
            is_reversed: Whether the order is turned round.
            after: A page's `next_after`: begin behind that page.
            offset: Items to leave out at the beginning; costs their number.
            limit: Most items to return.
            is_counted: Whether to say the total, which with a filter costs a look at all items.
            has_last_lines: Whether to read the newest line of output of each item that began.

        Raises:
            InputError: `after` is no key of a page, or a term's regular expression is none.
        """
        ...

    async def offset_of(
        self,
        filter: ItemFilter,
        key: ItemKey,
        *,
        sort: ItemSort = ItemSort.POSITION,
        is_reversed: bool = False,
    ) -> int | None:
        """Return how many items stand before this one; None when the filter leaves it out."""
        ...

    async def item(self, key: ItemKey) -> ItemDetail:
        """Return everything about one item."""
        ...

    async def log_range(
        self,
        key: ItemKey,
        *,
        attempt: int | None = None,
        offset: int = 0,
        length: int = 65_536,
        stream: Literal["log", "result"] = "log",
    ) -> LogChunk:
        """Return bytes of an attempt's log (None: the present one).

        A negative `offset` counts from the end. No log yet, or one that was pruned, is an empty
        chunk. A log that grew too long has lost its middle: a range ends where that begins, and
        one that would begin within it begins further on, with a line that says how much went.
        `offset + len(data)` of a chunk is where the next one begins.
        """
        ...


class EngineAPI(ItemReader, Protocol):
    """Watch and steer one engine.

    Every call may raise `EngineStoppedError`. A call that names convoys or items that do not exist
    raises `NotFoundError` and does nothing.
    """

    async def snapshot(self) -> Snapshot:
        """Return the whole picture."""
        ...

    def subscribe(
        self, since: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Snapshot | Event]]:
        """Open a stream: a snapshot, then every change after it, in order.

        A subscriber that knows everything up to `since` gets only later changes if the engine
        still has them, else a new snapshot. One that reads too slowly gets the newest state of
        each thing, and a new snapshot when even that would be too much. The stream ends with the
        engine.
        """
        ...

    async def history(
        self, *, period_s: float = 3600.0, points: int = 120, convoy_id: str | None = None
    ) -> History:
        """Return what the metrics say of the last `period_s` seconds.

        Args:
            period_s: How far to look back, in seconds; the retention limits it.
            points: Into how many stretches of equal length the series are summed up.
            convoy_id: Only operations of this convoy (the load is the machine's in any case).

        Raises:
            InputError: `period_s` or `points` is not positive, or there are over 2,000 points.
            StorageError: The metrics cannot be read.
        """
        ...

    async def preview(self, source: ConvoySource, *, cwd: str, limit: int = 20) -> Preview:
        """Say what a launch would run; problems are part of the answer, not raised."""
        ...

    async def launch(
        self,
        source: ConvoySource,
        *,
        env: Mapping[str, str],
        cwd: str,
        is_patient: bool = False,
    ) -> str:
        """Commit a convoy and let it start; return its id.

        Args:
            source: A convoy file, or an ad-hoc command.
            env: What its operations get as their environment.
            cwd: Where they run, unless it says otherwise.
            is_patient: Whether to wait, in the order of the calls, while too many writes wait for
                the disk.

        Raises:
            SpecError: The source has problems; nothing was written.
            BackpressureError: Too many writes wait for the disk and the caller is not patient;
                nothing was written.
        """
        ...

    async def cancel(
        self,
        targets: Sequence[ItemKey] | str,
        *,
        is_kill: bool = False,
        is_waiting: bool = True,
    ) -> Outcome:
        """Cancel items, or all of the convoy whose id is given.

        Once the wish is durable it is carried out, whether the caller waits for it or not.

        Args:
            targets: Items, or a convoy's id.
            is_kill: Whether there is no grace.
            is_waiting: Whether to return when their trees are gone; else once the wish is durable,
                with the items that it concerns.
        """
        ...

    async def retry(
        self, targets: Sequence[ItemKey], *, env: Mapping[str, str] | None = None
    ) -> Outcome:
        """Put ended items back to `pending`, attempt + 1, with what was skipped because of them.

        Left alone, and refused with the reason, is what has not ended, what needs something that
        did not complete and is not retried, too, and all of a convoy that is being cancelled.
        Without `env` the convoy's kept environment is used, if it is still there.
        """
        ...

    async def pause(self, convoy_id: str) -> None:
        """Start nothing more of the convoy; what runs goes on."""
        ...

    async def resume(self, convoy_id: str, *, env: Mapping[str, str] | None = None) -> None:
        """Let a paused or interrupted convoy start operations again."""
        ...

    async def set_parallelism(self, parallelism: int | None) -> int:
        """Pin the parallelism, or with None give it back to auto; return the size in force.

        Raises:
            InputError: Below 1, or not a whole number.
        """
        ...

    async def rescue(self, target: str) -> int:
        """Write a copy of the work state to a new file; return its size in bytes.

        It is made from what the engine has open, so that all that was acknowledged is in it even
        when the file itself was moved, deleted or overwritten.

        Args:
            target: Absolute path on the engine's machine, outside the work state's own place.

        Raises:
            InputError: There is a file already, or the path will not do; nothing was written.
            StorageError: It cannot be written.
        """
        ...

    async def wait(
        self, convoy_ids: Sequence[str], *, is_any: bool = False, timeout_s: float | None = None
    ) -> tuple[ConvoyView, ...]:
        """Return the convoys when all (or one) of them have ended.

        Raises:
            TimeoutError: They had not ended after `timeout_s`, in which an engine that has just
                begun also reads what earlier ones left.
        """
        ...

    async def stop(self, mode: StopMode = StopMode.INTERRUPT) -> None:
        """Take no more commands, deal with what runs, return when all is settled and committed.

        A second call with a harder mode hastens the first.
        """
        ...
