"""The ways to the work: a running engine's own API, or the work state alone.

`open_engine` takes the state folder and runs; `open_reader` needs no engine, starts nothing and
reads what is committed, beside an engine or without one.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from aisquad_core.api import ItemReader
from aisquad_core.clock import SystemClock
from aisquad_core.errors import EngineRunningError, NoEngineError
from aisquad_core.execution import queries
from aisquad_core.execution.process import LocalRunner
from aisquad_core.execution.queries import Queries
from aisquad_core.model import WorkStatus
from aisquad_core.state.folder import engine_pid
from aisquad_core.state.reader import Reader
from aisquad_core.version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime
    from pathlib import Path

    from aisquad_core.api import (
        ConvoyView,
        EngineAPI,
        ItemView,
        Preview,
    )
    from aisquad_core.model import ItemKey
    from aisquad_core.settings import Settings
    from aisquad_core.spec import ConvoySource


_COMPLETIONS = 200
_PATIENCE_S = 2.0
"""An engine takes the folder a moment before it listens."""
_LOOK_AGAIN_S = 0.05
_NO_ENGINE = (
    "no engine runs here; `aisquad up` starts one, `aisquad run FILE` runs a convoy without"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """The engine of a state folder as another process sees it."""

    pid: int | None
    """None: no engine runs."""
    version: str
    sqlite_version: str
    state_dir: str
    started_at: datetime | None
    parallelism: int
    """Operations that may run at once; 0 without an engine."""
    baseline: int
    max: int
    auto: bool
    running: int
    queued: int
    cpu_percent: float
    memory_percent: float
    throttle: float
    reason: str
    """Why the parallelism is what it is, in words."""
    wal_bytes: int = 0
    """Size of the database's write-ahead log."""
    oldest_reader_s: float | None = None
    """Seconds of the engine's longest read of the database; None: known to the engine alone."""
    trouble: str | None = None
    """What ails the engine, as far as it can be told from outside; None when well."""


class WorkReader(ItemReader, Protocol):
    """What can be read without an engine."""

    async def convoys(self) -> tuple[ConvoyView, ...]:
        """Return all convoys, newest first."""
        ...

    async def resolve_convoy(self, prefix: str) -> str:
        """Return the id of the one convoy that begins so.

        Raises:
            NotFoundError: None does, or several.
        """
        ...

    async def resolve_item(self, text: str) -> ItemKey:
        """Return the item that `CONVOY/ITEM`, or an item's id alone, names.

        Raises:
            NotFoundError: None is, or several could be meant.
        """
        ...

    async def complete(self, prefix: str) -> tuple[str, ...]:
        """Return ids of items that begin so, for a shell's completion."""
        ...

    async def status(self) -> EngineStatus:
        """Return what is known of the engine."""
        ...


@asynccontextmanager
async def open_engine(
    settings: Settings, *, is_resuming_all: bool = False
) -> AsyncIterator[EngineAPI]:
    """Run an engine on this loop for as long as the context lasts.

    Args:
        settings: What the operator set.
        is_resuming_all: Whether convoys that were interrupted go on by themselves.

    Raises:
        EngineRunningError: Another engine holds the state folder.
        StateFolderError: The state folder must not be used.
    """
    from aisquad_core.engine import Engine  # noqa: PLC0415 - commands that only read do not pay

    async with Engine(settings, is_resuming=is_resuming_all) as engine:
        yield engine


@asynccontextmanager
async def serve_engine(
    settings: Settings, *, on_stopped: Callable[[], None] = lambda: None
) -> AsyncIterator[EngineAPI]:
    """Run an engine on this loop that this user's other processes can reach.

    Args:
        settings: What the operator set.
        on_stopped: Called when one of them has stopped it.

    Raises:
        EngineRunningError: Another engine holds the state folder.
        StateFolderError: The state folder must not be used.
    """
    from aisquad_core.daemon import Server  # noqa: PLC0415 - commands that only read do not pay

    async with (
        open_engine(settings) as engine,
        Server(engine, settings.state_dir, on_stopped=on_stopped),
    ):
        yield engine


@dataclass(frozen=True, slots=True)
class Reached:
    """An engine, and whose it is."""

    api: EngineAPI
    pid: int | None
    """The process that it lives in; None: this one, and it ends with the context."""


@asynccontextmanager
async def open_client(
    settings: Settings, *, patience_s: float | None = None
) -> AsyncIterator[Reached]:
    """Reach the engine that runs on the state folder.

    Args:
        settings: Where it is.
        patience_s: How long to wait for an engine that holds the folder and does not listen yet;
            None: as long as that may take.

    Raises:
        NoEngineError: None runs.
        EngineRunningError: One runs that takes no commands from elsewhere.
        EngineSilentError: One runs and does not answer.
        ProtocolError: It is of another version.
        StateFolderError: The folder, or who listens there, is not the user's own.
    """
    from aisquad_core.client import SocketEngine  # noqa: PLC0415 - commands that read do not pay

    clock = SystemClock()
    deadline_s = clock.monotonic() + (_PATIENCE_S if patience_s is None else patience_s)
    async with AsyncExitStack() as stack:
        while True:
            try:
                client = await stack.enter_async_context(SocketEngine(settings.state_dir))
                break
            except NoEngineError:
                pid = await asyncio.to_thread(engine_pid, settings.state_dir)
                if pid is None:
                    raise NoEngineError(_NO_ENGINE) from None
                if clock.monotonic() >= deadline_s:
                    raise EngineRunningError(
                        settings.state_dir, pid or None, takes_no_commands=True
                    ) from None
            await clock.sleep(_LOOK_AGAIN_S)
        yield Reached(client, client.peer.pid)


