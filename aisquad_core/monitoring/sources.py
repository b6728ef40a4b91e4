"""Where the figures come from, and whether each source is well.

A database that is missing, locked or broken is one part that is ill: whoever asks for what comes
from it is told so, and everything else is still answered.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from aisquad_core.errors import EngineError, PoolError, StateError
from aisquad_core.monitoring.live import EngineLive, StoredLive
from aisquad_core.monitoring.recent import Recent
from aisquad_core.state.connection_pool import ConnectionPool
from aisquad_core.state.metrics.ended import EndedOperations
from aisquad_core.state.metrics.reader import MetricsReader
from aisquad_core.state.reader import Reader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from typing import Self

    from aisquad_core.api import AgentFigures, EngineAPI, ResizeNote, StatusCounts
    from aisquad_core.clock import Clock
    from aisquad_core.load.resource_monitor import Sampler
    from aisquad_core.monitoring.live import Live, Picture
    from aisquad_core.settings import Settings
    from aisquad_core.state.metrics.ended import EndedTotals
    from aisquad_core.state.metrics.figures import (
        ConvoyMetrics,
        ConvoyStats,
        OperationFailure,
        ResourceMetrics,
    )

Part = Literal["engine", "workstate", "metrics"]
Condition = Literal["ok", "ill", "away", "off"]
"""`away`: no engine runs; `off`: nothing is recorded, by the operator's wish."""

READ_WAIT_S = 10.0
"""Longest for one read."""
_BUSY_WAIT_S = 1.0
"""How much of it is for a database that somebody else has locked."""
_OFF = "nothing is recorded: enable_metrics is false"
_MISSING = "there is no database yet"
_READERS = 2


