"""A commit that is reported as failed may be stored all the same; the engine looks, and goes on."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, cast

import pytest
from msgspec.structs import replace

from aisquad_core.api import EngineState, ItemFilter
from aisquad_core.clock import SystemClock
from aisquad_core.engine import Engine
from aisquad_core.errors import StorageError
from aisquad_core.execution.admission import Admission
from aisquad_core.execution.environment import EnvironmentStore
from aisquad_core.execution.ledger import Ledger
from aisquad_core.execution.scheduler import ConvoyState, Scheduler, Task
from aisquad_core.execution.steering import Steering
from aisquad_core.load.backpressure import StorageBackpressure
from aisquad_core.load.rate_limiter import RateLimiter
from aisquad_core.model import (
    ConvoyRecord,
    ConvoyStatus,
    ItemKey,
    Operation,
    RunUpdate,
    Try,
    WorkStatus,
)
from aisquad_core.settings import Settings
from aisquad_core.state.workstate import WorkState
from aisquad_core.testing import FakeSampler
from tests.faults.simulated.storage import Disk, Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aisquad_core.execution.executor import ConvoyExecutor


class HastyClock(SystemClock):
    """Never waits."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class Deaf:
    """An observer that does nothing."""

    def item_changed(self, task: Task, update: RunUpdate | None) -> None: ...
    def convoy_changed(self, convoy: ConvoyState) -> None: ...
    def convoy_ended(self, convoy: ConvoyState) -> None: ...


async def let_end(convoy_id: str) -> None:
    """Have nothing to do before a convoy ends."""


class Bench:
    """A ledger on a disk whose next commit can be made to fail."""

    def __init__(self, folder: Path) -> None:
        self.clock = HastyClock()
        self.disk = Disk(
            folder / "workstate.db",
            chance=random.Random(1),
            pass_point=lambda point: None,
            is_due=lambda point: False,
            committed=lambda connection: None,
            note=lambda line: None,
        )
        self.state = WorkState(
            self.disk.database, clock=self.clock, connect=self.disk.connect, pool_size=2
        )
        self.scheduler = Scheduler(RateLimiter(None), {})
        self.ledger = Ledger(
            state=self.state,
            scheduler=self.scheduler,
            environments=EnvironmentStore(folder / "runs"),
            observers=[Deaf()],
            clock=self.clock,
            before_end=let_end,
        )

    def fail_next(self, fault: Fault) -> None:
        self.disk.faults[self.disk.commits + 1] = fault

    async def admit(self, *operations: Operation) -> ConvoyState:
        now = self.clock.now()
        record = ConvoyRecord(
            id="c",
            name="c",
            status=ConvoyStatus.PENDING,
            created_at=now,
            updated_at=now,
            total=len(operations),
        )
        backpressure = StorageBackpressure(threshold=0.8, clock=self.clock)
        backpressure.watch(self.state)
        admission = Admission(
            state=self.state,
            scheduler=self.scheduler,
            ledger=self.ledger,
            backpressure=backpressure,
        )
        return await admission.admit(record, operations)

    def start(self, task: Task, token: str = "t1") -> RunUpdate:
        return RunUpdate(
            convoy_id="c",
            item_id=task.item_id,
            expected_version=task.version,
            previous=task.status,
            status=WorkStatus.IN_PROGRESS,
            token=token,
            boot_id="b",
            started_at=self.clock.now(),
        )


@asynccontextmanager
async def bench(folder: Path) -> AsyncIterator[Bench]:
    it = Bench(folder)
    async with it.state:
        yield it


@pytest.fixture(params=[*Fault])
def fault(request: pytest.FixtureRequest) -> Fault:
    return Fault(request.param)


