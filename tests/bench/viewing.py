"""A viewer in a process of its own, as a browser is: it asks for one path again and again.

    python -m tests.bench.viewing PORT PATH SECONDS_BETWEEN

It asks once and says so, then asks until its input ends, and prints what came of it as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from tests.monitoring.asking import ask

if TYPE_CHECKING:
    from typing import Self

_READY = b"ready\n"


class Look(NamedTuple):
    """One request."""

    begun_s: float
    """By `time.perf_counter`, which all processes of a machine share."""
    took_s: float
    status: int


class Viewer:
    """Views while it is entered; `looks` are there afterwards.

    Args:
        port: Of the monitoring API on loopback.
        path: What to ask for.
        every_s: Seconds between an answer and the next request.
    """

    def __init__(self, port: int, path: str, every_s: float) -> None:
        self._line = ("-m", "tests.bench.viewing", str(port), path, str(every_s))
        self.looks: list[Look] = []

    async def __aenter__(self) -> Self:
        """Start the process; wait for its first answer."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *self._line, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        if await self._output.readline() != _READY:
            raise RuntimeError("the viewer had no answer")
        return self

    @property
    def _output(self) -> asyncio.StreamReader:
        assert self._process.stdout is not None, "a pipe was asked for"
        return self._process.stdout

    async def __aexit__(self, *exc_info: object) -> None:
        """End it."""
        said, _ = await self._process.communicate(b"")  # which closes its input
        self.looks = [Look(*look) for look in json.loads(said)]


async def _view(port: int, path: str, every_s: float) -> list[Look]:
    is_over = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, is_over.set)
    await ask(port, path)
    os.write(sys.stdout.fileno(), _READY)
    looks: list[Look] = []
    while not is_over.is_set():
        begun_s = time.perf_counter()
        reply = await ask(port, path)
        looks.append(Look(begun_s, time.perf_counter() - begun_s, reply.status))
        try:
            async with asyncio.timeout(every_s):
                await is_over.wait()
        except TimeoutError:
            continue
    return looks


if __name__ == "__main__":
    _port, _path, _every_s = sys.argv[1:]
    _looks = asyncio.run(_view(int(_port), _path, float(_every_s)))
    with suppress(BrokenPipeError):  # who wanted to know was ended
        os.write(sys.stdout.fileno(), json.dumps(_looks).encode())
