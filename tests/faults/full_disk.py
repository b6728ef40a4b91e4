"""A disk that is full while operations run, on a file system of its own.

`unshare --mount python tests/faults/full_disk.py FOLDER CASE` mounts a small tmpfs below FOLDER in
its mount namespace, runs an engine there, fills the disk and makes room again. It prints what it
saw as one JSON object, for `test_full_disk.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from aisquad_core.api import ItemFilter
from aisquad_core.client import SocketEngine
from aisquad_core.errors import AISquadError
from tests.faults import served_engine
from tests.faults.serving import BOUND_S, Service, ticks, until, until_troubled, until_well

SIZE = "64m"
FIRST = [f"first-{number}" for number in range(6)]
GATED = (
    "echo $AISQUAD_ITEM >>began; until [ -e gate ]; do sleep 0.02; done; echo $AISQUAD_ITEM >>ran"
)
CHATTY = GATED.replace("do sleep", "do seq 1000; sleep")
WAL_FILLING = 3
"""Launches of 5 MB that fill the write-ahead log, which is then begun anew."""


class FullDisk:
    """One disk, its engine, and what became of the work.

    Args:
        folder: Empty, and not on the small disk.
    """

    def __init__(self, folder: Path) -> None:
        self._disk = folder / "disk"
        self._disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(self._disk)]
        subprocess.run(mount, check=True)
        state_dir = self._disk / "state"
        state_dir.mkdir(mode=0o700)
        self._served = Service(folder, state_dir)
        self._pid = 0
        self.seen: dict[str, Any] = {}

    async def run(self, case: str) -> None:
        """Let the disk be full and have room again, with what the case has in between."""
        self._pid = await self._served.start()
        try:
            if case == "reserve":
                await self._grow_wal()
            async with SocketEngine(self._served.state_dir) as client:
                convoy_id = await self._launch(client)
                self._fill()
                # An earlier tick may have looked while the disk was being filled.
                self.seen["trouble"] = await until_troubled(client, "disk full: 0.0 MB left")
                if case == "plain":
                    await self._look(client)
                if case != "killed":
                    await self._end_first(client, convoy_id)
            if case == "killed":
                await self._served.end(self._pid, signal.SIGKILL)
                self._pid = await self._served.start()
                async with SocketEngine(self._served.state_dir) as client:
                    self.seen["trouble after kill"] = await until_troubled(client, "disk full")
            self.seen["ran while full"] = self._lines("ran")
            (self._disk / "ballast").unlink()
            self._open_gate()
            async with SocketEngine(self._served.state_dir) as client:
                await self._finish(client, convoy_id)
            await self._served.end(self._pid, signal.SIGTERM)
        finally:
            for pid in self._served.pids:
                served_engine.end(pid, signal.SIGKILL)
            served_engine.kill_processes_of(self._served.state_dir)
        with closing(sqlite3.connect(self._served.state_dir / "workstate.db")) as connection:
            self.seen["integrity"] = connection.execute("PRAGMA integrity_check").fetchone()[0]

    async def _grow_wal(self) -> None:
        """Let the write-ahead log come to its full size, which it then keeps."""
        text = {"text": "x" * 100_000}
        big = [{"id": f"big-{number}", "run": "true", "context": text} for number in range(50)]
        async with SocketEngine(self._served.state_dir) as client:
            for _ in range(WAL_FILLING):
                await client.wait([await self._served.launch(client, *big)], timeout_s=BOUND_S)
        wal = self._served.state_dir / "workstate.db-wal"
        self.seen["wal_bytes"] = wal.stat().st_size

    async def _launch(self, client: SocketEngine) -> str:
        convoy_id = await self._served.launch(
            client,
            *({"id": each, "run": GATED} for each in FIRST),
            {"id": "chatty", "run": CHATTY},
            {"id": "last", "run": "echo last >>ran", "needs": [*FIRST, "chatty"]},
        )
        await until(lambda: len(self._lines("began")) == len(FIRST) + 1)
        return convoy_id

    def _fill(self) -> None:
        descriptor = os.open(self._disk / "ballast", os.O_WRONLY | os.O_CREAT)
        try:
            for size in (1 << 20, 4096):
                with suppress(OSError):
                    while os.write(descriptor, bytes(size)) == size:
                        pass
        finally:
            os.close(descriptor)

    async def _look(self, client: SocketEngine) -> None:
        """See what is told, and that nothing is taken that could not be kept."""
        before = await client.snapshot()
        try:
            await self._served.launch(client, {"id": "late", "run": "echo late >>ran"})
        except AISquadError as error:
            self.seen["launch"] = str(error)
        after = await client.snapshot()
        self.seen["is launch gone"] = after.counts == before.counts
        status = [sys.executable, "-m", "aisquad_tui.cli", "status", "--state"]
        done = await asyncio.to_thread(
            subprocess.run,
            [*status, str(self._served.state_dir)],
            check=True,
            capture_output=True,
            text=True,
            timeout=BOUND_S,
        )
        self.seen["status"] = done.stdout

    async def _end_first(self, client: SocketEngine, convoy_id: str) -> None:
        self._open_gate()
        await until(lambda: len(self._lines("ran")) == len(FIRST) + 1)
        await ticks(client, 1)
        page = await client.items(ItemFilter(convoy_ids=(convoy_id,)))
        self.seen["while full"] = {item.id: item.status for item in page.items}
        self.seen["trouble at the end"] = (await client.snapshot()).engine.trouble

    async def _finish(self, client: SocketEngine, convoy_id: str) -> None:
        (view,) = await client.wait([convoy_id], timeout_s=BOUND_S)
        await until_well(client)
        self.seen["convoy"] = view.status
        page = await client.items(ItemFilter(convoy_ids=(convoy_id,)))
        self.seen["items"] = {item.id: [item.status, item.attempt] for item in page.items}
        self.seen["ran"] = self._lines("ran")
        again = await self._served.launch(client, {"id": "again", "run": "true"})
        (view,) = await client.wait([again], timeout_s=BOUND_S)
        self.seen["launch afterwards"] = view.status

    def _open_gate(self) -> None:
        (self._served.folder / "gate").touch()

    def _lines(self, name: str) -> list[str]:
        path = self._served.folder / name
        return path.read_text().split() if path.exists() else []


def main() -> None:
    """Run one case and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("case", choices=["plain", "reserve", "killed"])
    arguments = parser.parse_args()
    disk = FullDisk(arguments.folder)
    asyncio.run(disk.run(arguments.case))
    print(json.dumps(disk.seen))


if __name__ == "__main__":
    main()
