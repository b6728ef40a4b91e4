"""What is so now: asked of an engine in this process, or read from what one has committed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aisquad_core.execution.views import view_record
from aisquad_core.load.resource_monitor import ResourceMonitor
from aisquad_core.state.folder import engine_pid
from aisquad_core.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from aisquad_core.api import ConvoyView, EngineAPI
    from aisquad_core.clock import Clock
    from aisquad_core.load.resource_monitor import Sampler
    from aisquad_core.settings import Settings
    from aisquad_core.state.reader import Reader

AVERAGE_S = 60.0
"""Length of the window of `cpu_avg` and `memory_avg`."""
MOST_CONVOYS = 20
"""Convoys that a picture holds, those that have not ended first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineNote:
    """An engine, in what may hold names."""

    pid: int
    version: str
    started_at: datetime | None
    reason: str
    """Why the parallelism is what it is."""
    waiting: str | None = None
    """Why nothing starts although work waits; None also where only the engine itself knows."""
    trouble: str | None = None
    """What ails it; None also where only the engine itself knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writes:
    """The queue of writes that wait for the disk, in numbers."""

    pending: int
    capacity: int
    threshold: float
    """Fraction of the capacity, 0 to 1, over which launches are refused or wait."""
    launches_waiting: int
    launches_refused: int
    """Since the engine began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The machine, and how much runs on it, in numbers alone."""

    at: datetime
    cpu_percent: float
    """0 to 100, now."""
    memory_percent: float
    """0 to 100, now."""
    cpu_avg: float
    """Mean of the last minute, 0 to 100."""
    memory_avg: float
    """Mean of the last minute, 0 to 100."""
    cpu_count: float
    memory_bytes: int
    cpu_threshold: float
    memory_threshold: float
    is_engine_running: bool
    engine_started_at: datetime | None
    parallelism: int
    """Operations that may run at once; 0 without an engine."""
    baseline: int
    max: int
    auto: bool
    throttle: float
    """0 (none) to 1."""
    running: int
    queued: int
    writes: Writes | None = None
    """None: no engine is asked, and only it knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Everything of one moment."""

    load: Load
    engine: EngineNote | None
    """None: no engine runs."""
    convoys: tuple[ConvoyView, ...]
    """Those that have not ended, then the others, each newest first."""


class Live(Protocol):
    """Tells what is so now."""

    async def picture(self) -> Picture:
        """Return it.

        Raises:
            AISquadError: It cannot be had now.
            FileNotFoundError: There is no work state.
        """
        ...


class EngineLive:
    """What an engine on this loop says of itself.

    Args:
        engine: It.
    """

    def __init__(self, engine: EngineAPI) -> None:
        self._engine = engine

    async def picture(self) -> Picture:
        """Return the engine's own picture."""
        snapshot = await self._engine.snapshot()
        engine = snapshot.engine
        node = snapshot.nodes[0]
        recent = [
            load
            for load in snapshot.history
            if (snapshot.at - load.at).total_seconds() <= AVERAGE_S
        ]
        return Picture(
            load=Load(
                at=snapshot.at,
                cpu_percent=engine.cpu_percent,
                memory_percent=engine.memory_percent,
                cpu_avg=_mean([load.cpu_percent for load in recent], engine.cpu_percent),
                memory_avg=_mean([load.memory_percent for load in recent], engine.memory_percent),
                cpu_count=node.cpu_count,
                memory_bytes=node.memory_bytes,
                cpu_threshold=engine.cpu_threshold,
                memory_threshold=engine.memory_threshold,
                is_engine_running=True,
                engine_started_at=engine.started_at,
                parallelism=engine.parallelism,
                baseline=engine.baseline,
                max=engine.max,
                auto=engine.auto,
                throttle=engine.throttle,
                running=engine.running,
                queued=engine.queued,
                writes=Writes(
                    pending=engine.writes_pending,
                    capacity=engine.writes_capacity,
                    threshold=engine.writes_threshold,
                    launches_waiting=engine.launches_waiting,
                    launches_refused=engine.launches_refused,
                ),
            ),
            engine=EngineNote(
                pid=engine.pid,
                version=engine.version,
                started_at=engine.started_at,
                reason=engine.reason,
                waiting=engine.waiting,
                trouble=engine.trouble,
            ),
            convoys=_order(snapshot.convoys),
        )


class StoredLive:
    """What the work state says, beside the load of this machine; with an engine or without.

    Args:
        settings: Where it is, and what an engine would be allowed.
        reader: Reads it.
        clock: Time.
        sampler: Reads the machine's load; None: the machine itself.
    """

    def __init__(
        self, settings: Settings, reader: Reader, clock: Clock, sampler: Sampler | None = None
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._clock = clock
        self._monitor = ResourceMonitor(sampler, clock)

    async def keep_sampling(self) -> None:
        """Look at the machine every tick, until cancelled."""
        while True:
            await self._monitor.sample()
            await self._clock.sleep(self._settings.tick_s)

    async def picture(self) -> Picture:
        """Return what is committed, and the load."""
        settings = self._settings
        if not await asyncio.to_thread(settings.workstate_db.exists):
            raise FileNotFoundError(settings.workstate_db)
        pid = await asyncio.to_thread(engine_pid, settings.state_dir)
        facts = None if pid is None else await self._reader.engine_facts()
        convoys = await self._convoys()
        sample = self._monitor.get_current_metrics() or await self._monitor.sample()
        average = self._monitor.get_average(AVERAGE_S)
        return Picture(
            load=Load(
                at=self._clock.now(),
                cpu_percent=sample.cpu_percent,
                memory_percent=sample.memory_percent,
                cpu_avg=average.cpu_percent if average else sample.cpu_percent,
                memory_avg=average.memory_percent if average else sample.memory_percent,
                cpu_count=sample.cpu_count,
                memory_bytes=sample.memory_bytes,
                cpu_threshold=settings.cpu_threshold,
                memory_threshold=settings.memory_threshold,
                is_engine_running=pid is not None,
                engine_started_at=facts.started_at if facts else None,
                parallelism=facts.parallelism if facts else 0,
                baseline=facts.baseline if facts else settings.baseline_parallelism,
                max=facts.max if facts else settings.max_parallelism,
                auto=facts.auto if facts else settings.enable_auto_tuning,
                throttle=facts.throttle if facts else 0.0,
                running=sum(convoy.counts.running for convoy in convoys),
                queued=sum(convoy.counts.queued for convoy in convoys),
            ),
            engine=None
            if pid is None
            else EngineNote(
                pid=pid,
                version=facts.version if facts else __version__,
                started_at=facts.started_at if facts else None,
                reason=facts.reason if facts else "",
            ),
            convoys=_order(convoys),
        )

    async def _convoys(self) -> Sequence[ConvoyView]:
        """Return every convoy that has not ended, and the latest of the others."""
        records = {
            record.id: record
            for record in (
                *await self._reader.unfinished_convoys(),
                *reversed(await self._reader.convoys(limit=MOST_CONVOYS)),
            )
        }
        return [
            view_record(record, await self._reader.counts(record.id))
            for record in sorted(records.values(), key=lambda record: record.created_at)[::-1]
        ]


def _order(convoys: Iterable[ConvoyView]) -> tuple[ConvoyView, ...]:
    return tuple(sorted(convoys, key=lambda convoy: convoy.status.is_final))[:MOST_CONVOYS]


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
