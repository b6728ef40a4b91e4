"""An engine on a thread and event loop of its own, behind the same EngineAPI.

A screen that repaints and an engine that starts processes must not share a loop. Every call
crosses to the engine's loop and back; nothing else does, and no queue between the two can grow.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Generic, TypeVar

from aisquad_core.errors import EngineStoppedError
from aisquad_core.events import EventStream
from aisquad_core.forwarding import ForwardingEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from aisquad_core.api import (
        EngineAPI,
        Event,
        Snapshot,
    )

_T = TypeVar("_T")

_BATCH = 256
"""Most changes that cross to a reader at once; more of them wait, merged, at the engine."""


class EmbeddedEngine(ForwardingEngine):
    """The EngineAPI of an engine that lives on its own thread.

    Usable from any event loop. A cancelled call is cancelled on the engine's loop, too, and the
    caller goes on only when it has ended there. If the engine fails, its callers and the end of
    the `async with` get an `EngineStoppedError` with the failure as its cause; an engine that
    cannot even be entered raises its own error.

    Args:
        factory: Makes the engine's context manager; called, entered and left on its thread.
    """

    def __init__(self, factory: Callable[[], AbstractAsyncContextManager[EngineAPI]]) -> None:
        self._factory = factory
        self._thread = threading.Thread(target=self._run, name="aisquad-engine")
        self._gate = threading.Lock()
        """Guards the next three, so that nothing is handed to a loop that no longer runs."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_open = False
        self._is_leaving = False
        self._fault: BaseException | None = None
        """What ended the engine other than leaving it."""
        self._opened: _Reply[None]
        self._left = asyncio.Event()
        self._entering: asyncio.Task[None] | None = None
        self._api: EngineAPI
        self._tasks: asyncio.TaskGroup
        self._calls: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> EmbeddedEngine:
        """Start the thread and enter the engine there; its errors come out as they are."""
        self._opened = _Reply()
        self._thread.start()
        try:
            await self._opened.wait(self._leave)
        except BaseException:
            await self._join()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Leave the engine on its thread, which ends its work in order; then join the thread."""
        self._leave()
        await self._join()
        if self._fault is not None:
            raise self._stopped_error()

    @asynccontextmanager
    async def subscribe(
        self, since: int | None = None
    ) -> AsyncIterator[AsyncIterator[Snapshot | Event]]:
        """Open a stream of which each part crosses when it is asked for."""
        stream = _CrossingStream(self, since)
        try:
            await self.call(stream.enter)
            yield stream
        finally:
            with suppress(EngineStoppedError):  # then there is nothing left to unsubscribe from
                await self.call(stream.leave)

    async def call(self, make: Callable[[EngineAPI], Awaitable[_T]]) -> _T:
        """Run a call on the engine's loop and bring its result or exception back.

        Args:
            make: Given the engine, on its loop, returns what is to be awaited there.

        Raises:
            EngineStoppedError: The engine has ended; its failure, if it failed, is the cause.
        """
        call = _Call(make)
        with self._gate:
            loop = self._loop
            if loop is None or not self._is_open:
                raise self._stopped_error()
            loop.call_soon_threadsafe(self._begin, call)

        def cancel() -> None:
            with self._gate:
                if self._loop is not None:
                    self._loop.call_soon_threadsafe(call.cancel)

        return await call.reply.wait(cancel)

    def _leave(self) -> None:
        with self._gate:
            self._is_leaving = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._end)

    async def _join(self) -> None:
        joining = asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        await _outlast(joining)

    def _stopped_error(self) -> EngineStoppedError:
        if self._fault is None:
            return EngineStoppedError("the engine has stopped")
        error = EngineStoppedError(f"the engine has failed: {self._fault!r}")
        error.__cause__ = self._fault
        return error

    # From here on, all of it happens on the engine's thread.

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._live())
        except BaseException as fault:  # kept for the callers, who are on other threads
            self._fault = fault
        if self._fault is not None:
            self._opened.fail(self._fault)

    async def _live(self) -> None:
        """Enter the engine, serve calls until it is left or fails, leave it."""
        self._entering = asyncio.current_task()
        with self._gate:
            self._loop = asyncio.get_running_loop()
            if self._is_leaving:
                self._end()
        async with asyncio.TaskGroup() as self._tasks:
            try:
                async with self._factory() as self._api:
                    self._entering = None
                    with self._gate:
                        self._is_open = True
                    self._opened.succeed(None)
                    await self._left.wait()
            except BaseException as fault:  # kept for the callers, who are on other threads
                self._fault = fault
            with self._gate:
                self._is_open = False
            await asyncio.sleep(0)  # what was handed over before that begins, and is refused
            for call in self._calls:
                call.cancel()
        with self._gate:
            self._loop = None

    def _end(self) -> None:
        """Leave the engine, or give up entering it."""
        self._left.set()
        if self._entering is not None:
            self._entering.cancel()

    def _begin(self, call: _Call[_T]) -> None:
        def end(task: asyncio.Task[None]) -> None:
            self._calls.discard(task)
            if task.cancelled() or task.exception() is not None:
                call.reply.fail(self._stopped_error())

        if not self._is_open:
            call.reply.fail(self._stopped_error())
            return
        call.task = self._tasks.create_task(self._serve(call))
        self._calls.add(call.task)
        call.task.add_done_callback(end)

    async def _serve(self, call: _Call[_T]) -> None:
        try:
            result = await call.make(self._api)
        except Exception as error:  # it goes to the caller
            call.reply.fail(error)
        else:
            call.reply.succeed(result)


class _Call(Generic[_T]):
    """A call under way; `task` is set on the engine's loop once it has begun there."""

    __slots__ = ("make", "reply", "task")

    def __init__(self, make: Callable[[EngineAPI], Awaitable[_T]]) -> None:
        self.make = make
        self.reply: _Reply[_T] = _Reply()
        self.task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """Cancel it, on the engine's loop."""
        if self.task is not None:
            self.task.cancel()