async def test_an_outcome_in_doubt_is_stored_once(tmp_path: Path, fault: Fault) -> None:
    async with bench(tmp_path) as it:
        convoy = await it.admit(Operation(id="a", argv=("true",), retries=1))
        task = convoy.tasks["a"]
        assert await it.ledger.commit_start(task, it.start(task))
        it.fail_next(fault)
        now = it.clock.now()
        ended = Try(
            attempt=1,
            status=WorkStatus.FAILED,
            exit_code=1,
            error=None,
            started_at=now,
            finished_at=now,
            token="t1",
        )
        again = RunUpdate(
            convoy_id="c",
            item_id="a",
            expected_version=task.version,
            previous=WorkStatus.IN_PROGRESS,
            status=WorkStatus.PENDING,
            attempt=2,
            ended_try=ended,
        )
        await it.ledger.commit(task, again)
        stored = await it.state.get(ItemKey("c", "a"))
    assert (stored.status, stored.attempt, stored.version) == (WorkStatus.PENDING, 2, task.version)
    assert stored.tries == (ended,)


async def test_an_intent_in_doubt_holds_if_it_is_stored_and_can_else_be_given_again(
    tmp_path: Path, fault: Fault
) -> None:
    async with bench(tmp_path) as it:
        convoy = await it.admit(Operation(id="a", argv=("true",)))
        task = convoy.tasks["a"]
        it.fail_next(fault)
        holds = await it.ledger.commit_start(task, it.start(task, "t2"))
        assert holds == (fault is Fault.UNTOLD)
        if not holds:
            assert (await it.state.get(task.key)).status is WorkStatus.PENDING
            assert await it.ledger.commit_start(task, it.start(task, "t2"))
        stored = await it.state.get(task.key)
    assert (stored.status, stored.token, stored.version) == (
        WorkStatus.IN_PROGRESS,
        "t2",
        task.version,
    )


async def test_a_move_in_doubt_is_made_in_memory_too(tmp_path: Path, fault: Fault) -> None:
    async with bench(tmp_path) as it:
        convoy = await it.admit(*(Operation(id=name, argv=("true",)) for name in "ab"))
        it.fail_next(fault)
        await it.ledger.clear_queue(convoy, WorkStatus.CANCELLED, "convoy cancelled")
        stored = {name: await it.state.get(ItemKey("c", name)) for name in "ab"}
    for name, task in convoy.tasks.items():
        assert task.status is stored[name].status is WorkStatus.CANCELLED
        assert task.version == stored[name].version


async def test_a_launch_in_doubt_is_there_as_a_whole_or_not_at_all(
    tmp_path: Path, fault: Fault
) -> None:
    operations = [Operation(id=name, argv=("true",)) for name in "ab"]
    async with bench(tmp_path) as it:
        it.disk.faults[it.disk.commits + 3] = fault  # the publication, after number and items
        try:
            await it.admit(*operations)
            is_acknowledged = True
        except StorageError:
            is_acknowledged = False
        counts = await it.state.reader.counts("c") if is_acknowledged else None
        convoys = await it.state.reader.convoys()
        again = [] if is_acknowledged else (await it.admit(*operations)).tasks
    assert is_acknowledged is (fault is Fault.UNTOLD)
    assert [record.id for record in convoys] == (["c"] if is_acknowledged else [])
    assert is_acknowledged or len(again) == 2
    assert counts is None or counts.total == 2


class FullWhile(dict[int, Fault]):
    """Lets every commit fail while the disk is full."""

    is_full = False

    def pop(self, number: int, default: object = None) -> Fault | None:  # type: ignore[override]
        return Fault.FULL if self.is_full else None


@pytest.mark.timeout(60)
async def test_an_engine_whose_next_start_waits_for_room_on_the_disk_can_be_stopped(
    tmp_path: Path,
) -> None:
    disk = Bench(tmp_path).disk
    disk.faults = faults = FullWhile()
    settings = Settings(workstate_db=disk.database, enable_metrics=False, tick_s=0.1)

    def engine() -> Engine:
        state = WorkState(disk.database, clock=SystemClock(), connect=disk.connect)
        return Engine(settings, sampler=FakeSampler(), state=state)

    async with asyncio.timeout(45):
        async with engine() as first:
            line = ("/bin/sh", "-c", "exec sleep 60")
            convoy_id = await first.launch_operations(
                "work", [Operation(id="a", argv=line)], {}, env={"PATH": "/bin"}, cwd="/"
            )
        async with engine() as second, second.subscribe() as news:
            faults.is_full = True
            await second.resume(convoy_id)
            async for each in news:
                if isinstance(each, EngineState) and "full" in (each.engine.trouble or ""):
                    break
            await second.stop()
            faults.is_full = False
        async with engine() as third:
            (left,) = (await third.items(ItemFilter())).items
    assert left.status is WorkStatus.PENDING


