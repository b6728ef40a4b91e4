"""How much a crowd of agents gets done with everything on: state, backpressure, limits, metrics.

Run it by hand: `python tests/bench/agents.py --agents 200`. Each agent registers a work item in a
convoy of its team, claims it (for a token of its own), changes it a few times, now and then against
somebody else's change of the same version, completes it, records all that in the metrics, and takes
the next. Every one of these is awaited until it is committed (`synchronous=FULL`). With `--rate`
the agents begin so many changes a second together, and what is late counts from when it was due.
Meanwhile the machine is sampled each second, and another process asks for `/metrics/stats` over
30 days ten times a second. At the end the database is read by itself: each item must stand where
its agent was told.

With `--metrics both` it says instead what the metrics cost: short turns with and without them
alternate on the same stack, and each end is recorded ten times over (`--recorded`), which lifts a
cost of less than a hundredth out of the noise; `cost_percent` is that of recording once.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import math
import os
import random
import sqlite3
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from aisquad_core.clock import SystemClock
from aisquad_core.errors import AISquadError, ConcurrentUpdateError
from aisquad_core.load.backpressure import StorageBackpressure
from aisquad_core.load.rate_limiter import Quota, RateLimiter
from aisquad_core.load.resource_monitor import ResourceMonitor
from aisquad_core.model import ConvoyStatus, RunUpdate, WorkItem, WorkStatus
from aisquad_core.monitoring import Monitoring
from aisquad_core.settings import Settings
from aisquad_core.state.metrics import MetricsCollector, ResourceMetrics
from aisquad_core.state.workstate import WorkState
from tests.bench.measuring import (
    StallMeter,
    peak_rss_mb,
    percentile,
    print_result,
)
from tests.bench.metrics import MINUTES, fill
from tests.bench.pacing import Pacer
from tests.bench.turns import Begun, Turn, compare_turns
from tests.bench.viewing import Viewer
from tests.bench.workstate import measure_one_transaction_each

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import datetime

    from aisquad_core.clock import Clock

T = TypeVar("T")
U = TypeVar("U")

CHANGES = 6
"""Of an item between its claim and its end."""
CONFLICT_EVERY = 200
"""One change in so many meets another change of the same version."""
ITEMS_EACH = 50
"""Items of each agent of a team that make a convoy."""
QUOTA = Quota(per_minute=1_000_000, burst=1_000)
"""Tokens are spent, and there are enough: what is measured is the stack, not the limit."""
WARM_UP_S = 0.5
SETTLE_S = 0.1
"""Between two turns, without metrics."""
ASK_EVERY_S = 0.1
TICK_S = 1.0
PAST_DAYS = 30
PAST_A_DAY = 5_000
"""Operations."""


@dataclass
class Tally:
    """What the agents were told, and how long each answer took."""

    begins_s: float
    ends_s: float
    done: int = 0
    """Changes that were due and acknowledged between warm-up and end."""
    latencies_s: list[float] = field(default_factory=list)
    """Of all that were due between them."""
    versions: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Item to the version and status that were acknowledged last."""
    conflicts: int = 0
    errors: int = 0
    stats_s: list[float] = field(default_factory=list)
    """How long the figures of 30 days took."""
    took_s: float = 0.0
    """From the first item to the end of the last."""
    cpu_s: float = 0.0
    """Processor time of the process in that."""
    loop_cpu_s: float = 0.0
    """Of the loop's thread alone."""
    worst_late_s: float = 0.0
    """How long after its time a change began at worst; 0 without a rate."""


class Stack:
    """Everything that agents go through."""

    def __init__(self, folder: Path, *, has_metrics: bool, clock: Clock) -> None:
        self.clock = clock
        self.backpressure = StorageBackpressure(clock=clock)
        self.limiter = RateLimiter(QUOTA, clock=clock)
        self.monitor = ResourceMonitor(clock=clock)
        self.state = WorkState(folder / "workstate.db", clock=clock)
        self.collector = (
            MetricsCollector(folder / "metrics.db", clock=clock) if has_metrics else None
        )
        self.recorded = 1
        """How many times over what ends is recorded just now; 0: metrics are off."""
        self.pacer = Pacer()

    @property
    def recorder(self) -> MetricsCollector | None:
        """Where things are recorded just now."""
        return self.collector if self.recorded else None


