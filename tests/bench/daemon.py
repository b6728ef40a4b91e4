"""What the engine in the background costs: its CPU with viewers, and how soon it takes a launch.

Run it by hand: `python tests/bench/daemon.py --running 200`. The same launches to an engine on this
process's own loop, with nothing running, are the baseline of the same minute.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from aisquad_core.api import StopMode
from aisquad_core.client import SocketEngine
from aisquad_core.engine import Engine
from aisquad_core.service import start
from aisquad_core.settings import load_settings
from aisquad_core.spec import AdHocSource
from tests.bench.measuring import percentile, print_result

if TYPE_CHECKING:
    from aisquad_core.api import EngineAPI

_TICKS = os.sysconf("SC_CLK_TCK")


async def launch_ms(engine: EngineAPI, launches: int, cwd: str) -> list[float]:
    """Launch convoys of one operation, one after the other; return the sorted waits."""
    waits = []
    for number in range(launches):
        source = AdHocSource(command=("true",), inputs=(str(number),), name=f"bench-{number}")
        begun = time.perf_counter()
        await engine.launch(source, env={"PATH": os.environ["PATH"]}, cwd=cwd)
        waits.append((time.perf_counter() - begun) * 1_000)
    return sorted(waits)


async def baseline(folder: Path, launches: int) -> list[float]:
    """Return the waits of an engine on this loop."""
    settings = load_settings(cwd=folder, environ={}, flags={}, state_dir=folder / "own")
    async with Engine(settings) as engine:
        waits = await launch_ms(engine, launches, str(folder))
        await engine.stop(StopMode.KILL)
    return waits


def cpu_s(pid: int) -> float:
    """Return the processor seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def rss_mb(pid: int) -> float:
    """Return the memory of a process in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


async def watch(engine: SocketEngine) -> None:
    """Read a stream until it ends."""
    async with engine.subscribe() as stream:
        async for _ in stream:
            pass


async def measure(
    state_dir: Path,
    folder: Path,
    pid: int,
    *,
    running: int,
    viewers: int,
    seconds: float,
    launches: int,
) -> dict[str, float]:
    """Return what the engine of a state folder needs."""
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        engine = await stack.enter_async_context(SocketEngine(state_dir))
        source = AdHocSource(command=("sleep", "3600"), inputs=tuple(map(str, range(running))))
        await engine.launch(source, env={"PATH": os.environ["PATH"]}, cwd=str(folder))
        async with engine.subscribe() as stream:
            async for _ in stream:
                if (await engine.snapshot()).counts.running == running:
                    break
        watching = []
        for _ in range(viewers):
            viewer = await stack.enter_async_context(SocketEngine(state_dir))
            watching.append(tasks.create_task(watch(viewer)))
        await asyncio.sleep(2)
        before_s = cpu_s(pid)
        await asyncio.sleep(seconds)
        cpu_percent = 100 * (cpu_s(pid) - before_s) / seconds
        await engine.set_parallelism(1)  # what is launched now waits: its acknowledgement counts
        waits = await launch_ms(engine, launches, str(folder))
        memory_mb = rss_mb(pid)
        for task in watching:
            task.cancel()
        await engine.stop(StopMode.KILL)
    return {
        "daemon_cpu_percent": cpu_percent,
        "rss_mb": memory_mb,
        "p50_ms": percentile(waits, 50),
        "p99_ms": percentile(waits, 99),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--running", type=int, default=200)
    parser.add_argument("--viewers", type=int, default=1)
    parser.add_argument("--launches", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        own = asyncio.run(baseline(folder, given.launches))
        state_dir = folder / "state"
        command = [
            sys.executable, "-m", "aisquad_tui.cli.background", str(folder), "interrupt",
            str(state_dir),
        ]  # fmt: skip
        os.environ["AI_SQUAD_MAX_PARALLELISM"] = str(given.running)
        os.environ["AI_SQUAD_BASELINE_PARALLELISM"] = str(given.running)
        os.environ["AI_SQUAD_ENABLE_AUTO_TUNING"] = "false"
        os.environ["AI_SQUAD_MONITORING_PORT"] = "0"  # measured apart: 16 MB
        pid = start(command, state_dir, cwd=folder)
        found = asyncio.run(
            measure(
                state_dir, folder, pid, running=given.running, viewers=given.viewers,
                seconds=given.seconds, launches=given.launches,
            )
        )  # fmt: skip
        os.waitpid(pid, 0)
    print_result(
        {
            "name": f"daemon --running {given.running}",
            "viewers": given.viewers,
            **found,
            "baseline": "the same launches on this loop, nothing running",
            "baseline_p50_ms": percentile(own, 50),
            "baseline_p99_ms": percentile(own, 99),
            "ratio": percentile(own, 50) / found["p50_ms"],
        }
    )


if __name__ == "__main__":
    main()
