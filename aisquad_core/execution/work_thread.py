"""Threads that are there from the beginning; one of them makes many short calls in one hand-over.

`run_in_executor` wakes a thread and the loop for each call; at hundreds of starts a second the
hand-overs, and the fights for the interpreter's lock that they bring, cost more than the calls.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_P = ParamSpec("_P")
_T = TypeVar("_T")

_Call = tuple["asyncio.Future[Any]", "Callable[[], object]"]
_Done = tuple["asyncio.Future[Any]", object, BaseException | None]


def steady_pool(size: int, name: str) -> ThreadPoolExecutor:
    """Return a pool all of whose threads have been started (blocking, for a moment).

    A pool starts them when it needs them. An engine that may have no more processes can start no
    thread either, and must go on all the same.

    Args:
        size: How many threads.
        name: Of the threads, for people.
    """
    pool = ThreadPoolExecutor(size, thread_name_prefix=name)
    all_there = threading.Barrier(size)
    wait([pool.submit(all_there.wait) for _ in range(size)])
    return pool


class WorkThread:
    """Makes calls one after the other on a thread of its own, in the order they were submitted.

    What has gathered while it worked is made in one go and answered together. A call whose caller
    was cancelled is made all the same.

    Args:
        name: Of the thread, for people.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name)
        self._thread.start()

    def submit(
        self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> asyncio.Future[_T]:
        """Queue a call; return a future of what it returns or raises."""
        future: asyncio.Future[_T] = self._loop.create_future()
        self._calls.put((future, lambda: call(*args, **kwargs)))
        return future

    async def close(self) -> None:
        """Make the calls that are queued, then end the thread."""
        self._calls.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while True:
            entry = self._calls.get()
            done: list[_Done] = []
            while entry is not None:
                done.append(_make(*entry))
                try:
                    entry = self._calls.get_nowait()
                except Empty:
                    break
            self._loop.call_soon_threadsafe(_answer, done)
            if entry is None:
                return


def _make(future: asyncio.Future[Any], call: Callable[[], object]) -> _Done:
    try:
        return future, call(), None
    except BaseException as error:  # raised where it is awaited
        return future, None, error


def _answer(done: list[_Done]) -> None:
    for future, result, error in done:
        if future.done():  # its caller was cancelled
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