class Team:
    """Agents who work on the items of the same convoys, one convoy after the other."""

    def __init__(self, name: str, stack: Stack) -> None:
        self._name = name
        self._stack = stack
        self.members = 0
        self._completed = Counter[str]()
        """Items by convoy."""

    def convoy_of(self, count: int) -> str:
        """Return the id of the convoy that has each member's item of that number, from 0."""
        convoy_id = f"{self._name}-{count // ITEMS_EACH}"
        if convoy_id not in self._completed:
            self._completed[convoy_id] = 0
            if (recorder := self._stack.recorder) is not None:
                recorder.record_convoy_start(convoy_id, self.members * ITEMS_EACH)
        return convoy_id

    def note_completed(self, convoy_id: str) -> None:
        """Record that one more item of a convoy has completed."""
        self._completed[convoy_id] += 1
        if (recorder := self._stack.recorder) is None:
            return
        completed = self._completed[convoy_id]
        if completed == self.members * ITEMS_EACH:
            recorder.record_convoy_complete(convoy_id, ConvoyStatus.COMPLETED, completed=completed)
        else:
            recorder.update_convoy_metrics(convoy_id, completed=completed)


class Agent:
    """One of the crowd."""

    def __init__(
        self, number: int, team: Team, stack: Stack, tally: Tally, *, pause_s: float
    ) -> None:
        self._team = team
        self._place = team.members
        """In the team, from 0."""
        team.members += 1
        self._pause_s = pause_s
        """Between two changes that it begins; 0: it begins one as soon as the last has ended."""
        self._due_s = time.perf_counter() + random.random() * pause_s
        self._name = f"agent-{number:04}"
        self._stack = stack
        self._tally = tally
        self._changes = number
        """Counted from another place for each agent, so that conflicts spread over time."""
        self._first_changes = number % (CHANGES + 1)
        """Of the first item, so that the agents are not all at the same step of their items."""

    async def work(self) -> None:
        """Take one item after the other until the end."""
        count = 0
        while time.perf_counter() < self._tally.ends_s:
            try:
                await self._do_item(count)
            except AISquadError:
                self._tally.errors += 1
            count += 1

    async def _do_item(self, count: int) -> None:
        stack = self._stack
        team = self._team
        convoy_id = team.convoy_of(count)
        now = stack.clock.now()
        item = WorkItem(
            id=f"{self._name}-{count}",
            status=WorkStatus.PENDING,
            agent_id=self._name,
            convoy_id=convoy_id,
            version=1,
            created_at=now,
            updated_at=now,
            position=count % ITEMS_EACH * team.members + self._place,
        )
        await self._timed(stack.state.create, item)
        self._note(item)
        await stack.limiter.acquire(self._name)
        item = await self._run(item, WorkStatus.IN_PROGRESS, started_at=stack.clock.now())
        for change in range(CHANGES if count else self._first_changes):
            self._changes += 1
            if self._changes % CONFLICT_EVERY == 0:
                await self._meddle(item)
            item = await self._change(replace(item, reason=f"step {change}"))
        item = await self._run(item, WorkStatus.COMPLETED, finished_at=stack.clock.now())
        team.note_completed(convoy_id)

    async def _run(
        self,
        item: WorkItem,
        status: WorkStatus,
        *,
        started_at: datetime | None = None,
        finished_at: datetime | None = None,
    ) -> WorkItem:
        update = RunUpdate(
            convoy_id=item.convoy_id,
            item_id=item.id,
            expected_version=item.version,
            previous=item.status,
            status=status,
            started_at=started_at or item.started_at,
            finished_at=finished_at,
        )
        version = await self._timed(self._stack.state.run_update, update)
        if status.is_final and (recorder := self._stack.recorder) is not None:
            for _ in range(self._stack.recorded):
                recorder.record_operation(self._name, update)
        item = replace(item, version=version, status=status, started_at=update.started_at)
        self._note(item)
        return item

    async def _change(self, item: WorkItem) -> WorkItem:
        """Store a change; where somebody else was faster, read again and repeat it."""
        while True:
            try:
                item = await self._timed(self._stack.state.update, item)
            except ConcurrentUpdateError:
                self._tally.conflicts += 1
                stored = await self._stack.state.get(item.key)
                item = replace(stored, reason=item.reason)
            else:
                self._note(item)
                return item

    async def _meddle(self, item: WorkItem) -> None:
        """Change the item as somebody else would who read it at the same time."""
        changed = await self._timed(self._stack.state.update, replace(item, reason="looked at"))
        self._note(changed)

    async def _timed(self, write: Callable[[U], Awaitable[T]], change: U) -> T:
        """Wait for the time of the next change, make it, and count how long that took.

        One that is late because the one before took long, or the loop was busy, was due all the
        same; one that the pacer wakes early begins then.
        """
        begun_s = time.perf_counter()
        if self._pause_s:
            due_s, self._due_s = self._due_s, self._due_s + self._pause_s
            if due_s > begun_s:
                await self._stack.pacer.reach(due_s)
                begun_s = time.perf_counter()
            begun_s = min(due_s, begun_s)
        async with self._stack.backpressure.acquire():
            result = await write(change)
        finished_s = time.perf_counter()
        tally = self._tally
        if tally.begins_s <= begun_s < tally.ends_s:
            tally.latencies_s.append(finished_s - begun_s)
            tally.done += finished_s < tally.ends_s
        return result

    def _note(self, item: WorkItem) -> None:
        self._tally.versions[item.id] = item.version, item.status._value_


