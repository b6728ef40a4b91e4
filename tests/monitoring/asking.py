"""Plain HTTP over a real socket, byte by byte where a test wants that."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

BOUND_S = 15


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever was sent
        return json.loads(self.body)


async def ask(
    port: int,
    path: str,
    *,
    address: str = "127.0.0.1",
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Send one request."""
    host = f"[{address}]" if ":" in address else address
    fields = {"Host": f"{host}:{port}"} | dict(headers or {})
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return await send(port, "\r\n".join([*lines, "", ""]).encode(), address=address)


async def send(port: int, data: bytes, *, address: str = "127.0.0.1") -> Reply:
    """Send bytes; return what comes until the connection is closed."""
    async with asyncio.timeout(BOUND_S):
        reader, writer = await asyncio.open_connection(address, port)
        try:
            writer.write(data)
            return parse(await reader.read())
        finally:
            writer.close()


def parse(data: bytes) -> Reply:
    """Return an answer of HTTP/1.x."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    return Reply(int(first.split()[1]), {name.lower(): value for name, value in pairs}, body)
