"""The engine as process 1, as in a container: orphans are reaped, signals heard."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.cli.conftest import BOUND_S, COMMAND, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.cli.conftest import Folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]
UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
ORPHANS = 4


def can_unshare() -> bool:
    try:
        done = subprocess.run([*UNSHARE, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def children(pid: int) -> dict[int, str]:
    """Return the children of a process, each with its state."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, *_ = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid:
            found[int(stat.parent.name)] = state
    return found


class Container:
    """A process namespace whose first process is `aisquad up --foreground`."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.outer = subprocess.Popen(
            [*UNSHARE, *COMMAND, "up", "--foreground"],
            cwd=folder.path,
            env=folder.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def open(self) -> None:
        """Wait until its engine answers."""
        folder = self.folder
        until((folder.path / ".ai_squad" / "engine.sock").exists, "the engine listens")
        until(lambda: folder.run("status", "--check").returncode == 0, "the engine answers")
        (self.first,) = children(self.outer.pid)
        (self.engine,) = children(self.first)

    def run(self, **operation: object) -> None:
        """Launch one operation, without waiting for it."""
        text = json.dumps({"name": "work", "operations": [operation]})
        launched = self.folder.run("launch", self.folder.write("work.json", text))
        assert launched.returncode == 0, launched.stderr


@pytest.fixture
def container(folder: Folder) -> Iterator[Container]:
    if not can_unshare():
        pytest.skip("a process namespace cannot be made here (unshare, root)")
    container = Container(folder)
    try:
        container.open()
        yield container
    finally:
        container.outer.kill()  # and with it the first process and all of its namespace
        container.outer.wait(BOUND_S)


def test_what_operations_leave_behind_is_reaped(container: Container) -> None:
    lives_on = "(setsid sh -c 'until [ -e gate ]; do sleep 0.02; done; echo >>ended' &)"
    container.run(id="leaves", run=f"for n in {'x ' * ORPHANS}; do {lives_on}; done")
    until(lambda: len(children(container.first)) == 1 + ORPHANS, "the orphans are its own")
    (container.folder.path / "gate").touch()
    until(lambda: list(children(container.first)) == [container.engine], "all are reaped")
    assert (container.folder.path / "ended").read_text() == "\n" * ORPHANS


def test_a_term_reaches_the_engine_and_work_is_back_in_the_queue(container: Container) -> None:
    container.run(id="long", run="echo >began; exec sleep 600")
    until((container.folder.path / "began").exists, "it runs")
    os.kill(container.first, signal.SIGTERM)
    assert container.outer.wait(BOUND_S) == 0
    (item,) = json.loads(container.folder.run("items", "--json").stdout)
    assert (item["status"], item["attempt"]) == ("pending", 1)


def test_it_ends_as_its_engine_did(container: Container) -> None:
    os.kill(container.engine, signal.SIGKILL)
    assert container.outer.wait(BOUND_S) == 128 + signal.SIGKILL
