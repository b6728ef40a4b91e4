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
from aisquad_core.sanitise import one_line
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
    running for the next engine. An engine that lives in another process is left alone: a signal
    ends only the watching.

    What others launch in an engine of this process is waited for, too, since it ends with it.

    Args:
        api: The engine.
        reporter: Shows how it stands.
        clock: Tells when to show it.
        grace_s: Seconds between asking an operation to end and killing it.
        is_client: Whether the engine lives in another process.
    """

    def __init__(
        self,
        api: EngineAPI,
        reporter: Reporter,
        *,
        clock: Clock,
        grace_s: float,
        is_client: bool = False,
    ) -> None:
        self._api = api
        self._reporter = reporter
        self._clock = clock
        self._grace_s = grace_s
        self._is_client = is_client
        self._stops: list[StopMode] = []
        self._following: asyncio.Task[None] | None = None
        self._is_left = False
        self._has_ended = False
        self._is_held_up = False
        self._begun = asyncio.Event()
        self._failures: asyncio.Queue[ItemView] = asyncio.Queue(_MOST_TAILS_WAITING)
        self.progress = Progress()

    @property
    def is_interrupted(self) -> bool:
        """Whether a signal, or whoever stopped the engine, came before the convoys' end."""
        is_cut = bool(self._stops) or self._is_left or self._has_ended
        return is_cut and not self.progress.is_over()

    @property
    def is_engine_gone(self) -> bool:
        """Whether an engine in another process ended before the convoys did."""
        return self._is_client and self._has_ended and not self.progress.is_over()

    async def run(self, begin: Callable[[], Awaitable[Sequence[str]]]) -> None:
        """Begin, and return when the convoys have ended or a signal has stopped the engine.

        Args:
            begin: Launches, resumes or retries; returns the ids of the convoys to wait for.
        """
        async with asyncio.TaskGroup() as group:
            with self._signals(group):
                tasks = [group.create_task(self._tick()), group.create_task(self._tell_failures())]
                self._following = group.create_task(self._follow(begin))
                try:
                    await asyncio.wait([self._following])
                    if not self._is_left:
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
                if self._is_done():
                    return
                async for event in events:
                    failed = self.progress.apply(event)
                    if event.seq > snapshot.seq and self.progress.concerns(event):
                        self._show(lambda: self._reporter.event(event))  # noqa: B023  # called at once
                    if failed is not None:
                        self._take_failure(failed)
                    if self._is_done():
                        return
                self._has_ended = True
        except EngineStoppedError:
            self._has_ended = True
            if not (self._stops or self._begun.is_set()):
                raise

    def _is_done(self) -> bool:
        """Tell whether there is nothing left to wait for."""
        if not self.progress.is_over():
            return False
        guests = () if self._is_client else self.progress.guests
        if guests and not self._is_held_up:
            self._is_held_up = True
            names = ", ".join(one_line(convoy.id) for convoy in guests)
            self._show(
                lambda: self._reporter.say(
                    f"waiting for what was launched here from elsewhere, too: {names}"
                )
            )
        return not guests

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
            if self._is_client:
                self._leave(signum)
                return
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

    def _leave(self, signum: int) -> None:
        """Watch no longer; the engine and its convoys go on."""
        if self._is_left or self._following is None:
            return
        self._is_left = True
        if signum == signal.SIGHUP:
            silence_terminals()
        ids = " ".join(one_line(convoy.id) for convoy in self.progress.convoys)
        if ids:
            ends = " ".join(f"--convoy {one_line(each.id)}" for each in self.progress.convoys)
            self._show(
                lambda: self._reporter.say(
                    f"{ids} goes on in the engine; `aisquad cancel {ends}` ends it"
                )
            )
        self._following.cancel()

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
