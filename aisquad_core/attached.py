"""An engine in another process that may go and come back, behind the same EngineAPI.

`SocketEngine` is one connection long. This one connects again by itself, to the same engine or to
the next one of the state folder; it starts none and keeps nothing of what an engine said.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from aisquad_core.client import SocketEngine
from aisquad_core.errors import (
    EngineError,
    EngineSilentError,
    EngineStoppedError,
    NoEngineError,
    ProtocolError,
    StateFolderError,
)
from aisquad_core.forwarding import ForwardingEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path
    from types import TracebackType

    from aisquad_core.api import (
        EngineAPI,
        Event,
        Snapshot,
    )

_T = TypeVar("_T")

_LEAST_PAUSE_S = 0.2
_MOST_PAUSE_S = 2.0
"""Longest wait between two attempts to connect again."""
_SILENCE_S = 5.0
"""Without a sign of life; whoever looks on is told soon, since nothing is lost by trying again."""
_AWAY = "the engine is away, trying again"


class AttachedEngine(ForwardingEngine):
    """The EngineAPI of whichever engine serves a state folder: a context manager.

    While there is none, calls and subscriptions raise EngineStoppedError at once, and a connection
    is tried for in the background; while there is one that does not answer, EngineSilentError. A
    call that was under way when the engine went raises it, too; what became of it is not known. A
    stream ends with its engine; a later one is the next engine's.

    Args:
        state_dir: The state folder.
        silence_s: Seconds without a sign of life after which an engine counts as away.

    Raises:
        NoEngineError: On entering, if none listens there.
        EngineSilentError: On entering, if one does and does not answer.
        ProtocolError: On entering, if it is of another version.
        StateFolderError: On entering, if the folder, or who listens there, is not the user's own.
    """

    def __init__(self, state_dir: Path, *, silence_s: float = _SILENCE_S) -> None:
        self._state_dir = state_dir
        self._silence_s = silence_s
        self._tasks = asyncio.TaskGroup()
        self._keeping: asyncio.Task[None]
        self._client: SocketEngine | None = None
        self._fault: Exception | None = None
        """Why there is no client, if it is not simply that no engine runs."""
        self._engines = 0
        """Connections that there were; numbers of events mean nothing beyond theirs."""

    async def __aenter__(self) -> AttachedEngine:
        """Connect."""
        await self._tasks.__aenter__()
        connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keeping = self._tasks.create_task(self._keep(connected))
        try:
            await connected
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Hang up; the engine goes on."""
        self._keeping.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def _keep(self, connected: asyncio.Future[None]) -> None:
        """Be connected, and connect again, until cancelled."""
        pause_s = _LEAST_PAUSE_S
        while True:
            try:
                async with SocketEngine(self._state_dir, silence_s=self._silence_s) as client:
                    self._client, pause_s = client, _LEAST_PAUSE_S
                    self._engines += 1
                    if not connected.done():
                        connected.set_result(None)
                    self._fault = _unusual(await client.wait_gone())
            except (EngineError, StateFolderError, OSError) as error:
                if not connected.done():
                    connected.set_exception(error)
                    return
                self._fault = _unusual(error)
            finally:
                self._client = None
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _MOST_PAUSE_S)

    def _present(self) -> SocketEngine:
        if self._client is not None:
            return self._client
        if isinstance(self._fault, EngineSilentError):
            raise EngineSilentError(self._fault.pid)
        raise EngineStoppedError(_AWAY if self._fault is None else str(self._fault))

    async def call(self, make: Callable[[EngineAPI], Awaitable[_T]]) -> _T:
        """Ask the present engine.

        Raises:
            EngineStoppedError: There is none, or it goes meanwhile.
        """
        try:
            return await make(self._present())
        except ProtocolError as error:  # what cannot be understood is as good as away
            raise EngineStoppedError(str(error)) from error

    @asynccontextmanager
    async def subscribe(
        self, since: int | None = None
    ) -> AsyncIterator[AsyncIterator[Snapshot | Event]]:
        """Open a stream of the present engine; its first part is a snapshot after a change of it.

        Args:
            since: The newest change that the reader knows; of no use once the engine went.
        """
        stream = self._present().subscribe(since if self._engines == 1 else None)
        try:
            news = await stream.__aenter__()
        except (ProtocolError, StateFolderError, OSError) as error:
            raise EngineStoppedError(str(error)) from error
        try:
            yield _Stream(news)
        finally:
            await stream.__aexit__(None, None, None)


def _unusual(fault: Exception | None) -> Exception | None:
    """Return what keeps an engine from being reached; None: that there is none just now."""
    is_silent = isinstance(fault, EngineSilentError)
    is_usual = isinstance(fault, NoEngineError | EngineStoppedError | OSError)
    return fault if is_silent or not is_usual else None


class _Stream:
    """A stream that ends also where it can be understood no more."""

    def __init__(self, news: AsyncIterator[Snapshot | Event]) -> None:
        self._news = news

    def __aiter__(self) -> _Stream:
        return self

    async def __anext__(self) -> Snapshot | Event:
        try:
            return await anext(self._news)
        except ProtocolError as error:
            raise StopAsyncIteration from error
