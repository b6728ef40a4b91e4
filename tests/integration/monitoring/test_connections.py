"""Connections that are slow, many, malformed or too large; and the headers of every answer."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from aisquad_core.monitoring import Monitoring
from aisquad_core.monitoring.answer import HEADERS
from tests.monitoring.asking import BOUND_S, ask, send

if TYPE_CHECKING:
    from aisquad_core.settings import Settings
    from tests.tui.scenes import Scene


async def connect(port: int, stack: AsyncExitStack, data: bytes) -> asyncio.StreamReader:
    """Open a connection that says something and then stays silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    stack.callback(writer.close)
    writer.write(data)
    return reader


async def is_closed(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(BOUND_S):
        try:
            return await reader.read() == b""
        except ConnectionError:
            return True


async def test_two_hundred_connections_that_say_nothing_keep_nobody_out(
    monitoring: Monitoring,
) -> None:
    async with AsyncExitStack() as stack:
        for n in range(200):
            await connect(monitoring.port, stack, b"GET /health HTTP/1.1\r\nX-" if n % 2 else b"")
        for path in ("/health", "/metrics/convoys", "/dashboard"):
            assert (await ask(monitoring.port, path)).status == 200


async def test_too_many_cost_the_oldest_that_has_not_asked(
    databases: Settings, scene: Scene
) -> None:
    async with (
        Monitoring(
            databases, engine=scene.engine, port=0, clock=scene.clock, most_connections=5
        ) as monitoring,
        AsyncExitStack() as stack,
    ):
        silent = [await connect(monitoring.port, stack, b"GET /") for _ in range(5)]
        assert (await ask(monitoring.port, "/health")).status == 200
        assert await is_closed(silent[0])
        more = [await connect(monitoring.port, stack, b"GET /") for _ in range(20)]
        for reader in (*silent[1:], *more[:15]):
            assert await is_closed(reader)
        assert (await ask(monitoring.port, "/health")).status == 200


async def test_a_request_that_takes_too_long_to_come_is_cut_off(
    databases: Settings, scene: Scene
) -> None:
    async with (
        Monitoring(
            databases, engine=scene.engine, port=0, clock=scene.clock, ask_wait_s=0.2
        ) as monitoring,
        AsyncExitStack() as stack,
    ):
        for data in (b"", b"GET /health HTTP/1.1\r\n", b"GET /health HTTP/1.1\r\nHost: a\r\nX: "):
            assert await is_closed(await connect(monitoring.port, stack, data))


async def test_a_caller_who_leaves_in_the_middle_harms_nobody(monitoring: Monitoring) -> None:
    head = f"GET /metrics/stats HTTP/1.1\r\nHost: 127.0.0.1:{monitoring.port}\r\n\r\n".encode()
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", monitoring.port)
        writer.write(head)
        writer.transport.abort()
    assert (await ask(monitoring.port, "/metrics/stats")).status == 200


async def test_leaving_ends_every_connection(databases: Settings, scene: Scene) -> None:
    async with AsyncExitStack() as stack:
        async with Monitoring(
            databases, engine=scene.engine, port=0, clock=scene.clock
        ) as monitoring:
            readers = [await connect(monitoring.port, stack, b"GET /") for _ in range(10)]
            await ask(monitoring.port, "/health")
            port = monitoring.port
        for reader in readers:
            assert await is_closed(reader)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /" + b"a" * 5_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nX: " + b"a" * 5_000 + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\n" + b"X: a\r\n" * 100 + b"\r\n",
    ],
)
async def test_what_is_no_request_or_too_long_a_one_is_refused(
    monitoring: Monitoring, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    reply = await send(monitoring.port, data)
    assert reply.status == 400
    assert reply.headers["content-type"] == "application/problem+json; charset=utf-8"
    assert caplog.records == []


async def test_a_header_that_never_ends_is_refused_before_it_is_kept(
    monitoring: Monitoring,
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", monitoring.port)
    writer.write(b"GET /health HTTP/1.1\r\nX: ")

    async def write_for_ever() -> None:
        while True:
            writer.write(b"a" * 65_536)
            await writer.drain()

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(write_for_ever(), BOUND_S)
    writer.transport.abort()


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ("Content-Length: 4\r\n", "abcd"),
        ("Transfer-Encoding: chunked\r\n", "4\r\nabcd\r\n0\r\n\r\n"),
    ],
)
async def test_a_body_is_refused(monitoring: Monitoring, headers: str, body: str) -> None:
    host = f"Host: 127.0.0.1:{monitoring.port}\r\n"
    data = f"GET /health HTTP/1.1\r\n{host}{headers}\r\n{body}".encode()
    assert (await send(monitoring.port, data)).status == 413


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_other_methods_are_told_which_one_is_allowed(
    monitoring: Monitoring, method: str
) -> None:
    reply = await ask(monitoring.port, "/health", method=method)
    assert (reply.status, reply.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/health", {}),
        ("/metrics", {}),
        ("/dashboard", {}),
        ("/dashboard/dashboard.js", {}),
        ("/nope", {}),
        ("/metrics/stats?time_range=x", {}),
        ("/health", {"Host": "rebound.example.org"}),
        ("/health", {"Origin": "https://example.org"}),
        ("/health", {"Sec-Fetch-Site": "cross-site"}),
    ],
)
async def test_every_answer_has_the_headers_that_keep_it_to_itself(
    monitoring: Monitoring, path: str, headers: dict[str, str]
) -> None:
    reply = await ask(monitoring.port, path, headers=headers)
    assert reply.status == (403 if headers else reply.status)
    for name, value in HEADERS.items():
        assert reply.headers[name.lower()] == value
    assert reply.headers["connection"] == "close"
    assert not any(name.startswith("access-control") for name in reply.headers)
    assert "set-cookie" not in reply.headers


async def test_a_second_request_on_a_connection_is_not_answered(monitoring: Monitoring) -> None:
    head = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{monitoring.port}\r\n\r\n".encode()
    reply = await send(monitoring.port, head * 2)
    assert reply.body.count(b"uptime_seconds") == 1


async def test_a_fault_of_its_own_is_answered_and_logged(
    monitoring: Monitoring, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(monitoring._sources, "stats", fail)
    reply = await ask(monitoring.port, "/metrics/stats")
    assert reply.status == 500
    assert b"ZeroDivision" not in reply.body
    assert [record.getMessage() for record in caplog.records] == [
        "/metrics/stats could not be answered"
    ]
    assert (await ask(monitoring.port, "/health")).status == 200
