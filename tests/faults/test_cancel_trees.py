from __future__ import annotations

import asyncio
import os
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
