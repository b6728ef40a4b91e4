"""What is particular to an engine across a socket: who may speak, how much, and slow readers."""

from __future__ import annotations

import asyncio
import os
import stat
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from aisquad_core import endpoint, wire
from aisquad_core.api import ItemFilter, Snapshot, StopMode
from aisquad_core.client import SocketEngine
from aisquad_core.daemon import Server
from aisquad_core.errors import (
    BackpressureError,
    EngineError,
    EngineStoppedError,
    NoEngineError,
    ProtocolError,
    SpecError,
    StateFolderError,
)
from aisquad_core.model import ItemKey, Operation
from aisquad_core.spec import AdHocSource, SpecFormat, SpecSource
from aisquad_core.testing import FakeEngine
from aisquad_core.wire import FrameReader, Head, Hello

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping
    from pathlib import Path

    from aisquad_core.spec import ConvoySource

BOUND_S = 15


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
async def engine(state_dir: Path) -> AsyncIterator[FakeEngine]:
    async with FakeEngine() as made, Server(made, state_dir):
        yield made


@asynccontextmanager
async def raw(state_dir: Path) -> AsyncIterator[tuple[FrameReader, asyncio.StreamWriter]]:
    """Connect without greeting."""
    reader, writer = await asyncio.open_unix_connection(sock=endpoint.connect(state_dir))
    try:
        yield FrameReader(reader), writer
    finally:
        writer.transport.abort()


def hello(protocol: int = wire.PROTOCOL) -> bytes:
    return wire.encode(Head(verb="hello"), Hello(protocol=protocol, version="9.9", pid=1))


async def is_hung_up(frames: FrameReader) -> bool:
    async with asyncio.timeout(BOUND_S):
        try:
            while True:
                await frames.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            return True


async def test_a_length_over_the_limit_ends_that_connection_alone(
    engine: FakeEngine, state_dir: Path
) -> None:
    async with raw(state_dir) as (frames, writer), SocketEngine(state_dir) as other:
        writer.write(hello() + (wire.MAX_FRAME_BYTES + 1).to_bytes(4))
        assert await is_hung_up(frames)
        assert (await other.snapshot()).seq == engine.hub.seq


@pytest.mark.parametrize(
    "payload",
    [b"", b"{}", b"[1]\nnull", b'{"id":1,"verb":"rm"}\nnull', b"\xff\n\xff", b"[" * 5000 + b"\n"],
)
async def test_a_message_that_is_none_ends_that_connection_alone(
    engine: FakeEngine, state_dir: Path, payload: bytes
) -> None:
    async with raw(state_dir) as (frames, writer), SocketEngine(state_dir) as other:
        writer.write(hello() + len(payload).to_bytes(4) + payload)
        assert await is_hung_up(frames)
        assert (await other.snapshot()).seq == engine.hub.seq


async def test_arguments_of_the_wrong_shape_are_an_error_of_that_request(
    engine: FakeEngine, state_dir: Path
) -> None:
    async with raw(state_dir) as (frames, writer):
        writer.write(hello())
        await frames.read()
        writer.write(wire.encode(Head(id=1, verb="items"), {"filter": 5}))
        writer.write(wire.encode(Head(id=2, verb="snapshot")))
        heads = [wire.split(await frames.read())[0] for _ in range(2)]
    assert {head.id: head.verb for head in heads} == {1: "error", 2: "result"}


