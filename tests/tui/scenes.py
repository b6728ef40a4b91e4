"""Scripted engines for the screens: the same picture on every machine, at every time."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from aisquad_core.api import (
    AgentFigures,
    DurationBin,
    History,
    LoadPoint,
    ResizeNote,
    SlowOperation,
    ThroughputPoint,
)
from aisquad_core.model import ItemKey, Operation, WorkStatus
from aisquad_core.testing import FakeClock, FakeEngine, ScriptedItem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

START = datetime(2026, 3, 14, 2, 48, 10, tzinfo=UTC)
UPTIME_S = 3 * 3600 + 12 * 60
_SAMPLES = 120
_PAST_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """An engine and the clock that it goes by."""

    engine: FakeEngine
    clock: FakeClock


@asynccontextmanager
async def empty() -> AsyncIterator[Scene]:
    """Nothing has ever been launched."""
    async with _engine() as scene:
        yield scene


@asynccontextmanager
async def busy() -> AsyncIterator[Scene]:
    """A night's work: what runs, waits, is paused, has ended."""
    async with _engine() as scene:
        _lint_all(scene.engine)
        _docs_sweep(scene.engine)
        _dep_upgrades(scene.engine)
        _nightly_review(scene.engine)
        yield scene


@asynccontextmanager
async def crowded() -> AsyncIterator[Scene]:
    """The same on a disk that does not keep up."""
    async with busy() as scene:
        scene.engine.set_backlog(912)
        yield scene


@asynccontextmanager
async def failing() -> AsyncIterator[Scene]:
    """Most of it fails, and the engine itself is ill."""
    async with _engine() as scene:
        operations = [_operation(f"fix-db-{n:03d}", "engineer") for n in range(1, 31)]
        states = [
            ScriptedItem(
                status=WorkStatus.FAILED,
                attempt=2,
                started_s=600.0 - 10 * n,
                finished_s=480.0 - 10 * n,
                exit_code=1 + n % 2,
                error=(
                    "exit 1: AssertionError: migration 0042 is missing",
                    "exit 2: usage: pytest",
                )[n % 2],
            )
            for n in range(12)
        ]
        states += [ScriptedItem(status=WorkStatus.LOST, started_s=900.0, finished_s=700.0)] * 2
        states += [
            ScriptedItem(status=WorkStatus.SKIPPED, reason="needs fix-db-001, which failed")
        ] * 9
        states += [ScriptedItem(status=WorkStatus.CANCELLED, reason="cancelled by hand")] * 3
        states += [ScriptedItem(status=WorkStatus.PENDING, reason="disk full")] * 4
        scene.engine.add_convoy(
            "migrate-everything",
            operations,
            statuses={op.id: state for op, state in zip(operations, states, strict=True)},
            age_s=1200.0,
        )
        scene.engine.set_trouble(
            "disk full: nothing new starts; what is recorded is safe, results wait in memory",
            "disk full",
        )
        yield scene


@asynccontextmanager
async def remembered() -> AsyncIterator[Scene]:
    """The same night, with what the metrics keep of its last hour."""
    async with busy() as scene:
        scene.engine.past = past_of(scene.clock.now())
        yield scene


@asynccontextmanager
async def forgotten() -> AsyncIterator[Scene]:
    """The same night, with metrics that have just been switched on."""
    async with busy() as scene:
        end = scene.clock.now()
        start = end - timedelta(seconds=_PAST_S)
        scene.engine.past = History(is_recorded=True, start=start, end=end)
        yield scene


@asynccontextmanager
async def _engine() -> AsyncIterator[Scene]:
    """Run an engine that has been up for hours, with samples of the last two minutes."""
    clock = FakeClock(START)
    async with FakeEngine(clock=clock, parallelism=11, pid=4242) as engine:
        await clock.advance(UPTIME_S - _SAMPLES)
        for cpu_percent, memory_percent in _loads():
            await clock.advance(1)
            engine.set_load(cpu_percent, memory_percent)
        engine.resize(12, "CPU 63 %, memory 32 %")
        yield Scene(engine=engine, clock=clock)