class PartError(Exception):
    """A part cannot be read now."""

    def __init__(self, part: Part, detail: str) -> None:
        self.part: Part = part
        self.detail = detail
        """Why, in words; may hold a path."""
        super().__init__(f"{part}: {detail}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartHealth:
    """How one part is."""

    condition: Condition
    detail: str | None = None
    """Why it is not `ok`, in words; may hold a path."""


class Sources:
    """Everything that is asked for figures: an async context manager.

    Args:
        settings: Where the databases are.
        clock: Time.
        engine: An engine on this loop; None: what one has committed is read.
        sampler: Reads the machine's load where no engine tells it; None: the machine itself.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        engine: EngineAPI | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        self._settings = settings
        self._work_pool = ConnectionPool(
            settings.workstate_db, size=_READERS, busy_wait_s=_BUSY_WAIT_S
        )
        self._metrics_pool = ConnectionPool(
            settings.metrics_db, size=_READERS, database="metrics", busy_wait_s=_BUSY_WAIT_S
        )
        self._work = Reader(self._work_pool)
        self._metrics = MetricsReader(settings.metrics_db, clock=clock)
        self._recent = Recent(clock)
        self._ended = EndedOperations(self._metrics_pool)
        self._live: Live
        self._stored: StoredLive | None = None
        if engine is None:
            self._live = self._stored = StoredLive(settings, self._work, clock, sampler)
        else:
            self._live = EngineLive(engine)
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Begin; databases are opened when they are first read."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._work_pool.close)
            stack.push_async_callback(self._metrics_pool.close)
            await stack.enter_async_context(self._metrics)
            await self._ended.begin()
            if self._stored is not None:
                tasks = await stack.enter_async_context(asyncio.TaskGroup())
                stack.callback(tasks.create_task(self._stored.keep_sampling()).cancel)
            self._exits = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close what was opened."""
        await self._exits.aclose()

    async def picture(self) -> Picture:
        """Return what is so now."""
        async with _reading("engine" if self._stored is None else "workstate"):
            return await self._live.picture()

    async def counts(self) -> StatusCounts:
        """Return how many work items stand where, all that there are."""
        async with _reading("workstate"):
            await _probe(self._work_pool)
            return await self._work.counts()

    async def convoys(self, limit: int) -> tuple[ConvoyMetrics, ...]:
        """Return the convoys that began last, newest first."""
        async with self._reading_metrics():
            return await self._metrics.get_recent_convoy_metrics(limit)

    async def stats(self, minutes: int) -> ConvoyStats:
        """Sum up the last minutes."""
        async with self._reading_metrics():
            return await self._recent.get(
                ("stats", minutes), lambda: self._metrics.get_convoy_stats(minutes)
            )

    async def resources(self, minutes: int, points: int) -> tuple[ResourceMetrics, ...]:
        """Return the load of the last minutes, oldest first."""
        async with self._reading_metrics():
            return await self._recent.get(
                ("resources", minutes, points),
                lambda: self._metrics.get_resource_metrics(minutes, points),
            )

    async def failures(self, limit: int) -> tuple[OperationFailure, ...]:
        """Return the operations that failed last, newest first."""
        async with self._reading_metrics():
            return await self._metrics.get_recent_failures(limit)

    async def agents(self, minutes: int) -> tuple[AgentFigures, ...]:
        """Sum up the last minutes by agent, the busiest first."""
        async with self._reading_metrics():
            return await self._recent.get(
                ("agents", minutes), lambda: self._metrics.get_agent_stats(minutes)
            )

    async def resizes(self, minutes: int, limit: int) -> tuple[ResizeNote, ...]:
        """Return the latest changes of the parallelism, oldest first."""
        async with self._reading_metrics():
            return await self._metrics.get_resizes(minutes, limit)

    async def ended(self) -> EndedTotals:
        """Return what has ended since this began."""
        async with self._reading_metrics():
            return await self._ended.read()

    async def health(self) -> Mapping[Part, PartHealth]:
        """Look at every part."""
        return {
            "engine": await self._engine_health(),
            "workstate": await self._database_health("workstate", self._work_pool),
            "metrics": await self._database_health("metrics", self._metrics_pool),
        }

    async def _engine_health(self) -> PartHealth:
        try:
            engine = (await self.picture()).engine
        except PartError as error:
            if self._stored is not None:  # it is the work state that is ill, and says so itself
                return PartHealth(condition="away", detail="not known without the work state")
            return PartHealth(condition="ill", detail=error.detail)
        if engine is None:
            return PartHealth(condition="away", detail="no engine runs")
        if engine.trouble is not None:
            return PartHealth(condition="ill", detail=engine.trouble)
        return PartHealth(condition="ok")

    async def _database_health(self, part: Part, pool: ConnectionPool) -> PartHealth:
        if part == "metrics" and not self._settings.enable_metrics:
            return PartHealth(condition="off", detail=_OFF)
        try:
            async with _reading(part):
                await _probe(pool)
        except PartError as error:
            return PartHealth(condition="ill", detail=error.detail)
        return PartHealth(condition="ok")

    @asynccontextmanager
    async def _reading_metrics(self) -> AsyncIterator[None]:
        if not self._settings.enable_metrics:
            raise PartError("metrics", _OFF)
        async with _reading("metrics"):
            await _probe(self._metrics_pool)
            yield


@asynccontextmanager
async def _reading(part: Part) -> AsyncIterator[None]:
    """Blame a part for what goes wrong while it is read."""
    try:
        async with asyncio.timeout(READ_WAIT_S):
            yield
    except FileNotFoundError as error:
        raise PartError(part, _MISSING) from error
    except TimeoutError as error:
        raise PartError(part, f"it did not answer within {READ_WAIT_S:g} s") from error
    except (StateError, PoolError, EngineError, sqlite3.Error, OSError) as error:
        raise PartError(part, str(error)) from error


async def _probe(pool: ConnectionPool) -> None:
    """Read something, since an empty answer does not tell whether there is a database.

    Raises:
        FileNotFoundError: There is none.
        StateError, PoolError: It cannot be read.
    """
    await pool.run(lambda connection: connection.execute("PRAGMA schema_version").fetchall())
