"""A stop that was asked for across the socket goes on without whoever asked for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from aisquad_core.api import StopMode
from aisquad_core.client import SocketEngine
from aisquad_core.daemon import Server
from aisquad_core.testing.engine import FakeEngine

if TYPE_CHECKING:
    from pathlib import Path

BOUND_S = 15


class SlowlyStopping(FakeEngine):
    """Stops when the test lets it, and says when it was asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.may_stop = asyncio.Event()

    async def __aexit__(self, *raised: object) -> None:
        self.may_stop.set()
        await super().__aexit__(None, None, None)

    async def stop(self, mode: StopMode = StopMode.INTERRUPT) -> None:
        self.asked.set()
        await self.may_stop.wait()
        await super().stop(mode)


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


@pytest.mark.parametrize("is_hanging_up", [False, True])
async def test_a_stop_outlives_the_call_and_the_client(
    state_dir: Path, is_hanging_up: bool
) -> None:
    stopped = asyncio.Event()
    async with (
        asyncio.timeout(BOUND_S),
        SlowlyStopping() as engine,
        Server(engine, state_dir, on_stopped=stopped.set),
        SocketEngine(state_dir) as other,
    ):
        async with SocketEngine(state_dir) as client:
            stopping = asyncio.create_task(client.stop(StopMode.DRAIN))
            await engine.asked.wait()
            if not is_hanging_up:
                stopping.cancel()
                await asyncio.wait([stopping])
        stopping.cancel()
        await asyncio.wait([stopping])
        await other.snapshot()
        assert not stopped.is_set()
        engine.may_stop.set()
        await stopped.wait()


async def test_whoever_asked_is_told_before_the_server_may_end(state_dir: Path) -> None:
    stopped = asyncio.Event()
    async with asyncio.timeout(BOUND_S):
        async with SlowlyStopping() as engine, Server(engine, state_dir, on_stopped=stopped.set):
            engine.may_stop.set()
            async with SocketEngine(state_dir) as client:
                await client.stop(StopMode.DRAIN)
                await stopped.wait()
