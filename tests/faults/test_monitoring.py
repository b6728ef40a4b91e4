"""The monitoring beside an engine: it comes after it, is told by status, and never ends it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from aisquad_core import service
from aisquad_core.client import SocketEngine
from aisquad_core.monitoring import plate
from aisquad_core.monitoring.plate import Dashboard
from tests.faults import served_engine
from tests.monitoring.asking import BOUND_S, ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / ".ai_squad"
    folder.mkdir(mode=0o700)
    yield folder
    served_engine.kill_processes_of(folder)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def told(state_dir: Path, pid: int) -> Dashboard:
    """Wait until the engine says where its dashboard is, or why there is none."""
    async with asyncio.timeout(BOUND_S):
        while (said := plate.find_dashboard(state_dir, pid)) == Dashboard(None):  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.02)
    return said


async def status(state_dir: Path) -> Any:  # noqa: ANN401 - its JSON
    line = [sys.executable, "-m", "aisquad_tui.cli", "status", "--json", "--state", str(state_dir)]
    run = await asyncio.to_thread(
        subprocess.run, line, capture_output=True, check=True, timeout=BOUND_S, cwd=state_dir
    )
    return json.loads(run.stdout)


async def test_it_answers_beside_the_engine_and_ends_with_it(state_dir: Path) -> None:
    port = free_port()
    pid = await asyncio.to_thread(served_engine.start, state_dir, monitoring_port=port)
    try:
        link = f"http://127.0.0.1:{port}/dashboard"
        assert await told(state_dir, pid) == Dashboard(link)
        assert (await status(state_dir))["dashboard"] == link
        system = (await ask(port, "/metrics/system")).json
        assert system["engine"]["pid"] == pid
    finally:
        code = await asyncio.to_thread(served_engine.end, pid, signal.SIGTERM)
    assert code == 0
    assert not (state_dir / plate.PLATE_NAME).exists()
    with pytest.raises(ConnectionRefusedError):
        await ask(port, "/health")


async def test_a_port_that_is_taken_leaves_the_engine_at_work_and_is_told(state_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        pid = await asyncio.to_thread(served_engine.start, state_dir, monitoring_port=port)
        try:
            why = f"127.0.0.1 port {port}: Address already in use"
            assert await told(state_dir, pid) == Dashboard(None, why)
            shape = await status(state_dir)
            assert (shape["pid"], shape["dashboard"], shape["dashboard_problem"]) == (
                pid, None, why,
            )  # fmt: skip
            async with SocketEngine(state_dir) as client:
                assert (await client.snapshot()).engine.phase == "running"
        finally:
            assert await asyncio.to_thread(served_engine.end, pid, signal.SIGTERM) == 0
    log = (state_dir / service.LOG_NAME).read_text("utf-8")
    assert f"no monitoring on 127.0.0.1 port {port}: Address already in use" in log
    assert "Traceback" not in log


async def test_the_next_engine_takes_the_port_of_one_that_was_killed(state_dir: Path) -> None:
    port = free_port()
    for _ in range(2):
        pid = await asyncio.to_thread(served_engine.start, state_dir, monitoring_port=port)
        assert (await told(state_dir, pid)).link is not None
        assert (await ask(port, "/metrics/system")).json["engine"]["pid"] == pid
        await asyncio.to_thread(served_engine.end, pid, signal.SIGKILL)
    assert (await status(state_dir))["dashboard"] is None