def _loads() -> Iterator[tuple[float, float]]:
    for n in range(_SAMPLES):
        wave = math.sin(n / 9.0) * 24 + math.sin(n / 3.7) * 9
        yield round(min(98.0, max(4.0, 60 + wave)), 1), round(30 + 6 * math.sin(n / 25.0), 1)


def _operation(
    id: str, agent: str, *, needs: tuple[str, ...] = (), prompt: str = "", retries: int = 1
) -> Operation:
    argv: tuple[str, ...] = ("claude", "--print", "--", prompt or f"Fix the lint of {id}")
    if agent == "shell":
        argv = ("ruff", "check", "src")
    return Operation(
        id=id,
        agent_id=agent,
        argv=argv,
        needs=needs,
        retries=retries,
        timeout_s=1800.0,
        context={"file": f"src/{id}.py"},
    )


_LINES = (
    "Editing src/api/routes.py",
    "pytest: 31 passed",
    "Reading web/cart.tsx",
    "Running ruff check src/api",
    "Looking for the cause in tests/test_cart.py",
    "git diff --stat: 2 files changed",
)


def _nightly_review(engine: FakeEngine) -> None:
    """300 operations, 12 of them running."""
    operations = [_operation("lint", "reviewer")]
    operations += [
        _operation(f"fix-{part}-{n:03d}", "reviewer" if n % 9 == 0 else "engineer", needs=("lint",))
        for part, count in (("api", 120), ("web", 120), ("db", 58))
        for n in range(1, count + 1)
    ]
    operations.append(_operation("report", "reviewer", needs=("fix-api-001", "fix-db-001")))
    states: dict[str, ScriptedItem | WorkStatus] = {}
    for n, operation in enumerate(operations):
        if n < 162:
            took_s = 20.0 + 37 * n % 110
            states[operation.id] = ScriptedItem(
                status=WorkStatus.COMPLETED,
                started_s=900.0 - 4 * n + took_s,
                finished_s=900.0 - 4 * n,
                exit_code=0,
                lines=(f"Done: {1 + n % 4} files changed",),
            )
        elif n < 174:
            states[operation.id] = ScriptedItem(
                status=WorkStatus.IN_PROGRESS,
                attempt=1 + (n % 5 == 0),
                started_s=62.0 - 3 * (n - 162),
                lines=("collected 31 items", _LINES[n % len(_LINES)]),
            )
    states["fix-db-001"] = _failed("AssertionError: migration 0042 is missing", 130.0)
    states["fix-db-002"] = _failed("command not found: psql", 12.0)
    states["report"] = ScriptedItem(
        status=WorkStatus.SKIPPED, reason="needs fix-db-001, which failed"
    )
    convoy_id = engine.add_convoy(
        "nightly-review",
        operations,
        statuses=states,
        source="convoys/nightly-review.toml",
        age_s=1100.0,
        timeout_s=7200.0,
    )
    engine.set_pace(convoy_id, rate_per_s=2.1, eta_s=58.0)
    key = ItemKey(convoy_id, "fix-web-042")
    for n in range(1, 41):
        engine.write(
            key, f"tests/test_routes.py::test_{n:02d} PASSED{' ' * 20}[{n * 100 // 40:3d}%]\n"
        )


def _failed(error: str, took_s: float) -> ScriptedItem:
    return ScriptedItem(
        status=WorkStatus.FAILED,
        attempt=2,
        started_s=300.0 + took_s,
        finished_s=300.0,
        exit_code=1,
        error=f"exit 1: {error}",
        lines=("Traceback (most recent call last):", error),
    )


def _dep_upgrades(engine: FakeEngine) -> None:
    operations = [_operation(f"bump-{name}", "engineer") for name in _PACKAGES]
    waits = ScriptedItem(status=WorkStatus.PENDING, reason="rate limit: 12 s")
    states: dict[str, ScriptedItem | WorkStatus] = {op.id: waits for op in operations[4:]}
    for operation in operations[:3]:
        states[operation.id] = ScriptedItem(
            status=WorkStatus.COMPLETED, started_s=500.0, finished_s=440.0, exit_code=0
        )
    states[operations[3].id] = _failed("ERROR: ResolutionImpossible", 41.0)
    engine.add_convoy(
        "dep-upgrades",
        operations,
        statuses=states,
        source="convoys/dep-upgrades.toml",
        age_s=2400.0,
        reason="waits for rate limit",
    )