async def test_an_engine_of_another_protocol_is_told_with_both_versions(state_dir: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await FrameReader(reader).read()
        writer.write(hello(protocol=999))
        writer.close()

    server = await asyncio.start_unix_server(answer, sock=endpoint.listen(state_dir))
    async with server:
        with pytest.raises(ProtocolError, match=r"9\.9.*protocol 999.*aisquad down --detach"):
            async with SocketEngine(state_dir):
                pass


async def test_a_client_of_another_protocol_is_let_read_the_greeting_and_turned_away(
    engine: FakeEngine, state_dir: Path
) -> None:
    async with raw(state_dir) as (frames, writer):
        writer.write(hello(protocol=999))
        _, body = wire.split(await frames.read())
        assert wire.decode(body, Hello).protocol == wire.PROTOCOL
        assert await is_hung_up(frames)


async def test_a_socket_that_an_engine_left_is_replaced(state_dir: Path) -> None:
    endpoint.listen(state_dir).close()
    async with FakeEngine() as engine:
        with pytest.raises(NoEngineError):
            async with SocketEngine(state_dir):
                pass
        async with Server(engine, state_dir), SocketEngine(state_dir) as client:
            await client.snapshot()
    assert not (state_dir / endpoint.SOCKET_NAME).exists()


async def test_a_folder_whose_path_no_socket_takes_is_served(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True, mode=0o700)
    async with FakeEngine() as engine, Server(engine, deep), SocketEngine(deep) as client:
        assert (await client.snapshot()).seq == engine.hub.seq


async def test_the_socket_is_its_owners_whatever_the_umask(state_dir: Path) -> None:
    before = os.umask(0)
    try:
        endpoint.listen(state_dir).close()
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((state_dir / endpoint.SOCKET_NAME).stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize("spoil", ["link", "open to others", "file"])
def test_a_folder_that_is_not_the_users_own_is_refused_by_both_sides(
    tmp_path: Path, spoil: str
) -> None:
    folder = tmp_path / "state"
    if spoil == "file":
        folder.touch()
    elif spoil == "link":
        (tmp_path / "real").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "real")
    else:
        folder.mkdir()
        folder.chmod(0o777)
    with pytest.raises(StateFolderError):
        endpoint.listen(folder)
    with pytest.raises(StateFolderError):
        endpoint.connect(folder)


async def test_no_folder_means_no_engine(tmp_path: Path) -> None:
    with pytest.raises(NoEngineError):
        async with SocketEngine(tmp_path / "none"):
            pass


class Witness(FakeEngine):
    """Keeps what a launch was given; its previews are defective."""

    launched: tuple[ConvoySource, Mapping[str, str], str] | None = None

    async def launch(
        self,
        source: ConvoySource,
        *,
        env: Mapping[str, str],
        cwd: str,
        is_patient: bool = False,
    ) -> str:
        self.launched = source, env, cwd
        return await super().launch(source, env=env, cwd=cwd, is_patient=is_patient)

    async def pause(self, convoy_id: str) -> None:
        raise ZeroDivisionError(convoy_id)


async def test_bytes_that_are_not_utf_8_cross_unchanged(state_dir: Path) -> None:
    odd = os.fsdecode(b"caf\xe9 \xff")
    source = AdHocSource(command=("true", "{}"), inputs=(odd, "\N{SNOWMAN}"))
    async with Witness() as engine, Server(engine, state_dir), SocketEngine(state_dir) as client:
        await client.launch(source, env={"WORD": odd}, cwd="/tmp")
        assert engine.launched == (source, {"WORD": odd}, "/tmp")
        page = await client.items(ItemFilter())
        detail = await client.item(ItemKey(page.items[0].convoy_id, page.items[0].id))
    assert detail.operation is not None
    assert odd in detail.operation.argv


async def test_the_problems_of_a_convoy_file_cross(engine: FakeEngine, state_dir: Path) -> None:
    source = SpecSource(text="{", format=SpecFormat.JSON, origin="bad.json", base_dir="/")
    async with SocketEngine(state_dir) as client:
        with pytest.raises(SpecError) as here:
            await client.launch(source, env={}, cwd="/")
    with pytest.raises(SpecError) as there:
        await engine.launch(source, env={}, cwd="/")
    assert here.value.problems == there.value.problems != ()


async def test_a_refusal_crosses_with_all_that_it_says(engine: FakeEngine, state_dir: Path) -> None:
    engine.set_backlog(900, drained_per_s=250)
    source = AdHocSource(command=("true", "{}"), inputs=("a",))
    async with SocketEngine(state_dir) as client:
        with pytest.raises(BackpressureError) as raised:
            await client.launch(source, env={}, cwd="/")
    error = raised.value
    assert (error.pending, error.capacity, error.retry_after_s) == (900, 1_000, 0.4)
    assert str(error).endswith("; try again in 0.4 s")


async def test_a_defect_in_one_request_ends_nothing_else(
    state_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Witness() as engine, Server(engine, state_dir), SocketEngine(state_dir) as client:
        with pytest.raises(EngineError, match="c-1"):
            await client.pause("c-1")
        await client.snapshot()
    assert "ZeroDivisionError" in caplog.text


async def test_requests_never_show_the_environment() -> None:
    secret = {"TOKEN": "hunter2"}
    requests = (
        wire.LaunchRequest(cwd="/", env=secret),
        wire.RetryRequest((), secret),
        wire.ResumeRequest("c-1", secret),
    )
    assert "hunter2" not in repr(requests)


async def test_a_client_that_goes_takes_its_waiting_requests_along(
    engine: FakeEngine, state_dir: Path
) -> None:
    convoy_id = engine.add_convoy("long", [Operation(id="a", argv=("sleep", "99"))])
    async with raw(state_dir) as (frames, writer):
        writer.write(hello())
        await frames.read()
        request = wire.WaitRequest((convoy_id,), is_any=False, timeout_s=None)
        writer.write(wire.encode(Head(id=1, verb="wait"), request))
        writer.write(wire.encode(Head(id=2, verb="snapshot")))
        await frames.read()
    async with SocketEngine(state_dir) as client:
        assert (await client.snapshot()).counts.running == 1


async def test_a_cancelled_call_is_cancelled_there_and_the_line_goes_on(
    engine: FakeEngine, state_dir: Path
) -> None:
    convoy_id = engine.add_convoy("long", [Operation(id="a", argv=("sleep", "99"))])
    async with SocketEngine(state_dir) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.wait([convoy_id])
        assert (await client.snapshot()).counts.running == 1


async def test_a_call_under_way_when_its_client_hangs_up_is_told(
    engine: FakeEngine, state_dir: Path
) -> None:
    convoy_id = engine.add_convoy("long", [Operation(id="a", argv=("sleep", "99"))])
    client = SocketEngine(state_dir)
    await client.__aenter__()
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(refusal(client.wait([convoy_id])))
        await client.snapshot()
        await client.__aexit__(None, None, None)
    assert isinstance(waiting.result(), EngineStoppedError)


async def refusal(call: Awaitable[object]) -> Exception | None:
    """Return what a call raises."""
    try:
        await call
    except Exception as error:
        return error
    return None


async def test_when_the_engine_goes_calls_say_so_and_streams_end(state_dir: Path) -> None:
    async with FakeEngine() as engine:
        server = Server(engine, state_dir)
        await server.__aenter__()
        async with SocketEngine(state_dir) as client, client.subscribe() as stream:
            assert isinstance(await anext(stream), Snapshot)
            await server.__aexit__(None, None, None)
            async with asyncio.timeout(BOUND_S):
                assert [news async for news in stream] == []
            with pytest.raises(EngineStoppedError):
                await client.snapshot()
            with pytest.raises(EngineStoppedError):
                async with client.subscribe():
                    pass


async def test_a_reader_that_takes_nothing_holds_up_nobody_and_is_merged(
    engine: FakeEngine, state_dir: Path
) -> None:
    """Far more is told than a socket holds: the rest is merged to the newest of each thing."""
    changes = 20_000
    async with (
        SocketEngine(state_dir) as client,
        client.subscribe() as idle,
        client.subscribe() as awake,
    ):
        assert isinstance(await anext(idle), Snapshot)
        async with asyncio.timeout(BOUND_S):
            for number in range(changes):
                engine.set_load(number % 100, 0.0)
                if number % 100 == 0:
                    await asyncio.sleep(0)
            async for news in awake:
                if news.seq == engine.hub.seq:
                    break
            taken = 0
            async for news in idle:
                taken += 1
                if news.seq == engine.hub.seq:
                    break
    assert taken < changes / 2


async def test_stop_over_the_socket_stops_the_engine(engine: FakeEngine, state_dir: Path) -> None:
    async with SocketEngine(state_dir) as client:
        await client.stop(StopMode.DETACH)
        with pytest.raises(EngineStoppedError):
            await client.snapshot()


async def test_a_connection_beyond_the_peers_user_is_known_by_the_kernel(state_dir: Path) -> None:
    listener = endpoint.listen(state_dir)
    with listener, endpoint.connect(state_dir) as near:
        far, _ = await asyncio.get_running_loop().sock_accept(listener)
        with far:
            assert endpoint.peer_uid(far) == endpoint.peer_uid(near) == os.geteuid()
