"""The work of the engine itself: whoever asked for it and goes away does not take it along."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import asyncio
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

    def cancel(self) -> None:
        """Begin to end what still goes on; the group waits for it."""
        for task in self._begun:
            task.cancel()
