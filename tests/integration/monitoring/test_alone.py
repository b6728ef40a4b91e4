"""The API as a process of its own, beside an engine that runs and without one."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aisquad_core.api import StopMode
from aisquad_core.engine import Engine
from aisquad_core.model import ConvoyStatus
from aisquad_core.monitoring.__main__ import main
from aisquad_core.settings import Settings
from aisquad_core.spec import SpecFormat, SpecSource
from aisquad_core.testing import FakeSampler
from tests.monitoring.asking import BOUND_S, ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[3]
CONVOY = """
name = "seen"
operations = [{ id = "good", run = "true" }, { id = "bad", run = "exit 3" }]
"""


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """Look at nothing: the API is in another process here, and an engine is made on this loop."""


@asynccontextmanager
async def alone(cwd: Path) -> AsyncIterator[int]:
    """Run it and give its port; Ctrl-C ends it, and after that it says nothing."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "aisquad_core.monitoring", "0",
        cwd=cwd, env=os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(cwd)},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        async with asyncio.timeout(BOUND_S):
            first = (await process.stderr.readline()).decode()
            second = (await process.stderr.readline()).decode()
        assert first.startswith("dashboard  http://127.0.0.1:")
        assert second == f"state      {cwd / '.ai_squad'}\n"
        yield int(first.rpartition(":")[2].partition("/")[0])
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(BOUND_S):
            assert await process.communicate() == (b"", b"")
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.slow
async def test_it_reads_what_an_engine_of_another_process_commits(tmp_path: Path) -> None:
    settings = Settings(workstate_db=tmp_path / ".ai_squad" / "workstate.db", tick_s=0.1)
    source = SpecSource(
        text=CONVOY, format=SpecFormat.TOML, origin="seen.toml", base_dir=str(tmp_path)
    )
    async with alone(tmp_path) as port:
        before = (await ask(port, "/health")).json
        assert before["parts"] == {"engine": "away", "workstate": "ill", "metrics": "ill"}
        async with Engine(settings, sampler=FakeSampler()) as engine:
            convoy_id = await engine.launch(source, env={"PATH": os.defpath}, cwd=str(tmp_path))
            (ended,) = await engine.wait([convoy_id], timeout_s=BOUND_S)
            assert ended.status is ConvoyStatus.PARTIAL
            during = (await ask(port, "/metrics/system")).json
            assert during["engine"]["pid"] == os.getpid()
            assert during["is_engine_running"] is True
            assert during["parallelism"] > 0
            (convoy,) = (await ask(port, "/dashboard/data")).json["convoys"]
            assert (convoy["id"], convoy["completed"], convoy["failed"]) == (convoy_id, 1, 1)
            await engine.stop(StopMode.INTERRUPT)
        after = (await ask(port, "/health")).json
        assert after["parts"] == {"engine": "away", "workstate": "ok", "metrics": "ok"}
        (failure,) = (await ask(port, "/metrics/failures")).json
        assert (failure["item_id"], failure["exit_code"]) == ("bad", 3)
        (metrics,) = (await ask(port, "/metrics/convoys")).json
        assert (metrics["convoy_id"], metrics["status"]) == (convoy_id, "partial")
        system = (await ask(port, "/metrics/system")).json
        assert (system["is_engine_running"], system["engine"], system["parallelism"]) == (
            False, None, 0,
        )  # fmt: skip
        assert 0 <= system["memory_avg"] <= 100


@pytest.mark.slow
async def test_totals_for_prometheus_only_grow_and_count_each_end_once(tmp_path: Path) -> None:
    settings = Settings(workstate_db=tmp_path / ".ai_squad" / "workstate.db", tick_s=0.1)
    source = SpecSource(
        text=CONVOY, format=SpecFormat.TOML, origin="seen.toml", base_dir=str(tmp_path)
    )

    async def launch_and_leave() -> None:
        async with Engine(settings, sampler=FakeSampler()) as engine:
            convoy_id = await engine.launch(source, env={"PATH": os.defpath}, cwd=str(tmp_path))
            await engine.wait([convoy_id], timeout_s=BOUND_S)

    await launch_and_leave()
    async with alone(tmp_path) as port:
        assert b"aisquad_operations_ended_total{" not in (await ask(port, "/metrics")).body
        for number in (1, 2):
            await launch_and_leave()
            for _ in range(2):
                lines = (await ask(port, "/metrics")).body.decode().splitlines()
                for status in ("completed", "failed"):
                    labels = f'agent="shell",status="{status}"'
                    assert f"aisquad_operations_ended_total{{{labels}}} {number}.0" in lines
                count = f'aisquad_operation_duration_seconds_count{{agent="shell"}} {2 * number}.0'
                assert count in lines


def test_a_port_that_is_taken_or_none_is_said_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main([str(taken.getsockname()[1])]) == 1
    assert capsys.readouterr().err == "error: cannot listen there: Address already in use\n"
    with pytest.raises(SystemExit, match="2"):
        main(["65536"])
    assert main(["0", "--address", "nowhere"]) == 2
    assert "expected an IP address of this machine" in capsys.readouterr().err
