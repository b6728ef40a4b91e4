"""One start of one attempt while it lives: what the executor keeps of it beside its task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from aisquad_core.execution.runner import Exit, StartRef

if TYPE_CHECKING:
    from datetime import datetime

    from aisquad_core.execution.scheduler import Task
    from aisquad_core.model import Operation, StopReason


class StopRequest(NamedTuple):
    """Asks a run to end its operation."""

    reason: StopReason
    grace_s: float
    error: str | None = None
    """For a timeout: which time was over."""


class Run:
    """One start of one attempt, from its pick until its end is committed."""

    __slots__ = (
        "body",
        "inbox",
        "is_calling",
        "is_signalled",
        "is_undecided",
        "noted",
        "operation",
        "request",
        "settled",
        "started_at",
        "task",
        "token",
    )

    def __init__(self, task: Task, token: str, *, started_at: datetime | None = None) -> None:
        self.task = task
        self.token = token
        """Names the process's start; empty for an async callable."""
        self.started_at = started_at
        self.operation: Operation | None = None
        self.request: StopRequest | None = None
        self.inbox: asyncio.Queue[Exit | StopRequest] | None = None
        self.body: asyncio.Task[None] | None = None
        self.is_calling = False
        self.is_signalled = False
        self.is_undecided = False
        """Whether an earlier engine started it, and it cannot be told yet whether it runs."""
        self.noted = asyncio.Event()
        """Set while the newest request is durable, or no longer needed: the run has ended."""
        self.settled = asyncio.Event()

    @property
    def ref(self) -> StartRef:
        """The start's name for the runner."""
        convoy_id, item_id = self.task.key
        return StartRef(convoy_id, item_id, self.task.attempt, self.token)

    def is_stopping(self) -> bool:
        """Whether it has been asked to end."""
        return self.request is not None

    @property
    def is_process(self) -> bool:
        """Whether it is a process, which can outlive the engine, and not an async callable."""
        return self.task.call is None
