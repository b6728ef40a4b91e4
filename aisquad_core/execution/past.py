"""The engine's memory of what was: the metrics, if they are on, and nothing if they are off."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from aisquad_core.api import History, check_history
from aisquad_core.errors import PoolError, StateError, StorageError
from aisquad_core.execution.recorder import Recorder
from aisquad_core.state.metrics import MetricsCollector

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType

    from aisquad_core.api import EngineView, Load
    from aisquad_core.clock import Clock
    from aisquad_core.execution.ledger import Observer
    from aisquad_core.execution.scheduler import Scheduler
    from aisquad_core.settings import Settings
    from aisquad_core.state.reader import Reader


class Past:
    """Records what the engine does and answers what it did: an async context manager.

    Args:
        settings: Whether, where and for how long metrics are kept.
        scheduler: The convoys in memory.
        clock: Time.
    """

    def __init__(self, settings: Settings, *, scheduler: Scheduler, clock: Clock) -> None:
        self._clock = clock
        self._metrics: MetricsCollector | None = None
        self._recorder: Recorder | None = None
        self._exits = AsyncExitStack()
        if settings.enable_metrics:
            self._metrics = MetricsCollector(
                settings.metrics_db, clock=clock, retention_days=settings.metrics_retention_days
            )
            self._recorder = Recorder(self._metrics, scheduler)

    async def __aenter__(self) -> Self:
        """Begin to save; the caller holds the state folder."""
        if self._metrics is not None:
            await self._exits.enter_async_context(self._metrics)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Save how everything stands now, also when the caller failed or is cancelled."""
        if self._recorder is not None:
            self._recorder.record_convoys()
        await self._exits.aclose()

    @property
    def observers(self) -> list[Observer]:
        """Who is to be told of what is committed."""
        return [] if self._recorder is None else [self._recorder]

    @property
    def trouble(self) -> str | None:
        """Why nothing is recorded just now; None when well, or when metrics are off."""
        return None if self._metrics is None else self._metrics.trouble

    def sampled(self, load: Load, engine: EngineView) -> None:
        """Record what a tick saw."""
        if self._recorder is not None:
            self._recorder.sampled(load, engine)

    def resized(self, at: datetime, previous: int, engine: EngineView) -> None:
        """Record a change of the parallelism."""
        if self._recorder is not None:
            self._recorder.resized(at, previous, engine)

    async def catch_up(self, reader: Reader) -> None:
        """Record the ends of convoys whose end a crash kept from the metrics, if that can be.

        Metrics that cannot be read now may be read at the next try, and saving says what ails them.
        """
        if self._recorder is not None:
            with suppress(StateError, PoolError):
                await self._recorder.catch_up(reader)

    async def history(self, *, period_s: float, points: int, convoy_id: str | None) -> History:
        """Return what `EngineAPI.history` says; everything that ended before is in it.

        Raises:
            InputError: As there.
            StorageError: The metrics cannot be read.
        """
        if self._metrics is None:
            check_history(period_s, points)
            now = self._clock.now()
            return History(is_recorded=False, start=now - timedelta(seconds=period_s), end=now)
        try:
            with suppress(StorageError):  # what cannot be saved just now is said as `trouble`
                await self._metrics.flush()
            return await self._metrics.history(
                period_s=period_s, points=points, convoy_id=convoy_id
            )
        except (StateError, PoolError) as error:
            raise StorageError(str(error)) from error
