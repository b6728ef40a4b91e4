"""What storage refuses is written in order, one attempt a second, and says why it waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from aisquad_core.errors import StorageError
from aisquad_core.execution.environment import EnvironmentStore
from aisquad_core.execution.ledger import Ledger
from aisquad_core.execution.scheduler import Scheduler
from aisquad_core.load.rate_limiter import RateLimiter
from aisquad_core.model import WorkStatus
from aisquad_core.settings import Settings
from aisquad_core.state.workstate import WorkState
from aisquad_core.testing import FakeClock
from tests.unit.execution.convoys import make_convoy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime
    from pathlib import Path


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ledger(clock: FakeClock, tmp_path: Path) -> Ledger:
    return make_ledger(WorkState(tmp_path / "workstate.db", clock=clock), clock, tmp_path)


def make_ledger(state: WorkState, clock: FakeClock, tmp_path: Path) -> Ledger:
    settings = Settings(workstate_db=tmp_path / "workstate.db")
    return Ledger(
        state=state,
        scheduler=Scheduler(RateLimiter.from_settings(settings, clock), {}),
        environments=EnvironmentStore(tmp_path / "runs"),
        observers=[],
        before_end=nobody_waits,
        clock=clock,
    )


async def nobody_waits(convoy_id: str) -> None: ...


class HeldMoves(WorkState):
    """Moves whatever it is asked to, when it is told to; nothing that was moved fits any more."""

    def __init__(self, path: Path, clock: FakeClock) -> None:
        super().__init__(path, clock=clock)
        self.is_there, self.go = asyncio.Event(), asyncio.Event()
        self.moves = 0

    async def transition(
        self,
        convoy_id: str,
        versions: Sequence[tuple[str, int]],
        *,
        status: WorkStatus,
        reason: str | None,
        finished_at: datetime | None = None,
    ) -> list[str]:
        del convoy_id, status, reason, finished_at
        self.moves += 1
        self.is_there.set()
        await self.go.wait()
        return [item_id for item_id, _ in versions] if self.moves > 1 else []


class Disk:
    def __init__(self) -> None:
        self.is_full = True
        self.written: list[int] = []
        self.refused: list[int] = []

    def write(self, number: int) -> Callable[[], Awaitable[int]]:
        async def write() -> int:
            await asyncio.sleep(0)
            if self.is_full:
                self.refused.append(number)
                raise StorageError("the disk is full")
            self.written.append(number)
            return number

        return write


async def test_what_was_refused_is_written_in_the_order_of_the_refusals(
    ledger: Ledger, clock: FakeClock
) -> None:
    disk = Disk()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        for number in range(5):
            tasks.create_task(ledger.until_stored(disk.write(number)))
            await clock.advance(0.1)
        assert ledger.trouble == "the disk is full"
        assert disk.refused[0] == 0
        tries = len(disk.refused)
        await clock.advance(10.0)
        assert len(disk.refused) - tries == 10  # one a second, however many wait
        disk.is_full = False
        await clock.advance(1.0)
        late = tasks.create_task(ledger.until_stored(disk.write(5)))
    assert disk.written == [0, 1, 2, 3, 4, 5]
    assert late.result() == 5
    assert ledger.trouble is None


async def test_what_is_moved_while_its_mover_is_cancelled_is_known_to_be_moved(
    clock: FakeClock, tmp_path: Path
) -> None:
    """Else whoever moves it next finds it unmoved, and stale, again and again."""
    held = HeldMoves(tmp_path / "workstate.db", clock)
    ledger = make_ledger(held, clock, tmp_path)
    convoy = make_convoy("c", {"a": ()})
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        moving = tasks.create_task(ledger.clear_queue(convoy, WorkStatus.SKIPPED, "too late"))
        await held.is_there.wait()
        moving.cancel()
        held.go.set()
        await asyncio.wait((moving,))
        await ledger.clear_queue(convoy, WorkStatus.SKIPPED, "stopped")
    assert moving.cancelled()
    assert (convoy.tasks["a"].status, convoy.tasks["a"].reason) == (WorkStatus.SKIPPED, "too late")
    assert held.moves == 1
