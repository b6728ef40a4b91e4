"""Takes connections from a TCP port: bounded in number and time, each with its caller known.

It knows no HTTP. A connection that takes long to ask is the first to go when there are too many,
so that whoever opens hundreds and says nothing keeps nobody else out.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from aisquad_core.accepting import accept
from aisquad_core.monitoring import peer

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from aisquad_core.monitoring.peer import End

MOST_CONNECTIONS = 256
"""At once: each costs a descriptor, and an engine in this process needs those for operations."""
ASK_WAIT_S = 10.0
"""Longest from the connection to the end of its request."""
ANSWER_WAIT_S = 20.0
"""Longest from there until the caller has taken the answer."""
_BACKLOG = 128
_LOOKUPS = 2
"""Threads that read the kernel's table; the engine's own threads are left alone."""


class Visit:
    """One connection: who it is from, and how far it has come.

    Args:
        own: This end of it.
        is_local: Whether it is within this machine, over loopback.
        is_own_user: Whether it is, and the same user has the other end.
    """

    def __init__(self, own: End, *, is_local: bool, is_own_user: bool) -> None:
        self.own = own
        self.is_local = is_local
        self.is_own_user = is_own_user
        self.asked = asyncio.Event()
        """Set once its request is complete, or will never be."""
        self.closed = asyncio.Event()
        """Set once the connection is lost."""


class Listener:
    """Listens for as long as the context lasts.

    Args:
        address: An IP address of this machine.
        port: 0: any that is free.
        receive: Makes the protocol of a connection, which sets the events of its visit.
        most: Connections at once.
        ask_wait_s: Seconds that a request may take to come.
    """

    def __init__(
        self,
        address: str,
        port: int,
        receive: Callable[[Visit], asyncio.Protocol],
        *,
        most: int = MOST_CONNECTIONS,
        ask_wait_s: float = ASK_WAIT_S,
    ) -> None:
        self._address = address
        self._wanted_port = port
        self._receive = receive
        self._most = most
        self._ask_wait_s = ask_wait_s
        self._lookups = anyio.CapacityLimiter(_LOOKUPS)
        self._tasks = asyncio.TaskGroup()
        self._socket: socket.socket
        self._accepting: asyncio.Task[None]
        self._asking: dict[asyncio.Task[None], None] = {}
        """Connections whose request is not complete yet, the oldest first."""
        self._answering: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = self._socket.getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            OSError: The port is taken or not allowed, or the address is not this machine's.
        """
        self._socket = _listen(self._address, self._wanted_port)
        await self._tasks.__aenter__()
        self._accepting = self._tasks.create_task(self._accept())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """End every connection and close the port."""
        for task in (self._accepting, *self._asking, *self._answering):
            task.cancel()
        try:
            await self._tasks.__aexit__(None, None, None)
        finally:
            self._socket.close()

    async def _accept(self) -> None:
        while True:
            connection = await accept(self._socket)
            if len(self._asking) + len(self._answering) >= self._most:
                if not self._asking:
                    connection.close()
                    continue
                oldest = next(iter(self._asking))
                del self._asking[oldest]
                oldest.cancel()
            task = self._tasks.create_task(self._attend(connection))
            self._asking[task] = None
            task.add_done_callback(partial(self._forget, connection))

    def _forget(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        self._asking.pop(task, None)
        self._answering.discard(task)
        connection.close()  # a task that is cancelled before it begins leaves it to nobody

    async def _attend(self, connection: socket.socket) -> None:
        try:
            visit = await self._greet(connection)
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._receive(visit), connection
            )
        except OSError:  # gone already, or no descriptor is left to look
            return
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._ask_wait_s):
                    await visit.asked.wait()
                self._hear()
                async with asyncio.timeout(ANSWER_WAIT_S):
                    await visit.closed.wait()
        finally:
            transport.abort()

    async def _greet(self, connection: socket.socket) -> Visit:
        own, other = peer.ends(connection)
        is_local = own.address.is_loopback and other.address.is_loopback
        is_own_user = is_local and await anyio.to_thread.run_sync(
            peer.is_own_user, own, other, limiter=self._lookups
        )
        return Visit(own, is_local=is_local, is_own_user=is_own_user)

    def _hear(self) -> None:
        """Count the running task's connection among those that are answered."""
        task = asyncio.current_task()
        if task is not None:
            self._asking.pop(task, None)
            self._answering.add(task)


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # For the next engine, while connections of this one still end; never for two at once.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