_PACKAGES = (
    "django", "numpy", "pillow", "pandas", "redis", "celery", "httpx", "jinja2", "boto3", "attrs",
    "uvicorn", "pydantic",
)  # fmt: skip


def _docs_sweep(engine: FakeEngine) -> None:
    operations = [_operation(f"page-{n:02d}", "reviewer") for n in range(1, 41)]
    states: dict[str, ScriptedItem | WorkStatus] = {
        op.id: ScriptedItem(
            status=WorkStatus.COMPLETED, started_s=4000.0, finished_s=3900.0, exit_code=0
        )
        for op in operations[:9]
    }
    engine.add_convoy(
        "docs-sweep",
        operations,
        statuses=states,
        age_s=5400.0,
        is_paused=True,
        reason="paused by hand",
    )


def _lint_all(engine: FakeEngine) -> None:
    operations = [_operation(f"lint-{n:03d}", "shell") for n in range(1, 241)]
    done = ScriptedItem(status=WorkStatus.COMPLETED, started_s=262.0, finished_s=252.0, exit_code=0)
    engine.add_convoy(
        "lint-all",
        operations,
        statuses={op.id: done for op in operations},
        age_s=7000.0,
        ended_s=252.0,
    )


def past_of(end: datetime, *, points: int = 60) -> History:
    """Return an hour in which the machine was overloaded twice, and off for some minutes."""
    start = end - timedelta(seconds=_PAST_S)
    step = timedelta(seconds=_PAST_S / points)
    load, ended, resizes = [], [], []
    size = 5
    for n in range(points):
        at = start + n * step
        if 22 <= n < 29:  # no engine ran
            size = 5
            continue
        cpu = min(99.0, max(3.0, 58 + 30 * math.sin(n / 7.0) + 9 * math.sin(n / 2.3)))
        wanted = 5 if cpu > 80 else min(12, size + 2)
        if wanted != size:
            reason = f"CPU {cpu:.0f} % over 80 %: baseline 5"
            if wanted > size:
                reason = f"CPU {cpu:.0f} %, memory 32 %: up to 12, growing by 2"
            note = ResizeNote(at=at, previous=size, parallelism=wanted, auto=True, reason=reason)
            resizes.append(note)
            size = wanted
        load.append(
            LoadPoint(
                at=at,
                cpu_percent=cpu,
                memory_percent=33 + 11 * math.sin(n / 25.0),
                parallelism=float(size),
                active_workers=float(max(0, size - n % 3)),
                queue_depth=300.0 - 3 * n,
            )
        )
        if n % 6:
            failed = 2 if n % 11 == 3 else 0
            ended.append(ThroughputPoint(at=at, completed=3 + 7 * n % 10, failed=failed))
    counts = (4, 31, 96, 118, 64, 22, 7, 1)
    bins = [
        DurationBin(lower_s=2.0**n, upper_s=2.0 ** (n + 1), count=count)
        for n, count in enumerate(counts, start=1)
    ]
    slow = [
        SlowOperation(
            key=ItemKey("nightly-review-0004", f"fix-{part}-{n:03d}"),
            agent_id="reviewer" if n % 3 == 0 else "engineer",
            status=WorkStatus.FAILED if part == "db" else WorkStatus.COMPLETED,
            duration_s=433.0 - 29 * place,
            finished_at=end - timedelta(seconds=100 * place),
        )
        for place, (part, n) in enumerate(
            (part, n) for n in range(1, 5) for part in ("api", "db", "web")
        )
    ]
    return History(
        is_recorded=True,
        start=start,
        end=end,
        load=tuple(load),
        resizes=tuple(resizes),
        throughput=tuple(ended),
        durations=tuple(bins),
        mean_s=27.4,
        p50_s=17.0,
        p95_s=71.0,
        p99_s=166.0,
        slowest=tuple(slow),
        agents=(
            AgentFigures(agent_id="engineer", completed=262, failed=6, mean_s=31.0),
            AgentFigures(agent_id="reviewer", completed=58, failed=0, mean_s=19.5),
            AgentFigures(agent_id="shell", completed=17, failed=0, mean_s=2.25),
        ),
    )
