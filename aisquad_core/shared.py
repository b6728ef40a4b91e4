"""One of each part for a script: made from the settings of its folder when first asked for.

An engine uses none of this: it makes its parts itself and hands them on. What only counts is there
at once; what opens a file or a port is awaited, and stays open until `close_globals`. A loop that
ends before (`asyncio.run` cancels what is left on it) closes it, too: what was acknowledged is
kept, but metrics of the last second are lost, as in a crash.

All of it belongs to the event loop on which it is first used. Once that has ended, the next loop
gets new instances; two loops at a time cannot share them.
"""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from aisquad_core.clock import SystemClock
from aisquad_core.errors import InputError, StateError
from aisquad_core.load.backpressure import StorageBackpressure
from aisquad_core.load.rate_limiter import Quota, RateLimiter
from aisquad_core.settings import load_settings
from aisquad_core.state.connection_pool import ConnectionPool
from aisquad_core.state.folder import StateFolder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from aisquad_core.load.resource_monitor import ResourceMonitor
    from aisquad_core.monitoring import Monitoring
    from aisquad_core.settings import Settings
    from aisquad_core.state.connection_pool import PooledReader
    from aisquad_core.state.metrics import MetricsCollector
    from aisquad_core.state.workstate import WorkState

_T = TypeVar("_T")


def get_global_pool() -> ConnectionPool:
    """Return the readers of the work state, also while an engine writes it."""
    return _present().pool


def get_global_backpressure() -> StorageBackpressure:
    """Return the bound on this script's writes under way."""
    return _present().backpressure


def get_global_rate_limiter(limit: int | None = None, window: float = 60.0) -> RateLimiter:
    """Return the limiter of starts, a bucket for each agent.

    Args:
        limit: Starts of each agent without a limit of its own in a window; None: `rate_limit` of
            the settings, 100 unless somebody set it. The first call decides.
        window: In seconds.

    Raises:
        InputError: It is there already, with another limit; or the limit is not positive.
    """
    return _present().get_rate_limiter(limit, window)


def get_global_monitor() -> ResourceMonitor:
    """Return the monitor of this machine's load; `await sample()` looks."""
    return _present().monitor


async def get_global_collector() -> MetricsCollector:
    """Open the metrics for recording, unless they are, and return their collector.

    Raises:
        EngineRunningError: An engine holds the state folder, and records.
        InputError: Metrics are off (`enable_metrics`).
        StateFolderError: The state folder must not be used.
    """
    return await _present().open_collector()


async def get_storage() -> WorkState:
    """Open the work state for writing, unless it is, and return it.

    Raises:
        EngineRunningError: An engine holds the state folder, and writes.
        StateFolderError: The state folder must not be used.
        StorageError: It cannot be opened.
    """
    return await _present().open_storage()


async def start_monitoring_api(port: int | None = None) -> Monitoring:
    """Serve the monitoring API from this process, beside an engine or without one.

    Args:
        port: Where it listens; None: `monitoring_port` of the settings; 0: any that is free.

    Returns:
        What is served; `url` tells where.

    Raises:
        InputError: It is served already, on another port.
        OSError: It cannot listen there.
    """
    return await _present().serve_monitoring(port)


async def close_globals() -> None:
    """Commit, close and forget all of it; whoever asks later gets new instances."""
    shared = _forget()
    if shared is not None:
        await shared.close()


