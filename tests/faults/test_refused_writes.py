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
from aisquad_core.settings import Settings
from aisquad_core.state.workstate import WorkState
from aisquad_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ledger(clock: FakeClock, tmp_path: Path) -> Ledger:
    settings = Settings(workstate_db=tmp_path / "workstate.db")
    return Ledger(
        state=WorkState(settings.workstate_db, clock=clock),
        scheduler=Scheduler(RateLimiter.from_settings(settings, clock), {}),
        environments=EnvironmentStore(tmp_path / "runs"),
        observers=[],
        before_end=nobody_waits,
        clock=clock,
    )


async def nobody_waits(convoy_id: str) -> None: ...


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
