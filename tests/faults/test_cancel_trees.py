from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aisquad_core.api import ItemFilter
from aisquad_core.engine import Engine
from aisquad_core.model import ConvoyStatus, WorkStatus
from aisquad_core.settings import load_settings
from aisquad_core.spec import SpecFormat, SpecSource

if TYPE_CHECKING:
    from collections.abc import Callable

TREES = 50

STUBBORN = r"""
echo $$ > "$1"/parent
sh -c 'trap "" TERM; echo $$ > "$0"/child; while :; do sleep 1; done' "$1" &
setsid sh -c 'trap "" TERM HUP; echo $$ > "$0"/grandchild; while :; do sleep 1; done' "$1" &
wait
while :; do sleep 1; done
"""


FORKED_TWICE = """
import os, sys, time
if os.fork():
    os.wait()
    time.sleep(600)
os.setsid()
if os.fork():
    os._exit(0)  # what is left is init's child, in a session of its own
open(sys.argv[1], "w").write(f"{os.getpid()} ")
time.sleep(600)
"""
EMPTY_ENVIRONMENT = """
import os, subprocess, sys, time
code = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(600)"
with open(sys.argv[1], "w") as pids:
    for new_session in (False, True):
        subprocess.Popen([sys.executable, "-c", code], env={}, stdout=pids,
                         start_new_session=new_session)
time.sleep(600)
"""
MOST_FORKS = 400
"""Of the bomb, which is no danger even if nothing ends it."""
FORK_BOMB = f"""
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
pids = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for fork in range({MOST_FORKS}):
    if os.fork() == 0:
        if fork % 2:
            os.setsid()
        os.write(pids, b"%d " % os.getpid())
        time.sleep(600 if fork % 4 == 0 else 0.2)  # some stay, some die before they are found
        os._exit(0)
    time.sleep(0.005)
time.sleep(600)
"""
TREES_BY_KIND = {
    "forks twice": FORKED_TWICE,
    "empties its environment": EMPTY_ENVIRONMENT,
    "forks on and on": FORK_BOMB,
}


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_cancelled_trees_leave_nothing_behind(
    tmp_path: Path, find_processes: Callable[[str], list[int]]
) -> None:
    script = tmp_path / "stubborn.sh"
    script.write_text(STUBBORN)
    folders = [tmp_path / f"tree-{number}" for number in range(TREES)]
    for folder in folders:
        folder.mkdir()
    convoy_file = f"""
        name = "trees"
        [[operations]]
        id = "tree-{{n}}"
        for_each = {{ n = {list(range(TREES))} }}
        run = ["sh", "{script}", "{tmp_path}/tree-{{n}}"]
    """
    settings = load_settings(
        cwd=tmp_path, environ={}, flags={"grace_seconds": 1.0}, state_dir=tmp_path / "state"
    )
    async with Engine(settings) as engine:
        await engine.set_parallelism(TREES)
        source = SpecSource(
            text=convoy_file, format=SpecFormat.TOML, origin="trees.toml", base_dir=str(tmp_path)
        )
        convoy_id = await engine.launch(source, env=os.environ, cwd=str(tmp_path))
        pid_files = [
            folder / name for folder in folders for name in ("parent", "child", "grandchild")
        ]
        async with asyncio.timeout(60):
            async with engine.subscribe() as changes:
                async for _ in changes:  # a tick a second, at least
                    if all(each.exists() and each.read_text() for each in pid_files):
                        break
        pids = [int(each.read_text()) for each in pid_files]
        assert all(alive(pid) for pid in pids)

        outcome = await engine.cancel(convoy_id)

        assert len(outcome.changed) == TREES
        assert [pid for pid in pids if alive(pid)] == []
        (view,) = await engine.wait([convoy_id])
        assert view.status is ConvoyStatus.CANCELLED
        page = await engine.items(ItemFilter(convoy_ids=(convoy_id,)), limit=TREES)
        assert Counter(item.status for item in page.items) == {WorkStatus.CANCELLED: TREES}
    assert find_processes(convoy_id) == []


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", TREES_BY_KIND)
async def test_a_tree_that_would_escape_is_gone_after_its_cancel(tmp_path: Path, kind: str) -> None:
    script, listing = tmp_path / "tree.py", tmp_path / "pids"
    script.write_text(TREES_BY_KIND[kind])
    settings = load_settings(
        cwd=tmp_path,
        environ={},
        flags={"grace_seconds": 0.2, "tick_seconds": 0.1},
        state_dir=tmp_path / "state",
    )

    def pids() -> list[int]:
        text = listing.read_text() if listing.exists() else ""
        return [int(each) for each in text.split() if text]

    async with asyncio.timeout(45), Engine(settings) as engine:
        operation = {"id": "tree", "run": [sys.executable, str(script), str(listing)]}
        source = SpecSource(
            text=json.dumps({"name": "tree", "operations": [operation]}),
            format=SpecFormat.JSON,
            origin="tree.json",
            base_dir=str(tmp_path),
        )
        convoy_id = await engine.launch(source, env=os.environ, cwd=str(tmp_path))
        wanted = {"forks twice": 1, "empties its environment": 2, "forks on and on": 100}[kind]
        async with engine.subscribe() as changes:
            async for _ in changes:  # a tick every 0.1 s, at least
                if len(pids()) >= wanted:
                    break
        outcome = await engine.cancel(convoy_id)
        assert len(outcome.changed) == 1
        assert [pid for pid in pids() if alive(pid)] == []
    assert len(pids()) < MOST_FORKS
