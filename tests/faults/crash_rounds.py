"""`kill -9` of the engine at random moments while operations with dependencies go through it.

`python tests/faults/crash_rounds.py --rounds 200 [--seed N]` starts the engine as a process of its
own, launches convoys through its socket, kills it, looks at what it left, starts it again, until
all is done. A round is one kill: while the engine starts or takes over, while it takes a launch,
while it works, or at one of `served_engine.POINTS`. Each operation appends its id to a file. It
prints a line a round and one JSON object at the end, and exits 1 if anything was lost, ran twice or
was left over.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aisquad_core.api import ConvoyChanged, ItemField, ItemFilter, ItemTerm, Snapshot
from aisquad_core.client import SocketEngine
from aisquad_core.errors import EngineStartError, EngineStoppedError, NoEngineError
from aisquad_core.model import ConvoyStatus
from aisquad_core.spec import SpecFormat, SpecSource
from tests.faults import served_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aisquad_core.api import Event

ENOUGH_S = 60
AT_START, AT_POINT, AT_LAUNCH = 0.15, 0.45, 0.5
"""How often a kill is of that kind; the last, of those that could be while it works."""
LATEST_PASS = 40
"""Most times that an engine comes to a point before it dies there."""
LEVELS = 10
"""Longest chain of dependencies."""
LONGEST_PAUSE_S = 0.03
"""Random time between the event that a kill waits for and the kill."""
LEAVING_S = 10
"""Time for processes that have done their work to end."""
_RECORDED = """
SELECT item.id FROM work_items item JOIN convoys convoy ON convoy.id = item.convoy_id
WHERE convoy.name = ? AND item.status = 'completed' AND item.attempt = 1
"""


@dataclass
class Batch:
    """A convoy on its way through many engines."""

    name: str
    needs: dict[str, list[str]]
    marks_file: Path
    convoy_id: str | None = None
    """None until a launch of it was acknowledged, or found."""
    completed: dict[str, int] = field(default_factory=dict)
    """Each item that a crash left recorded as completed, and how often it had run by then."""

    def source(self) -> SpecSource:
        """Return its convoy file."""
        run = 'printf "%s\\n" "$AISQUAD_ITEM" >>"$MARKS"; sleep 0.01'
        operations = [{"id": each, "run": run, "needs": self.needs[each]} for each in self.needs]
        return SpecSource(
            text=json.dumps({"name": self.name, "operations": operations}),
            format=SpecFormat.JSON,
            origin=f"{self.name}.json",
            base_dir="/",
        )

    def marks(self) -> list[str]:
        """Return the ids in the order in which the operations ran."""
        return self.marks_file.read_text().split() if self.marks_file.exists() else []


@dataclass
class Findings:
    """What must not be."""

    lost: int = 0
    """Operations that did not run, or are not recorded as completed in their first attempt."""
    run_twice: int = 0
    """Operations that ran more often than once."""
    rerun_after_completion: int = 0
    """Those of them whose completion had been recorded before."""
    out_of_order: int = 0
    """Operations that ran before one that they need."""
    unkept_launches: int = 0
    """Launches that were acknowledged, or half of them, and are not there."""
    left_over: int = 0
    """Processes of operations after the end."""
    corrupt: int = 0
    """Databases that do not pass `PRAGMA integrity_check`."""


class CrashRounds:
    """Kills engine after engine on one state folder.

    Args:
        folder: Empty; everything is kept there.
        rounds: Kills.
        seed: Of the moments and the dependencies.
        operations: In a convoy.
        kills_a_batch: Kills in the life of a convoy.
    """

    def __init__(
        self, folder: Path, *, rounds: int, seed: int, operations: int, kills_a_batch: int
    ) -> None:
        self.findings = Findings()
        self.round = 0
        self.batches = 0
        self._folder = folder
        self._state_dir = folder / "state"
        self._state_dir.mkdir(mode=0o700)
        self._rounds = rounds
        self._operations = operations
        self._kills_a_batch = kills_a_batch
        self._random = random.Random(seed)
        self._start_s = 1.0
        """How long an engine took from its start to its first answer."""

    async def run(self) -> None:
        """Do all rounds."""
        while self.round < self._rounds:
            await self._run_batch()

    async def _run_batch(self) -> None:
        self.batches += 1
        batch = self._make_batch(f"batch-{self.batches:05d}")
        kills = min(self._kills_a_batch, self._rounds - self.round)
        for kill in range(kills):
            self.round += 1
            begun = time.monotonic()
            async with asyncio.timeout(2 * ENOUGH_S):
                moment = await self._kill_once(batch, kills_left=kills - kill)
            state = await asyncio.to_thread(self._inspect, batch)
            print(
                f"round {self.round}/{self._rounds}: {batch.name}, killed {moment}, "
                f"{len(batch.completed)} of {self._operations} completed, {state}, "
                f"{time.monotonic() - begun:.1f} s",
                flush=True,
            )
        async with asyncio.timeout(2 * ENOUGH_S):
            await self._finish(batch)

    def _make_batch(self, name: str) -> Batch:
        """Return operations in levels, each needing one or two of the level below."""
        ids = [f"op-{number}" for number in range(self._operations)]
        width = -(-self._operations // LEVELS)
        needs: dict[str, list[str]] = {}
        for number, each in enumerate(ids):
            level = number // width
            below = ids[(level - 1) * width : level * width] if level else []
            needs[each] = self._random.sample(below, min(len(below), self._random.randint(1, 2)))
        return Batch(name=name, needs=needs, marks_file=self._folder / f"{name}.marks")

    # Kills

    async def _kill_once(self, batch: Batch, *, kills_left: int) -> str:
        """Start an engine, kill it at a random moment, and say at which."""
        kind = self._random.random()
        if kind < AT_START:
            await self._kill_at_start()
            return "while starting"
        if kind < AT_START + AT_POINT:
            return await self._kill_at_point(batch)
        begun = time.monotonic()
        pid = await asyncio.to_thread(served_engine.start, self._state_dir)
        self._start_s = time.monotonic() - begun
        try:
            async with SocketEngine(self._state_dir) as client:
                await self._find(batch, client)
                if batch.convoy_id is None and self._random.random() < AT_LAUNCH:
                    await self._kill_at_launch(batch, client, pid)
                    return "while launching"
                convoy_id = await self._launch(batch, client)
                async with asyncio.timeout(ENOUGH_S), client.subscribe() as news:
                    await self._until_worked(convoy_id, news, kills_left)
                await asyncio.sleep(self._random.random() * LONGEST_PAUSE_S)
                return "while working"
        finally:
            with suppress(ProcessLookupError):
                await asyncio.to_thread(served_engine.end, pid, signal.SIGKILL)

    async def _kill_at_start(self) -> None:
        engine = await asyncio.to_thread(self._spawn)
        await asyncio.sleep((0.3 + 0.9 * self._random.random()) * self._start_s)
        engine.kill()
        await asyncio.to_thread(engine.wait)

    async def _kill_at_point(self, batch: Batch) -> str:
        """Let an engine die at a point of its own; kill it if it never comes there."""
        point = self._random.choice(list(served_engine.POINTS))
        die = point, self._random.randint(1, LATEST_PASS if "commit" in point else LATEST_PASS // 5)
        moment = f"{point}, time {die[1]}"
        try:
            pid = await asyncio.to_thread(served_engine.start, self._state_dir, die=die)
        except EngineStartError:  # it died before it answered
            return moment
        try:
            async with SocketEngine(self._state_dir) as client:
                await self._find(batch, client)
                await client.wait([await self._launch(batch, client)], timeout_s=ENOUGH_S)
                moment = f"at the end, never {moment}"
        except (EngineStoppedError, NoEngineError):
            pass
        finally:
            await asyncio.to_thread(served_engine.end, pid, signal.SIGKILL)
        return moment

    def _spawn(self) -> subprocess.Popen[bytes]:
        """Start an engine without waiting until it answers."""
        with (self._folder / "start.log").open("ab") as log:
            return subprocess.Popen(
                served_engine.command(self._state_dir),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    async def _kill_at_launch(self, batch: Batch, client: SocketEngine, pid: int) -> None:
        async def launch() -> None:
            with suppress(EngineStoppedError):
                await self._launch(batch, client)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(launch())
            await asyncio.sleep(self._random.random() * LONGEST_PAUSE_S)
            await asyncio.to_thread(served_engine.end, pid, signal.SIGKILL)

    async def _until_worked(
        self, convoy_id: str, news: AsyncIterator[Snapshot | Event], kills_left: int
    ) -> None:
        """Return when a random part of what is left has been done."""
        wanted: int | None = None
        async for each in news:
            views = each.convoys if isinstance(each, Snapshot) else ()
            if isinstance(each, ConvoyChanged):
                views = (each.convoy,)
            for view in views:
                if view.id != convoy_id:
                    continue
                counts = view.counts
                if wanted is None:
                    most = (self._operations - counts.completed) // kills_left
                    wanted = counts.completed + self._random.randint(0, most)
                if counts.completed >= wanted or view.status.is_final:
                    return
        raise EngineStoppedError("the engine ended by itself")

    # Launch and end

    async def _find(self, batch: Batch, client: SocketEngine) -> None:
        """Find the convoy of a launch that a kill kept from being acknowledged, or that was."""
        term = ItemTerm(text=batch.name, field=ItemField.CONVOY)
        page = await client.items(ItemFilter(terms=(term,)), limit=1)
        found = {item.convoy_id for item in page.items}
        expected = self._operations if found or batch.convoy_id else 0
        if page.total != expected or (batch.convoy_id and batch.convoy_id not in found):
            self.findings.unkept_launches += 1
        batch.convoy_id = batch.convoy_id or next(iter(found), None)

    async def _launch(self, batch: Batch, client: SocketEngine) -> str:
        if batch.convoy_id is None:
            env = {"PATH": os.defpath, "MARKS": str(batch.marks_file)}
            batch.convoy_id = await client.launch(batch.source(), env=env, cwd=str(self._folder))
        return batch.convoy_id

    async def _finish(self, batch: Batch) -> None:
        """Let one more engine finish the convoy, then count what must not be."""
        pid = await asyncio.to_thread(served_engine.start, self._state_dir)
        try:
            async with SocketEngine(self._state_dir) as client:
                await self._find(batch, client)
                convoy_id = await self._launch(batch, client)
                (view,) = await client.wait([convoy_id], timeout_s=ENOUGH_S)
        finally:
            await asyncio.to_thread(served_engine.end, pid, signal.SIGTERM)
        await asyncio.to_thread(self._judge, batch, view.status)

    def _judge(self, batch: Batch, status: ConvoyStatus) -> None:
        ran_before = dict(batch.completed)
        self._inspect(batch)
        marks = batch.marks()
        times_run = Counter(marks)
        place = {each: number for number, each in enumerate(marks)}
        found = self.findings
        lost = set(batch.needs) - set(batch.completed) | set(batch.needs) - set(marks)
        found.lost += len(lost) or int(status is not ConvoyStatus.COMPLETED)
        found.run_twice += sum(number > 1 for number in times_run.values())
        found.rerun_after_completion += sum(times_run[i] > n for i, n in ran_before.items())
        found.out_of_order += sum(
            any(place.get(need, len(marks)) > place[each] for need in batch.needs[each])
            for each in place
        )
        deadline_s = time.monotonic() + LEAVING_S
        while left := served_engine.processes_of(self._state_dir):
            if time.monotonic() > deadline_s:
                break
            time.sleep(0.05)  # a launcher that has just written its last line
        found.left_over += len(left)

    # What a kill leaves

    def _inspect(self, batch: Batch) -> str:
        """Check a copy of what an engine that has ended left; note what it recorded."""
        rows = []
        with tempfile.TemporaryDirectory(dir=self._folder) as copy:
            for name in ("workstate.db", "workstate.db-wal"):
                with suppress(FileNotFoundError):  # killed before it was made
                    shutil.copy(self._state_dir / name, copy)
            with closing(sqlite3.connect(Path(copy) / "workstate.db")) as connection:
                answer = [row[0] for row in connection.execute("PRAGMA integrity_check")]
                if answer != ["ok"]:
                    self.findings.corrupt += 1
                    return f"database: {answer}"
                if connection.execute("PRAGMA user_version").fetchone()[0]:
                    rows = connection.execute(_RECORDED, (batch.name,)).fetchall()
        times_run = Counter(batch.marks())
        recorded = {item_id for (item_id,) in rows}
        self.findings.lost += len(batch.completed.keys() - recorded)
        for item_id in recorded:
            batch.completed.setdefault(item_id, times_run[item_id])
        return "database ok"


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--operations", type=int, default=300)
    parser.add_argument("--kills-a-batch", type=int, default=5)
    arguments = parser.parse_args()
    seed = random.randrange(2**31) if arguments.seed is None else arguments.seed
    folder = Path(tempfile.mkdtemp(prefix="crash-rounds-"))
    rounds = CrashRounds(
        folder,
        rounds=arguments.rounds,
        seed=seed,
        operations=arguments.operations,
        kills_a_batch=arguments.kills_a_batch,
    )
    begun = time.monotonic()
    error = None
    try:
        asyncio.run(rounds.run())
    except Exception as failure:
        error = repr(failure)
        traceback.print_exc()
    is_well = error is None and not any(asdict(rounds.findings).values())
    summary = {
        "name": "crash_rounds",
        "seed": seed,
        "rounds": rounds.round,
        "batches": rounds.batches,
        "operations": rounds.batches * arguments.operations,
        **asdict(rounds.findings),
        "error": error,
        "kept": None if is_well else str(folder),
        "duration_s": round(time.monotonic() - begun, 1),
    }
    if is_well:
        shutil.rmtree(folder)
    print(json.dumps(summary), flush=True)
    return int(not is_well)


if __name__ == "__main__":
    sys.exit(main())
