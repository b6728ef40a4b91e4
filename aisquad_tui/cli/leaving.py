"""How the screen ends: by a key or a signal, and then an embedded engine in order.

An engine in another process is left at work, and the operator is told so.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aisquad_core.api import StopMode
from aisquad_core.errors import EngineStoppedError
from aisquad_tui.cli.boundary import silence_terminals
from aisquad_tui.cli.logout import logout_warning
from aisquad_tui.formatting import count, duration, plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aisquad_core.api import EngineAPI
    from aisquad_tui.app import SquadApp
    from aisquad_tui.store import Picture

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_HUNG_UP = 128 + signal.SIGHUP
_PROMPT_S = 0.3
"""An engine that ends within this time is not worth a word."""


class Leaving:
    """The signals that end the screen, and then how its engine ends.

    SIGHUP leaves operations running for the next engine; it counts even if it was ignored when the
    process began, since nobody sees the screen any more. Any other signal ends what runs within
    the grace period, and once more kills it.

    Args:
        engine: The embedded engine.
        grace_s: Seconds between asking an operation to end and killing it.
        is_kept: Whether work may run on without the screen.
        stopped: Set when somebody else has stopped the embedded engine: the screen ends with it.
    """

    def __init__(
        self, engine: EngineAPI, *, grace_s: float, is_kept: bool, stopped: asyncio.Event
    ) -> None:
        self._engine = engine
        self._stopped = stopped
        self._grace_s = grace_s
        self._is_kept = is_kept
        self._app: SquadApp | None = None
        self._signals: list[signal.Signals] = []
        self._stopping = False
        self._again = asyncio.Event()

    @property
    def status(self) -> int | None:
        """The exit status that a signal asks for; None: none came."""
        return 128 + self._signals[0] if self._signals else None

    @contextmanager
    def heeding_signals(self) -> Iterator[None]:
        """Take the signals for as long as the context lasts."""
        loop = asyncio.get_running_loop()
        for signum in _SIGNALS:
            loop.add_signal_handler(signum, self._take, signum)
        try:
            yield
        finally:
            for signum in _SIGNALS:
                loop.remove_signal_handler(signum)

    async def show(self, app: SquadApp, *, has_mouse: bool) -> None:
        """Run the app until the operator, a signal or its engine's end ends it."""
        if self._signals:
            return
        self._app = app
        try:
            async with asyncio.TaskGroup() as tasks:
                following = tasks.create_task(self._leave_when_stopped(app))
                await app.run_async(mouse=has_mouse)
                following.cancel()
        finally:
            self._app = None
        if app.return_code == _HUNG_UP:
            silence_terminals()

    async def _leave_when_stopped(self, app: SquadApp) -> None:
        await self._stopped.wait()
        app.leave(StopMode.DETACH)

    async def stop_engine(self, mode: StopMode) -> None:
        """End the engine's work as was asked for.

        Args:
            mode: What the operator chose; a signal's meaning goes first.
        """
        if self._stopped.is_set():
            print("the engine was stopped from another terminal", file=sys.stderr)
            return
        if self._signals:
            mode = _mode(self._signals[0])
        if not self._is_kept:
            mode = StopMode.INTERRUPT
        self._stopping = True
        async with asyncio.TaskGroup() as tasks:
            stopping = tasks.create_task(self._stop(mode))
            telling = tasks.create_task(self._tell(mode))
            killing = tasks.create_task(self._kill_when_asked_again())
            await stopping
            telling.cancel()
            killing.cancel()

    async def _stop(self, mode: StopMode) -> None:
        try:
            await self._engine.stop(mode)
        except EngineStoppedError as error:
            if error.__cause__ is not None:
                raise

    async def _tell(self, mode: StopMode) -> None:
        try:
            running = (await self._engine.snapshot()).engine.running
        except EngineStoppedError:
            return
        await asyncio.sleep(_PROMPT_S)
        if running and mode is not StopMode.DETACH:
            print(
                f"ending {plural(running, 'operation')} (up to {duration(self._grace_s)}); "
                "Ctrl-C kills",
                file=sys.stderr,
                flush=True,
            )

    async def _kill_when_asked_again(self) -> None:
        await self._again.wait()
        await self._stop(StopMode.KILL)

    def _take(self, signum: signal.Signals) -> None:
        if self._stopping:
            if signum == signal.SIGHUP:
                silence_terminals()
            else:
                self._again.set()
            return
        self._signals.append(signum)
        if self._app is not None:
            self._app.leave(_mode(signum), status=128 + signum)


def tell_detached(picture: Picture, *, is_new: bool) -> None:
    """Say on standard error that the engine goes on, if that is news or there is work.

    Args:
        picture: What the screen knew last.
        is_new: Whether the screen started that engine; then also what would end it at logout.
    """
    counts = picture.counts
    if picture.engine is None or picture.lost_at is not None:
        return
    if counts.running or counts.queued:
        work = f"{count(counts.running)} running, {count(counts.queued)} queued"
    elif is_new:
        work = "nothing to do"
    else:
        return
    print(f"the engine runs on ({work}); `aisquad down` stops it", file=sys.stderr)
    if is_new and (warning := logout_warning()) is not None:
        print(f"warning: {warning}", file=sys.stderr)


def _mode(signum: signal.Signals) -> StopMode:
    return StopMode.DETACH if signum == signal.SIGHUP else StopMode.INTERRUPT
