"""The engine across a Unix socket, the client's side: the same EngineAPI as everywhere.

Calls share one connection; each stream has one of its own, so that a reader that pauses stops
nothing but itself, and nothing is kept for it here. On the calls' connection the engine is asked
all the time whether it is there: one that is stopped or stuck keeps its sockets open.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

from aisquad_core import endpoint, wire
from aisquad_core.api import ItemSort, StopMode
from aisquad_core.errors import (
    EngineSilentError,
    EngineStoppedError,
    NoEngineError,
    ProtocolError,
)
from aisquad_core.spec.source import SpecSource
from aisquad_core.version import __version__
from aisquad_core.wire import FrameReader, Head, Hello

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from aisquad_core.api import (
        ConvoyView,
        Event,
        History,
        ItemDetail,
        ItemFilter,
        ItemPage,
        LogChunk,
        Outcome,
        Preview,
        Snapshot,
    )
    from aisquad_core.model import ItemKey
    from aisquad_core.spec.source import ConvoySource

_SILENCE_S = 10.0
"""How long an engine may be silent before whoever waits for it is told that it does not answer."""
_BEAT_S = 1.0
"""Between two questions whether it is there."""
_GONE = "the engine has gone away"
_UNANSWERED = "the engine has gone away without an answer; look whether it was done"


class SocketEngine:
    """The EngineAPI of an engine in another process: a context manager, one connection long.

    A cancelled call is cancelled there, too. When the engine goes, calls raise EngineStoppedError
    and streams end; so they do when it is there and gives no sign of life, with EngineSilentError.
    A call may take as long as it likes while the engine answers.

    Args:
        state_dir: Its state folder.
        silence_s: Seconds without a sign of life after which it is given up; None: as is usual.

    Raises:
        NoEngineError: On entering, if none listens there.
        EngineSilentError: On entering, if one does and does not answer.
        ProtocolError: On entering, if it is of another version.
        StateFolderError: On entering, if the folder, or who listens there, is not the user's own.
    """

    def __init__(self, state_dir: Path, *, silence_s: float | None = None) -> None:
        self._state_dir = state_dir
        self._silence_s = _SILENCE_S if silence_s is None else silence_s
        self._line: _Line
        self._streams: set[_Line] = set()
        self._tasks = asyncio.TaskGroup()
        self._reading: asyncio.Task[None]
        self._watching: asyncio.Task[None]
        self._has_heard = False
        """Whether anything came since the last beat."""
        self._number = 0
        self._waiting: dict[int, asyncio.Future[tuple[Head, bytes]]] = {}
        self._fault: Exception | None = None
        """Why no answer comes any more."""

    async def __aenter__(self) -> SocketEngine:
        """Connect and greet."""
        self._line = await _Line.open(self._state_dir, silence_s=self._silence_s)
        await self._tasks.__aenter__()
        self._watching = self._tasks.create_task(self._watch())
        self._reading = self._tasks.create_task(self._read())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Hang up; whoever still waits for an answer gets an EngineStoppedError."""
        self._reading.cancel()
        self._watching.cancel()
        self._line.close()
        self._fault = EngineStoppedError("the connection was closed")
        self._refuse(self._fault)
        await self._tasks.__aexit__(None, None, None)

    @property
    def peer(self) -> Hello:
        """Who answers."""
        return self._line.peer

    async def wait_gone(self) -> Exception | None:
        """Return when no answer comes any more, with what became of the engine."""
        await asyncio.wait([self._reading])
        return self._fault

    async def _read(self) -> None:
        """Hand answers to those who wait for them until the engine goes."""
        try:
            while True:
                head, body = await self._line.receive()
                self._has_heard = True
                future = self._waiting.pop(head.id, None)
                if future is not None and not future.done():
                    future.set_result((head, body))
        except (EngineStoppedError, ProtocolError) as error:
            self._fault = self._fault or error
            gone = isinstance(error, EngineStoppedError)
            self._refuse(EngineStoppedError(_UNANSWERED) if gone else error)
            self._watching.cancel()

    async def _watch(self) -> None:
        """Hang up when the engine has been silent for too long.

        Time is counted in beats, so that a client that was stopped itself blames nobody.
        """
        silent_s = 0.0
        while silent_s < self._silence_s:
            if silent_s == 0.0:  # else one question waits for its answer already
                self._number += 1
                self._line.write(wire.encode(Head(id=self._number, verb="ping")))
            self._has_heard = False
            await asyncio.sleep(_BEAT_S)
            silent_s = 0.0 if self._has_heard else silent_s + _BEAT_S
        self._fault = EngineSilentError(self._line.peer.pid)
        self._refuse(self._fault)
        for line in (self._line, *self._streams):
            line.close()

    def _refuse(self, error: Exception) -> None:
        """Let everybody who waits for an answer have this instead."""
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)

    async def snapshot(self) -> Snapshot:
        """Return the whole picture."""
        snapshot: Snapshot = await self._ask("snapshot", None)
        return snapshot

    @asynccontextmanager
    async def subscribe(
        self, since: int | None = None
    ) -> AsyncIterator[AsyncIterator[Snapshot | Event]]:
        """Open a stream, on a connection of its own."""
        try:
            line = await _Line.open(self._state_dir, silence_s=self._silence_s)
        except NoEngineError as error:
            raise EngineStoppedError(_GONE) from error
        self._streams.add(line)
        try:
            await line.send(wire.encode(Head(id=1, verb="subscribe"), since))
            yield _News(line)
        finally:
            self._streams.discard(line)
            line.close()

    async def items(
        self,
        filter: ItemFilter,
        *,
        sort: ItemSort = ItemSort.POSITION,
        is_reversed: bool = False,
        after: str | None = None,
        offset: int = 0,
        limit: int = 100,
        is_counted: bool = True,
        has_last_lines: bool = False,
    ) -> ItemPage:
        """Return one window of committed items."""
        page: ItemPage = await self._ask(
            "items",
            wire.ItemsRequest(
                filter, sort, is_reversed, after, offset, limit, is_counted, has_last_lines
            ),
        )
        return page

    async def offset_of(
        self,
        filter: ItemFilter,
        key: ItemKey,
        *,
        sort: ItemSort = ItemSort.POSITION,
        is_reversed: bool = False,
    ) -> int | None:
        """Return how many items stand before this one."""
        offset: int | None = await self._ask(
            "offset_of", wire.OffsetRequest(filter, key, sort, is_reversed)
        )
        return offset

    async def item(self, key: ItemKey) -> ItemDetail:
        """Return everything about one item."""
        detail: ItemDetail = await self._ask("item", key)
        return detail

    async def log_range(
        self,
        key: ItemKey,
        *,
        attempt: int | None = None,
        offset: int = 0,
        length: int = 65_536,
        stream: Literal["log", "result"] = "log",
    ) -> LogChunk:
        """Return bytes of an attempt's log."""
        chunk: LogChunk = await self._ask(
            "log_range", wire.LogRequest(key, attempt, offset, length, stream)
        )
        return chunk

    async def history(
        self, *, period_s: float = 3600.0, points: int = 120, convoy_id: str | None = None
    ) -> History:
        """Return what the metrics say of the last seconds."""
        request = wire.HistoryRequest(period_s, points, convoy_id)
        history: History = await self._ask("history", request)
        return history

    async def preview(self, source: ConvoySource, *, cwd: str, limit: int = 20) -> Preview:
        """Say what a launch would run."""
        request = _launch_request(source, cwd=cwd, env=None, limit=limit)
        preview: Preview = await self._ask("preview", request)
        return preview

    async def launch(
        self,
        source: ConvoySource,
        *,
        env: Mapping[str, str],
        cwd: str,
        is_patient: bool = False,
    ) -> str:
        """Commit a convoy and let it start; return its id."""
        request = _launch_request(source, cwd=cwd, env=dict(env), is_patient=is_patient)
        convoy_id: str = await self._ask("launch", request)
        return convoy_id

    async def cancel(
        self,
        targets: Sequence[ItemKey] | str,
        *,
        is_kill: bool = False,
        is_waiting: bool = True,
    ) -> Outcome:
        """Cancel items, or all of a convoy."""
        request = wire.CancelRequest(
            keys=None if isinstance(targets, str) else tuple(targets),
            convoy_id=targets if isinstance(targets, str) else None,
            is_kill=is_kill,
            is_waiting=is_waiting,
        )
        outcome: Outcome = await self._ask("cancel", request)
        return outcome

    async def retry(
        self, targets: Sequence[ItemKey], *, env: Mapping[str, str] | None = None
    ) -> Outcome:
        """Put ended items back, attempt + 1."""
        request = wire.RetryRequest(tuple(targets), None if env is None else dict(env))
        outcome: Outcome = await self._ask("retry", request)
        return outcome

    async def pause(self, convoy_id: str) -> None:
        """Start nothing more of the convoy."""
        await self._ask("pause", convoy_id)

    async def resume(self, convoy_id: str, *, env: Mapping[str, str] | None = None) -> None:
        """Let a convoy start operations again."""
        request = wire.ResumeRequest(convoy_id, None if env is None else dict(env))
        await self._ask("resume", request)

    async def set_parallelism(self, parallelism: int | None) -> int:
        """Pin the parallelism, or with None give it back to auto."""
        size: int = await self._ask("set_parallelism", parallelism)
        return size

    async def rescue(self, target: str) -> int:
        """Write a copy of the work state to a new file."""
        size_bytes: int = await self._ask("rescue", target)
        return size_bytes

    async def wait(
        self, convoy_ids: Sequence[str], *, is_any: bool = False, timeout_s: float | None = None
    ) -> tuple[ConvoyView, ...]:
        """Return the convoys when all (or one) of them have ended."""
        request = wire.WaitRequest(tuple(convoy_ids), is_any, timeout_s)
        views: tuple[ConvoyView, ...] = await self._ask("wait", request)
        return views

    async def stop(self, mode: StopMode = StopMode.INTERRUPT) -> None:
        """Stop the engine."""
        await self._ask("stop", mode)

    async def _ask(self, verb: str, request: object) -> Any:  # noqa: ANN401 - the verb's result
        if isinstance(self._fault, EngineSilentError):
            raise EngineSilentError(self._fault.pid) from self._fault
        if self._fault is not None:
            raise EngineStoppedError(str(self._fault)) from self._fault
        self._number = number = self._number + 1
        frame = wire.encode(Head(id=number, verb=verb), request)
        future: asyncio.Future[tuple[Head, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            await self._line.send(frame)
            head, body = await future
        except asyncio.CancelledError:
            self._line.write(wire.encode(Head(id=number, verb="abandon")))
            raise
        finally:
            self._waiting.pop(number, None)
        if head.verb == "error":
            raise wire.decode_error(body)
        return wire.decode(body, wire.RESULTS[verb])


class _Line:
    """A connection after its greeting."""

    def __init__(self, frames: FrameReader, writer: asyncio.StreamWriter, peer: Hello) -> None:
        self._frames = frames
        self._writer = writer
        self.peer = peer

    @classmethod
    async def open(cls, state_dir: Path, *, silence_s: float) -> _Line:
        """Connect and greet."""
        try:
            connection = await asyncio.to_thread(endpoint.connect, state_dir)
        except (ConnectionError, FileNotFoundError) as error:
            raise NoEngineError(f"no engine runs for {state_dir}") from error
        except BlockingIOError as error:
            raise EngineSilentError(None) from error
        pid = endpoint.peer_pid(connection)
        reader, writer = await asyncio.open_unix_connection(sock=connection)
        frames = FrameReader(reader)
        try:
            hello = Hello(protocol=wire.PROTOCOL, version=__version__, pid=os.getpid())
            writer.write(wire.encode(Head(verb="hello"), hello))
            async with asyncio.timeout(silence_s):
                _, body = wire.split(await frames.read(wire.MAX_HELLO_BYTES))
            peer = wire.decode(body, Hello)
            if peer.protocol != wire.PROTOCOL:
                raise ProtocolError(
                    f"the engine (pid {peer.pid}) is aisquad {peer.version} and speaks protocol "
                    f"{peer.protocol}, this is aisquad {__version__} with protocol "
                    f"{wire.PROTOCOL}: `aisquad down --detach` with that version, then "
                    "`aisquad up` with this one; what runs goes on"
                )
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            writer.transport.abort()
            raise NoEngineError(f"the engine of {state_dir} is just ending") from error
        except TimeoutError as error:
            writer.transport.abort()
            raise EngineSilentError(pid) from error
        except BaseException:
            writer.transport.abort()
            raise
        return cls(frames, writer, peer)

    def write(self, frame: bytes) -> None:
        """Send a frame without waiting."""
        self._writer.write(frame)

    async def send(self, frame: bytes) -> None:
        """Send a frame; that the other side is gone is found out by reading."""
        self._writer.write(frame)
        with suppress(ConnectionError):
            await self._writer.drain()

    async def receive(self) -> tuple[Head, bytes]:
        """Return the next frame.

        Raises:
            EngineStoppedError: The engine has gone.
        """
        try:
            return wire.split(await self._frames.read())
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise EngineStoppedError(_GONE) from error

    def close(self) -> None:
        """Hang up."""
        self._writer.transport.abort()


class _News:
    """What the engine tells until it ends or goes; a cancelled wait loses nothing."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def __aiter__(self) -> _News:
        return self

    async def __anext__(self) -> Snapshot | Event:
        try:
            head, body = await self._line.receive()
        except EngineStoppedError:
            raise StopAsyncIteration from None
        if head.verb == "end":
            raise StopAsyncIteration
        if head.verb == "error":
            raise wire.decode_error(body)
        return wire.decode_news(head.verb, body)


def _launch_request(
    source: ConvoySource,
    *,
    cwd: str,
    env: dict[str, str] | None,
    limit: int = 0,
    is_patient: bool = False,
) -> wire.LaunchRequest:
    return wire.LaunchRequest(
        cwd=cwd,
        file=source if isinstance(source, SpecSource) else None,
        command=None if isinstance(source, SpecSource) else source,
        env=env,
        limit=limit,
        is_patient=is_patient,
    )
