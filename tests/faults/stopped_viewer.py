"""A viewer that is stopped (SIGSTOP) beside many events a second: what the engine and others feel.

`python tests/faults/stopped_viewer.py [--seconds 60] [--rate 1000]` serves changes of 10,000 work
items from a process of its own, through the real hub and the real socket, to two viewers. One of
them is stopped; of the other each change's way is timed, before that and meanwhile. It prints one
JSON object, and exits 1 if the stopped viewer does not see the newest state when it goes on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from aisquad_core.api import ItemChanged, ItemFilter, Snapshot
from aisquad_core.client import SocketEngine
from aisquad_core.daemon import Server
from aisquad_core.model import Operation
from aisquad_core.testing import FakeEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ITEMS = 10_000
"""More things than wait for one reader: the stopped one gets a new snapshot in the end."""
STEP_S = 0.01
ENOUGH_S = 30.0
CALM_PART = 0.25
"""Of the time, before the viewer is stopped."""


async def serve(state_dir: Path, rate: int) -> None:
    """Tell so many changes a second, each with the moment at which it was told."""
    operations = [Operation(id=f"op-{n}", argv=("true",)) for n in range(ITEMS)]
    async with FakeEngine() as engine, Server(engine, state_dir):
        engine.add_convoy("work", operations, is_paused=True)
        views = (await engine.items(ItemFilter(), limit=ITEMS)).items
        print("serves", flush=True)
        begun, told = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - begun) * rate)
            while told < due:
                view = replace(views[told % ITEMS], version=told, reason=str(time.monotonic()))
                engine.hub.publish(ItemChanged(seq=engine.hub.next_seq(), item=view))
                told += 1
            await asyncio.sleep(STEP_S)


async def view(state_dir: Path) -> None:
    """Follow the changes, and say so at the first and at every signal to look at the newest."""
    seen, asked = 0, asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, asked.set)
    async with SocketEngine(state_dir) as client, client.subscribe() as news:
        async for each in news:
            is_first, seen = seen == 0, each.seq
            if is_first:
                print("sees", flush=True)
            if asked.is_set():
                asked.clear()
                wanted = (await client.snapshot()).seq
                async for later in news:
                    if later.seq >= wanted:
                        break
                print("up to date", flush=True)


@asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run this script in another role, until the context ends."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, __file__, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=-1
    )
    try:
        yield started
    finally:
        started.kill()
        await started.communicate()


async def until_says(started: asyncio.subprocess.Process, words: bytes) -> None:
    assert started.stdout is not None
    async with asyncio.timeout(ENOUGH_S):
        line = await started.stdout.readline()
    if line.strip() != words:
        raise AssertionError(f"expected {words!r}, found {line!r}")


class Watch:
    """The viewer that is not stopped."""

    def __init__(self) -> None:
        self.lags_s: list[float] = []
        """How long each change was on its way."""
        self.snapshots = -1
        """How often it fell so far behind that it got a new picture; the first is none."""

    async def follow(self, client: SocketEngine) -> None:
        async with client.subscribe() as news:
            async for each in news:
                if isinstance(each, ItemChanged) and each.item.reason is not None:
                    self.lags_s.append(time.monotonic() - float(each.item.reason))
                self.snapshots += isinstance(each, Snapshot)

    def take(self) -> dict[str, float]:
        """Return what was seen since the last time."""
        lags_ms, self.lags_s = sorted(1000 * lag for lag in self.lags_s), []
        if not lags_ms:
            raise AssertionError("no change was seen")
        return {
            "changes": len(lags_ms),
            "p50_ms": round(lags_ms[len(lags_ms) // 2], 2),
            "p99_ms": round(lags_ms[len(lags_ms) * 99 // 100], 2),
            "worst_ms": round(lags_ms[-1], 2),
        }


def rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


async def measure(state_dir: Path, seconds: float, rate: int) -> dict[str, object]:
    watch = Watch()
    async with (
        process("--serve", str(state_dir), "--rate", str(rate)) as engine,
        asyncio.TaskGroup() as tasks,
    ):
        await until_says(engine, b"serves")
        async with process("--view", str(state_dir)) as viewer, SocketEngine(state_dir) as client:
            await until_says(viewer, b"sees")
            following = tasks.create_task(watch.follow(client))
            await asyncio.sleep(CALM_PART * seconds)
            calm, before_mb = watch.take(), rss_mb(engine.pid)
            viewer.send_signal(signal.SIGSTOP)
            sizes_mb, end_s = [], time.monotonic() + seconds
            while time.monotonic() < end_s:
                await asyncio.sleep(0.2)
                sizes_mb.append(rss_mb(engine.pid))
            stopped = watch.take()
            viewer.send_signal(signal.SIGCONT)
            viewer.send_signal(signal.SIGUSR1)
            await until_says(viewer, b"up to date")
            following.cancel()
    return {
        "name": "stopped viewer",
        "seconds": seconds,
        "events_per_s": round(stopped["changes"] / seconds),
        "other_viewer_before": calm,
        "other_viewer_meanwhile": stopped,
        "other_viewer_overruns": watch.snapshots,
        "rss_mb_before": round(before_mb, 1),
        "rss_mb_after": round(sizes_mb[-1], 1),
        "rss_mb_most": round(max(sizes_mb), 1),
    }


def main() -> None:
    """Play the role that the arguments name; without one, measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--view", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        asyncio.run(serve(arguments.serve, arguments.rate))
    elif arguments.view is not None:
        asyncio.run(view(arguments.view))
    else:
        with tempfile.TemporaryDirectory(prefix="aisquad-") as name:
            state_dir = Path(name, "state")
            state_dir.mkdir(mode=0o700)
            print(json.dumps(asyncio.run(measure(state_dir, arguments.seconds, arguments.rate))))


if __name__ == "__main__":
    main()
