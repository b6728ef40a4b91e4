"""What a retry puts back, in which order, and what waits for it; real processes."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aisquad_core.api import ItemFilter
from aisquad_core.clock import SystemClock
from aisquad_core.engine import Engine
from aisquad_core.errors import EngineStoppedError
from aisquad_core.model import (
    ConvoyRecord,
    ConvoyStatus,
    ItemKey,
    Operation,
    RunUpdate,
    WorkStatus,
)
from aisquad_core.state.workstate import WorkState
from aisquad_core.testing import FakeSampler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from aisquad_core.api import ItemView
    from aisquad_core.settings import Settings

ENOUGH_S = 45
pytestmark = pytest.mark.timeout(60)
ENV = {"PATH": os.defpath}
WAIT_FOR_GO = "until [ -e go-$AISQUAD_ATTEMPT ]; do sleep 0.02; done"


class Diary(WorkState):
    """Notes what was committed of convoys and runs, in order."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, clock=SystemClock())
        self.committed: list[str] = []
        self.held_up: tuple[str, ConvoyStatus | WorkStatus] | None = None
        """The convoy whose change, or move of items, to this status waits until `go`."""
        self.is_there = asyncio.Event()
        """Set when it waits."""
        self.go = asyncio.Event()
        self.untold: str | None = None
        """The item whose changes are committed, and nobody is told."""
        self._news = asyncio.Event()

    async def _pass(self, convoy_id: str, status: ConvoyStatus | WorkStatus) -> None:
        if self.held_up == (convoy_id, status):
            self.is_there.set()
            await self.go.wait()

    def run_update(self, update: RunUpdate) -> asyncio.Future[int]:
        future = super().run_update(update)
        future.add_done_callback(lambda _: self._note(f"{update.item_id} {update.status}"))
        return future if self.untold != update.item_id else asyncio.Future()

    def _note(self, what: str) -> None:
        self.committed.append(what)
        self._news.set()

    async def until(self, what: str) -> None:
        """Return when it has been committed."""
        while what not in self.committed:
            self._news.clear()
            await self._news.wait()

    async def update_convoy(self, record: ConvoyRecord) -> None:
        await self._pass(record.id, record.status)
        await super().update_convoy(record)
        self._note(f"convoy {record.status}")

    async def transition(
        self,
        convoy_id: str,
        versions: Sequence[tuple[str, int]],
        *,
        status: WorkStatus,
        reason: str | None,
        finished_at: datetime | None = None,
    ) -> list[str]:
        await self._pass(convoy_id, status)
        stale = await super().transition(
            convoy_id, versions, status=status, reason=reason, finished_at=finished_at
        )
        self.committed += [f"{item_id} {status}" for item_id, _ in versions]
        return stale


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[tuple[Engine, Diary]]:
    diary = Diary(settings.workstate_db)
    async with (
        asyncio.timeout(ENOUGH_S),
        Engine(settings, sampler=FakeSampler(), state=diary) as engine,
    ):
        yield engine, diary


async def launch(engine: Engine, folder: Path, **lines: str) -> str:
    """Launch operations, each of which needs the one before."""
    operations: list[Operation] = []
    for name, line in lines.items():
        needs = (operations[-1].id,) if operations else ()
        operations.append(Operation(id=name, argv=("/bin/sh", "-c", line), needs=needs))
    return await engine.launch_operations("work", operations, {}, env=ENV, cwd=str(folder))


async def items(engine: Engine, convoy_id: str) -> dict[str, ItemView]:
    page = await engine.items(ItemFilter(convoy_ids=(convoy_id,)))
    return {item.id: item for item in page.items}


async def until(
    engine: Engine, convoy_id: str, is_so: Callable[[dict[str, ItemView]], bool]
) -> None:
    async with engine.subscribe() as changes:
        async for _ in changes:
            if is_so(await items(engine, convoy_id)):
                return


def is_in_order(ended: dict[str, ItemView]) -> bool:
    finished_at, started_at = ended["a"].finished_at, ended["b"].started_at
    return finished_at is not None and started_at is not None and finished_at <= started_at


async def test_a_convoy_is_open_again_before_anything_is_put_back(
    settings: Settings, tmp_path: Path
) -> None:
    async with running(settings) as (engine, diary):
        convoy_id = await launch(engine, tmp_path, a="exit 1")
        await engine.wait([convoy_id])
        diary.committed.clear()
        await engine.retry([ItemKey(convoy_id, "a")], env=ENV)
        assert diary.committed[:2] == ["convoy running", "a pending"]


