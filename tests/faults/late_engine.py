"""An engine whose launchers are late; run as a process of its own, to be killed.

`python late_engine.py FOLDER OPERATIONS [--without-claim]` launches a convoy on a new state folder
or goes on with what is there, and ends when nothing is left to do. It prints a line when it begins.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

from aisquad_core.api import ItemFilter
from aisquad_core.clock import SystemClock
from aisquad_core.engine import Engine
from aisquad_core.execution import launcher
from aisquad_core.execution.process import LocalRunner
from aisquad_core.model import Operation
from aisquad_core.settings import Settings

CLAIM = 'printf \'launcher %s\\n%s\\n\' "$$" "$_AISQUAD_STAT" >"$1/claim" || exit 125'


async def run(folder: Path, operations: int) -> None:
    """Launch or resume, and wait for the end."""
    state = folder / "state"
    settings = Settings(
        workstate_db=state / "workstate.db", baseline_parallelism=8, max_parallelism=8
    )
    runner = LocalRunner(state / "runs", clock=SystemClock(), shell=str(folder / "late-sh"))
    async with Engine(settings, runner=runner, is_resuming=True) as engine:
        mark = f'echo "$AISQUAD_ITEM" >> {folder}/marks'
        page = await engine.items(ItemFilter(), limit=1)
        if page.items:
            convoy_id = page.items[0].convoy_id
        else:
            batch = [
                Operation(id=f"op-{number}", argv=("/bin/sh", "-c", mark))
                for number in range(operations)
            ]
            convoy_id = await engine.launch_operations(
                "late", batch, {}, env=os.environ, cwd=str(folder)
            )
        await engine.wait([convoy_id])


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("operations", type=int)
    parser.add_argument("--without-claim", action="store_true")
    arguments = parser.parse_args()
    if arguments.without_claim:
        assert CLAIM in launcher.SCRIPT
        launcher.SCRIPT = launcher.SCRIPT.replace(CLAIM, ":")
    print("up", flush=True)
    asyncio.run(run(arguments.folder, arguments.operations))


if __name__ == "__main__":
    main()
