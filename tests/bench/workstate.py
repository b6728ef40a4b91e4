"""How many acknowledged optimistic updates the work state commits in a second.

Run it by hand: `python tests/bench/workstate.py --agents 200`. Each agent changes its own work item
again and again, each time awaiting the commit (`synchronous=FULL`). Two baselines run beside it:
one aiosqlite transaction for each update, and sqlite3 alone with batches of as many updates.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import aiosqlite
from msgspec.structs import replace

from aisquad_core.clock import SystemClock
from aisquad_core.model import (
    ConvoyRecord,
    ConvoyStatus,
    ItemKey,
    Operation,
    RunUpdate,
    WorkItem,
    WorkStatus,
)
from aisquad_core.state.workstate import WorkState
from tests.bench.measuring import StallMeter, peak_rss_mb, percentile, print_result

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CONVOY = "bench-0000"
WARM_UP_S = 0.5
TABLE = "CREATE TABLE items (id INTEGER PRIMARY KEY, status TEXT, version INTEGER, at TEXT)"
UPDATE = (
    "UPDATE items SET status = 'running', version = version + 1, at = ?"
    " WHERE id = ? AND version = ?"
)
STAMP = "2026-01-02T03:04:05.678901+00:00"


class Measure:
    """Updates acknowledged between warm-up and the end, and how long each took."""

    def __init__(self, seconds: float) -> None:
        now = time.perf_counter()
        self.begins = now + WARM_UP_S
        self.ends = self.begins + seconds
        self.seconds = seconds
        self.latencies_s: list[float] = []

    async def repeat(self, call: Callable[[int], Awaitable[object]]) -> None:
        """Call with 0, 1, 2, … until the end."""
        count = 0
        finished = time.perf_counter()
        while finished < self.ends:
            begun = time.perf_counter()
            await call(count)
            finished = time.perf_counter()
            if begun >= self.begins:
                self.latencies_s.append(finished - begun)
            count += 1

    def result(self) -> dict[str, float]:
        """Return the rate and the percentiles."""
        latencies_s = sorted(self.latencies_s)
        return {
            "ops_per_s": len(latencies_s) / self.seconds,
            "p50_ms": percentile(latencies_s, 50) * 1_000,
            "p99_ms": percentile(latencies_s, 99) * 1_000,
        }


async def measure_work_state(
    folder: Path, agents: int, seconds: float, api: str
) -> dict[str, float]:
    """Measure updates through `run_update` or `update`; check that none was lost."""
    clock = SystemClock()
    now = clock.now()
    record = ConvoyRecord(
        id=CONVOY, name="bench", status=ConvoyStatus.RUNNING, created_at=now, updated_at=now
    )
    items = [
        WorkItem(
            id=f"op-{number:04}",
            status=WorkStatus.PENDING,
            agent_id="shell",
            convoy_id=CONVOY,
            version=1,
            created_at=now,
            updated_at=now,
            position=number,
            operation=Operation(id=f"op-{number:04}", argv=("ruff", "check", "src/module.py")),
        )
        for number in range(agents)
    ]
    async with WorkState(folder / f"{api}.db", clock=clock) as state:
        await state.create_convoy(record, items)
        versions = [1] * agents

        def by_run_update(number: int) -> Callable[[int], Awaitable[object]]:
            item_id = items[number].id

            async def call(count: int) -> None:
                is_start = count % 2 == 0
                versions[number] = await state.run_update(
                    RunUpdate(
                        convoy_id=CONVOY,
                        item_id=item_id,
                        expected_version=versions[number],
                        previous=WorkStatus.PENDING if is_start else WorkStatus.IN_PROGRESS,
                        status=WorkStatus.IN_PROGRESS if is_start else WorkStatus.PENDING,
                        token="0123456789abcdef" if is_start else None,
                        started_at=now if is_start else None,
                    )
                )

            return call

        def by_update(number: int) -> Callable[[int], Awaitable[object]]:
            async def call(count: int) -> None:
                is_start = count % 2 == 0
                items[number] = await state.update(
                    replace(
                        items[number],
                        status=WorkStatus.IN_PROGRESS if is_start else WorkStatus.PENDING,
                        token="0123456789abcdef" if is_start else None,
                        started_at=now if is_start else None,
                    )
                )
                versions[number] = items[number].version

            return call

        make_call = by_run_update if api == "run_update" else by_update
        async with StallMeter() as stalls:
            measure = Measure(seconds)
            async with asyncio.TaskGroup() as tasks:
                for number in range(agents):
                    tasks.create_task(measure.repeat(make_call(number)))
        errors = 0
        for number, version in enumerate(versions):
            stored = await state.get(ItemKey(CONVOY, items[number].id))
            errors += stored.version != version
        return {**measure.result(), "worst_stall_ms": stalls.worst_ms, "errors": errors}


async def measure_one_transaction_each(
    folder: Path, agents: int, seconds: float
) -> dict[str, float]:
    """Measure aiosqlite with a transaction for each update, one after the other."""
    turn = asyncio.Lock()
    async with aiosqlite.connect(folder / "each.db", isolation_level=None) as database:
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            await database.execute_fetchall(f"PRAGMA {pragma}")
        await database.execute(TABLE)
        await database.executemany(
            "INSERT INTO items VALUES (?, 'pending', 0, '')", [(n,) for n in range(agents)]
        )

        async def call(number: int, count: int) -> None:
            async with turn:
                await database.execute("BEGIN IMMEDIATE")
                cursor = await database.execute(UPDATE, (STAMP, number, count))
                if cursor.rowcount != 1:
                    raise RuntimeError("the baseline lost an update")
                await database.execute("COMMIT")

        measure = Measure(seconds)
        async with asyncio.TaskGroup() as tasks:
            for number in range(agents):
                tasks.create_task(measure.repeat(partial(call, number)))
        return measure.result()


def measure_raw_batches(folder: Path, agents: int, seconds: float) -> float:
    """Return updates a second of sqlite3 alone, as many in a transaction as there are agents."""
    with closing(sqlite3.connect(folder / "raw.db", isolation_level=None)) as database:
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            database.execute(f"PRAGMA {pragma}").fetchall()
        database.execute(TABLE)
        database.executemany(
            "INSERT INTO items VALUES (?, 'pending', 0, '')", [(n,) for n in range(agents)]
        )
        count = 0
        begun = time.perf_counter()
        while (elapsed_s := time.perf_counter() - begun) < seconds:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(UPDATE, [(STAMP, number, count) for number in range(agents)])
            database.execute("COMMIT")
            count += 1
        return count * agents / elapsed_s


def main() -> None:
    """Measure and print one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--api", choices=("run_update", "update"), default="run_update")
    arguments = parser.parse_args()
    agents, seconds = arguments.agents, arguments.seconds
    with tempfile.TemporaryDirectory(prefix="aisquad-bench-", dir=".") as name:
        folder = Path(name)
        result = asyncio.run(measure_work_state(folder, agents, seconds, arguments.api))
        each = asyncio.run(measure_one_transaction_each(folder, agents, min(seconds, 2.0)))
        raw = measure_raw_batches(folder, agents, min(seconds, 2.0))
    print_result(
        {
            "name": f"workstate.{arguments.api}",
            "agents": agents,
            **result,
            "baseline": "one aiosqlite transaction for each update",
            "baseline_ops_per_s": each["ops_per_s"],
            "ratio": result["ops_per_s"] / each["ops_per_s"],
            "raw_batched_sqlite3_ops_per_s": raw,
            "raw_ratio": result["ops_per_s"] / raw,
            "rss_mb": peak_rss_mb(),
        }
    )


if __name__ == "__main__":
    main()
