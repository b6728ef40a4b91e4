"""What is particular to an engine that goes and comes back: `AttachedEngine`."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from aisquad_core import endpoint, wire
from aisquad_core.api import ItemFilter, Snapshot
from aisquad_core.attached import AttachedEngine
from aisquad_core.daemon import Server
from aisquad_core.errors import EngineStoppedError, NoEngineError, ProtocolError
from aisquad_core.model import Operation
from aisquad_core.testing import FakeEngine
from aisquad_core.wire import FrameReader, Head, Hello

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

BOUND_S = 15
LOOK_S = 0.02


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


@asynccontextmanager
async def serving(state_dir: Path, *convoys: str) -> AsyncIterator[FakeEngine]:
    """Serve an engine that has these convoys, until the context ends."""
    async with FakeEngine() as engine, Server(engine, state_dir):
        for convoy in convoys:
            engine.add_convoy(convoy, [Operation(id="a", argv=("sleep", "99"))])
        yield engine


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds of what is behind the socket: nothing here announces it."""
    async with asyncio.timeout(BOUND_S):
        while not await is_so():  # noqa: ASYNC110  # another side of a socket sets no event
            await asyncio.sleep(LOOK_S)


async def names(client: AttachedEngine) -> list[str]:
    """Return the names of the convoys; none while the engine is away."""
    try:
        return [convoy.name for convoy in (await client.snapshot()).convoys]
    except EngineStoppedError:
        return []


class Served:
    """An engine whose server can end before the context does."""

    def __init__(self, state_dir: Path) -> None:
        self.engine = FakeEngine()
        self._server: Server | None = Server(self.engine, state_dir)

    async def __aenter__(self) -> Served:
        await self.engine.__aenter__()
        if self._server is not None:
            await self._server.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.end()
        await self.engine.__aexit__(None, None, None)

    async def end(self) -> None:
        """End every connection, as the end of the process does."""
        server, self._server = self._server, None
        if server is not None:
            await server.__aexit__(None, None, None)


async def fails(call: Awaitable[object]) -> bool:
    try:
        await call
    except EngineStoppedError:
        return True
    return False


async def test_without_an_engine_it_cannot_be_entered(state_dir: Path) -> None:
    with pytest.raises(NoEngineError):
        async with AttachedEngine(state_dir):
            pass


async def test_calls_of_the_next_engine_are_answered_without_doing_anything(
    state_dir: Path,
) -> None:
    async with Served(state_dir) as served, AttachedEngine(state_dir) as client:
        served.engine.add_convoy("first", [Operation(id="a")])
        assert await names(client) == ["first"]
        await served.end()

        async def is_away() -> bool:
            return await fails(client.snapshot())

        async def has_come() -> bool:
            return await names(client) == ["second"]

        await until(is_away)
        async with serving(state_dir, "second"):
            await until(has_come)
            assert (await client.items(ItemFilter())).items


async def test_a_call_that_waits_when_the_engine_goes_fails_then(state_dir: Path) -> None:
    async with (
        asyncio.timeout(BOUND_S),
        Served(state_dir) as served,
        AttachedEngine(state_dir) as client,
    ):
        convoy_id = served.engine.add_convoy("c", [Operation(id="a", argv=("sleep", "99"))])
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(fails(client.wait([convoy_id])))
            await client.snapshot()  # answered after the wait was taken on
            await served.end()
            assert await waiting
        with pytest.raises(EngineStoppedError):
            async with client.subscribe():
                pass


async def test_a_stream_ends_with_its_engine_and_the_next_begins_with_a_snapshot(
    state_dir: Path,
) -> None:
    async def has_come() -> bool:
        return await names(client) == ["next"]

    async with (
        asyncio.timeout(BOUND_S),
        Served(state_dir) as served,
        AttachedEngine(state_dir) as client,
    ):
        async with client.subscribe() as stream:
            known = await anext(stream)
            await served.end()
            assert [news async for news in stream] == []
        async with serving(state_dir, "next"):
            await until(has_come)
            async with client.subscribe(known.seq) as stream:
                assert isinstance(await anext(stream), Snapshot)


async def test_while_the_same_engine_runs_a_stream_goes_on_where_the_reader_was(
    state_dir: Path,
) -> None:
    async with serving(state_dir) as engine, AttachedEngine(state_dir) as client:
        known = (await client.snapshot()).seq
        engine.set_load(50, 50)
        async with asyncio.timeout(BOUND_S), client.subscribe(known) as stream:
            assert (await anext(stream)).seq == known + 1


async def test_an_engine_of_another_protocol_is_refused_at_first_and_named_later(
    state_dir: Path,
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await FrameReader(reader).read()
        hello = Hello(protocol=999, version="9.9", pid=os.getpid())
        writer.write(wire.encode(Head(verb="hello"), hello))
        writer.close()

    async with Served(state_dir) as served, AttachedEngine(state_dir) as client:
        await served.end()
        other = await asyncio.start_unix_server(answer, sock=endpoint.listen(state_dir))
        async with other:
            with pytest.raises(ProtocolError, match="protocol 999"):
                async with AttachedEngine(state_dir):
                    pass

            async def is_named() -> bool:
                try:
                    await client.snapshot()
                except EngineStoppedError as error:
                    return "protocol 999" in str(error)
                return False

            await until(is_named)


async def test_leaving_stops_nothing(state_dir: Path) -> None:
    async with serving(state_dir, "c") as engine:
        async with AttachedEngine(state_dir) as client:
            await client.snapshot()
        assert (await engine.snapshot()).engine.phase == "running"
        assert (await engine.snapshot()).counts.running == 1
