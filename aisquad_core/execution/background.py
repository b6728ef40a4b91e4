"""The work of the engine itself: whoever asked for it and goes away does not take it along."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from aisquad_core.errors import EngineStoppedError

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class Background:
    """What goes on until it is done, or the engine is left.

    Args:
        tasks: The engine's group: a failure among its tasks is a failure of the engine.
    """

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._begun: set[asyncio.Task[object]] = set()

    def begin(self, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        """Let work go on until it is done, or the engine is left."""
        self._begun.add(task := self._tasks.create_task(work))
        task.add_done_callback(self._begun.discard)
        return task

    async def carry_out(self, work: Coroutine[object, object, T]) -> T:
        """Do work to its end even if the caller is cancelled; what it raises is the caller's.

        Raises:
            EngineStoppedError: The engine is left before the work is done.
        """
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        async def carry() -> None:
            try:
                answer.set_result(await work)
            except Exception as error:  # if the caller is gone, the loop reports it
                answer.set_exception(error)

        carrying = self.begin(carry())
        await asyncio.wait([carrying])
        if carrying.cancelled():
            raise EngineStoppedError("the engine has stopped before this was done")
        return answer.result()

    def cancel(self) -> None:
        """Begin to end what still goes on; the group waits for it."""
        for task in self._begun:
            task.cancel()
