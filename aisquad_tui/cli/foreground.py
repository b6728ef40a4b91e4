"""Waiting for convoys in the foreground: follow their events, show them, pass signals on."""

from __future__ import annotations

import asyncio
import errno
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aisquad_core.api import StopMode
from aisquad_core.errors import AISquadError, EngineStoppedError
from aisquad_core.model import ItemKey
from aisquad_tui.cli.boundary import silence_terminals
from aisquad_tui.cli.progress import Progress
from aisquad_tui.formatting import duration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from aisquad_core.api import EngineAPI, ItemView
    from aisquad_core.clock import Clock
    from aisquad_tui.cli.reporters import Reporter

_FRAME_S = 0.125
_TAIL_BYTES = 2_000
_MOST_TAILS_WAITING = 1_000
"""Failures whose output is still to be read; beyond, they are told without their last line."""


class Foreground:
    """One run of the engine for some convoys, from launch to end.

    The first SIGINT or SIGTERM ends what runs within the grace period and keeps the rest for
    `--resume`, the next one kills. SIGHUP (unless ignored, as under nohup) leaves operations
    running for the next engine.
    """

    def __init__(self, api: EngineAPI, reporter: Reporter, *, clock: Clock, grace_s: float) -> None:
        self._api = api
        self._reporter = reporter
        self._clock = clock
        self._grace_s = grace_s
        self._stops: list[StopMode] = []
        self._begun = asyncio.Event()
        self._failures: asyncio.Queue[ItemView] = asyncio.Queue(_MOST_TAILS_WAITING)
        self.progress = Progress()

    @property
    def is_interrupted(self) -> bool:
        """Whether a signal ended the run before its convoys had ended."""
        return bool(self._stops) and not self.progress.is_over()

    async def run(self, begin: Callable[[], Awaitable[Sequence[str]]]) -> None:
        """Begin, and return when the convoys have ended or a signal has stopped the engine.

        Args:
            begin: Launches, resumes or retries; returns the ids of the convoys to wait for.
        """
        async with asyncio.TaskGroup() as group:
            with self._signals(group):
                tasks = [group.create_task(self._tick()), group.create_task(self._tell_failures())]
                try:
                    await self._follow(begin)
                    await self._failures.join()
                finally:
                    for task in tasks:
                        task.cancel()
        self._show(lambda: self._reporter.end(self.progress))

    async def _follow(self, begin: Callable[[], Awaitable[Sequence[str]]]) -> None:
        try:
            async with self._api.subscribe() as events:
                ids = await begin()
                snapshot = await self._api.snapshot()
                self.progress.begin(ids, snapshot)
                self._show(lambda: self._reporter.begin(self.progress))
                self._show(lambda: self._reporter.event(snapshot))
                self._begun.set()
                if self.progress.is_over():
                    return
                async for event in events:
                    failed = self.progress.apply(event)
                    if event.seq > snapshot.seq and self.progress.concerns(event):
                        self._show(lambda: self._reporter.event(event))  # noqa: B023  # called at once
                    if failed is not None:
                        self._take_failure(failed)
                    if self.progress.is_over():
                        return
        except EngineStoppedError:
            if not self._stops:
                raise

    def _take_failure(self, item: ItemView) -> None:
        try:
            self._failures.put_nowait(item)
        except asyncio.QueueFull:
            self._show(lambda: self._reporter.failure(item, item.last_line))

    async def _tell_failures(self) -> None:
        while True:
            item = await self._failures.get()
            last_line = item.last_line or await self._last_line(item)
            self._show(lambda: self._reporter.failure(item, last_line))  # noqa: B023  # called at once
            self._failures.task_done()

    async def _last_line(self, item: ItemView) -> str | None:
        """Read the end of a log; an engine that is stopping has no time for it."""
        key = ItemKey(item.convoy_id, item.id)
        try:
            chunk = await self._api.log_range(
                key, attempt=item.attempt, offset=-_TAIL_BYTES, length=_TAIL_BYTES
            )
        except AISquadError:
            return None
        lines = chunk.data.decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), None)

    async def _tick(self) -> None:
        await self._begun.wait()
        while True:
            self._show(lambda: self._reporter.tick(self.progress))
            await self._clock.sleep(_FRAME_S)

    @contextmanager
    def _signals(self, group: asyncio.TaskGroup) -> Iterator[None]:
        def on(signum: int) -> None:
            mode = StopMode.DETACH if signum == signal.SIGHUP else self._next_mode()
            if mode in self._stops:
                return
            self._stops.append(mode)
            self._say_stop(mode)
            group.create_task(self._api.stop(mode))

        loop = asyncio.get_running_loop()
        signums = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signums.append(signal.SIGHUP)
        for signum in signums:
            loop.add_signal_handler(signum, on, signum)
        try:
            yield
        finally:
            for signum in signums:
                loop.remove_signal_handler(signum)

    def _next_mode(self) -> StopMode:
        return StopMode.KILL if StopMode.INTERRUPT in self._stops else StopMode.INTERRUPT

    def _say_stop(self, mode: StopMode) -> None:
        if mode is StopMode.DETACH:
            silence_terminals()
        elif mode is StopMode.KILL:
            self._show(lambda: self._reporter.say("killing what runs"))
        else:
            grace = duration(self._grace_s)
            self._show(
                lambda: self._reporter.say(
                    f"interrupted: ending what runs (up to {grace}); once more kills it"
                )
            )

    def _show(self, show: Callable[[], None]) -> None:
        """Show something; a terminal that is gone ends the showing, not the run."""
        try:
            show()
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            silence_terminals()
