"""An engine that may have no more processes, descriptors or threads, while it has work to do.

`python tests/faults/starved.py FOLDER CASE`, as a user who has nothing else running, takes the
engine's room away when it is at rest, launches, and gives the room back. It prints what it saw as
one JSON object, for `test_starved.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aisquad_core.api import ItemFilter
from aisquad_core.client import SocketEngine
from aisquad_core.errors import AISquadError, NoEngineError
from tests.faults import served_engine
from tests.faults.serving import BOUND_S, Service, ticks, until, until_said, until_troubled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OPERATIONS = 15
RUN = "echo $AISQUAD_ITEM >>ran; until [ -e gate ]; do sleep 0.05; done"
SPARE_DESCRIPTORS = 6
CONNECT_S = 1.5


def tasks_of_user() -> int:
    """Return how many threads this user has; the kernel counts them all as processes."""
    count = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if folder.stat().st_uid == os.getuid():
                    count += len(list((folder / "task").iterdir()))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return count


def take_descriptors(pid: int) -> tuple[int, int]:
    """Leave a process only a few more descriptors; return the limit to be given back."""
    highest = max(int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir())
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    limit = highest + 1 + SPARE_DESCRIPTORS
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, before[1]))
    return before


def take_processes(pid: int, *, spare: int = 0) -> tuple[int, int]:
    """Leave a process no other thread and no child; return the limit to be given back."""
    before = resource.prlimit(pid, resource.RLIMIT_NPROC)
    resource.prlimit(pid, resource.RLIMIT_NPROC, (tasks_of_user() + spare, before[1]))
    return before


CASES: Mapping[str, tuple[Callable[[int], tuple[int, int]], int, str]] = {
    "descriptors": (take_descriptors, resource.RLIMIT_NOFILE, "Too many open files"),
    "processes": (take_processes, resource.RLIMIT_NPROC, "Resource temporarily unavailable"),
    # A launcher begins, and may not fork for its command.
    "forks": (partial(take_processes, spare=1), resource.RLIMIT_NPROC, "Cannot fork"),
}


async def run(folder: Path, case: str) -> dict[str, Any]:
    """Starve an engine, feed it again, and return what was seen."""
    take, limit, words = CASES[case]
    state_dir = folder / "state"
    state_dir.mkdir(mode=0o700)
    served = Service(folder, state_dir)
    seen: dict[str, Any] = {}
    pid = await served.start()
    try:
        # The stream is opened before: a starved engine may not take another connection.
        async with SocketEngine(state_dir) as client, client.subscribe() as news:
            await client.set_parallelism(OPERATIONS + 10)
            await ticks(client, 3, news=news)  # by now it has the threads that it will have
            before = take(pid)
            work = [{"id": f"op-{number}", "run": RUN} for number in range(OPERATIONS)]
            convoy_id = await served.launch(client, *work)
            seen["trouble"] = await until_troubled(client, words, news=news)
            await ticks(client, 1, news=news)
            engine = (await client.snapshot()).engine
            seen["running while starved"], seen["queued"] = engine.running, engine.queued

            resource.prlimit(pid, limit, before)
            seen["is connected"] = await is_answered(state_dir)
            ran = folder / "ran"
            await until(lambda: ran.exists() and len(ran.read_text().split()) == OPERATIONS)
            (folder / "gate").touch()
            (view,) = await client.wait([convoy_id], timeout_s=BOUND_S)
            seen["convoy"] = view.status
            seen["ran"] = ran.read_text().split()
            page = await client.items(ItemFilter())
            seen["attempts"] = sorted({item.attempt for item in page.items})
            await until_said(client, lambda view: view.trouble is None, news=news)
        seen["exit"] = await served.end(pid, signal.SIGTERM)
    finally:
        for each in served.pids:
            served_engine.end(each, signal.SIGKILL)
        served_engine.kill_processes_of(state_dir)
        seen["log"] = (state_dir / "engine.log").read_text()
    return seen


async def is_answered(state_dir: Path) -> bool:
    """Try to connect as a second viewer."""
    try:
        async with asyncio.timeout(CONNECT_S), SocketEngine(state_dir) as client:
            await client.snapshot()
    except (TimeoutError, NoEngineError, AISquadError):
        return False
    return True


def main() -> None:
    """Run one case and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("case", choices=CASES)
    arguments = parser.parse_args()
    print(json.dumps(asyncio.run(run(arguments.folder, arguments.case))))


if __name__ == "__main__":
    main()
