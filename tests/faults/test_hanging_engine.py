"""An engine that the kernel has stopped: its sockets are open, and it says nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from aisquad_core.api import Snapshot
from aisquad_core.attached import AttachedEngine
from aisquad_core.errors import EngineSilentError, EngineStoppedError
from aisquad_core.spec import AdHocSource
from tests.faults import served_engine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]
BOUND_S = 30
SILENCE_S = 2.0
"""Two beats of the client."""


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def engine(state_dir: Path) -> Iterator[int]:
    """The pid of an engine in a process of its own."""
    pid = served_engine.start(state_dir)
    yield pid
    served_engine.end(pid, signal.SIGKILL)  # which ends what is stopped, too
    served_engine.kill_processes_of(state_dir)


async def until_answered(client: AttachedEngine) -> Snapshot:
    """Ask again and again: nothing announces that an engine answers once more."""
    async with asyncio.timeout(BOUND_S):
        while True:
            try:
                return await client.snapshot()
            except EngineStoppedError:
                await asyncio.sleep(0.02)


async def refusal(call: Awaitable[object]) -> Exception | None:
    """Return what a call raises."""
    try:
        await call
    except Exception as error:
        return error
    return None


async def test_a_stopped_engine_is_away_for_its_viewers_until_it_goes_on(
    engine: int, state_dir: Path
) -> None:
    source = AdHocSource(command=("sleep", "600"), inputs=("1", "2"))
    async with AttachedEngine(state_dir, silence_s=SILENCE_S) as client:
        convoy_id = await client.launch(source, env={"PATH": os.defpath}, cwd=str(state_dir))
        async with client.subscribe() as stream, asyncio.TaskGroup() as tasks:
            assert isinstance(await anext(stream), Snapshot)
            waiting = tasks.create_task(refusal(client.wait([convoy_id])))
            os.kill(engine, signal.SIGSTOP)
            async with asyncio.timeout(BOUND_S):
                async for _ in stream:  # what was under way, then the end
                    pass
                assert isinstance(await waiting, EngineSilentError)
        with pytest.raises(EngineSilentError, match=f"pid {engine} does not answer"):
            await client.snapshot()

        os.kill(engine, signal.SIGCONT)
        assert [convoy.id for convoy in (await until_answered(client)).convoys] == [convoy_id]
        async with client.subscribe() as stream:
            assert isinstance(await anext(stream), Snapshot)


def begin(state_dir: Path, *verb: str) -> subprocess.Popen[str]:
    """Start a command that takes an engine for silent after a second."""
    impatient = "import sys; from aisquad_core import client; client._SILENCE_S = 1.0; "
    impatient += "from aisquad_tui.cli import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", impatient, *verb, "--state", str(state_dir)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_commands_say_that_the_engine_does_not_answer(engine: int, state_dir: Path) -> None:
    said = f"the engine with pid {engine} does not answer"
    running = begin(state_dir, "run", "--each", "echo began {}; exec sleep 600", "1")
    assert running.stderr is not None
    assert "1 operation" in running.stderr.readline()
    os.kill(engine, signal.SIGSTOP)
    _, told = running.communicate(timeout=BOUND_S)
    assert (running.returncode, told.splitlines()[-1].startswith(f"error: {said}")) == (3, True)

    for verb in (["parallelism", "2"], ["up"], ["down", "--now"]):
        out, told = begin(state_dir, *verb).communicate(timeout=BOUND_S)
        assert (out, told.startswith(f"error: {said}")) == ("", True)
    status = begin(state_dir, "status")
    out, told = status.communicate(timeout=BOUND_S)
    assert (status.returncode, told, f"trouble  {said}" in out) == (0, "", True)
