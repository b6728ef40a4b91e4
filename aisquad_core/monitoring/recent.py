"""Answers that viewers share: what one was told within the last second, the others are, too."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from aisquad_core.clock import Clock

T = TypeVar("T")

MAX_AGE_S = 1.0
"""For how long an answer is given again; the metrics change once a second."""
_KEPT = 32


class Recent:
    """Keeps the latest answers for a second; asks once however many want to know at once.

    Args:
        clock: Time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._answers: dict[Hashable, tuple[float, Any]] = {}
        """Each question to when it was asked (monotonic) and its answer."""
        self._asking = asyncio.Lock()

    async def get(self, question: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """Return the answer to a question, from `ask` if there is none from within the second.

        Raises:
            Exception: Whatever `ask` raises; nothing is kept of it.
        """
        async with self._asking:
            now_s = self._clock.monotonic()
            asked_s, answer = self._answers.get(question, (float("-inf"), None))
            if now_s - asked_s < MAX_AGE_S:
                kept: T = answer
                return kept
            answer = await ask()
            if len(self._answers) >= _KEPT:
                self._answers.clear()
            self._answers[question] = now_s, answer
            return answer
