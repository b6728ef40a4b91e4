"""A loop on which a seed decides everything: virtual time, and no other thread.

What asyncio would hand to a thread is a call on the loop, made some random moments later. When
nothing is ready, time jumps to the next timer. One loop lives as long as one engine: a crash leaves
it where it stands, and nothing of that engine ever runs again.
"""

from __future__ import annotations

import asyncio
import itertools
import selectors
import sqlite3
import sys
from collections import deque
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import aiosqlite.core
import anyio.to_thread

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor

T = TypeVar("T")

_LONGEST_HOP_S = 0.002
_BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Halt(KeyboardInterrupt):
    """Leaves a loop at once, from within a bare callback: asyncio catches everything else."""


class Stuck(Halt):
    """Nothing is ready and no timer runs: whoever waits will wait for ever."""


class _Selector(selectors.BaseSelector):
    """Knows no file; instead of waiting it moves time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:  # noqa: ANN401 - as its base
        descriptor = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = selectors.SelectorKey(fileobj, descriptor, events, data)
        self._keys[descriptor] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:  # noqa: ANN401 - as its base
        return self._keys.pop(fileobj if isinstance(fileobj, int) else fileobj.fileno())

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck("nothing will ever happen again")
        self._loop.pass_time(timeout)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return {key.fileobj: key for key in self._keys.values()}


class _Task(asyncio.Task[Any]):
    """Hashed by its number, so that the order of a set does not depend on addresses."""

    _numbers = itertools.count(1)

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as its base
        self._number = next(self._numbers)
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._number


class _Future(asyncio.Future[Any]):
    """As `_Task`."""

    _numbers = itertools.count(1)

    def __init__(self, *, loop: asyncio.AbstractEventLoop) -> None:
        self._number = next(self._numbers)
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop of one engine.

    Args:
        begin_s: Its first moment.
        chance: How long each hop to a pretended thread takes.
    """

    def __init__(self, *, begin_s: float, chance: random.Random) -> None:
        self._now_s = begin_s
        self._chance = chance
        self.databases: list[sqlite3.Connection] = []
        """Every connection that was opened on it."""
        super().__init__(_Selector(self))
        self.set_task_factory(lambda loop, coro, **kwargs: _Task(coro, loop=loop, **kwargs))

    def time(self) -> float:
        return self._now_s

    def pass_time(self, seconds: float) -> None:
        """Move time on, never short of the timer that is next for want of a last digit."""
        self._now_s = (self._now_s + seconds) * (1 + 4 * sys.float_info.epsilon)

    def create_future(self) -> asyncio.Future[Any]:
        return _Future(loop=self)

    def hop(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Make a call as another thread would: soon, and also if its caller is cancelled."""
        future: asyncio.Future[T] = self.create_future()
        self.call_later(self.hop_s(), _make, future, call)
        return future

    def hop_s(self) -> float:
        """Return the seconds until a thread has made a call."""
        return self._chance.random() * _LONGEST_HOP_S

    def run_in_executor(  # type: ignore[override]  # as typeshed has it, but for its TypeVarTuple
        self,
        executor: Executor | None,
        func: Callable[..., T],
        *args: Any,  # noqa: ANN401
    ) -> asyncio.Future[T]:
        return self.hop(partial(func, *args))


class LoopClock:
    """The clock of the running loop; the wall clock goes along with it."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def monotonic(self) -> float:
        """Return the loop's seconds."""
        return self._loop.time()

    def now(self) -> datetime:
        """Return the time that goes with them."""
        return _BEGIN + timedelta(seconds=self._loop.time())

    async def sleep(self, seconds: float) -> None:
        """Wait on the loop."""
        await asyncio.sleep(max(0.0, seconds))


def _make(future: asyncio.Future[Any] | None, call: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Make a call; what it returns or raises goes to whoever still waits for it."""
    try:
        result = call()
    except Exception as error:
        if future is not None and not future.done():
            future.set_exception(error)
        return None
    if future is not None and not future.done():
        future.set_result(result)
    return result


class _CallQueue:
    """In place of the queue of an aiosqlite connection, and of the thread that empties it."""

    def __init__(self) -> None:
        self._calls: deque[tuple[asyncio.Future[Any] | None, Callable[[], Any]]] = deque()

    def put_nowait(self, entry: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self._calls.append(entry)
        if len(self._calls) == 1:
            loop.call_later(loop.hop_s(), self._work, loop)

    def _work(self, loop: VirtualLoop) -> None:
        result = _make(*self._calls[0])
        if isinstance(result, sqlite3.Connection):
            loop.databases.append(result)
        self._calls.popleft()
        if self._calls:
            loop.call_later(loop.hop_s(), self._work, loop)


class _NoThread:
    def __init__(self, **kwargs: object) -> None:
        """Take what a thread takes."""

    def start(self) -> None:
        """Do nothing: the queue does the work."""


async def _run_sync(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:  # noqa: ANN401
    return await asyncio.get_running_loop().run_in_executor(None, call, *args)


def replace_threads() -> None:
    """Let aiosqlite and anyio make their calls on the loop, in this process, for good."""
    setattr(aiosqlite.core, "SimpleQueue", _CallQueue)  # noqa: B010 - not theirs to export
    setattr(aiosqlite.core, "Thread", _NoThread)  # noqa: B010 - the same
    setattr(anyio.to_thread, "run_sync", _run_sync)  # noqa: B010 - the same
