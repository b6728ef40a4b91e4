"""Reads the past from the engine while it is in view, at the pace at which there is more of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aisquad_core.errors import AISquadError, EngineStoppedError
from aisquad_core.sanitise import one_line
from aisquad_tui.views.timeline import Past

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisquad_core.api import EngineAPI
    from aisquad_core.clock import Clock

_LEAST_PAUSE_S = 5.0
_MOST_PAUSE_S = 300.0
"""Longest pause between two readings: a stretch of a month's picture is hours, a resize is news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is wanted of the past."""

    period_s: float
    """How far to look back, in seconds."""
    convoy_id: str | None
    """Whose operations; None: those of all convoys."""
    points: int
    """Into how many stretches the time is to be divided."""

    @property
    def pause_s(self) -> float:
        """Seconds after which it is worth asking again."""
        return min(_MOST_PAUSE_S, max(_LEAST_PAUSE_S, self.period_s / self.points))


class PastReader:
    """Keeps an answer to the newest question, and asks again by itself.

    Args:
        engine: Who is asked.
        clock: Time.
        on_news: Called on this loop when there is another answer, or an error.
    """

    def __init__(self, engine: EngineAPI, clock: Clock, on_news: Callable[[], None]) -> None:
        self._engine = engine
        self._clock = clock
        self._on_news = on_news
        self._question: Question | None = None
        self._answered: Question | None = None
        self._is_held = False
        self._in_view = asyncio.Event()
        self._asked = asyncio.Event()
        self.past: Past | None = None
        """The last answer; None before the first."""
        self.error = ""
        """Why the last question has no answer, in words; empty when it has, or the engine is away.
        """

    @property
    def is_current(self) -> bool:
        """Whether the answer is one to the newest question, whatever its points."""
        asked, answered = self._question, self._answered
        return (
            asked is not None
            and answered is not None
            and (asked.period_s, asked.convoy_id) == (answered.period_s, answered.convoy_id)
        )

    def ask(self, question: Question) -> None:
        """Read this from now on, at once if it is another question than before."""
        if question != self._question:
            self._question = question
            self._asked.set()

    def ask_again(self) -> None:
        """Read soon, though nothing else is wanted: the engine is there again."""
        self._asked.set()

    def hold(self, is_held: bool) -> None:
        """Read nothing while held but what is asked anew; when let go, go on reading at once."""
        self._is_held = is_held
        self._asked.set()

    def show(self, is_in_view: bool) -> None:
        """Read only while somebody sees it."""
        if is_in_view:
            self._in_view.set()
        else:
            self._in_view.clear()

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self._in_view.wait()
            question = self._question
            self._asked.clear()
            if question is None or (self._is_held and self.is_current):
                await self._asked.wait()
                continue
            await self._read(question)
            await self._rest(_LEAST_PAUSE_S if self._is_empty else question.pause_s)

    @property
    def _is_empty(self) -> bool:
        """Whether recording has only just begun, so that what comes first is awaited."""
        history = None if self.past is None else self.past.history
        return history is not None and history.is_recorded and not history.load

    async def _read(self, question: Question) -> None:
        try:
            history = await self._engine.history(
                period_s=question.period_s, points=question.points, convoy_id=question.convoy_id
            )
        except EngineStoppedError:
            self.error = ""  # the first line says since when
        except AISquadError as error:
            self.error = one_line(str(error))
        else:
            self.error = ""
            if question == self._question:
                self.past, self._answered = Past(history, question.points), question
        self._on_news()

    async def _rest(self, pause_s: float) -> None:
        """Wait until it is worth reading again, or something else is asked."""
        async with asyncio.TaskGroup() as tasks:
            waits = (
                tasks.create_task(self._clock.sleep(pause_s)),
                tasks.create_task(self._asked.wait()),
            )
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for each in waits:
                each.cancel()