@asynccontextmanager
async def reach_engine(settings: Settings) -> AsyncIterator[Reached]:
    """Reach the engine that runs; if none does, run one on this loop that others can reach.

    Raises:
        EngineRunningError: One runs that takes no commands from elsewhere.
        ProtocolError: The engine that runs is of another version.
        StateFolderError: The state folder must not be used.
    """
    async with AsyncExitStack() as stack:
        reached: Reached | None = None
        if await asyncio.to_thread(engine_pid, settings.state_dir) is None:
            try:
                engine = await stack.enter_async_context(serve_engine(settings))
            except EngineRunningError:  # somebody was faster
                pass
            else:
                reached = Reached(engine, None)
        if reached is None:
            reached = await stack.enter_async_context(open_client(settings))
        yield reached


async def holder_pid(settings: Settings) -> int | None:
    """Return the pid of the process that holds the state folder.

    Returns:
        None if none does; 0 if one does and its pid cannot be read.
    """
    return await asyncio.to_thread(engine_pid, settings.state_dir)


def preview(source: ConvoySource, settings: Settings, *, cwd: str, limit: int) -> Preview:
    """Say what a launch would run, without an engine (blocking).

    Args:
        source: The convoy file or ad-hoc command.
        settings: Where the agents are.
        cwd: Absolute folder where it would be launched.
        limit: Most operations to list.
    """
    return queries.preview(source, agents=settings.agents, cwd=cwd, limit=limit)


@asynccontextmanager
async def open_reader(settings: Settings) -> AsyncIterator[WorkReader]:
    """Read the work state, with or without an engine."""
    async with Reader.open(settings.workstate_db) as reader:
        yield _StoredWork(settings, reader, await asyncio.to_thread(engine_pid, settings.state_dir))


class _StoredWork(Queries):
    """The work state alone; knows of the engine only whether there is one."""

    def __init__(self, settings: Settings, reader: Reader, pid: int | None) -> None:
        runner = LocalRunner(settings.state_dir.absolute() / "runs", clock=SystemClock())
        super().__init__(reader=reader, runner=runner, why=self._why_stored)
        self._settings = settings
        self._pid = pid
        self.resolve_convoy = reader.resolve_convoy
        self.resolve_item = reader.resolve_item

    async def complete(self, prefix: str) -> tuple[str, ...]:
        """Return ids of items that begin so."""
        ids = await self._reader.item_ids(prefix, limit=_COMPLETIONS)
        return tuple(ids)

    async def status(self) -> EngineStatus:
        """Return what the engine wrote of itself, beside the load of now."""
        from aisquad_core.load.resource_monitor import SystemSampler  # noqa: PLC0415 - only here

        self._pid = await asyncio.to_thread(engine_pid, self._settings.state_dir)
        facts = await self._reader.engine_facts() if self._pid is not None else None
        counts = await self._reader.counts()
        load = await asyncio.to_thread(SystemSampler().read)
        wal_bytes = await asyncio.to_thread(_wal_bytes, self._settings.workstate_db)
        return EngineStatus(
            pid=self._pid,
            version=facts.version if facts else __version__,
            sqlite_version=sqlite3.sqlite_version,
            state_dir=str(self._settings.state_dir),
            started_at=facts.started_at if facts else None,
            parallelism=facts.parallelism if facts else 0,
            baseline=facts.baseline if facts else self._settings.baseline_parallelism,
            max=facts.max if facts else self._settings.max_parallelism,
            auto=facts.auto if facts else self._settings.enable_auto_tuning,
            running=counts.running,
            queued=counts.queued,
            cpu_percent=round(load.cpu_percent, 1),
            memory_percent=round(load.memory_percent, 1),
            throttle=facts.throttle if facts else 0.0,
            reason=facts.reason if facts else "no engine runs",
            wal_bytes=wal_bytes,
        )

    async def convoys(self) -> tuple[ConvoyView, ...]:
        """Return all convoys, newest first; those that nobody works on say how to continue."""
        views = await super().convoys()
        if self._pid is not None:
            return views
        return tuple(
            view
            if view.status.is_final or view.reason is not None
            else replace(view, reason=_continue(view.id))
            for view in views
        )

    def _why_stored(self, view: ItemView) -> str | None:
        if view.status is not WorkStatus.PENDING or view.reason is not None:
            return None
        if self._pid is not None:
            return f"waits for a free slot in the engine with pid {self._pid}"
        return _continue(view.convoy_id)


def _wal_bytes(database: Path) -> int:
    try:
        return database.with_name(f"{database.name}-wal").stat().st_size
    except FileNotFoundError:
        return 0


def _continue(convoy_id: str) -> str:
    return f"no engine runs: `aisquad run --resume {convoy_id}` continues it"
