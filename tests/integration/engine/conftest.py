"""The engine's tests run under both task factories: Textual leaves the eager one on its loop."""

from __future__ import annotations

import asyncio

import pytest

from aisquad_core.execution import ending


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
