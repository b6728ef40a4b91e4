"""The parts of an engine, each made from those that it uses; none of them has begun anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_core.events import EventHub
from aisquad_core.execution.admission import Admission
from aisquad_core.execution.cancels import Cancels
from aisquad_core.execution.commands import Commands
from aisquad_core.execution.environment import EnvironmentStore
from aisquad_core.execution.executor import ConvoyExecutor
from aisquad_core.execution.governor import Governor
from aisquad_core.execution.leaving import Leaving
from aisquad_core.execution.ledger import Ledger
from aisquad_core.execution.log_cap import LogCap
from aisquad_core.execution.overview import Overview
from aisquad_core.execution.past import Past
from aisquad_core.execution.picture import Picture
from aisquad_core.execution.process import LocalRunner
from aisquad_core.execution.pulse import Pulse
from aisquad_core.execution.queries import Queries
from aisquad_core.execution.recovery import Recovery
from aisquad_core.execution.scheduler import Scheduler
from aisquad_core.execution.stage import Stage
from aisquad_core.execution.steering import Steering
from aisquad_core.execution.takeover import Takeover
from aisquad_core.load.backpressure import StorageBackpressure
from aisquad_core.load.rate_limiter import RateLimiter
from aisquad_core.load.resource_monitor import ResourceMonitor
from aisquad_core.load.semaphore import AdaptiveSemaphore
from aisquad_core.load.tuning import Policy, Thresholds
from aisquad_core.model import ItemKey
from aisquad_core.notices import Notices
from aisquad_core.state.folder import StateFolder, boot_id
from aisquad_core.state.origin import Origin
from aisquad_core.state.workstate import WorkState
from aisquad_core.upkeep import Upkeep

if TYPE_CHECKING:
    import random

    from aisquad_core.api import ItemView, StatusCounts
    from aisquad_core.clock import Clock
    from aisquad_core.execution.background import Background
    from aisquad_core.execution.runner import Runner
    from aisquad_core.execution.scheduler import Task
    from aisquad_core.load.resource_monitor import Sampler
    from aisquad_core.settings import Settings


class Parts:
    """Makes the parts of one engine and holds them for whoever runs it.

    Args:
        settings: What the operator set.
        is_resuming: Whether unfinished convoys of earlier engines go on by themselves.
        clock: Time.
        sampler: Reads the machine's load; None: the machine itself.
        runner: Runs processes; None: as children of this process.
        state: The work state, not yet entered; None: the database that the settings name.
        chance: Gives tokens, suffixes of ids and the jitter of retries.
        background: Where the engine's own work goes on.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        is_resuming: bool,
        clock: Clock,
        sampler: Sampler | None,
        runner: Runner | None,
        state: WorkState | None,
        chance: random.Random,
        background: Background,
    ) -> None:
        runs_dir = settings.state_dir / "runs"
        policy = _policy(settings)
        self._clock = clock
        self.stage = Stage()
        self.folder = StateFolder(settings.state_dir)
        self.origin = Origin(settings.workstate_db)
        self.backpressure = StorageBackpressure(
            threshold=settings.backpressure_threshold, clock=clock
        )
        self.state = state or WorkState(
            settings.workstate_db,
            clock=clock,
            pool_size=settings.pool_size,
            use_pooling=settings.use_pooling,
            on_settled=self.backpressure.note_drain,
        )
        self.backpressure.watch(self.state)
        self.runner = runner or LocalRunner(runs_dir, clock=clock)
        environments = EnvironmentStore(runs_dir)
        monitor = ResourceMonitor(sampler, clock, thresholds=policy.thresholds)
        semaphore = AdaptiveSemaphore(min(policy.baseline, policy.max_parallelism))
        self.governor = Governor(
            monitor=monitor,
            semaphore=semaphore,
            policy=policy,
            clock=clock,
            on_resize=self._resized,
        )
        self._scheduler = scheduler = _scheduler(settings, clock)
        self.hub = EventHub()
        self.picture = Picture(hub=self.hub, scheduler=scheduler, clock=clock, why=self._why)
        self.past = Past(settings, scheduler=scheduler, clock=clock)
        self.notices = Notices(
            settings, reader=self.state.reader, clock=clock, is_foreign=self.origin.waits
        )
        ledger = Ledger(
            state=self.state,
            scheduler=scheduler,
            environments=environments,
            observers=[*self.past.observers, self.picture, *self.notices.observers],
            clock=clock,
            before_end=self.notices.owe,
        )
        boot = boot_id()
        self.executor = ConvoyExecutor(
            ledger=ledger,
            scheduler=scheduler,
            semaphore=semaphore,
            governor=self.governor,
            runner=self.runner,
            environments=environments,
            clock=clock,
            boot_id=boot,
            grace_s=settings.grace_s,
            chance=chance,
        )
        steering = Steering(ledger=ledger, scheduler=scheduler, executor=self.executor, clock=clock)
        self.leaving = Leaving(executor=self.executor, steering=steering)
        recovery = Recovery(
            state=self.state,
            ledger=ledger,
            scheduler=scheduler,
            executor=self.executor,
            steering=steering,
            runner=self.runner,
            clock=clock,
        )
        self.commands = Commands(
            reader=self.state.reader,
            scheduler=scheduler,
            admission=Admission(
                state=self.state,
                scheduler=scheduler,
                ledger=ledger,
                backpressure=self.backpressure,
            ),
            steering=steering,
            recovery=recovery,
            executor=self.executor,
            environments=environments,
            ledger=ledger,
            picture=self.picture,
            agents=settings.agents,
            clock=clock,
            chance=chance,
        )
        self.cancels = Cancels(self.commands, background)
        self.overview = Overview(
            state_dir=settings.state_dir,
            boot_id=boot,
            policy=policy,
            monitor=monitor,
            governor=self.governor,
            semaphore=semaphore,
            scheduler=scheduler,
            executor=self.executor,
            picture=self.picture,
            clock=clock,
            grace_s=settings.grace_s,
            state=self.state,
            backpressure=self.backpressure,
        )
        self.upkeep = Upkeep(
            settings,
            reader=self.state.reader,
            clock=clock,
            is_busy=lambda convoy_id: convoy_id in scheduler.convoys,
            convoy_ends=ledger.convoy_ends,
        )
        self.takeover = Takeover(
            is_resuming=is_resuming,
            state=self.state,
            origin=self.origin,
            runner=self.runner,
            recovery=recovery,
            executor=self.executor,
            picture=self.picture,
            stage=self.stage,
            background=background,
        )
        self.pulse = Pulse(
            state_dir=settings.state_dir,
            tick_s=settings.tick_s,
            clock=clock,
            stage=self.stage,
            state=self.state,
            governor=self.governor,
            ledger=ledger,
            executor=self.executor,
            steering=steering,
            recovery=recovery,
            takeover=self.takeover,
            upkeep=self.upkeep,
            log_cap=LogCap(runs_dir, limit_bytes=settings.log_limit_bytes),
            picture=self.picture,
            past=self.past,
            overview=self.overview,
            background=background,
        )
        self.queries = Queries(
            reader=self.state.reader,
            runner=self.runner,
            why=self._why_not_running,
            counts=self._counts,
        )

    async def _resized(self, previous: int) -> None:
        await self.pulse.resized(previous)

    def _why(self, task: Task) -> str | None:
        return self._scheduler.why(task, self._clock.monotonic())

    def _why_not_running(self, view: ItemView) -> str | None:
        task = self._scheduler.get(ItemKey(view.convoy_id, view.id))
        return None if task is None else self._why(task)

    def _counts(self) -> dict[str, StatusCounts] | None:
        """Return the counts of convoys; None while those of earlier engines are being loaded."""
        return self.picture.counts() if self.stage.has_loaded.is_set() else None


def _policy(settings: Settings) -> Policy:
    return Policy(
        baseline=settings.baseline_parallelism,
        max_parallelism=settings.max_parallelism,
        thresholds=Thresholds(
            cpu_percent=settings.cpu_threshold, memory_percent=settings.memory_threshold
        ),
        is_auto=settings.enable_auto_tuning,
    )


def _scheduler(settings: Settings, clock: Clock) -> Scheduler:
    return Scheduler(
        RateLimiter.from_settings(settings, clock),
        {
            name: agent.max_parallel
            for name, agent in settings.agents.items()
            if agent.max_parallel is not None
        },
    )
