"""How many operations of /bin/true the engine starts and settles in a second, beside xargs.

Run it by hand: `python tests/bench/launch.py --parallelism 20`. Each operation has its claim, its
log file and its durable start and finish; `xargs -P N` and `parallel -j N` have none of these.
With `--metrics both` it says instead what the metrics cost: turns with and without them alternate.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from functools import partial
from operator import itemgetter
from pathlib import Path

from aisquad_core.engine import Engine
from aisquad_core.model import Operation
from aisquad_core.settings import load_settings
from tests.bench.measuring import StallMeter, compare_metrics, peak_rss_mb, print_result

RATE = 1_000_000
"""Starts a minute: the agent's limit is not what is measured."""


def baseline_ops_per_s(command: list[str], operations: int) -> float:
    """Let another program run /bin/true as often; return operations a second."""
    numbers = "".join(f"{number}\n" for number in range(operations)).encode()
    begun = time.perf_counter()
    subprocess.run(command, input=numbers, check=True, stdout=subprocess.DEVNULL)
    return operations / (time.perf_counter() - begun)


async def engine_ops_per_s(
    parallelism: int, operations: int, folder: Path, *, has_metrics: bool = True
) -> dict[str, float]:
    """Run a convoy of /bin/true; return operations a second and the worst stall of the loop."""
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
    batch = [Operation(id=f"op-{number}", argv=("/bin/true",)) for number in range(operations)]
    async with Engine(settings) as engine, StallMeter() as stalls:
        await engine.set_parallelism(parallelism)
        begun, cpu_s, loop_cpu_s = time.perf_counter(), time.process_time(), time.thread_time()
        convoy_id = await engine.launch_operations(
            "launch", batch, {}, env=os.environ, cwd=str(folder)
        )
        (view,) = await engine.wait([convoy_id])
        elapsed_s = time.perf_counter() - begun
        cpu_s, loop_cpu_s = time.process_time() - cpu_s, time.thread_time() - loop_cpu_s
    return {
        "ops_per_s": operations / elapsed_s,
        "cpu_s": cpu_s,
        "loop_cpu_s": loop_cpu_s,
        "worst_stall_ms": stalls.worst_ms,
        "errors": operations - view.counts.completed,
    }


def main() -> None:
    """Measure in turns, and print one JSON object on the last line: the middle turn's figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parallelism", type=int, default=20)
    parser.add_argument("--operations", type=int, default=1_500)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--metrics", choices=["on", "off", "both"], default="on")
    arguments = parser.parse_args()
    measure = partial(engine_ops_per_s, arguments.parallelism, arguments.operations)
    if arguments.metrics == "both":
        name = f"launch --metrics both --parallelism {arguments.parallelism}"
        print_result(compare_metrics(name, measure, turns=arguments.turns))
        return
    slots, operations = str(arguments.parallelism), arguments.operations
    turns = []
    # Removed when all is measured: the disk would still be at it in the next turn.
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        for number in range(arguments.turns):
            os.sync()
            xargs = baseline_ops_per_s(["xargs", "-P", slots, "-n", "1", "/bin/true"], operations)
            place = Path(folder) / str(number)
            place.mkdir()
            turn = asyncio.run(measure(place, has_metrics=arguments.metrics == "on"))
            turns.append({**turn, "baseline_ops_per_s": xargs, "ratio": turn["ops_per_s"] / xargs})
    middle = sorted(turns, key=itemgetter("ratio"))[len(turns) // 2]
    result: dict[str, object] = {
        "name": f"launch --parallelism {slots}",
        **middle,
        "baseline": f"xargs -P {slots} -n 1 /bin/true",
        "worst_stall_ms": max(turn["worst_stall_ms"] for turn in turns),
        "ratios": [round(turn["ratio"], 3) for turn in turns],
        "rss_mb": peak_rss_mb(),
    }
    if shutil.which("parallel"):
        command = ["parallel", "--will-cite", "-j", slots, "/bin/true"]
        result["parallel_ops_per_s"] = baseline_ops_per_s(command, min(500, operations))
    print_result(result)


if __name__ == "__main__":
    main()
