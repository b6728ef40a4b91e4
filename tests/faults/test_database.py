"""The work state taken away, replaced, overwritten, locked or set back under a running engine."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aisquad_core.api import ItemFilter, StopMode
from aisquad_core.client import SocketEngine
from aisquad_core.clock import SystemClock
from aisquad_core.errors import StorageError
from aisquad_core.model import ConvoyStatus, WorkStatus
from aisquad_core.state.workstate import WorkState
from tests.faults.serving import (
    BOUND_S,
    ended,
    ticks,
    until,
    until_said,
    until_troubled,
    until_well,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.faults.serving import Service

pytestmark = pytest.mark.timeout(90)
GATED = "echo >began; until [ -e gate ]; do sleep 0.02; done; echo $AISQUAD_ITEM >>ran"
AFTER = "echo $AISQUAD_ITEM >>ran"


def database(served: Service) -> Path:
    return served.state_dir / "workstate.db"


def ran(served: Service) -> list[str]:
    path = served.folder / "ran"
    return path.read_text().split() if path.exists() else []


async def launch_gated(served: Service, client: SocketEngine) -> str:
    """Launch an operation that runs until the gate is there, and one that needs it."""
    convoy_id = await served.launch(
        client,
        {"id": "first", "run": GATED},
        {"id": "second", "run": AFTER, "needs": ["first"]},
    )
    await until((served.folder / "began").exists)
    return convoy_id


async def open_gate(served: Service) -> None:
    """Let the operation end; return when it has."""
    (served.folder / "gate").touch()
    await until(lambda: "first" in ran(served))


@pytest.mark.slow
async def test_while_a_database_is_moved_away_nothing_is_acknowledged_and_then_all_goes_on(
    served: Service,
) -> None:
    await served.start()
    async with SocketEngine(served.state_dir) as client:
        convoy_id = await launch_gated(served, client)
        database(served).rename(served.folder / "elsewhere.db")
        trouble = await until_troubled(client, f"{database(served)} was moved or deleted")
        assert "aisquad rescue FILE" in trouble
        with pytest.raises(StorageError, match=r"workstate\.db was moved or deleted"):
            await served.launch(client, {"id": "refused", "run": AFTER})
        await open_gate(served)
        assert ran(served) == ["first"]  # what runs runs on, what needs it waits

        (served.folder / "elsewhere.db").rename(database(served))
        assert await ended(client, convoy_id) is ConvoyStatus.COMPLETED
        await until_well(client)
    assert ran(served) == ["first", "second"]


@pytest.mark.slow
async def test_an_engine_that_cannot_end_its_work_in_order_can_leave_it_running(
    served: Service,
) -> None:
    """Storage refuses, so nothing is stopped; whoever then asks to detach lets go of it."""
    pid = await served.start()
    async with SocketEngine(served.state_dir) as client, asyncio.TaskGroup() as tasks:
        convoy_id = await launch_gated(served, client)
        database(served).rename(served.folder / "elsewhere.db")
        await until_troubled(client, "was moved or deleted")
        stopping = tasks.create_task(client.stop(StopMode.INTERRUPT))
        await until_said(client, lambda view: view.phase == "stopping")
        assert not stopping.done()
        await client.stop(StopMode.DETACH)
        await served.left(pid)
    (served.folder / "elsewhere.db").rename(database(served))
    await served.start()
    async with SocketEngine(served.state_dir) as client:
        (served.folder / "gate").touch()
        assert await ended(client, convoy_id) is ConvoyStatus.COMPLETED
    assert ran(served) == ["first", "second"]


@pytest.mark.slow
async def test_a_deleted_database_goes_on_from_its_rescue(served: Service) -> None:
    """By the command and the lines that it prints; nothing is lost and nothing runs twice."""
    pid = await served.start()
    async with SocketEngine(served.state_dir) as client:
        convoy_id = await launch_gated(served, client)
        database(served).unlink()
        await until_troubled(client, "was moved or deleted")
        await open_gate(served)

    printed = await command(served, "rescue", str(served.folder / "rescued.db"))
    steps = asyncio.to_thread(
        subprocess.run,
        ["sh", "-e", "-c", printed],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        cwd=served.folder,
        check=True,
        timeout=BOUND_S,
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(steps)
        tasks.create_task(served.left(pid))  # it is ours to bury, or `down` sees it for ever
    try:
        await command(served, "wait", convoy_id)
        async with SocketEngine(served.state_dir) as client:
            assert (await client.snapshot()).engine.trouble is None
    finally:
        await command(served, "down", "--now")
    assert ran(served) == ["first", "second"]
    with closing(sqlite3.connect(database(served))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def command(served: Service, *arguments: str) -> str:
    """Run `aisquad` on the state folder, and return what it prints."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "aisquad_tui.cli", *arguments, "--state", str(served.state_dir)],
        cwd=served.folder,
        check=True,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
    )
    return done.stdout


