"""How long the statistics of a month take: 30 days of 5,000 operations a day, read while busy.

Run it by hand: `python tests/bench/metrics.py --busy 2`. The baseline reads the same percentiles by
sorting the durations of all rows in SQL; the figures of a month are to take 50 ms at most (p99).
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import random
import sqlite3
import tempfile
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from aisquad_core.clock import SystemClock
from aisquad_core.model import ConvoyStatus, RunUpdate, WorkStatus
from aisquad_core.state.metrics import MetricsCollector, MetricsReader, ResourceMetrics
from tests.bench.measuring import peak_rss_mb, percentile, print_result

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

MINUTES = 30 * 24 * 60
_BASELINE = """
SELECT duration_us FROM operations WHERE ended_us > ? AND bin >= 0 ORDER BY duration_us
LIMIT 1 OFFSET (SELECT count(*) * ? / 100 FROM operations WHERE ended_us > ? AND bin >= 0)
"""


async def fill(path: Path, days: int, operations_a_day: int) -> int:
    """Record convoys of ten operations over the days, and a sample a minute; return the rows."""
    now, chance = datetime.now(UTC), random.Random(1)
    rows = days * operations_a_day
    async with MetricsCollector(path, clock=SystemClock(), retention_days=days + 1) as collector:
        for number in range(rows):
            at = now - timedelta(days=days) * (1 - number / rows)
            seconds = chance.lognormvariate(4, 1.5)
            collector.record_operation(
                f"agent-{chance.randrange(5)}",
                RunUpdate(
                    convoy_id=f"convoy-{number // 10}",
                    item_id=f"op-{number}",
                    expected_version=1,
                    previous=WorkStatus.IN_PROGRESS,
                    status=WorkStatus.FAILED if chance.random() < 0.05 else WorkStatus.COMPLETED,
                    started_at=at - timedelta(seconds=seconds),
                    finished_at=at,
                ),
            )
            if number % 10 == 9:
                name = f"convoy-{number // 10}"
                start = at - timedelta(seconds=10 * seconds)
                collector.record_convoy_start(name, 10, start_time=start)
                collector.record_convoy_complete(name, ConvoyStatus.COMPLETED, end_time=at)
            if number % 2_000 == 1_999:
                await collector.flush()
        for minute in range(days * 1_440):
            collector.record_resource_snapshot(
                ResourceMetrics(
                    timestamp=now - timedelta(minutes=minute),
                    cpu_percent=50.0,
                    memory_percent=50.0,
                    active_workers=3,
                    queue_depth=9,
                )
            )
            if minute % 2_000 == 1_999:
                await collector.flush()
    return rows


async def measure(ask: Callable[[], Awaitable[object]], times: int) -> list[float]:
    """Ask again and again; return the milliseconds of each answer, sorted."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        await ask()
        taken.append((time.perf_counter() - begun) * 1_000)
    return sorted(taken)


def measure_baseline(path: Path, times: int) -> list[float]:
    """Read three percentiles by sorting all rows; return the milliseconds of each, sorted."""
    start_us = int((time.time() - MINUTES * 60) * 1e6)
    taken = []
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        for _ in range(times):
            begun = time.perf_counter()
            for percent in (50, 95, 99):
                database.execute(_BASELINE, (start_us, percent, start_us)).fetchall()
            taken.append((time.perf_counter() - begun) * 1_000)
    return sorted(taken)


def _spin() -> None:
    while True:
        sum(range(10_000))


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep that many cores busy."""
    spinning = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(processes)]
    for process in spinning:
        process.start()
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.join()


async def run(path: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Fill a database and measure every question to it."""
    begun = time.perf_counter()
    rows = await fill(path, 30, arguments.operations_a_day)
    result: dict[str, object] = {
        "name": f"metrics --busy {arguments.busy}",
        "rows": rows,
        "saved_per_s": rows / (time.perf_counter() - begun),
        "database_mb": path.stat().st_size / 1e6,  # noqa: ASYNC240 - nothing else runs
    }
    with busy(arguments.busy):
        async with MetricsReader(path) as reader:
            questions: dict[str, Callable[[], Awaitable[object]]] = {
                "stats": lambda: reader.get_convoy_stats(MINUTES),
                "agents": lambda: reader.get_agent_stats(MINUTES),
                "resources": lambda: reader.get_resource_metrics(MINUTES, 200),
                "convoys": lambda: reader.get_recent_convoy_metrics(100),
                "failures": lambda: reader.get_recent_failures(100),
                "history": lambda: reader.history(period_s=MINUTES * 60, points=200),
            }
            for name, ask in questions.items():
                cpu_s = time.process_time()
                taken = await measure(ask, arguments.times)
                cpu_s = time.process_time() - cpu_s
                result[f"{name}_cpu_ms"] = cpu_s * 1_000 / arguments.times
                result[f"{name}_p50_ms"] = percentile(taken, 50)
                result[f"{name}_p99_ms"] = percentile(taken, 99)
        sorting = measure_baseline(path, 20)
    result |= {
        "p50_ms": result["stats_p50_ms"],
        "p99_ms": result["stats_p99_ms"],
        "baseline": "the same percentiles by sorting the rows in SQL",
        "baseline_p50_ms": percentile(sorting, 50),
        "load_average": os.getloadavg()[0],
        "rss_mb": peak_rss_mb(),
        "errors": 0,
    }
    return result


def main() -> None:
    """Measure and print one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations-a-day", type=int, default=5_000)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--busy", type=int, default=2, help="processes that keep a core busy")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        print_result(asyncio.run(run(Path(folder) / "metrics.db", arguments)))


if __name__ == "__main__":
    main()