async def test_what_is_retried_together_runs_in_the_order_of_its_needs(
    settings: Settings, tmp_path: Path
) -> None:
    again = '[ "$AISQUAD_ATTEMPT" = 1 ]'
    async with running(settings) as (engine, _):
        convoy_id = await launch(engine, tmp_path, a=f"{again} || sleep 0.3", b=f"! {again}")
        await engine.wait([convoy_id])
        await engine.retry([ItemKey(convoy_id, name) for name in "ab"], env=ENV)
        await engine.wait([convoy_id])
        ended = await items(engine, convoy_id)
    assert [(item.status, item.attempt) for item in ended.values()] == [
        (WorkStatus.COMPLETED, 2),
        (WorkStatus.COMPLETED, 2),
    ]
    assert is_in_order(ended)


async def check_that_b_waits_for_a(engine: Engine, convoy_id: str, folder: Path) -> None:
    """Check it while `a`, which was retried, waits for `go-2`, and that they ran in order."""
    waiting = (await items(engine, convoy_id))["b"]
    (folder / "go-2").touch()
    await engine.wait([convoy_id])
    assert (waiting.status, waiting.reason) == (WorkStatus.BLOCKED, "needs a")
    assert is_in_order(await items(engine, convoy_id))


async def test_what_was_queued_waits_for_a_need_that_is_retried(
    settings: Settings, tmp_path: Path
) -> None:
    async with running(settings) as (engine, _):
        convoy_id = await launch(engine, tmp_path, a=WAIT_FOR_GO, b="true")
        await until(engine, convoy_id, lambda all_: all_["a"].status is WorkStatus.IN_PROGRESS)
        await engine.pause(convoy_id)
        (tmp_path / "go-1").touch()
        await until(engine, convoy_id, lambda all_: all_["b"].status is WorkStatus.PENDING)
        await engine.retry([ItemKey(convoy_id, "a")], env=ENV)
        await check_that_b_waits_for_a(engine, convoy_id, tmp_path)


async def dispatch_another(engine: Engine, folder: Path) -> None:
    """Let something start, beside which all that may start does."""
    convoy_id = await launch(engine, folder, c="true")
    await until(engine, convoy_id, lambda all_: all_["c"].status is WorkStatus.COMPLETED)


async def test_no_pause_ends_before_what_was_queued_waits_for_a_retried_need(
    settings: Settings,
    tmp_path: Path,
) -> None:
    async with running(settings) as (engine, diary), asyncio.TaskGroup() as tasks:
        convoy_id = await launch(engine, tmp_path, a=WAIT_FOR_GO, b="true")
        await until(engine, convoy_id, lambda all_: all_["a"].status is WorkStatus.IN_PROGRESS)
        await engine.pause(convoy_id)
        (tmp_path / "go-1").touch()
        await until(engine, convoy_id, lambda all_: all_["b"].status is WorkStatus.PENDING)
        diary.held_up = (convoy_id, ConvoyStatus.RUNNING)
        diary.committed.clear()
        retrying = tasks.create_task(engine.retry([ItemKey(convoy_id, "a")], env=ENV))
        await diary.is_there.wait()
        await dispatch_another(engine, tmp_path)
        waiting, committed = (await items(engine, convoy_id))["b"], [*diary.committed]
        diary.go.set()
        await retrying
        (tmp_path / "go-2").touch()
        await engine.wait([convoy_id])
        ended = await items(engine, convoy_id)
    assert committed.index("b blocked") < committed.index("a pending")
    assert (waiting.status, waiting.reason) == (WorkStatus.BLOCKED, "needs a")
    assert is_in_order(ended)


async def test_what_is_just_being_queued_waits_for_a_need_that_is_retried(
    settings: Settings, tmp_path: Path
) -> None:
    async with running(settings) as (engine, diary), asyncio.TaskGroup() as tasks:
        convoy_id = await launch(engine, tmp_path, a=WAIT_FOR_GO, b="true")
        await until(engine, convoy_id, lambda all_: all_["a"].status is WorkStatus.IN_PROGRESS)
        await engine.pause(convoy_id)
        diary.held_up = (convoy_id, WorkStatus.PENDING)
        (tmp_path / "go-1").touch()
        await diary.is_there.wait()
        retrying = tasks.create_task(engine.retry([ItemKey(convoy_id, "a")], env=ENV))
        await dispatch_another(engine, tmp_path)
        diary.go.set()
        await retrying
        await dispatch_another(engine, tmp_path)
        await check_that_b_waits_for_a(engine, convoy_id, tmp_path)