async def test_a_deleted_wal_is_noticed_and_leaving_the_engine_keeps_what_was_in_it(
    served: Service,
) -> None:
    pid = await served.start()
    wal = database(served).with_name("workstate.db-wal")
    async with SocketEngine(served.state_dir) as client:
        convoy_id = await served.launch(client, {"id": "kept", "run": AFTER})
        assert await ended(client, convoy_id) is ConvoyStatus.COMPLETED
        wal.unlink()
        await until_troubled(client, f"{wal} was moved or deleted")
        with pytest.raises(StorageError):
            await served.launch(client, {"id": "refused", "run": AFTER})
        await client.rescue(str(served.folder / "rescued.db"))
        await client.stop(StopMode.DETACH)
    await served.left(pid)
    for path in (served.folder / "rescued.db", database(served)):
        with closing(sqlite3.connect(path)) as connection:
            found = connection.execute("SELECT id, status FROM work_items").fetchall()
        assert found == [("kept", "completed")]


@pytest.mark.parametrize("kind", ["older", "shorter"])
async def test_a_database_that_another_program_writes_over_takes_nothing_more(
    tmp_path: Path, kind: str
) -> None:
    """At any time if it gets shorter by that; else when it was at rest since the last look."""
    path, older = tmp_path / "workstate.db", tmp_path / "older.db"
    async with WorkState(path, clock=SystemClock()) as state:
        await state.mark()
        assert await state.check_identity() is None
        await state.rescue(older)
        await state.mark(is_probe=True)
        assert await state.check_identity() is None
        if kind == "older":
            assert await state.check_identity() is None
            shutil.copyfile(older, path)
        else:
            await state.mark(is_probe=True)
            await asyncio.to_thread(os.truncate, path, 0)
        assert await state.check_identity() == f"{path} was overwritten by another program"
        assert await state.check_identity() == f"{path} was overwritten by another program"
        with pytest.raises(StorageError, match="was overwritten"):
            await state.mark(is_probe=True)


async def test_a_database_that_this_program_alone_writes_is_never_taken_for_another(
    tmp_path: Path,
) -> None:
    async with WorkState(tmp_path / "workstate.db", clock=SystemClock()) as state:

        async def write() -> None:
            for _ in range(50):
                await state.mark(is_probe=True)
                await state._writer.run_outside_transaction(
                    lambda connection: connection.execute("PRAGMA wal_checkpoint").fetchall()
                )

        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(write())
            while not writing.done():
                assert await state.check_identity() is None


@pytest.mark.slow
async def test_a_database_locked_by_another_program_is_told_and_waited_for(
    served: Service,
) -> None:
    await served.start()
    async with SocketEngine(served.state_dir) as client:
        convoy_id = await launch_gated(served, client)
        async with locked(database(served)):
            await open_gate(served)
            with pytest.raises(StorageError, match="another program holds the database locked"):
                await served.launch(client, {"id": "refused", "run": AFTER})
            await until_troubled(client, "another program holds the database locked")
            assert ran(served) == ["first"]
        assert await ended(client, convoy_id) is ConvoyStatus.COMPLETED
        await until_well(client)
    assert ran(served) == ["first", "second"]


@asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Hold the database from another process, as somebody's forgotten shell would."""
    script = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); sys.stdin.read()"
    )
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(path), stdin=-1, stdout=-1
    )
    assert holder.stdout is not None
    try:
        assert await holder.stdout.readline() == b"locked\n"
        yield
    finally:
        holder.kill()
        await holder.communicate()


@pytest.mark.slow
async def test_a_work_state_that_went_back_starts_nothing_that_may_have_run(
    served: Service,
) -> None:
    """Not even under the engine after the next one, until the operator lets it go on."""
    pid = await served.start()
    older = served.folder / "older.db"
    async with SocketEngine(served.state_dir) as client:
        convoy_id = await launch_gated(served, client)
        await client.rescue(str(older))
        await open_gate(served)
        assert await ended(client, convoy_id) is ConvoyStatus.COMPLETED
        await ticks(client, 2)  # how far it has come is noted once a second
        await client.stop(StopMode.DETACH)
    await served.left(pid)
    older.rename(database(served))

    for _ in range(2):
        pid = await served.start()
        async with SocketEngine(served.state_dir) as client:
            await client.wait([], timeout_s=BOUND_S)  # answers when earlier convoys are loaded
            (convoy,) = (await client.snapshot()).convoys
            assert convoy.is_interrupted
            assert convoy.reason is not None
            assert "the work state went back" in convoy.reason
            assert f"aisquad run --resume {convoy_id}" in convoy.reason
            await until_said(client, lambda view: view.phase == "running")
            page = await client.items(ItemFilter())
        # What it says of a start is decided by what that start left: it is not repeated.
        found = {item.id: item.status for item in page.items}
        assert found == {"first": WorkStatus.COMPLETED, "second": WorkStatus.PENDING}
        await served.end(pid, signal.SIGKILL)
    assert ran(served) == ["first", "second"]

    await served.start()
    async with SocketEngine(served.state_dir) as client:
        await client.resume(convoy_id, env={"PATH": os.defpath})
        assert await ended(client, convoy_id) is ConvoyStatus.COMPLETED
    assert ran(served) == ["first", "second", "second"]  # after the yes