async def tick(stack: Stack, tally: Tally) -> None:
    """Look at the machine each second and record what was seen, as an engine does."""
    while time.perf_counter() < tally.ends_s:
        sample = await stack.monitor.sample()
        if (recorder := stack.recorder) is not None:
            recorder.record_resource_snapshot(
                ResourceMetrics(
                    timestamp=sample.at,
                    cpu_percent=sample.cpu_percent,
                    memory_percent=sample.memory_percent,
                    active_workers=float(stack.backpressure.pending),
                    queue_depth=0.0,
                )
            )
        await stack.clock.sleep(TICK_S)


def count_lost(database: Path, tally: Tally) -> int:
    """Read the database by itself; return how many items are not as their agents were told."""
    uri = f"{database.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        rows = connection.execute("SELECT id, version, status FROM work_items").fetchall()
    stored = {item_id: (version, status) for item_id, version, status in rows}
    return sum(stored.get(item_id) != told for item_id, told in tally.versions.items())


def figures(tally: Tally, seconds: float) -> dict[str, float]:
    """Return what a run came to."""
    latencies_s, stats_s = sorted(tally.latencies_s), sorted(tally.stats_s)
    result = {
        "ops_per_s": tally.done / seconds,
        "p50_ms": percentile(latencies_s, 50) * 1_000,
        "p99_ms": percentile(latencies_s, 99) * 1_000,
        "p999_ms": percentile(latencies_s, 99.9) * 1_000,
        "items": len(tally.versions),
        "cpu_cores": tally.cpu_s / tally.took_s,
        "cpu_s": tally.cpu_s,
        "loop_cpu_s": tally.loop_cpu_s,
        "conflicts": tally.conflicts,
        "errors": tally.errors,
    }
    if stats_s:
        result |= {
            "stats_asked": len(stats_s),
            "stats_p50_ms": percentile(stats_s, 50) * 1_000,
            "stats_p99_ms": percentile(stats_s, 99) * 1_000,
        }
    return result


@asynccontextmanager
async def _viewing(folder: Path) -> AsyncIterator[Viewer]:
    """Serve the figures of 30 days from this loop, and let somebody look at them."""
    settings = Settings(workstate_db=folder / "workstate.db")
    async with (
        Monitoring(settings, port=0) as monitoring,
        Viewer(monitoring.port, f"/metrics/stats?time_range={MINUTES}", ASK_EVERY_S) as viewer,
    ):
        yield viewer