async def test_what_is_left_of_a_launch_keeps_no_engine_from_a_full_disk(tmp_path: Path) -> None:
    disk = Bench(tmp_path).disk
    disk.faults = faults = FullWhile()
    settings = Settings(workstate_db=disk.database, enable_metrics=False, tick_s=0.1)

    def engine() -> Engine:
        state = WorkState(disk.database, clock=SystemClock(), connect=disk.connect)
        return Engine(settings, sampler=FakeSampler(), state=state)

    def left() -> int:
        with closing(sqlite3.connect(disk.database)) as database:
            [(count,)] = database.execute("SELECT count(*) FROM work_items").fetchall()
        return int(count)

    async with asyncio.timeout(15):
        async with engine() as first:
            await first.launch_operations(
                "work", [Operation(id="a", argv=("true",))], {}, env={}, cwd="/"
            )
            await first.stop()
        with closing(sqlite3.connect(disk.database)) as database:
            database.execute("UPDATE launches SET is_complete = 0")
            database.execute("DELETE FROM convoys")
            database.commit()
        faults.is_full = True
        async with engine() as second:
            assert (await second.items(ItemFilter())).items == ()
            faults.is_full = False
        assert left() == 1
        async with engine():
            pass
        assert left() == 0


async def test_a_pause_comes_too_late_while_the_end_of_its_convoy_waits_for_storage(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as it:
        convoy = await it.admit(Operation(id="a", argv=("true",)))
        task = convoy.tasks["a"]
        assert await it.ledger.commit_start(task, it.start(task))
        await it.ledger.commit(task, replace(it.start(task), status=WorkStatus.COMPLETED))
        steering = Steering(
            ledger=it.ledger,
            scheduler=it.scheduler,
            executor=cast("ConvoyExecutor", None),  # nothing runs that could be stopped
            clock=it.clock,
        )
        it.fail_next(Fault.FULL)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(it.ledger.finish_if_done(convoy))
            tasks.create_task(steering.pause(convoy))
        stored = await it.state.reader.convoy("c")
    assert stored.status is ConvoyStatus.COMPLETED


async def test_what_is_retried_before_its_end_has_effects_dooms_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        needed, needs = Operation(id="a", argv=("true",)), Operation(id="b", needs=("a",))
        convoy = await it.admit(needed, needs)
        task = convoy.tasks["a"]
        await it.ledger.move([task], WorkStatus.CANCELLED, "cancelled by hand")
        async with asyncio.TaskGroup() as tasks, it.ledger.convoy_ends:
            tasks.create_task(it.ledger.follow_up(task))
            again = RunUpdate(
                convoy_id="c",
                item_id="a",
                expected_version=task.version,
                previous=WorkStatus.CANCELLED,
                status=WorkStatus.PENDING,
                attempt=2,
            )
            await it.ledger.commit(task, again)
        stored = await it.state.get(ItemKey("c", "b"))
    assert stored.status is WorkStatus.BLOCKED


async def test_a_start_that_others_changed_keeps_their_change(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        convoy = await it.admit(Operation(id="a", argv=("true",)))
        task = convoy.tasks["a"]
        item = await it.state.update(replace(await it.state.get(task.key), reason="by hand"))
        assert not await it.ledger.commit_start(task, it.start(task))
        stored = await it.state.get(task.key)
    assert (task.version, stored.reason) == (item.version, "by hand")
