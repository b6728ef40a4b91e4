"""The API on a port of its own, beside a scripted engine and an hour of metrics."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest
from blockbuster import blockbuster_ctx

from aisquad_core.monitoring import Monitoring
from aisquad_core.settings import Settings
from aisquad_core.state.workstate import WorkState
from aisquad_core.testing import FakeClock
from tests.monitoring import recorded
from tests.tui import scenes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.tui.scenes import Scene


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    with blockbuster_ctx("aisquad_core"):
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return Settings(workstate_db=folder / "workstate.db")


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with scenes.busy() as made:
        yield made


@pytest.fixture(scope="session")
def left_behind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both databases as an engine leaves them; the work state is empty."""
    folder = tmp_path_factory.mktemp("left-behind")

    async def record() -> None:
        async with scenes.busy() as scene:
            await recorded.record_hour(folder / "metrics.db", scene.clock)

    async def make_work_state() -> None:
        async with WorkState(folder / "workstate.db", clock=FakeClock()):
            pass

    asyncio.run(record())
    asyncio.run(make_work_state())
    return folder


@pytest.fixture
def databases(settings: Settings, left_behind: Path) -> Settings:
    """Settings of a folder that has both databases."""
    shutil.copytree(left_behind, settings.state_dir, dirs_exist_ok=True)
    return settings


@pytest.fixture
async def monitoring(databases: Settings, scene: Scene) -> AsyncIterator[Monitoring]:
    async with Monitoring(databases, engine=scene.engine, port=0, clock=scene.clock) as made:
        yield made