class _Globals:
    """The instances of one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        """On which they are used; None: not yet."""
        self._settings = settings
        self._clock = SystemClock()
        self._keeper = _Keeper()
        self.pool: ConnectionPool = _SharedPool(settings, self._keeper)
        self.backpressure = StorageBackpressure(
            threshold=settings.backpressure_threshold, clock=self._clock
        )
        self._limiter: tuple[tuple[int | None, float], RateLimiter] | None = None
        """What it was asked for with, and it."""
        self._monitor: ResourceMonitor | None = None

    def get_rate_limiter(self, limit: int | None, window_s: float) -> RateLimiter:
        if limit is not None and (limit < 1 or not 0 < window_s < float("inf")):
            raise InputError(f"{limit} starts in {window_s:g} s: expected positive numbers")
        asked = limit, window_s
        if self._limiter is None:
            quota = None
            if limit is not None:
                burst = min(self._settings.rate_burst, limit)
                quota = Quota(per_minute=limit * 60 / window_s, burst=burst)
            limiter = RateLimiter.from_settings(self._settings, self._clock, quota=quota)
            self._limiter = asked, limiter
        if limit is not None and self._limiter[0] != asked:
            raise InputError(
                f"the shared rate limiter is there already, and not with {limit} starts in "
                f"{window_s:g} s; `await close_globals()` first, or make a RateLimiter"
            )
        return self._limiter[1]

    @property
    def monitor(self) -> ResourceMonitor:
        from aisquad_core.load.resource_monitor import ResourceMonitor  # noqa: PLC0415 - psutil
        from aisquad_core.load.tuning import Thresholds  # noqa: PLC0415

        if self._monitor is None:
            thresholds = Thresholds(
                cpu_percent=self._settings.cpu_threshold,
                memory_percent=self._settings.memory_threshold,
            )
            self._monitor = ResourceMonitor(clock=self._clock, thresholds=thresholds)
        return self._monitor

    async def open_storage(self) -> WorkState:
        from aisquad_core.state.workstate import WorkState  # noqa: PLC0415 - a pool does not pay

        settings = self._settings
        await self._hold_folder()
        return await self._keeper.open(
            WorkState,
            lambda: WorkState(
                settings.workstate_db,
                clock=self._clock,
                pool_size=settings.pool_size,
                use_pooling=settings.use_pooling,
            ),
        )

    async def open_collector(self) -> MetricsCollector:
        from aisquad_core.state.metrics import MetricsCollector  # noqa: PLC0415

        settings = self._settings
        if not settings.enable_metrics:
            raise InputError(
                f"metrics are off: {settings.sources.get('enable_metrics', 'enable_metrics')}"
            )
        await self._hold_folder()
        return await self._keeper.open(
            MetricsCollector,
            lambda: MetricsCollector(
                settings.metrics_db,
                clock=self._clock,
                retention_days=settings.metrics_retention_days,
            ),
        )

    async def serve_monitoring(self, port: int | None) -> Monitoring:
        from aisquad_core.monitoring import Monitoring  # noqa: PLC0415 - aiohttp is not light

        served = await self._keeper.open(Monitoring, lambda: Monitoring(self._settings, port=port))
        if port and served.port != port:
            raise InputError(f"the monitoring API is served already, at {served.url}")
        return served

    async def close(self) -> None:
        await self._keeper.close()

    async def _hold_folder(self) -> None:
        """Take the state folder as an engine does, so that nobody else writes meanwhile."""
        await self._keeper.open(StateFolder, lambda: _holding(self._settings.state_dir))


class _Keeper:
    """Opens things and closes them in the other order, in one task that holds them."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        """One opens after the other, so that each is opened once."""
        self._wishes: asyncio.Queue[_Wish | None] = asyncio.Queue()
        self._opened: dict[object, object] = {}
        self._failure: Exception | None = None
        """What went wrong while things were closed."""

    async def open(self, kind: type[_T], make: Callable[[], AbstractAsyncContextManager[_T]]) -> _T:
        """Return what is open of a kind; open it if nothing is."""
        async with self._turn:
            if kind not in self._opened:
                if self._task is None:
                    await self._group.__aenter__()
                    self._task = self._group.create_task(self._keep())
                wish = _Wish(kind, make)
                self._wishes.put_nowait(wish)
                # A caller that is cancelled does not stop this: what is opened is kept.
                await asyncio.wait([wish.done, self._task], return_when=asyncio.FIRST_COMPLETED)
                if not wish.done.done():
                    raise StateError("the shared instances are closed")
                wish.done.result()
        opened = self._opened[kind]
        assert isinstance(opened, kind)
        return opened

    async def close(self) -> None:
        """Close everything, the last first."""
        async with self._turn:
            if self._task is not None:
                self._wishes.put_nowait(None)
                await self._group.__aexit__(None, None, None)
        if self._failure is not None:
            raise self._failure

    async def _keep(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                while (wish := await self._wishes.get()) is not None:
                    await self._fulfil(wish, stack)
        except Exception as error:  # of what was closed; `close` raises it
            self._failure = error

    async def _fulfil(self, wish: _Wish, stack: AsyncExitStack) -> None:
        try:
            if wish.kind not in self._opened:  # else for somebody who was cancelled meanwhile
                self._opened[wish.kind] = await stack.enter_async_context(wish.make())
        except Exception as error:  # it goes to who asked
            wish.done.set_exception(error)
            wish.done.exception()  # looked at: who asked may be gone
        else:
            wish.done.set_result(None)


class _Wish:
    """Something to be opened by the task that will close it."""

    def __init__(
        self, kind: object, make: Callable[[], AbstractAsyncContextManager[object]]
    ) -> None:
        self.kind = kind
        self.make = make
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class _SharedPool(ConnectionPool):
    """The readers; what they keep open is closed with the rest."""

    def __init__(self, settings: Settings, keeper: _Keeper) -> None:
        self._keeper = keeper
        super().__init__(
            settings.workstate_db, size=settings.pool_size, is_keeping=settings.use_pooling
        )

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[PooledReader]:
        """Lend out a healthy reader; see `ConnectionPool.acquire`."""
        await self._keeper.open(_SharedPool, lambda: _closing(self))
        async with super().acquire() as reader:
            yield reader


@asynccontextmanager
async def _closing(pool: _SharedPool) -> AsyncIterator[_SharedPool]:
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def _holding(path: Path) -> AsyncIterator[StateFolder]:
    folder = StateFolder(path)
    await asyncio.to_thread(folder.acquire)
    try:
        yield folder
    finally:
        folder.release()


_gate = threading.Lock()
"""Guards the next one."""
_shared: _Globals | None = None


def _present() -> _Globals:
    """Return the instances of the running loop; make them if there are none.

    Raises:
        InputError: They belong to another loop that has not ended.
    """
    global _shared  # noqa: PLW0603 - that is what this module is about
    try:
        loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    with _gate:
        shared = _shared
        if shared is not None and shared.loop is not None and shared.loop.is_closed():
            shared = None
        if shared is None:
            settings = load_settings(cwd=Path.cwd(), environ=os.environ, flags={})
            _shared = shared = _Globals(settings)
        if shared.loop is None:
            shared.loop = loop
        elif loop is not None and loop is not shared.loop:
            raise InputError(
                "the shared instances belong to another event loop, which has not ended: "
                "`await close_globals()` there first"
            )
        return shared


def _forget() -> _Globals | None:
    global _shared
    with _gate:
        shared, _shared = _shared, None
    return shared
