"""The API on a port of its own, beside a scripted engine and an hour of metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aisquad_core.monitoring import Monitoring
from aisquad_core.settings import Settings
from aisquad_core.state.workstate import WorkState
from tests.monitoring import recorded
from tests.tui import scenes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.tui.scenes import Scene


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return Settings(workstate_db=folder / "workstate.db")


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with scenes.busy() as made:
        yield made


@pytest.fixture
async def databases(settings: Settings, scene: Scene) -> Settings:
    """Both databases as an engine leaves them; the work state is empty."""
    async with WorkState(settings.workstate_db, clock=scene.clock):
        pass
    await recorded.record_hour(settings.metrics_db, scene.clock)
    return settings


@pytest.fixture
async def monitoring(databases: Settings, scene: Scene) -> AsyncIterator[Monitoring]:
    async with Monitoring(databases, engine=scene.engine, port=0, clock=scene.clock) as made:
        yield made
