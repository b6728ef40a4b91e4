"""How many no-op coroutines the engine runs in a second, with durable start and finish.

Run it by hand: `python tests/bench/callables.py`. The baseline does the same with what is at hand:
tasks behind an `asyncio.Semaphore`, and one aiosqlite transaction for each start and each finish.
With `--metrics both` it says instead what the metrics cost: turns with and without them alternate.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from functools import partial
from pathlib import Path

import aiosqlite

from aisquad_core.engine import Engine
from aisquad_core.model import Operation
from aisquad_core.settings import load_settings
from tests.bench.measuring import StallMeter, compare_metrics, peak_rss_mb, print_result


async def nothing() -> None:
    """The operation."""


async def baseline_ops_per_s(parallelism: int, operations: int, folder: Path) -> float:
    """Run no-ops with one transaction for each start and finish; return operations a second."""
    slots, transaction = asyncio.Semaphore(parallelism), asyncio.Lock()
    async with aiosqlite.connect(folder / "baseline.db") as database:
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            await database.execute_fetchall(f"PRAGMA {pragma}")
        await database.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, status TEXT)")
        await database.commit()

        async def run(number: int) -> None:
            async with slots:
                async with transaction:
                    await database.execute("INSERT INTO items VALUES (?, 'running')", (number,))
                    await database.commit()
                await nothing()
                async with transaction:
                    await database.execute("UPDATE items SET status = 1 WHERE id = ?", (number,))
                    await database.commit()

        begun = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number in range(operations):
                tasks.create_task(run(number))
        return operations / (time.perf_counter() - begun)


async def engine_ops_per_s(
    parallelism: int, operations: int, folder: Path, *, has_metrics: bool = True
) -> dict[str, float]:
    """Run a convoy of no-ops; return operations a second and the worst stall of the loop."""
    settings = load_settings(
        cwd=folder,
        environ={"HOME": str(folder)},
        flags={
            "baseline_parallelism": parallelism,
            "max_parallelism": parallelism,
            "enable_metrics": has_metrics,
        },
        state_dir=folder / "state",
    )
    batch = [Operation(id=f"op-{number}") for number in range(operations)]
    calls = {operation.id: nothing for operation in batch}
    async with Engine(settings) as engine, StallMeter() as stalls:
        await engine.set_parallelism(parallelism)
        begun, cpu_s, loop_cpu_s = time.perf_counter(), time.process_time(), time.thread_time()
        convoy_id = await engine.launch_operations(
            "callables", batch, calls, env=os.environ, cwd=str(folder)
        )
        launched = time.perf_counter()
        (view,) = await engine.wait([convoy_id])
        ended = time.perf_counter()
        cpu_s, loop_cpu_s = time.process_time() - cpu_s, time.thread_time() - loop_cpu_s
    return {
        "ops_per_s": operations / (ended - launched),
        "launch_s": launched - begun,
        "ops_per_s_with_launch": operations / (ended - begun),
        "cpu_s": cpu_s,
        "loop_cpu_s": loop_cpu_s,
        "worst_stall_ms": stalls.worst_ms,
        "errors": operations - view.counts.completed,
    }


def main() -> None:
    """Measure and print one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parallelism", type=int, default=400)
    parser.add_argument("--operations", type=int, default=40_000)
    parser.add_argument("--metrics", choices=["on", "off", "both"], default="on")
    parser.add_argument("--turns", type=int, default=9, help="pairs of turns with `both`")
    arguments = parser.parse_args()
    measure = partial(engine_ops_per_s, arguments.parallelism, arguments.operations)
    if arguments.metrics == "both":
        name = f"callables --metrics both --parallelism {arguments.parallelism}"
        print_result(compare_metrics(name, measure, turns=arguments.turns))
        return
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        few = min(2_000, arguments.operations)
        baseline = asyncio.run(baseline_ops_per_s(arguments.parallelism, few, folder))
        measured = asyncio.run(measure(folder, has_metrics=arguments.metrics == "on"))
    print_result(
        {
            "name": f"callables --parallelism {arguments.parallelism}",
            **measured,
            "baseline": "asyncio.Semaphore, one aiosqlite transaction for each start and finish",
            "baseline_ops_per_s": baseline,
            "ratio": measured["ops_per_s"] / baseline,
            "rss_mb": peak_rss_mb(),
        }
    )


if __name__ == "__main__":
    main()
