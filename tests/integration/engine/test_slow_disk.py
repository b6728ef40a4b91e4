"""A disk that does not keep up: many callers, one bound, and nothing accepted is lost."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import pytest
from msgspec.structs import replace

from aisquad_core import assembly
from aisquad_core.api import ItemFilter
from aisquad_core.clock import SystemClock
from aisquad_core.engine import Engine
from aisquad_core.errors import BackpressureError
from aisquad_core.load.backpressure import StorageBackpressure
from aisquad_core.model import ConvoyStatus, ItemKey, Operation, WorkItem, WorkStatus
from aisquad_core.settings import Settings
from aisquad_core.state.connection import ThreadConnection
from aisquad_core.state.workstate import WorkState
from aisquad_core.testing import FakeSampler

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from aisquad_core.api import EngineView

T = TypeVar("T")
BOUND_S = 15


class SlowDisk:
    """Lets the writer's transactions through one by one, or all of them."""

    def __init__(self) -> None:
        self.is_stuck = False
        self.commits = 0
        self._turn = asyncio.Condition()
        self._allowed = 0

    async def take_turn(self) -> None:
        async with self._turn:
            await self._turn.wait_for(lambda: not self.is_stuck or self._allowed > 0)
            self._allowed -= self.is_stuck
            self.commits += 1
            self._turn.notify_all()

    async def until(self, commits: int) -> None:
        """Return when there were so many transactions."""
        async with self._turn:
            await self._turn.wait_for(lambda: self.commits >= commits)

    async def allow(self, commits: int) -> None:
        """Let so many more transactions through."""
        async with self._turn:
            self._allowed += commits
            self._turn.notify_all()

    async def recover(self) -> None:
        """Be slow no longer."""
        async with self._turn:
            self.is_stuck = False
            self._turn.notify_all()

    def connect(
        self, uri: str, *, prepare: Callable[[sqlite3.Connection], None]
    ) -> ThreadConnection:
        """Make a connection each of whose transactions waits for its turn."""
        return _SlowConnection(uri, prepare=prepare, take_turn=self.take_turn)


class _SlowConnection(ThreadConnection):
    def __init__(
        self,
        uri: str,
        *,
        prepare: Callable[[sqlite3.Connection], None],
        take_turn: Callable[[], Awaitable[None]],
    ) -> None:
        self._take_turn = take_turn
        super().__init__(uri, prepare=prepare)

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        await self._take_turn()
        return await super().run(function)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    disk = SlowDisk()
    monkeypatch.setattr(assembly, "WorkState", partial(WorkState, connect=disk.connect))
    return disk


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def until(engine: Engine, is_so: Callable[[EngineView], bool]) -> EngineView:
    """Return the engine's view as soon as it is so; what is waited for makes no event."""
    while True:
        view = (await engine.snapshot()).engine
        if is_so(view):
            return view
        await asyncio.sleep(0)


async def test_many_callers_never_pass_the_bound_and_all_are_written(
    disk: SlowDisk, tmp_path: Path
) -> None:
    clock = SystemClock()
    queue = StorageBackpressure(100)
    peak = 0
    async with (
        asyncio.timeout(BOUND_S),
        WorkState(tmp_path / "workstate.db", clock=clock, connect=disk.connect) as state,
    ):
        now = clock.now()
        items = [
            WorkItem(
                id=f"op-{number}",
                status=WorkStatus.PENDING,
                agent_id="shell",
                convoy_id="many",
                version=1,
                created_at=now,
                updated_at=now,
            )
            for number in range(1_000)
        ]
        for item in items[:64]:
            await state.create(item)
        disk.is_stuck = True

        async def change(number: int) -> None:
            nonlocal peak
            item = items[number % 64]
            async with queue.acquire():
                peak = max(peak, state.backlog)
                if number < 64:
                    await state.update(replace(item, reason="written"))
                else:
                    await state.create(items[number])

        async with asyncio.TaskGroup() as tasks:
            for number in range(len(items)):
                tasks.create_task(change(number))
            await settle()
            assert (queue.pending, queue.get_stats()["waiting"]) == (100, 900)
            before = disk.commits
            await disk.allow(3)
            await disk.until(before + 3)
            assert queue.pending <= 100
            await disk.recover()
        assert peak <= 100
        assert queue.get_stats()["admitted"] == len(items)
        for number, item in enumerate(items):
            stored = await state.get(ItemKey("many", item.id))
            assert stored.version == (2 if number < 64 else 1)


async def test_launches_wait_or_are_refused_and_nothing_accepted_is_lost(
    disk: SlowDisk, tmp_path: Path
) -> None:
    crew = 900
    settings = Settings(
        workstate_db=tmp_path / "state" / "workstate.db",
        baseline_parallelism=crew,
        max_parallelism=crew,
        tick_s=3_600.0,
    )
    at_work = asyncio.Semaphore(0)
    home_time = asyncio.Event()

    async def work() -> None:
        at_work.release()
        await home_time.wait()

    async def launch(engine: Engine, name: str, count: int, *, is_patient: bool = False) -> str:
        operations = [Operation(id=f"op-{number}") for number in range(count)]
        return await engine.launch_operations(
            name,
            operations,
            {operation.id: work for operation in operations},
            env={},
            cwd=str(tmp_path),
            is_patient=is_patient,
        )

    async with asyncio.timeout(BOUND_S), Engine(settings, sampler=FakeSampler()) as engine:
        crowd = await launch(engine, "crowd", crew)
        for _ in range(crew):
            await at_work.acquire()
        disk.is_stuck = True
        home_time.set()
        await until(engine, lambda view: view.writes_pending >= crew - 1)
        with pytest.raises(BackpressureError) as refused:
            await launch(engine, "hasty", 1)
        assert refused.value.pending >= crew - 1
        assert refused.value.retry_after_s > 0
        async with asyncio.TaskGroup() as tasks:
            patient = tasks.create_task(launch(engine, "patient", 1, is_patient=True))
            view = await until(engine, lambda view: view.launches_waiting == 1)
            assert (view.is_crowded, view.launches_refused) == (True, 1)
            assert not patient.done()
            await disk.recover()
        ended = await engine.wait([crowd, patient.result()])
        assert [convoy.status for convoy in ended] == [ConvoyStatus.COMPLETED] * 2
        snapshot = await engine.snapshot()
        assert (snapshot.engine.writes_pending, snapshot.engine.is_crowded) == (0, False)
        done = await engine.items(ItemFilter(statuses=(WorkStatus.COMPLETED,)))
        assert (done.total, len(snapshot.convoys)) == (crew + 1, 2)
