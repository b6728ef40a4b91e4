"""What becomes of running operations when their engine leaves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aisquad_core.api import StopMode

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from aisquad_core.execution.executor import ConvoyExecutor
    from aisquad_core.execution.run import Run
    from aisquad_core.execution.steering import Steering


class Leaving:
    """Ends what does not outlive the engine, as the last of those who ask for it wants it.

    Args:
        executor: What runs; it starts nothing more.
        steering: Interrupts.
    """

    def __init__(self, *, executor: ConvoyExecutor, steering: Steering) -> None:
        self._executor = executor
        self._steering = steering
        self._hastened = asyncio.Event()
        self._hastened_by = StopMode.DETACH
        """The mode of whoever could not wait for a drain; what is adopted meanwhile is left."""
        self._let_go = asyncio.Event()
        """Set when what is being stopped is to be left running after all."""

    async def end_runs(self, mode: StopMode, *, is_first: bool) -> StopMode:
        """Deal with what runs.

        While storage refuses nothing can be ended in order. Whoever asks then to leave it running
        lets go of all of it, and the next engine takes it over.

        Args:
            mode: How it ends.
            is_first: Whether nobody has asked before.

        Returns:
            How it did end: somebody else may not have been able to wait for a drain.
        """
        if mode is StopMode.DRAIN:
            await _unless(self._hastened, self._settle_all())
            mode = self._hastened_by
        else:
            self._hastened_by = mode
            self._hastened.set()
            if mode is StopMode.DETACH and not is_first:
                self._let_go.set()
        grace_s = 0.0 if mode is StopMode.KILL else None
        runs = self._runs_to_stop(mode)
        await _unless(self._let_go, self._steering.interrupt(runs, grace_s=grace_s))
        return mode

    async def _settle_all(self) -> None:
        for run in list(self._executor.runs.values()):
            if not run.is_undecided:
                await run.settled.wait()

    def _runs_to_stop(self, mode: StopMode) -> list[Run]:
        """Return what ends with the engine: callables, and processes unless they are left running.

        What it only adopted, of a convoy that it was not asked to continue, is left alone; so is
        what may run, for all that can be told: the next engine finds out.
        """
        return [
            run
            for run in self._executor.runs.values()
            if not run.is_process
            or not (mode is StopMode.DETACH or run.is_undecided or run.task.convoy.hold is not None)
        ]


async def _unless(event: asyncio.Event, work: Coroutine[object, object, None]) -> None:
    """Wait until something is done, or give it up when the event is set."""
    async with asyncio.TaskGroup() as tasks:
        waits = [tasks.create_task(work), tasks.create_task(_wait(event))]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
