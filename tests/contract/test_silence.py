"""An engine that is there and gives no sign of life, and one that only takes its time."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from aisquad_core import client as client_module
from aisquad_core import daemon, endpoint, wire
from aisquad_core.attached import AttachedEngine
from aisquad_core.client import SocketEngine
from aisquad_core.daemon import Server
from aisquad_core.errors import EngineSilentError, EngineStoppedError
from aisquad_core.model import Operation
from aisquad_core.testing import FakeEngine
from aisquad_core.wire import Head, Hello

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator
    from pathlib import Path

BOUND_S = 15
BEAT_S = 0.01
PATIENT_S = 10.0
"""A thousand beats: no engine on the same loop is silent for so long."""


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture(autouse=True)
def quick_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_BEAT_S", BEAT_S)


@asynccontextmanager
async def falling_silent(state_dir: Path, *, greeted: int) -> AsyncIterator[None]:
    """Listen, greet so many and then take nobody any more, and read nothing that they say."""
    loop, taken = asyncio.get_running_loop(), []

    async def greet(listener: socket.socket) -> None:
        for _ in range(greeted):
            connection, _ = await loop.sock_accept(listener)
            taken.append(connection)
            hello = Hello(protocol=wire.PROTOCOL, version="1", pid=os.getpid())
            await loop.sock_sendall(connection, wire.encode(Head(verb="hello"), hello))

    with endpoint.listen(state_dir) as listener:
        async with asyncio.TaskGroup() as tasks:
            greeting = tasks.create_task(greet(listener))
            try:
                yield
            finally:
                greeting.cancel()
                for connection in taken:
                    connection.close()


async def test_calls_and_streams_end_when_the_engine_is_silent(state_dir: Path) -> None:
    async with (
        asyncio.timeout(BOUND_S),
        falling_silent(state_dir, greeted=2),
        SocketEngine(state_dir, silence_s=5 * BEAT_S) as client,
        client.subscribe() as stream,
    ):
        with pytest.raises(EngineSilentError, match=f"pid {os.getpid()} does not answer"):
            await client.snapshot()
        assert [news async for news in stream] == []
        assert isinstance(await client.wait_gone(), EngineSilentError)
        with pytest.raises(EngineSilentError):  # at once
            await client.snapshot()


async def test_an_engine_that_does_not_even_greet_is_named(state_dir: Path) -> None:
    said = f"pid {os.getpid()} does not answer"
    with endpoint.listen(state_dir), pytest.raises(EngineSilentError, match=said):
        async with SocketEngine(state_dir, silence_s=0.05):
            pass


async def test_an_engine_that_has_taken_nobody_for_long_holds_nobody_up(state_dir: Path) -> None:
    waiting: list[socket.socket] = []
    with endpoint.listen(state_dir):
        try:
            while True:
                waiting.append(endpoint.connect(state_dir))
        except BlockingIOError:
            with pytest.raises(EngineSilentError):
                async with SocketEngine(state_dir):
                    pass
        finally:
            for connection in waiting:
                connection.close()


async def test_a_call_may_take_as_long_as_it_likes_while_the_engine_answers(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats, enough = 0, asyncio.Event()

    async def answer(_: None) -> None:
        nonlocal beats
        beats += 1
        if beats == 20:
            enough.set()

    monkeypatch.setattr(daemon, "_answer_at_once", answer)
    async with (
        asyncio.timeout(BOUND_S),
        FakeEngine() as engine,
        Server(engine, state_dir),
        SocketEngine(state_dir, silence_s=PATIENT_S) as client,
        asyncio.TaskGroup() as tasks,
    ):
        convoy_id = engine.add_convoy("long", [Operation(id="a", argv=("sleep", "9"))])
        waiting = tasks.create_task(client.wait([convoy_id]))
        await enough.wait()
        assert not waiting.done()
        await engine.clock.advance(10)
        (view,) = await waiting
        assert view.status.is_final


async def test_whoever_is_attached_to_a_silent_engine_says_so_until_it_answers(
    state_dir: Path,
) -> None:
    async with asyncio.timeout(BOUND_S):
        async with falling_silent(state_dir, greeted=1):
            client = AttachedEngine(state_dir, silence_s=5 * BEAT_S)
            await client.__aenter__()
            with pytest.raises(EngineSilentError):
                await client.snapshot()
            with pytest.raises(EngineSilentError):  # of the client, while there is none
                async with client.subscribe():
                    pass
        try:
            async with FakeEngine() as engine, Server(engine, state_dir):
                engine.add_convoy("c", [Operation(id="a")])
                while True:
                    try:
                        snapshot = await client.snapshot()
                    except EngineStoppedError:
                        await asyncio.sleep(BEAT_S)
                    else:
                        break
                assert [convoy.name for convoy in snapshot.convoys] == ["c"]
        finally:
            await client.__aexit__(None, None, None)
