"""The engine's tests run under both task factories: Textual leaves the eager one on its loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from aisquad_core.execution import ending
from aisquad_core.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from aisquad_core.settings import Settings


@pytest.fixture(autouse=True, params=["default", "eager"])
async def task_factory(request: pytest.FixtureRequest) -> None:
    if request.param == "eager":
        factory = getattr(asyncio, "eager_task_factory", None)
        if factory is None:
            pytest.skip("eager tasks came with Python 3.12")
        asyncio.get_running_loop().set_task_factory(factory)


@pytest.fixture(autouse=True)
def trees_are_gone_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no operation flee: what hunts those that do has tests of its own."""
    monkeypatch.setattr(ending, "QUIET_S", ending.SWEEP_INTERVAL_S)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of an engine that loses no time."""
    return load_settings(
        cwd=tmp_path,
        environ={"HOME": str(tmp_path)},
        flags={"grace_seconds": 0.2, "tick_seconds": 0.1},
        state_dir=tmp_path / "state",
    )
