"""The monitoring in an engine's process: where the settings say, or nowhere, and never its end."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from aisquad_core.monitoring import Monitoring, beside, plate
from aisquad_core.monitoring.beside import monitored
from aisquad_core.monitoring.plate import Dashboard
from tests.monitoring.asking import BOUND_S, ask

if TYPE_CHECKING:
    import pytest

    from aisquad_core.settings import Settings
    from tests.tui.scenes import Scene


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def find(settings: Settings) -> Dashboard:
    return await asyncio.to_thread(plate.find_dashboard, settings.state_dir, os.getpid())


async def told(settings: Settings) -> Dashboard:
    """Wait until it is said where the dashboard is, or why there is none."""
    said = Dashboard(None)
    async with asyncio.timeout(BOUND_S):
        while said == Dashboard(None):
            await asyncio.sleep(0.01)
            said = await find(settings)
    return said


async def test_it_listens_where_the_settings_say(databases: Settings, scene: Scene) -> None:
    port = free_port()
    settings = replace(databases, monitoring_address="::1", monitoring_port=port)
    async with monitored(settings, scene.engine):
        assert await told(settings) == Dashboard(f"http://[::1]:{port}/dashboard")
        assert (await ask(port, "/health", address="::1")).status == 200
    assert await find(settings) == Dashboard(None)


async def test_port_0_means_nowhere(
    databases: Settings, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> type[Monitoring]:
        raise AssertionError("it was imported")

    monkeypatch.setattr(beside, "_import_server", fail)
    async with monitored(replace(databases, monitoring_port=0), scene.engine):
        await scene.clock.settle()
    assert not (databases.state_dir / plate.PLATE_NAME).exists()


async def test_a_fault_of_it_is_told_and_the_engine_goes_on(
    databases: Settings,
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> type[Monitoring]:
        raise ImportError("no aiohttp")

    monkeypatch.setattr(beside, "_import_server", fail)
    async with monitored(replace(databases, monitoring_port=8080), scene.engine):
        assert await told(databases) == Dashboard(None, "127.0.0.1 port 8080: no aiohttp")
        assert (await scene.engine.snapshot()).engine.phase == "running"
    assert [record.exc_info is not None for record in caplog.records] == [True]


async def test_a_folder_that_cannot_be_written_costs_only_the_plate(
    databases: Settings,
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object) -> None:
        full.set()
        raise OSError(28, "No space left on device")

    full = threading.Event()
    monkeypatch.setattr(plate, "write", refuse)
    port = free_port()
    async with monitored(replace(databases, monitoring_port=port), scene.engine):
        assert await asyncio.to_thread(full.wait, BOUND_S)
        assert (await ask(port, "/health")).status == 200
    assert "No space left on device" in caplog.text
