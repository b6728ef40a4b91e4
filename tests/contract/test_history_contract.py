"""What every EngineAPI says of the past, and what the real engine records of it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from aisquad_core.errors import InputError
from aisquad_core.model import ConvoyStatus, ItemKey, WorkStatus
from tests.contract.conftest import WORLDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.contract.conftest import World


async def test_a_history_covers_the_period_that_was_asked_for(world: World) -> None:
    past = await world.api.history(period_s=600.0, points=10)
    assert past.end - past.start == timedelta(seconds=600)


@pytest.mark.parametrize(("period_s", "points"), [(0.0, 1), (-1.0, 1), (60.0, 0), (60.0, 2_001)])
async def test_a_history_of_nothing_or_too_much_is_refused(
    world: World, period_s: float, points: int
) -> None:
    with pytest.raises(InputError, match=r"^(period|points) "):
        await world.api.history(period_s=period_s, points=points)


REAL = [
    "real",
    pytest.param("embedded real", marks=pytest.mark.slow),
    pytest.param("socket real", marks=pytest.mark.slow),
]


@pytest.fixture(params=REAL)
async def recording(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with WORLDS[request.param](tmp_path) as made:
        yield made


async def test_a_convoy_that_ended_is_in_the_history(recording: World) -> None:
    convoy_id = await recording.launch({"id": "good", "run": "true"}, {"id": "bad", "run": "false"})
    await recording.ended(convoy_id)
    past = await recording.api.history(period_s=3_600.0, points=1)
    assert past.is_recorded
    assert [(each.completed, each.failed) for each in past.throughput] == [(1, 1)]
    assert sum(each.count for each in past.durations) == 2
    assert past.mean_s == pytest.approx(sum(each.duration_s for each in past.slowest) / 2)
    assert {(each.key, each.status) for each in past.slowest} == {
        (ItemKey(convoy_id, "good"), WorkStatus.COMPLETED),
        (ItemKey(convoy_id, "bad"), WorkStatus.FAILED),
    }
    assert [(each.agent_id, each.completed, each.failed) for each in past.agents] == [
        ("shell", 1, 1)
    ]


async def test_the_load_is_in_the_history(recording: World) -> None:
    await recording.ended(await recording.launch({"id": "only", "run": "true"}))
    past = await recording.api.history(period_s=3_600.0, points=1)
    assert [(each.cpu_percent, each.parallelism) for each in past.load] == [(100.0, 5.0)]


async def test_a_history_of_one_convoy_leaves_out_the_others(recording: World) -> None:
    first = await recording.launch({"id": "first", "run": "true"})
    second = await recording.launch({"id": "second", "run": "true"})
    for convoy_id in (first, second):
        await recording.ended(convoy_id)
    past = await recording.api.history(convoy_id=second)
    assert [each.key for each in past.slowest] == [ItemKey(second, "second")]
    assert sum(each.completed for each in past.throughput) == 1
    assert sum(each.count for each in past.durations) == 1


async def test_a_resize_is_in_the_history_with_its_reason(recording: World) -> None:
    size = await recording.api.set_parallelism(7)
    (resize,) = (await recording.api.history()).resizes
    assert (resize.previous, resize.parallelism, resize.auto) == (5, size, False)
    assert resize.reason == (await recording.api.snapshot()).engine.reason


async def test_the_next_engine_knows_the_past(tmp_path: Path) -> None:
    async with WORLDS["real"](tmp_path) as earlier:
        convoy_id = await earlier.launch({"id": "only", "run": "true"})
        view = await earlier.ended(convoy_id)
    assert view.status is ConvoyStatus.COMPLETED
    async with WORLDS["real"](tmp_path) as later:
        past = await later.api.history(convoy_id=convoy_id)
    assert [each.key for each in past.slowest] == [ItemKey(convoy_id, "only")]
