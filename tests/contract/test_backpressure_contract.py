"""Launches while too many writes wait for the disk: refused with words, or waiting in order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from aisquad_core.api import ItemFilter
from aisquad_core.errors import BackpressureError, EngineStoppedError
from aisquad_core.model import ConvoyStatus

if TYPE_CHECKING:
    from tests.contract.conftest import World

TRUE: dict[str, object] = {"id": "a", "run": "true"}


async def until_waiting(world: World, launches: int) -> None:
    """Return when so many launches are seen to wait for room."""
    async with asyncio.timeout(10):
        while True:
            engine = (await world.api.snapshot()).engine
            if engine.launches_waiting == launches:
                return
            await asyncio.sleep(0)  # an embedded or far engine has a loop of its own


async def test_over_the_threshold_a_launch_is_refused_and_leaves_nothing(world: World) -> None:
    await world.set_backlog(900)
    with pytest.raises(BackpressureError) as raised:
        await world.launch(TRUE)
    error = raised.value
    assert (error.pending, error.capacity) == (900, 1_000)
    assert 0.1 <= error.retry_after_s <= 60
    assert str(error).startswith("900 of 1,000 writes wait for the disk")
    assert str(error).endswith(f"; try again in {error.retry_after_s:.1f} s")
    snapshot = await world.api.snapshot()
    assert (snapshot.convoys, snapshot.engine.launches_refused) == ((), 1)
    assert (await world.api.items(ItemFilter())).total == 0


async def test_the_engine_tells_how_full_the_queue_of_writes_is(world: World) -> None:
    await world.set_backlog(810)
    crowded = (await world.api.snapshot()).engine
    assert (crowded.writes_pending, crowded.writes_capacity) == (810, 1_000)
    assert (crowded.writes_utilization, crowded.writes_threshold) == (0.81, 0.8)
    assert crowded.is_crowded
    await world.set_backlog(800)
    assert not (await world.api.snapshot()).engine.is_crowded


async def test_who_is_patient_waits_and_is_then_launched(world: World) -> None:
    await world.set_backlog(900)
    async with asyncio.TaskGroup() as tasks:
        launching = [tasks.create_task(world.launch(TRUE, is_patient=True)) for _ in range(2)]
        await until_waiting(world, 2)
        assert (await world.api.snapshot()).convoys == ()
        await world.set_backlog(0)
    for launched in launching:
        view = await world.ended(launched.result())
        assert view.status is ConvoyStatus.COMPLETED
    assert (await world.api.snapshot()).engine.launches_refused == 0


async def test_a_patient_launch_that_is_cancelled_is_forgotten(world: World) -> None:
    await world.set_backlog(900)
    async with asyncio.TaskGroup() as tasks:
        launching = tasks.create_task(world.launch(TRUE, is_patient=True))
        await until_waiting(world, 1)
        launching.cancel()
    await until_waiting(world, 0)
    await world.set_backlog(0)
    await world.ended(await world.launch(TRUE))
    assert len((await world.api.snapshot()).convoys) == 1


async def test_a_stopping_engine_sends_those_away_who_wait_for_room(world: World) -> None:
    await world.set_backlog(900)

    async def launch() -> None:
        with pytest.raises(EngineStoppedError):
            await world.launch(TRUE, is_patient=True)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(launch())
        await until_waiting(world, 1)
        await world.during(world.api.stop())


async def test_what_runs_already_is_settled_whatever_waits(world: World) -> None:
    convoy = await world.launch(
        {"id": "a", "run": "sleep 0.3"}, {**TRUE, "id": "b", "needs": ["a"]}
    )
    await world.set_backlog(2_000)
    assert (await world.ended(convoy)).status is ConvoyStatus.COMPLETED
