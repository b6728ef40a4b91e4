"""The instances that scripts share: made once, closed in order, never beside an engine."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

import aisquad_core
from aisquad_core import (
    close_globals,
    get_global_backpressure,
    get_global_collector,
    get_global_monitor,
    get_global_pool,
    get_global_rate_limiter,
    get_storage,
    start_monitoring_api,
)
from aisquad_core.clock import SystemClock
from aisquad_core.engine import Engine
from aisquad_core.errors import EngineRunningError, InputError, PoolClosedError
from aisquad_core.load.rate_limiter import Quota
from aisquad_core.model import ConvoyStatus, ItemKey, WorkItem, WorkStatus
from aisquad_core.settings import Settings
from aisquad_core.testing import FakeSampler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BOUND_S = 10


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    return folder


@pytest.fixture
async def closing() -> AsyncIterator[None]:
    yield
    await close_globals()


def make_item(item_id: str) -> WorkItem:
    now = SystemClock().now()
    return WorkItem(
        id=item_id,
        status=WorkStatus.PENDING,
        agent_id="shell",
        convoy_id="script",
        version=1,
        created_at=now,
        updated_at=now,
    )


@pytest.mark.usefixtures("closing")
async def test_each_is_made_once_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("POOL_SIZE", "7"),
        ("BACKPRESSURE_THRESHOLD", "0.5"),
        ("RATE_LIMIT", "30"),
        ("CPU_THRESHOLD", "55"),
    ):
        monkeypatch.setenv(f"AI_SQUAD_{name}", value)
    pool, backpressure = get_global_pool(), get_global_backpressure()
    limiter, monitor = get_global_rate_limiter(), get_global_monitor()
    stats = pool.get_stats()
    assert (stats["pool_size"], stats["active_connections"], stats["pool_utilization"]) == (7, 0, 0)
    assert backpressure.get_stats()["threshold"] == 0.5
    assert limiter.quota("engineer") == Quota(per_minute=30, burst=20)
    assert monitor.thresholds.cpu_percent == 55
    assert get_global_pool() is pool
    assert get_global_backpressure() is backpressure
    assert get_global_rate_limiter() is limiter
    assert get_global_monitor() is monitor
    assert await get_storage() is await get_storage()
    assert await get_global_collector() is await get_global_collector()


@pytest.mark.usefixtures("closing")
async def test_the_first_call_decides_the_rate() -> None:
    limiter = get_global_rate_limiter(limit=5, window=10)
    assert limiter.quota("engineer") == Quota(per_minute=30, burst=5)
    assert limiter.quota("shell") is None
    assert get_global_rate_limiter() is get_global_rate_limiter(limit=5, window=10) is limiter
    with pytest.raises(InputError, match="not with 6 starts in 10 s"):
        get_global_rate_limiter(limit=6, window=10)


@pytest.mark.parametrize(("limit", "window"), [(0, 60.0), (5, 0.0), (5, float("inf"))])
def test_a_rate_that_gives_nothing_is_refused(limit: int, window: float) -> None:
    with pytest.raises(InputError, match="expected positive numbers"):
        get_global_rate_limiter(limit, window)


@pytest.mark.usefixtures("closing")
async def test_what_a_script_writes_its_pool_reads() -> None:
    storage, pool = await get_storage(), get_global_pool()
    async with get_global_backpressure().acquire():
        await storage.create(make_item("one"))
    ids = await pool.run(lambda database: database.execute("SELECT id FROM work_items").fetchall())
    assert ids == [("one",)]
    assert pool.get_stats()["open_connections"] == 1


@pytest.mark.usefixtures("closing")
async def test_while_a_script_writes_no_engine_begins(project: Path) -> None:
    await get_storage()
    with pytest.raises(EngineRunningError):
        async with Engine(Settings(workstate_db=project / ".ai_squad" / "workstate.db")):
            raise AssertionError("two writers")
    await close_globals()
    async with Engine(Settings(workstate_db=project / ".ai_squad" / "workstate.db")):
        pass


@pytest.mark.slow
@pytest.mark.usefixtures("closing")
async def test_beside_an_engine_a_script_reads_and_serves_but_does_not_write(project: Path) -> None:
    settings = Settings(workstate_db=project / ".ai_squad" / "workstate.db")
    async with Engine(settings, sampler=FakeSampler()):
        for opening in (get_storage, get_global_collector):
            with pytest.raises(EngineRunningError):
                await opening()
        convoys = await get_global_pool().run(
            lambda database: database.execute("SELECT count(*) FROM convoys").fetchall()
        )
        assert convoys == [(0,)]
        served = await start_monitoring_api(0)
        assert await start_monitoring_api() is await start_monitoring_api(served.port) is served
        with pytest.raises(InputError, match="served already"):
            await start_monitoring_api(served.port - 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % served.port)
        assert (await reader.readline()).startswith(b"HTTP/1.1 ")
        writer.close()
        await writer.wait_closed()


@pytest.mark.usefixtures("closing")
async def test_metrics_that_are_off_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_SQUAD_ENABLE_METRICS", "false")
    with pytest.raises(InputError, match="metrics are off: AI_SQUAD_ENABLE_METRICS"):
        await get_global_collector()


def test_what_was_closed_is_all_there_for_the_next_loop() -> None:
    async def write(name: str) -> None:
        storage, collector = await get_storage(), await get_global_collector()
        await storage.create(make_item(name))
        collector.record_convoy_start(name, 1)
        collector.record_convoy_complete(name, ConvoyStatus.COMPLETED, completed=1)
        await close_globals()

    async def read() -> tuple[list[str], list[str]]:
        storage, collector = await get_storage(), await get_global_collector()
        items = [await storage.get(ItemKey("script", name)) for name in ("one", "two")]
        recorded = await collector.get_recent_convoy_metrics()
        await close_globals()
        return [item.id for item in items], sorted(convoy.convoy_id for convoy in recorded)

    asyncio.run(write("one"))
    asyncio.run(write("two"))
    assert asyncio.run(read()) == (["one", "two"], ["one", "two"])


def test_a_loop_that_ends_closes_what_nobody_closed_and_keeps_what_was_acknowledged() -> None:
    async def write(name: str) -> None:
        await get_global_collector()
        await (await get_storage()).create(make_item(name))
        await get_global_pool().run(lambda database: database.execute("SELECT 1").fetchall())

    async def read() -> list[str]:
        storage = await get_storage()
        items = [await storage.get(ItemKey("script", name)) for name in ("one", "two")]
        return [item.id for item in items]

    threads = set(threading.enumerate())
    asyncio.run(write("one"))
    assert set(threading.enumerate()) <= threads
    asyncio.run(write("two"))
    assert asyncio.run(read()) == ["one", "two"]
    assert set(threading.enumerate()) <= threads


@pytest.mark.usefixtures("closing")
async def test_a_loop_beside_another_is_refused() -> None:
    get_global_pool()

    def elsewhere() -> None:
        async def ask() -> None:
            get_global_pool()

        asyncio.run(ask())

    with pytest.raises(InputError, match="belong to another event loop"):
        await asyncio.to_thread(elsewhere)


@pytest.mark.usefixtures("closing")
async def test_who_is_cancelled_while_it_opens_leaves_it_to_the_next() -> None:
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as tasks:
        first = tasks.create_task(get_storage())
        second = tasks.create_task(get_storage())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
    assert first.cancelled()
    assert second.result() is await get_storage()


async def test_once_closed_new_ones_are_made_and_the_old_ones_refuse() -> None:
    storage, pool = await get_storage(), get_global_pool()
    await pool.run(lambda database: database.execute("SELECT 1").fetchall())
    await close_globals()
    with pytest.raises(PoolClosedError):
        await pool.run(lambda database: database.execute("SELECT 1").fetchall())
    assert await get_storage() is not storage
    assert get_global_pool() is not pool
    await close_globals()
    await close_globals()


def test_nobody_pays_for_what_is_not_asked_for() -> None:
    code = (
        "import sys, aisquad_core\n"
        "print('aisquad_core.shared' in sys.modules)\n"
        "aisquad_core.get_global_backpressure()\n"
        "print([m for m in ('aiohttp', 'psutil', 'aisquad_core.engine') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n[]\n", "")


def test_every_name_is_there() -> None:
    assert all(getattr(aisquad_core, name) for name in aisquad_core.__all__)
