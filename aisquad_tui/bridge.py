"""The one subscription: the engine's stream into the store, the store's frames to the screen.

At most ten frames a second, none when nothing changed, and no timer in between. An engine in
another process may go and come back: then a stream of the next one follows, with numbers of its
own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aisquad_core.errors import EngineSilentError, EngineStoppedError
from aisquad_tui.store import Store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aisquad_core.api import EngineAPI
    from aisquad_core.clock import Clock
    from aisquad_tui.store import Frame

FRAME_S = 0.1
"""Least time between two frames."""
_LEAST_PAUSE_S = 0.2
_MOST_PAUSE_S = 1.0
"""Longest wait before an engine that is away is asked for again."""


class Bridge:
    """Carries what the engine tells to a screen.

    Args:
        engine: Whose stream it is.
        clock: Time.
        on_frame: Called with each frame, on this loop.
        sleep: Waits between two frames; a terminal goes by real time, whatever clock the engine
            goes by.
        is_lasting: Whether to look for the engine again when it is gone.
    """

    def __init__(
        self,
        engine: EngineAPI,
        clock: Clock,
        on_frame: Callable[[Frame], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        is_lasting: bool = False,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._on_frame = on_frame
        self._sleep = sleep
        self._is_lasting = is_lasting
        self._store = Store()
        self._news = asyncio.Event()
        self._is_held = False
        self._is_over = False
        self._is_silent = False
        """Whether the engine is there and does not answer."""

    async def run(self) -> None:
        """Carry frames; when the stream ends, one says that the engine is away.

        It is the last one, unless the bridge is lasting: then the engine's next snapshot follows
        it, and this goes on until it is cancelled.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._show())
            pause_s = _LEAST_PAUSE_S
            while True:
                if await self._take():
                    pause_s = _LEAST_PAUSE_S
                self._is_over = not self._is_lasting
                self._store.lose(self._clock.now(), is_silent=self._is_silent)
                self._news.set()
                if self._is_over:
                    return
                await self._sleep(pause_s)
                pause_s = min(2 * pause_s, _MOST_PAUSE_S)

    def hold(self, is_held: bool) -> None:
        """Send nothing on while held; when let go, one frame with all parts."""
        if self._is_held and not is_held:
            self._store.renew()
            self._news.set()
        self._is_held = is_held

    async def _take(self) -> bool:
        """Take a stream into the store until it ends; return whether there was anything in it."""
        has_come = self._is_silent = False
        try:
            async with self._engine.subscribe() as stream:
                async for event in stream:
                    has_come = True
                    self._store.apply(event)
                    if self._store.has_news:
                        self._news.set()
        except EngineStoppedError as error:
            self._is_silent = isinstance(error, EngineSilentError)
        return has_come

    async def _show(self) -> None:
        """Send frames as there are news, until the last one is sent."""
        while True:
            await self._news.wait()
            self._news.clear()
            if self._is_held:
                continue
            is_last = self._is_over
            if self._store.has_news:
                self._on_frame(self._store.take())
            if is_last:
                return
            await self._sleep(FRAME_S)
