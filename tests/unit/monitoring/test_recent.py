from __future__ import annotations

import asyncio

import pytest

from aisquad_core.monitoring.recent import MAX_AGE_S, Recent
from aisquad_core.testing import FakeClock


async def test_viewers_within_a_second_share_an_answer_to_the_same_question() -> None:
    clock, asked = FakeClock(), list[str]()
    recent = Recent(clock)

    async def ask(question: str) -> int:
        async def answer() -> int:
            asked.append(question)
            await asyncio.sleep(0)
            return len(asked)

        return await recent.get(question, answer)

    shared = await asyncio.gather(ask("hour"), ask("hour"), ask("day"))
    assert list(shared) == [1, 1, 2]
    await clock.advance(MAX_AGE_S)
    assert await ask("hour") == 3
    assert asked == ["hour", "day", "hour"]


async def test_a_failure_is_not_kept() -> None:
    recent = Recent(FakeClock())

    async def fail() -> int:
        raise OSError("locked")

    async def answer() -> int:
        return 7

    with pytest.raises(OSError, match="locked"):
        await recent.get("hour", fail)
    assert await recent.get("hour", answer) == 7


async def test_many_questions_are_not_kept_for_ever() -> None:
    recent = Recent(FakeClock())

    async def answer() -> int:
        return 7

    for minutes in range(1_000):
        await recent.get(minutes, answer)
    assert len(recent._answers) < 100
