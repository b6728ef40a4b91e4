"""The engine across a Unix socket, the server's side: connections, requests, streams.

It knows no engine but its EngineAPI. A reader that takes nothing holds up only its own stream: the
engine's hub merges what waits for it, and here no more than a socket's buffer stands in between.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from aisquad_core import endpoint, wire
from aisquad_core.accepting import accept
from aisquad_core.errors import AISquadError, EngineStoppedError, ProtocolError
from aisquad_core.version import __version__
from aisquad_core.wire import FrameReader, Head, Hello

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Any

    from aisquad_core.api import EngineAPI, StopMode

_HELLO_WAIT_S = 5.0
_CONNECTIONS = 256
"""Most at once: each costs a descriptor, and the engine needs those for operations."""
_REQUESTS = 1024
"""Most under way of one connection."""
_BUFFER_BYTES = 256 << 10
"""What waits for a slow reader here, beside the kernel's own buffer."""

logger = logging.getLogger(__name__)


class Server:
    """Serves an engine on the socket of its state folder, for as long as the context lasts.

    Args:
        engine: What is served, on this loop.
        state_dir: The state folder, which this process holds.
        on_stopped: Called when the engine has stopped by a client's wish, or by `stop`.
    """

    def __init__(
        self,
        engine: EngineAPI,
        state_dir: Path,
        *,
        on_stopped: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._state_dir = state_dir
        self._on_stopped = on_stopped
        self._tasks = asyncio.TaskGroup()
        self._listener: socket.socket
        self._accepting: asyncio.Task[None]
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Server:
        """Listen.

        Raises:
            StateFolderError: The socket cannot be made there.
        """
        self._listener = await asyncio.to_thread(endpoint.listen, self._state_dir)
        await self._tasks.__aenter__()
        self._accepting = self._tasks.create_task(self._accept())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """End every connection and take the socket away."""
        self._accepting.cancel()
        for connection in self._connections:
            connection.cancel()
        try:
            await self._tasks.__aexit__(None, None, None)
        finally:
            self._listener.close()
            await asyncio.to_thread(endpoint.remove, self._state_dir)

    def stop(self, mode: StopMode) -> None:
        """Begin to stop the engine; a harder mode hastens it."""
        self._tasks.create_task(self._stop(mode))

    async def _stop(self, mode: StopMode) -> None:
        await self._engine.stop(mode)
        self._on_stopped()

    async def _stop_for_client(self, mode: StopMode) -> None:
        """Stop the engine, also when the client that asked for it goes away meanwhile.

        Who is still there says itself when the engine has stopped: once the client is told.
        """
        stopping = self._tasks.create_task(self._engine.stop(mode))
        try:
            await asyncio.shield(stopping)
        except asyncio.CancelledError:
            stopping.add_done_callback(self._tell_stopped)
            raise

    def _tell_stopped(self, _stopping: asyncio.Task[None]) -> None:
        self._on_stopped()

    async def _accept(self) -> None:
        while True:
            connection = await accept(self._listener)
            if endpoint.peer_uid(connection) != os.geteuid() or (
                len(self._connections) >= _CONNECTIONS
            ):
                connection.close()
                continue
            self._connections.add(task := self._tasks.create_task(self._serve(connection)))
            task.add_done_callback(self._connections.discard)
            # A task that is cancelled before it begins leaves its connection to nobody.
            task.add_done_callback(partial(_close, connection))

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=connection)
        writer.transport.set_write_buffer_limits(high=_BUFFER_BYTES)
        try:
            await _Connection(
                self._engine,
                FrameReader(reader),
                writer,
                stop=self._stop_for_client,
                on_stopped=self._on_stopped,
            ).serve()
        except* (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            pass  # the client is gone, or never spoke
        except* ProtocolError as broken:
            logger.warning("a client was turned away: %s", broken.exceptions[0])
        finally:
            writer.transport.abort()


def _close(connection: socket.socket, _: asyncio.Task[None]) -> None:
    connection.close()


async def _answer_at_once(_: None) -> None:
    """Show that this loop goes round; a client that gets no answer takes the engine for away."""


class _Connection:
    """One client, from its hello to its end."""

    def __init__(
        self,
        engine: EngineAPI,
        frames: FrameReader,
        writer: asyncio.StreamWriter,
        *,
        stop: Callable[[StopMode], Awaitable[None]],
        on_stopped: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._on_stopped = on_stopped
        self._frames = frames
        self._writer = writer
        self._requests: dict[int, asyncio.Task[None]] = {}
        self._verbs: Mapping[str, Callable[[Any], Awaitable[object]]] = {
            "ping": _answer_at_once,
            "snapshot": lambda _: engine.snapshot(),
            "items": lambda r: engine.items(
                r.filter,
                sort=r.sort,
                is_reversed=r.is_reversed,
                after=r.after,
                offset=r.offset,
                limit=r.limit,
                is_counted=r.is_counted,
                has_last_lines=r.has_last_lines,
            ),
            "offset_of": lambda r: engine.offset_of(
                r.filter, r.key, sort=r.sort, is_reversed=r.is_reversed
            ),
            "item": engine.item,
            "log_range": lambda r: engine.log_range(
                r.key, attempt=r.attempt, offset=r.offset, length=r.length, stream=r.stream
            ),
            "history": lambda r: engine.history(
                period_s=r.period_s, points=r.points, convoy_id=r.convoy_id
            ),
            "preview": lambda r: engine.preview(r.source, cwd=r.cwd, limit=r.limit),
            "launch": lambda r: engine.launch(
                r.source, env=r.env or {}, cwd=r.cwd, is_patient=r.is_patient
            ),
            "cancel": lambda r: engine.cancel(
                r.keys if r.convoy_id is None else r.convoy_id,
                is_kill=r.is_kill,
                is_waiting=r.is_waiting,
            ),
            "retry": lambda r: engine.retry(r.keys, env=r.env),
            "pause": engine.pause,
            "resume": lambda r: engine.resume(r.convoy_id, env=r.env),
            "set_parallelism": engine.set_parallelism,
            "rescue": engine.rescue,
            "wait": lambda r: engine.wait(r.convoy_ids, is_any=r.is_any, timeout_s=r.timeout_s),
            "stop": stop,
        }

    async def serve(self) -> None:
        """Greet, then answer requests until the client goes."""
        await self._send(
            wire.encode(
                Head(verb="hello"),
                Hello(protocol=wire.PROTOCOL, version=__version__, pid=os.getpid()),
            )
        )
        async with asyncio.timeout(_HELLO_WAIT_S):
            _, body = wire.split(await self._frames.read(wire.MAX_HELLO_BYTES))
        if wire.decode(body, Hello).protocol != wire.PROTOCOL:
            return  # it has read ours, and says what to do
        async with asyncio.TaskGroup() as tasks:
            while True:
                head, body = wire.split(await self._frames.read())
                self._begin(tasks, head, body)

    def _begin(self, tasks: asyncio.TaskGroup, head: Head, body: bytes) -> None:
        if head.verb == "abandon":
            if head.id in self._requests:
                self._requests[head.id].cancel()
            return
        if head.id in self._requests or len(self._requests) >= _REQUESTS:
            raise ProtocolError(f"request {head.id}: its number is in use, or too many are waiting")
        if head.verb == "subscribe":
            answer = self._stream(head, body)
        elif head.verb in self._verbs:
            answer = self._answer(head, body)
        else:
            raise ProtocolError(f"a request for {head.verb!r}")
        self._requests[head.id] = task = tasks.create_task(answer)
        task.add_done_callback(lambda _: self._requests.pop(head.id, None))

    async def _answer(self, head: Head, body: bytes) -> None:
        try:
            request = wire.decode(body, wire.REQUESTS[head.verb])
            result = await self._verbs[head.verb](request)
            frame = wire.encode(Head(id=head.id, verb="result"), result)
        except (AISquadError, TimeoutError) as error:
            frame = wire.encode_error(error, head.id)
        except Exception as error:  # a defect: told to the client, recorded, and the engine goes on
            logger.exception("a request for %s failed", head.verb)
            frame = wire.encode_error(error, head.id)
        await self._send(frame)
        if head.verb == "stop":
            self._on_stopped()

    async def _stream(self, head: Head, body: bytes) -> None:
        """Hand on the engine's stream as fast as the client takes it."""
        with suppress(EngineStoppedError):
            async with self._engine.subscribe(wire.decode(body, int | None)) as stream:
                async for news in stream:
                    await self._send(wire.encode_news(news, head.id))
        await self._send(wire.encode(Head(id=head.id, verb="end")))

    async def _send(self, frame: bytes) -> None:
        self._writer.write(frame)
        await self._writer.drain()