@pytest.mark.parametrize("a_fails", [False, True])
async def test_what_fails_while_its_need_is_retried_waits_for_that_before_it_is_tried_again(
    settings: Settings, tmp_path: Path, a_fails: bool
) -> None:
    def shell(line: str) -> tuple[str, ...]:
        return ("/bin/sh", "-c", f'[ "$AISQUAD_ATTEMPT" = {line}')

    last = "exit 1" if a_fails else "true"
    operations = [
        Operation(id="a", argv=shell(f"1 ] || {{ {WAIT_FOR_GO}; {last}; }}")),
        Operation(
            id="b",
            argv=shell(f"2 ] || {{ {WAIT_FOR_GO}; exit 1; }}"),
            needs=("a",),
            retries=1,
            retry_delay_s=0.01,
        ),
    ]
    async with running(settings) as (engine, _):
        convoy_id = await engine.launch_operations(
            "work", operations, {}, env=ENV, cwd=str(tmp_path)
        )
        await until(engine, convoy_id, lambda all_: all_["b"].status is WorkStatus.IN_PROGRESS)
        await engine.retry([ItemKey(convoy_id, "a")], env=ENV)
        await until(engine, convoy_id, lambda all_: all_["a"].status is WorkStatus.IN_PROGRESS)
        (tmp_path / "go-1").touch()
        await until(engine, convoy_id, lambda all_: all_["b"].status is WorkStatus.BLOCKED)
        waiting = (await items(engine, convoy_id))["b"]
        (tmp_path / "go-2").touch()
        await engine.wait([convoy_id])
        ended = await items(engine, convoy_id)
    assert (waiting.attempt, waiting.reason) == (2, "needs a")
    if a_fails:
        assert (ended["b"].status, ended["b"].reason) == (
            WorkStatus.SKIPPED,
            "needs a, which failed",
        )
    else:
        assert ended["b"].status is WorkStatus.COMPLETED
        assert is_in_order(ended)


async def test_two_retries_at_once_put_an_item_back_once(
    settings: Settings, tmp_path: Path
) -> None:
    async with running(settings) as (engine, _):
        convoy_id = await launch(engine, tmp_path, a="exit 1")
        await engine.wait([convoy_id])
        key = ItemKey(convoy_id, "a")
        async with asyncio.TaskGroup() as tasks:
            both = [tasks.create_task(engine.retry([key], env=ENV)) for _ in range(2)]
        outcomes = [task.result() for task in both]
        await engine.wait([convoy_id])
        ended = await items(engine, convoy_id)
    assert sorted(outcome.changed for outcome in outcomes) == [(), (key,)]
    assert [key for outcome in outcomes for key in outcome.refused] == [str(key)]
    assert ended["a"].attempt == 2


async def test_a_retry_goes_on_when_whoever_asked_for_it_goes_away(
    settings: Settings, tmp_path: Path
) -> None:
    async with running(settings) as (engine, diary), asyncio.TaskGroup() as tasks:
        convoy_id = await launch(engine, tmp_path, a="exit 1", b="true")
        await engine.wait([convoy_id])
        diary.held_up = (convoy_id, ConvoyStatus.RUNNING)
        retrying = tasks.create_task(engine.retry([ItemKey(convoy_id, "a")], env=ENV))
        await diary.is_there.wait()
        retrying.cancel()
        await asyncio.wait([retrying])
        diary.go.set()
        await engine.wait([convoy_id])
        ended = await items(engine, convoy_id)
    assert ended["a"].attempt == 2


async def test_nothing_is_retried_while_its_convoy_is_being_cancelled(
    settings: Settings, tmp_path: Path
) -> None:
    async with running(replace(settings, grace_s=ENOUGH_S)) as (engine, diary):
        convoy_id = await launch(engine, tmp_path, a="true", b="trap '' TERM; sleep 60")
        await until(engine, convoy_id, lambda all_: all_["b"].status is WorkStatus.IN_PROGRESS)
        await engine.cancel(convoy_id, is_waiting=False)
        a = ItemKey(convoy_id, "a")
        outcome = await engine.retry([a], env=ENV)
        await engine.cancel(convoy_id, is_kill=True)
        (cancelled,) = await engine.wait([convoy_id])
        assert (await engine.retry([a], env=ENV)).changed == (a,)
        await engine.wait([convoy_id])
    assert outcome.changed == ()
    assert "is being cancelled" in outcome.refused[str(a)]
    assert cancelled.status is ConvoyStatus.CANCELLED
    assert diary.committed.count("a pending") == 1