class _Reply(Generic[_T]):
    """A result that another thread brings; made on the loop that waits for it."""

    __slots__ = ("_future", "_loop")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[_T] = self._loop.create_future()

    def succeed(self, result: _T) -> None:
        """Bring the result, from any thread."""
        self._bring(lambda: self._future.set_result(result))

    def fail(self, error: BaseException) -> None:
        """Bring an exception, from any thread; no effect if the reply is there already."""
        self._bring(lambda: self._future.set_exception(error))

    async def wait(self, on_cancel: Callable[[], None]) -> _T:
        """Return the result or raise the exception; cancelled, still wait for the reply."""
        return await _outlast(self._future, on_cancel)

    def _bring(self, settle: Callable[[], None]) -> None:
        def settle_once() -> None:
            if not self._future.done():
                settle()

        with suppress(RuntimeError):  # that loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(settle_once)


class _CrossingStream:
    """A stream of the engine, taken in batches from another loop.

    A batch stays here if its reader was cancelled while it came, so that none is lost.
    """

    def __init__(self, engine: EmbeddedEngine, since: int | None) -> None:
        self._engine = engine
        self._since = since
        self._batch: deque[Snapshot | Event] = deque()
        self._is_over = False
        self._subscription: AbstractAsyncContextManager[AsyncIterator[Snapshot | Event]] | None
        self._subscription = None
        self._stream: AsyncIterator[Snapshot | Event]

    def __aiter__(self) -> _CrossingStream:
        return self

    async def __anext__(self) -> Snapshot | Event:
        if not self._batch and not self._is_over:
            try:
                await self._engine.call(self._pull)
            except EngineStoppedError as stopped:
                if stopped.__cause__ is not None:
                    raise
                self._is_over = True
        if not self._batch:
            raise StopAsyncIteration
        return self._batch.popleft()

    async def enter(self, api: EngineAPI) -> None:
        """Subscribe, on the engine's loop."""
        subscription = api.subscribe(self._since)
        self._stream = await subscription.__aenter__()
        self._subscription = subscription

    async def leave(self, _: EngineAPI) -> None:
        """Unsubscribe, on the engine's loop."""
        if self._subscription is not None:
            await self._subscription.__aexit__(None, None, None)

    async def _pull(self, _: EngineAPI) -> None:
        """Wait for the next change and take what is ready behind it, on the engine's loop."""
        try:
            self._batch.append(await anext(self._stream))
        except StopAsyncIteration:
            self._is_over = True
        else:
            if isinstance(self._stream, EventStream):
                self._batch.extend(self._stream.take_ready(_BATCH - 1))


async def _outlast(future: asyncio.Future[_T], on_cancel: Callable[[], None] = lambda: None) -> _T:
    """Wait for a future through every cancellation, then raise the last one.

    Args:
        future: Ends by itself, sooner or later.
        on_cancel: Called at the first cancellation, to hasten it.
    """
    cancellation: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            if cancellation is None:
                on_cancel()
            cancellation = error
    if cancellation is None:
        return future.result()
    if not future.cancelled():
        future.exception()  # looked at, so that asyncio does not report it as forgotten
    raise cancellation
