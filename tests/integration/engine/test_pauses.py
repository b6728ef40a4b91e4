"""A pause holds, whatever is on its way when it comes; real processes."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from aisquad_core.clock import SystemClock
from aisquad_core.engine import Engine
from aisquad_core.model import ConvoyStatus, ItemKey, Operation
from aisquad_core.state.workstate import WorkState
from aisquad_core.testing import FakeSampler

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from aisquad_core.model import ConvoyRecord, RunUpdate, WorkItem
    from aisquad_core.settings import Settings

ENOUGH_S = 45
pytestmark = pytest.mark.timeout(60)
ENV = {"PATH": os.defpath}


class LateNews(WorkState):
    """Tells that the first change of a run is committed only when it is told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, clock=SystemClock())
        self._has_begun = False
        self.is_there = asyncio.Event()
        """Set when it is committed."""
        self.news: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def run_update(self, update: RunUpdate) -> asyncio.Future[int]:
        committed = super().run_update(update)
        if self._has_begun:
            return committed
        self._has_begun = True
        committed.add_done_callback(lambda _: self.is_there.set())
        return self.news


async def test_a_pause_while_the_first_operation_starts_holds(
    settings: Settings, tmp_path: Path
) -> None:
    state = LateNews(settings.workstate_db)
    async with (
        asyncio.timeout(ENOUGH_S),
        Engine(settings, sampler=FakeSampler(), state=state) as engine,
    ):
        first = Operation(id="first", argv=("/bin/sleep", "5"))
        convoy_id = await engine.launch_operations("work", [first], {}, env=ENV, cwd=str(tmp_path))
        await state.is_there.wait()
        await engine.pause(convoy_id)
        state.news.set_result(2)
        async with engine.subscribe() as changes:
            async for _ in changes:
                record = await state.reader.convoy(convoy_id)
                if record.started_at is not None:
                    break
        assert record.status is ConvoyStatus.PAUSED


class LateLaunch(WorkState):
    """Tells that a convoy is committed only when it is told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, clock=SystemClock())
        self.committed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """The convoy's id."""
        self.go = asyncio.Event()

    async def create_convoy(self, record: ConvoyRecord, items: Iterable[WorkItem]) -> None:
        await super().create_convoy(record, items)
        self.committed.set_result(record.id)
        await self.go.wait()


@pytest.mark.parametrize("deed", ["pause", "cancel", "cancel the item"])
async def test_what_is_asked_of_a_convoy_that_is_just_being_launched_holds(
    settings: Settings, tmp_path: Path, deed: str
) -> None:
    """It can be read already, but the engine does not have it yet."""
    state = LateLaunch(settings.workstate_db)
    first = Operation(id="first", argv=("/bin/sleep", "5"))
    async with (
        asyncio.timeout(ENOUGH_S),
        Engine(settings, sampler=FakeSampler(), state=state) as engine,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(engine.launch_operations("work", [first], {}, env=ENV, cwd=str(tmp_path)))
        convoy_id = await state.committed
        match deed:
            case "pause":
                asked: asyncio.Task[object] = tasks.create_task(engine.pause(convoy_id))
            case "cancel":
                asked = tasks.create_task(engine.cancel(convoy_id))
            case _:
                asked = tasks.create_task(engine.cancel([ItemKey(convoy_id, "first")]))
        for _ in range(5):
            await asyncio.sleep(0.01)
        state.go.set()
        await asked
        record = await state.reader.convoy(convoy_id)
    wanted = ConvoyStatus.PAUSED if deed == "pause" else ConvoyStatus.CANCELLED
    assert record.status is wanted
