"""The engine as a process of its own: started, stopped, killed, and its work after that."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from aisquad_core import endpoint, service
from aisquad_core.api import ItemFilter
from aisquad_core.client import SocketEngine
from aisquad_core.errors import EngineRunningError, EngineStartError, EngineStoppedError
from aisquad_core.model import ConvoyStatus, ItemKey, WorkStatus
from aisquad_core.state.folder import engine_pid
from tests.faults import served_engine
from tests.faults.serving import BOUND_S, ended, until

if TYPE_CHECKING:
    from tests.faults.serving import Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


async def test_start_returns_the_pid_of_an_engine_that_answers(served: Service) -> None:
    pid = await served.start()
    async with SocketEngine(served.state_dir) as client:
        assert client.peer.pid == pid
    assert engine_pid(served.state_dir) == pid
    assert os.getsid(pid) == pid


def test_readiness_is_one_line_of_json_and_then_the_pipe_is_closed(served: Service) -> None:
    command = served_engine.command(served.state_dir)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as engine:
        assert engine.stdout is not None
        said = engine.stdout.read()  # to the end of the pipe, though the engine lives
        assert json.loads(said) == {"pid": engine.pid}
        assert said.count(b"\n") == 1
        assert engine.poll() is None
        engine.kill()


async def test_an_engine_lives_on_though_whoever_started_it_is_gone(served: Service) -> None:
    command = served_engine.command(served.state_dir)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as engine:  # noqa: ASYNC220  # it forks
        assert engine.stdout is not None
        engine.stdout.close()  # as a login that is cut off while the engine starts
        await until((served.state_dir / endpoint.SOCKET_NAME).exists)
        async with SocketEngine(served.state_dir) as client:
            assert (await client.snapshot()).engine.pid == engine.pid
        await until(lambda: "serves" in (served.state_dir / service.LOG_NAME).read_text())
        assert engine.poll() is None
        engine.kill()


async def test_a_second_start_says_who_holds_the_folder(served: Service) -> None:
    pid = await served.start()
    with pytest.raises(EngineRunningError, match=rf"\b{pid}\b"):
        await served.start()
    assert engine_pid(served.state_dir) == pid


def test_a_process_that_ends_without_a_word_is_an_error_that_names_the_log(
    served: Service,
) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no luck')"]
    with pytest.raises(EngineStartError, match=r"ended at once.*engine\.log"):
        service.start(command, served.state_dir, cwd=served.folder)
    assert (served.state_dir / service.LOG_NAME).read_text() == "no luck\n"


async def test_a_start_that_is_refused_leaves_the_log_to_the_engine(served: Service) -> None:
    await served.start()
    log = served.state_dir / service.LOG_NAME
    with log.open("a", encoding="utf-8") as file:
        file.write("x" * 1_999_900 + "\n")  # one more line and it is put aside
    with pytest.raises(EngineRunningError):
        await served.start()
    assert [path.name for path in served.state_dir.glob("engine.log*")] == ["engine.log"]


async def test_term_puts_what_runs_back_to_the_queue_with_the_same_attempt(
    served: Service,
) -> None:
    pid = await served.start()
    async with SocketEngine(served.state_dir) as client:
        convoy_id = await served.launch(client, {"id": "long", "run": "echo >began; sleep 600"})
        await until((served.folder / "began").exists)
    assert await served.end(pid, signal.SIGTERM) == 0

    item = await served.read(convoy_id, "long")
    assert (item.status, item.attempt) == (WorkStatus.PENDING, 1)
    assert served_engine.processes_of(served.state_dir) == []
    assert engine_pid(served.state_dir) is None


async def test_systemd_is_told_of_the_start_and_of_the_end(
    served: Service, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = tmp_path_factory.mktemp("n") / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(os.fspath(address))
        systemd.settimeout(BOUND_S)
        monkeypatch.setenv("NOTIFY_SOCKET", os.fspath(address))
        pid = await served.start()
        assert "READY=1" in (await asyncio.to_thread(systemd.recv, 4096)).decode().splitlines()
        await served.end(pid, signal.SIGTERM)
        assert await asyncio.to_thread(systemd.recv, 4096) == b"STOPPING=1"


def test_the_log_is_kept_small(served: Service) -> None:
    script = (
        "import logging, sys, pathlib; from aisquad_core import service;"
        "service.keep_log(pathlib.Path(sys.argv[1]));"
        "[logging.error('%d %s', number, 'x' * 20_000) for number in range(600)]"
    )
    subprocess.run([sys.executable, "-c", script, str(served.state_dir)], check=True, timeout=60)
    logs = {path.name: path.stat().st_size for path in served.state_dir.glob("engine.log*")}
    assert set(logs) == {"engine.log", "engine.log.1", "engine.log.2", "engine.log.3"}
    assert max(logs.values()) <= 2_000_000
    assert " 599 x" in (served.state_dir / "engine.log").read_text()


async def test_what_runs_and_what_waits_goes_on_under_the_next_engine(served: Service) -> None:
    """What runs is adopted with its log and its exit status, and is not started again."""
    pid = await served.start()
    gate = "echo $$ >>began; echo one; until [ -e gate ]; do sleep 0.05; done; echo two; exit 7"
    async with SocketEngine(served.state_dir) as client:
        convoy_id = await served.launch(
            client,
            {"id": "first", "run": f"({gate}); [ $? = 7 ]"},
            {"id": "second", "run": "echo >after", "needs": ["first"]},
        )
        await until((served.folder / "began").exists)
        before = await client.item(ItemKey(convoy_id, "first"))
    await served.end(pid)

    await served.start()
    async with SocketEngine(served.state_dir) as client:
        await client.wait([], timeout_s=BOUND_S)  # answers when earlier convoys are loaded
        adopted = await client.item(ItemKey(convoy_id, "first"))
        (served.folder / "gate").touch()
        assert await ended(client, convoy_id) is ConvoyStatus.COMPLETED
        first = await client.item(ItemKey(convoy_id, "first"))
        log = await client.log_range(ItemKey(convoy_id, "first"))
    assert (adopted.view.status, adopted.token) == (WorkStatus.IN_PROGRESS, before.token)
    assert adopted.pid == before.pid is not None
    assert (first.view.exit_code, first.view.attempt, first.token) == (0, 1, before.token)
    assert log.data == b"one\ntwo\n"
    assert len((served.folder / "began").read_text().split()) == 1
    assert (served.folder / "after").exists()


async def test_what_ended_while_no_engine_ran_frees_what_needs_it(served: Service) -> None:
    pid = await served.start()
    gate = "echo >began; until [ -e gate ]; do sleep 0.05; done"
    async with SocketEngine(served.state_dir) as client:
        convoy_id = await served.launch(
            client,
            {"id": "first", "run": gate},
            {"id": "second", "run": "true", "needs": ["first"]},
            {"id": "third", "run": "true", "needs": ["first", "second"]},
        )
        await until((served.folder / "began").exists)
    await served.end(pid)
    (served.folder / "gate").touch()
    await until(lambda: not served_engine.processes_of(served.state_dir))

    await served.start()
    async with SocketEngine(served.state_dir) as client:
        assert await ended(client, convoy_id) is ConvoyStatus.COMPLETED


async def test_a_cancel_that_was_under_way_is_finished_by_the_next_engine(
    served: Service,
) -> None:
    pid = await served.start(grace_s=600)
    stubborn = "trap 'echo >asked' TERM; echo >began; while :; do sleep 0.1; done"
    async with SocketEngine(served.state_dir) as client, asyncio.TaskGroup() as tasks:
        convoy_id = await served.launch(
            client,
            {"id": "stubborn", "run": stubborn},
            {"id": "waiting", "run": "echo >ran", "needs": ["stubborn"]},
        )
        await until((served.folder / "began").exists)

        async def cancel() -> None:
            with pytest.raises(EngineStoppedError):
                await client.cancel(convoy_id)

        tasks.create_task(cancel())
        await until((served.folder / "asked").exists)
        await served.end(pid)

    await served.start(grace_s=0.2)
    async with SocketEngine(served.state_dir) as client:
        assert await ended(client, convoy_id) is ConvoyStatus.CANCELLED
        page = await client.items(ItemFilter(convoy_ids=(convoy_id,)))
    assert {item.status for item in page.items} == {WorkStatus.CANCELLED}
    assert served_engine.processes_of(served.state_dir) == []
    assert not (served.folder / "ran").exists()


@pytest.mark.slow
async def test_after_a_reboot_what_ran_is_lost_and_runs_again_if_it_may(served: Service) -> None:
    pid = await served.start()
    run = "[ $AISQUAD_ATTEMPT = 2 ] || { echo >began-$AISQUAD_ITEM; exec sleep 600; }"
    async with SocketEngine(served.state_dir) as client:
        convoy_id = await served.launch(
            client,
            {"id": "again", "run": run, "retries": 1, "retry_delay": 0.01},
            {"id": "once", "run": run},
        )
        for item_id in ("again", "once"):
            await until((served.folder / f"began-{item_id}").exists)
    await served.end(pid)
    served_engine.kill_processes_of(served.state_dir)
    with closing(sqlite3.connect(served.state_dir / "workstate.db")) as connection, connection:
        connection.execute("UPDATE work_items SET boot_id = 'of yesterday'")

    await served.start()
    async with SocketEngine(served.state_dir) as client:
        assert await ended(client, convoy_id) is ConvoyStatus.PARTIAL
    again, once = [await served.read(convoy_id, item_id) for item_id in ("again", "once")]
    assert (again.status, again.attempt) == (WorkStatus.COMPLETED, 2)
    assert [each.status for each in again.tries] == [WorkStatus.LOST]
    assert (once.status, once.attempt) == (WorkStatus.LOST, 1)
    assert once.error == "the machine was restarted while it ran"
