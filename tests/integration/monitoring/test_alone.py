"""The API as a process of its own, beside an engine that runs and without one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aisquad_core.api import ItemFilter
from aisquad_core.engine import Engine
from aisquad_core.model import ConvoyStatus, Operation
from aisquad_core.monitoring.__main__ import main
from aisquad_core.settings import Settings
from tests.monitoring.asking import BOUND_S, ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]
ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def alone(*arguments: str, cwd: Path) -> AsyncIterator[tuple[int, int]]:
    """Run it; give its port and pid; end it by Ctrl-C, after which it says nothing."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "aisquad_core.monitoring", *arguments,
        cwd=cwd, env=os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(cwd)},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        async with asyncio.timeout(BOUND_S):
            first = (await process.stderr.readline()).decode()
            await process.stderr.readline()
        assert first.startswith("dashboard  http://127.0.0.1:")
        yield int(first.rpartition(":")[2].partition("/")[0]), process.pid
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(BOUND_S):
            assert await process.communicate() == (b"", b"")
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_it_reads_what_an_engine_of_another_process_has_committed(tmp_path: Path) -> None:
    settings = Settings(
        workstate_db=tmp_path / ".ai_squad" / "workstate.db", baseline_parallelism=3
    )
    async with Engine(settings) as engine, alone("0", cwd=tmp_path) as (port, _):
        launched = await engine.launch_operations(
            "seen", [Operation(id=f"o{n}", argv=("true",)) for n in range(4)]
        )
        ...
