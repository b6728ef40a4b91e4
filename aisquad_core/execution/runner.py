"""The seam between the executor and whatever runs an operation.

The executor names a start by its `StartRef` and never sees a pid. One start has one folder, one
token, and exactly one end on the stream of exits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from aisquad_core.api import LogChunk
    from aisquad_core.execution.usage import Usage
    from aisquad_core.model import Operation


class StartRef(NamedTuple):
    """Names one start of one attempt; its folder is computed from this."""

    convoy_id: str
    item_id: str
    attempt: int
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequest:
    """Everything that one start needs."""

    ref: StartRef
    operation: Operation
    cwd: str
    """Absolute folder to run in."""
    env: Mapping[str, str] = field(repr=False)
    """The whole environment, without the AISQUAD_* variables, which the runner adds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """The end of one start."""

    token: str
    exit_code: int | None
    """0 to 255; None: lost, nobody wrote down how it ended."""
    did_run: bool = True
    """False: its command never began and never will, as with `Finding.NEVER_RAN`."""
    error: str | None = None
    """What went wrong, in one sanitised line, when more is known than the exit code."""
    finished_at: datetime | None = None
    """When the launcher wrote `exit`; None: now."""


class Finding(StrEnum):
    """What contesting an unsettled start found."""

    NEVER_RAN = "never_ran"
    """That token never ran and never will."""
    ENDED = "ended"
    """Its `exit` is complete."""
    ALIVE = "alive"
    """It runs, or may yet begin, and is adopted: its end comes on the stream of exits."""
    LOST = "lost"
    """It died unseen; its tree has been stopped."""
    UNKNOWN = "unknown"
    """Cannot tell (no space, no permission): decide nothing, ask again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """The result of contesting one start."""

    finding: Finding
    exit: Exit | None = None
    """For ENDED and LOST."""
    reason: str | None = None
    """In words, for LOST and UNKNOWN."""
    running_for_s: float = 0.0
    """For ALIVE: seconds since its process began."""


class Runner(Protocol):
    """Starts, watches, stops and adopts operations; all calls are idempotent by token."""

    async def __aenter__(self) -> Self:
        """Begin to watch."""
        ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Stop watching; what still runs, runs on."""
        ...

    async def prepare(self, request: StartRequest) -> None:
        """Make the start's folder, before the intent to start is committed.

        Raises:
            RunnerError: The folder cannot be made.
        """
        ...

    async def start(self, request: StartRequest) -> None:
        """Start the operation, after its intent is committed; return once it was forked.

        A call that was cancelled may have started it all the same: its end then comes on the
        stream of exits.

        Raises:
            RunnerError: Nothing was started, and that token never will.
        """
        ...

    async def stop(self, ref: StartRef, *, grace_s: float) -> None:
        """End the whole tree: TERM, grace, stopped sweep, KILL; return when it is gone.

        Its end comes on the stream of exits, too, when the tree is gone. A second call with less
        grace hastens the first. Unknown or ended starts are no error. A cancelled call stops on.
        """
        ...

    async def contest(self, ref: StartRef, *, boot_id: str | None) -> Contest:
        """Find out what became of a start that another engine left `in_progress`."""
        ...

    def exits(self) -> AsyncIterator[Exit]:
        """Return the stream of ends; one consumer."""
        ...

    def pid(self, token: str) -> int | None:
        """Return the launcher's pid while it runs, for people to see."""
        ...

    async def log_range(
        self,
        ref: StartRef,
        *,
        offset: int,
        length: int,
        stream: Literal["log", "result"] = "log",
    ) -> LogChunk:
        """Return bytes of the start's output; a negative offset counts from the end."""
        ...

    async def inventory(self) -> dict[str, str]:
        """Return the tokens of all starts whose launcher lives, each with its folder."""
        ...

    async def last_lines(self, refs: list[StartRef]) -> dict[str, str]:
        """Return token to newest non-empty output line, sanitised, at most 200 characters."""
        ...

    async def usage(self, ref: StartRef) -> Usage | None:
        """Return what the processes of a start use; None unless it runs here."""
        ...