async def test_a_cancel_that_waits_for_retries_lets_nothing_of_them_start(
    settings: Settings, tmp_path: Path
) -> None:
    async with running(settings) as (engine, diary), asyncio.TaskGroup() as tasks:
        await engine.set_parallelism(1)
        convoy_id = await launch_many(engine, tmp_path, "true", "true", "sleep 60")
        await until(engine, convoy_id, lambda all_: all_["op-02"].status is WorkStatus.IN_PROGRESS)
        diary.held_up = (convoy_id, ConvoyStatus.RUNNING)
        for item_id in ("op-00", "op-01"):
            tasks.create_task(engine.retry([ItemKey(convoy_id, item_id)], env=ENV))
        await diary.is_there.wait()
        tasks.create_task(engine.cancel(convoy_id))
        await asyncio.sleep(0)
        diary.go.set()
        (cancelled,) = await engine.wait([convoy_id])
        ended = await items(engine, convoy_id)
    assert cancelled.status is ConvoyStatus.CANCELLED
    assert {item.status for item in ended.values()} == {WorkStatus.CANCELLED}
    assert diary.committed.count("op-00 in_progress") == 1
    assert diary.committed.count("op-01 in_progress") == 1


async def test_a_convoy_goes_on_with_the_next_engine_when_one_is_left_amid_a_retry(
    settings: Settings, tmp_path: Path
) -> None:
    """It is left when what is put back is in the database, and all else of the convoy has ended."""
    async with asyncio.TaskGroup() as tasks, running(settings) as (engine, diary):
        operations = [
            Operation(id="a", argv=("/bin/true",)),
            Operation(id="b", argv=("/bin/sh", "-c", WAIT_FOR_GO)),
        ]
        convoy_id = await engine.launch_operations(
            "work", operations, {}, env=ENV, cwd=str(tmp_path)
        )
        await until(engine, convoy_id, lambda all_: all_["a"].status is WorkStatus.COMPLETED)

        async def retry() -> None:
            with pytest.raises(EngineStoppedError):
                await engine.retry([ItemKey(convoy_id, "a")], env=ENV)

        diary.untold = "a"
        tasks.create_task(retry())
        await diary.until("a pending")
        (tmp_path / "go-1").touch()
        await diary.until("b completed")
    async with (
        asyncio.timeout(ENOUGH_S),
        Engine(settings, sampler=FakeSampler(), is_resuming=True) as next_engine,
    ):
        (convoy,) = await next_engine.wait([convoy_id])
        ended = await items(next_engine, convoy_id)
    assert convoy.status is ConvoyStatus.COMPLETED
    assert {name: (item.status, item.attempt) for name, item in ended.items()} == {
        "a": (WorkStatus.COMPLETED, 2),
        "b": (WorkStatus.COMPLETED, 1),
    }


async def launch_many(engine: Engine, folder: Path, *lines: str) -> str:
    """Launch operations, none of which needs another."""
    operations = [
        Operation(id=f"op-{number:02}", argv=("/bin/sh", "-c", line))
        for number, line in enumerate(lines)
    ]
    return await engine.launch_operations("many", operations, {}, env=ENV, cwd=str(folder))


async def starts(engine: Engine, convoy_id: str) -> list[datetime]:
    found = (await items(engine, convoy_id)).values()
    return sorted(item.started_at for item in found if item.started_at is not None)


async def test_a_convoy_that_a_retry_lets_go_on_catches_up_on_no_other(
    settings: Settings, tmp_path: Path
) -> None:
    async with running(settings) as (engine, _):
        await engine.set_parallelism(1)
        held = await launch_many(engine, tmp_path, *["exit 1"] * 20)
        await until(engine, held, lambda all_: all_["op-00"].status is WorkStatus.FAILED)
        await engine.pause(held)
        busy = await launch_many(engine, tmp_path, *["true"] * 20, WAIT_FOR_GO, *["true"] * 20)
        await until(engine, busy, lambda all_: all_["op-20"].status is WorkStatus.IN_PROGRESS)
        await engine.retry([ItemKey(held, "op-00")], env=ENV)
        (tmp_path / "go-1").touch()
        await engine.wait([held, busy])
        of_held, of_busy = await starts(engine, held), await starts(engine, busy)
    after = sorted(at for at in (*of_held, *of_busy) if at > of_busy[20])[:10]
    assert len(set(after).intersection(of_held)) in {5, 6}
