"""The operator's `on_finish` command under the real command: trusted first, and never forgotten."""

from __future__ import annotations

import json
import os
import select
from typing import TYPE_CHECKING

import pytest

from tests.integration.cli.conftest import BOUND_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.cli.conftest import Folder

pytestmark = pytest.mark.timeout(90)
FAILS = "echo $AISQUAD_EVENT $AISQUAD_STATUS >>told; echo no such host >&2; exit 6"
KILLS_THE_ENGINE_ONCE = (
    "[ -e killed ] || { echo >killed; kill -9 $PPID; exit; }; "
    "echo $AISQUAD_EVENT $AISQUAD_STATUS >>told"
)


def told(folder: Folder) -> str:
    path = folder.path / "told"
    return path.read_text() if path.exists() else ""


def set_command(folder: Folder, line: str) -> None:
    folder.write("aisquad.toml", f"on_finish = {json.dumps(['sh', '-c', line])}\n")


@pytest.fixture
def background(folder: Folder) -> Iterator[Folder]:
    """A project whose engine, if one is left, is stopped."""
    yield folder
    folder.run("down", "--now")


@pytest.mark.slow
def test_a_found_file_sets_no_command_before_it_is_trusted(folder: Folder) -> None:
    set_command(folder, FAILS)
    refused = folder.run("run", "--each", "echo {}", "x")
    assert refused.returncode == 2
    assert "is not trusted and sets on_finish" in refused.stderr
    assert json.loads(folder.run("ls", "--json").stdout) == []
    assert sorted(os.listdir(folder.path)) == ["aisquad.toml"]

    shown = folder.run("trust", "--yes").stdout
    assert f"on_finish = {json.dumps(['sh', '-c', FAILS])}" in shown
    assert folder.run("run", "--each", "echo {}", "x").returncode == 0
    assert told(folder) == "ended completed\n"


def test_what_it_says_goes_to_the_log_and_not_between_the_commands_own_words(
    folder: Folder,
) -> None:
    folder.env["AI_SQUAD_ON_FINISH"] = json.dumps(["sh", "-c", FAILS])
    ran = folder.run("run", "--each", "echo {}", "x")
    assert ran.returncode == 0
    assert "host" not in ran.stdout + ran.stderr
    log = (folder.path / ".ai_squad" / "engine.log").read_text()
    assert "exit 6" in log
    assert "| no such host" in log


@pytest.mark.slow
def test_an_engine_killed_before_it_had_told_leaves_that_to_the_next_which_tells_it_once(
    background: Folder,
) -> None:
    folder = background
    folder.env["AI_SQUAD_ON_FINISH"] = json.dumps(["sh", "-c", KILLS_THE_ENGINE_ONCE])
    engine = json.loads(folder.run("up", "--json").stdout)["pid"]
    pidfd = os.pidfd_open(engine)
    try:
        assert folder.run("launch", "--each", "echo {}", "x").returncode == 0
        assert select.select([pidfd], [], [], BOUND_S)[0], "the engine was not killed"
    finally:
        os.close(pidfd)
    (convoy,) = json.loads(folder.run("ls", "--json").stdout)
    assert (convoy["status"], told(folder)) == ("completed", "")
    for _ in range(2):
        assert folder.run("up").returncode == 0
        until(lambda: told(folder) == "ended completed\n", "the end is told")
        assert folder.run("down").returncode == 0
