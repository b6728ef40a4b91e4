"""The engine as a process of its own, and every command that talks to it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.cli.conftest import BOUND_S, COMMAND, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.cli.conftest import Folder

GATED = "echo {} >> started.txt; until test -e go; do sleep 0.05; done; echo {} >> done.txt"
"""Runs until the test lets it end."""


def lines(folder: Folder, name: str) -> list[str]:
    path = folder.path / name
    return sorted(path.read_text().split()) if path.exists() else []


def is_alive(pid: int) -> bool:
    """Tell whether the process runs; one that has ended and that nobody has reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def status(folder: Folder) -> dict[str, object]:
    shape: dict[str, object] = json.loads(folder.run("status", "--json").stdout)
    return shape


def up(folder: Folder) -> int:
    """Start an engine; return its pid."""
    ran = folder.run("up", "--json")
    assert ran.returncode == 0, ran.stderr
    pid: int = json.loads(ran.stdout)["pid"]
    return pid


@contextmanager
def torn_down(folder: Folder) -> Iterator[None]:
    """Leave no engine and no operation behind, whatever happens."""
    try:
        yield
    finally:
        (folder.path / "go").touch()
        pid = status(folder)["pid"]
        if isinstance(pid, int) and pid > 0:
            folder.run("down", "--now")
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def read_until(process: subprocess.Popen[bytes], wanted: bytes) -> bytes:
    """Return what a running command has said on standard error once the wanted words are there."""
    assert process.stderr is not None
    said = b""
    while wanted not in said:
        readable, _, _ = select.select([process.stderr], [], [], BOUND_S)
        assert readable, f"{wanted!r} was not said: {said!r}"
        piece = os.read(process.stderr.fileno(), 65_536)
        assert piece, (process.wait(), said)
        said += piece
    return said


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_an_engine_in_the_background_works_until_it_is_drained(folder: Folder) -> None:
    with torn_down(folder):
        pid = up(folder)
        assert os.getsid(pid) == pid
        ran = folder.run("launch", "--each", GATED, "1", "2", "--name", "held")
        id = ran.stdout.strip()
        assert (ran.returncode, id.startswith("held-"), ran.stderr) == (0, True, "")
        until(lambda: lines(folder, "started.txt") == ["1", "2"], "both run")
        live = status(folder)
        assert (live["pid"], live["running"], live["phase"]) == (pid, 2, "running")
        cancelled = json.loads(folder.run("cancel", f"{id}/1", "--kill", "--json").stdout)
        assert cancelled == {"changed": [f"{id}/1"], "refused": {}}
        stopping = folder.start("down")
        try:
            said = read_until(stopping, b"waiting for 1 operation")
            assert b"\x1b" not in said
            (folder.path / "go").touch()
            stopping.communicate(timeout=BOUND_S)
        finally:
            stopping.kill()
            stopping.communicate()
        assert stopping.returncode == 0
        until(lambda: not is_alive(pid), "the engine ends")
        assert lines(folder, "done.txt") == ["2"]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_every_command_reaches_the_engine(folder: Folder) -> None:
    with torn_down(folder):
        pid = up(folder)
        assert json.loads(folder.run("up", "--json").stdout)["is_new"] is False
        id = folder.run("launch", "--each", GATED, "1", "2", "--name", "held").stdout.strip()
        until(lambda: lines(folder, "started.txt") == ["1", "2"], "both run")

        late = folder.run("wait", id, "--timeout", "0.05s")
        assert (late.returncode, late.stdout) == (124, "")
        assert "not ended within" in late.stderr

        assert folder.run("pause", "held").returncode == 0
        assert json.loads(folder.run("ls", "--json").stdout)[0]["status"] == "paused"
        assert folder.run("resume", "held").returncode == 0
        assert json.loads(folder.run("ls", "--json").stdout)[0]["status"] == "running"
        assert folder.run("parallelism", "3").returncode == 0
        assert (status(folder)["parallelism"], status(folder)["auto"]) == (3, False)
        back = json.loads(folder.run("parallelism", "auto", "--json").stdout)
        assert back["auto"] is True

        asked = folder.run("cancel", "--convoy", "held")
        assert (asked.returncode, "--yes" in asked.stderr) == (2, True)
        assert folder.run("cancel", "--convoy", "held", "--kill", "--yes").returncode == 0
        assert json.loads(folder.run("ls", "--json").stdout)[0]["status"] == "cancelled"
        assert folder.run("cancel", "--convoy", "held", "--yes").returncode == 4
        assert folder.run("pause", "held").returncode == 2

        stubborn = "trap '' TERM; echo {} >began; while :; do sleep 0.05; done"
        deaf = folder.run("launch", "--each", stubborn, "1", "--name", "deaf").stdout.strip()
        until((folder.path / "began").exists, "it runs")
        left = folder.run("cancel", "--convoy", deaf, "--no-wait")
        assert (left.returncode, left.stderr) == (0, "1 item being cancelled\n")
        assert json.loads(folder.run("ls", "--json").stdout)[0]["reason"] == "cancelled"
        assert folder.run("cancel", "--convoy", deaf, "--kill").returncode == 0

        mine = folder.run("run", "--each", "test {} != 2", "1", "2", "--name", "mine")
        assert (mine.returncode, "1 completed, 1 failed" in mine.stdout) == (1, True)
        assert "--resume" not in mine.stderr
        again = folder.run("retry", "--convoy", "mine", "--yes")
        assert (again.returncode, "1 completed, 1 failed" in again.stdout) == (1, True)
        own = folder.run("run", "--each", "true", "x", "--max", "2")
        assert (own.returncode, str(pid) in own.stderr, "--max" in own.stderr) == (2, True, True)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_detached_operations_are_taken_over_and_run_once(folder: Folder) -> None:
    with torn_down(folder):
        first = up(folder)
        assert folder.run("launch", "--each", GATED, "1", "2").returncode == 0
        until(lambda: lines(folder, "started.txt") == ["1", "2"], "both run")
        assert folder.run("down", "--detach").returncode == 0
        until(lambda: not is_alive(first), "the engine ends")
        items = json.loads(folder.run("items", "--json").stdout)
        assert {item["status"] for item in items} == {"in_progress"}
        assert up(folder) != first
        (folder.path / "go").touch()
        assert folder.run("wait", "echo").returncode == 0
        assert lines(folder, "started.txt") == lines(folder, "done.txt") == ["1", "2"]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_down_now_puts_work_back_and_the_next_engine_goes_on_with_it(folder: Folder) -> None:
    with torn_down(folder):
        up(folder)
        assert folder.run("launch", "--each", GATED, "1").returncode == 0
        until(lambda: lines(folder, "started.txt") == ["1"], "it runs")
        assert folder.run("down", "--now").returncode == 0
        [item] = json.loads(folder.run("items", "--json").stdout)
        assert item["status"] == "pending"
        waiting = folder.run("wait", "echo")
        assert (waiting.returncode, "aisquad up" in waiting.stderr) == (3, True)
        up(folder)
        (folder.path / "go").touch()
        assert folder.run("wait", "echo").returncode == 0
        assert lines(folder, "done.txt") == ["1"]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_ctrl_c_leaves_an_engine_draining_that_now_hastens(folder: Folder) -> None:
    with torn_down(folder):
        pid = up(folder)
        assert folder.run("launch", "--each", GATED, "1").returncode == 0
        until(lambda: lines(folder, "started.txt") == ["1"], "it runs")
        draining = folder.start("down")
        try:
            read_until(draining, b"waiting for 1 operation")
            draining.send_signal(signal.SIGINT)
            _, said = draining.communicate(timeout=BOUND_S)
        finally:
            draining.kill()
            draining.communicate()
        assert draining.returncode == 130
        assert b"aisquad down --now" in said
        assert status(folder)["phase"] == "stopping"
        assert is_alive(pid)
        refused = folder.run("launch", "--each", "true", "x")
        assert refused.returncode == 3
        assert folder.run("down", "--now").returncode == 0
        until(lambda: not is_alive(pid), "the engine ends")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_drain_goes_on_when_whoever_asked_for_it_is_killed(folder: Folder) -> None:
    with torn_down(folder):
        pid = up(folder)
        assert folder.run("launch", "--each", GATED, "1").returncode == 0
        until(lambda: lines(folder, "started.txt") == ["1"], "it runs")
        draining = folder.start("down")
        try:
            read_until(draining, b"waiting for 1 operation")
        finally:
            draining.kill()
            draining.communicate()
        assert is_alive(pid)
        (folder.path / "go").touch()
        until(lambda: not is_alive(pid), "the engine ends when its operation has ended")
        assert lines(folder, "done.txt") == ["1"]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_ctrl_c_in_a_run_beside_an_engine_ends_only_the_watching(folder: Folder) -> None:
    with torn_down(folder):
        pid = up(folder)
        running = folder.start("run", "--each", GATED, "1", "--name", "watched")
        try:
            until(lambda: lines(folder, "started.txt") == ["1"], "it runs")
            read_until(running, b"watched-")
            running.send_signal(signal.SIGINT)
            _, said = running.communicate(timeout=BOUND_S)
        finally:
            running.kill()
            running.communicate()
        assert running.returncode == 130
        assert b"goes on in the engine" in said
        assert b"aisquad cancel --convoy watched-" in said
        assert (status(folder)["pid"], status(folder)["running"]) == (pid, 1)
        (folder.path / "go").touch()
        assert folder.run("wait", "watched").returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_run_beside_an_engine_says_when_that_ends_first(folder: Folder) -> None:
    with torn_down(folder):
        up(folder)
        running = folder.start("run", "--each", GATED, "1", "--name", "watched")
        try:
            until(lambda: lines(folder, "started.txt") == ["1"], "it runs")
            read_until(running, b"watched-")
            assert folder.run("down", "--now").returncode == 0
            _, said = running.communicate(timeout=BOUND_S)
        finally:
            running.kill()
            running.communicate()
        assert running.returncode == 3
        assert b"`aisquad up` goes on with it" in said


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_run_takes_commands_and_waits_for_what_is_launched_in_it(folder: Folder) -> None:
    with torn_down(folder):
        running = folder.start("run", "--each", GATED, "1", "--name", "host")
        try:
            until(lambda: lines(folder, "started.txt") == ["1"], "it runs")
            held = ": {}; until test -e gone; do sleep 0.05; done"
            assert folder.run("launch", "--each", held, "x", "--name", "guest").returncode == 0
            assert status(folder)["pid"] == running.pid
            (folder.path / "go").touch()
            said = read_until(running, b"launched here from elsewhere, too: guest-")
            assert running.poll() is None
            (folder.path / "gone").touch()
            out, _ = running.communicate(timeout=BOUND_S)
        finally:
            (folder.path / "gone").touch()
            running.kill()
            running.communicate()
        assert running.returncode == 0
        assert b"host-" in out
        assert b"host-" in said
        convoys = json.loads(folder.run("ls", "--json").stdout)
        assert {convoy["status"] for convoy in convoys} == {"completed"}


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_of_two_that_go_up_at_the_same_instant_one_runs(folder: Folder) -> None:
    with torn_down(folder):
        both = [folder.start("up", "--json") for _ in range(2)]
        try:
            shapes = [json.loads(each.communicate(timeout=BOUND_S)[0]) for each in both]
        finally:
            for each in both:
                each.kill()
                each.communicate()
        assert {each.returncode for each in both} == {0}
        assert len({shape["pid"] for shape in shapes}) == 1
        assert sorted(shape["is_new"] for shape in shapes) == [False, True]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_an_engine_in_the_foreground_logs_to_standard_error_and_ends_by_a_signal(
    folder: Folder,
) -> None:
    with torn_down(folder):
        serving = subprocess.Popen(
            [*COMMAND, "up", "--foreground", "--on-term", "detach"],
            cwd=folder.path,
            env=folder.env,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            read_until(serving, b"serves")
            assert folder.run("launch", "--each", GATED, "1").returncode == 0
            until(lambda: lines(folder, "started.txt") == ["1"], "it runs")
            serving.send_signal(signal.SIGTERM)
            serving.communicate(timeout=BOUND_S)
        finally:
            serving.kill()
            serving.communicate()
        assert serving.returncode == 0
        [item] = json.loads(folder.run("items", "--json").stdout)
        assert item["status"] == "in_progress"
        up(folder)  # takes it over, and it ends with the test