@dataclass(frozen=True)
class Crowd:
    """Who works, and for how long."""

    agents: int
    team: int
    """How many of them share their convoys."""
    seconds: float
    rate: float
    """Changes a second that they begin together; 0: as many as they can."""

    async def work(self, folder: Path, *, has_metrics: bool, is_watched: bool) -> Tally:
        """Let them, with a monitoring API on the same loop; return what they were told."""
        stack = Stack(folder, has_metrics=has_metrics, clock=SystemClock())
        async with AsyncExitStack() as exits:
            await exits.enter_async_context(stack.state)
            if stack.collector is not None:
                await exits.enter_async_context(stack.collector)
            viewer = await exits.enter_async_context(_viewing(folder)) if is_watched else None
            gc.freeze()  # as the engine does with a large convoy
            begins_s = time.perf_counter() + WARM_UP_S
            tally = Tally(begins_s, begins_s + self.seconds)
            begun = time.perf_counter(), time.process_time(), time.thread_time()
            async with asyncio.TaskGroup() as tasks:
                self._begin(tasks, stack, tally)
            tally.took_s = time.perf_counter() - begun[0]
            tally.cpu_s = time.process_time() - begun[1]
            tally.loop_cpu_s = time.thread_time() - begun[2]
            tally.worst_late_s = stack.pacer.worst_late_s
        if viewer is not None:
            tally.errors += sum(look.status != 200 for look in viewer.looks)
            tally.stats_s = [
                look.took_s
                for look in viewer.looks
                if tally.begins_s <= look.begun_s < tally.ends_s
            ]
        return tally

    def _begin(self, tasks: asyncio.TaskGroup, stack: Stack, tally: Tally) -> None:
        """Let all of them begin, and the ticks of an engine."""
        pause_s = self.agents / self.rate if self.rate else 0
        teams = [Team(f"team-{number}", stack) for number in range(-(-self.agents // self.team))]
        for number in range(self.agents):
            agent = Agent(number, teams[number // self.team], stack, tally, pause_s=pause_s)
            tasks.create_task(agent.work())
        tasks.create_task(tick(stack, tally))

    async def compare(self, folder: Path, *, turns: int, recorded: int) -> dict[str, object]:
        """Let them work with metrics and without in turns, on one stack; return what that cost.

        A turn with metrics ends when all that it recorded is saved.
        """
        stack = Stack(folder, has_metrics=True, clock=SystemClock())
        assert stack.collector is not None
        tally = Tally(time.perf_counter(), math.inf)
        taken: dict[bool, list[Turn]] = {True: [], False: []}
        async with stack.state, stack.collector, asyncio.TaskGroup() as tasks:
            gc.freeze()
            self._begin(tasks, stack, tally)
            await asyncio.sleep(WARM_UP_S)
            for turn in range(turns):
                for has_metrics in (True, False) if turn % 2 else (False, True):
                    stack.recorded = 0
                    await asyncio.sleep(SETTLE_S)
                    stack.recorded = recorded if has_metrics else 0
                    begun = Begun(lambda: tally.done)
                    await asyncio.sleep(self.seconds)
                    if has_metrics:
                        await stack.collector.flush()
                    taken[has_metrics].append(begun.end())
                    tally.latencies_s.clear()
            tally.ends_s = 0.0
        lost = await asyncio.to_thread(count_lost, folder / "workstate.db", tally)
        return {**compare_turns(taken, recorded), "errors": tally.errors, "lost": lost}

    async def measure(
        self, folder: Path, *, has_metrics: bool, has_past: bool = False
    ) -> dict[str, float]:
        """Let them work once in an empty folder and look at what they left."""
        if has_past:
            await fill(folder / "metrics.db", PAST_DAYS, PAST_A_DAY)
        # Or the disk would still be at that, and at what other programs wrote: 75 ms were seen.
        await asyncio.to_thread(os.sync)
        work = self.work(folder, has_metrics=has_metrics, is_watched=has_past)
        if self.rate:  # looking at the loop a thousand times a second would be a part of its load
            tally = await work
            worst = {"worst_late_ms": tally.worst_late_s * 1_000}
        else:
            async with StallMeter() as stalls:
                tally = await work
            worst = {"worst_stall_ms": stalls.worst_ms}
        lost = await asyncio.to_thread(count_lost, folder / "workstate.db", tally)
        return {**figures(tally, self.seconds), "lost": lost, **worst}


def main() -> None:
    """Measure and print one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--team", type=int, default=20, help="agents that share their convoys")
    parser.add_argument(
        "--seconds", type=float, help="of work, 10 unless given; of a turn with `both`, 0.5"
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=0,
        help="changes a second that all agents together begin; 0: as many as they can",
    )
    parser.add_argument("--metrics", choices=("on", "off", "both"), default="on")
    parser.add_argument("--turns", type=int, default=100, help="pairs of turns with `both`")
    parser.add_argument(
        "--recorded",
        type=int,
        default=10,
        help="how many times over `both` records each end",
    )
    parser.add_argument("--no-past", action="store_true", help="ask for no figures of 30 days")
    arguments = parser.parse_args()
    seconds = arguments.seconds or (0.5 if arguments.metrics == "both" else 10.0)
    crowd = Crowd(arguments.agents, arguments.team, seconds, arguments.rate)
    name = f"agents --agents {crowd.agents} --team {crowd.team} --metrics {arguments.metrics}"
    if crowd.rate:
        name += f" --rate {crowd.rate:g}"
    if arguments.metrics == "both":
        with tempfile.TemporaryDirectory(prefix="aisquad-bench-", dir=".") as parent:
            comparison = asyncio.run(
                crowd.compare(Path(parent), turns=arguments.turns, recorded=arguments.recorded)
            )
        print_result({"name": name, **comparison})
        return
    is_on = arguments.metrics == "on"
    has_past = is_on and not arguments.no_past
    with tempfile.TemporaryDirectory(prefix="aisquad-bench-", dir=".") as parent:
        folder = Path(parent)
        each = asyncio.run(
            measure_one_transaction_each(folder, crowd.agents, min(crowd.seconds, 2.0))
        )
        result = asyncio.run(crowd.measure(folder, has_metrics=is_on, has_past=has_past))
    print_result(
        {
            "name": name,
            **result,
            "baseline": "one aiosqlite transaction for each update, and nothing else",
            "baseline_ops_per_s": each["ops_per_s"],
            "baseline_p99_ms": each["p99_ms"],
            "ratio": result["ops_per_s"] / each["ops_per_s"],
            "p99_ratio": result["p99_ms"] / each["p99_ms"],
            "rss_mb": peak_rss_mb(),
        }
    )


if __name__ == "__main__":
    main()
