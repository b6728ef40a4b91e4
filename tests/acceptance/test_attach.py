"""The screen beside an engine in a process of its own: it comes and goes, the work stays."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from aisquad_core.state.folder import engine_pid
from tests.acceptance.conftest import WAITING, is_running
from tests.acceptance.terminal import AISQUAD, minimal_env, until

if TYPE_CHECKING:
    from tests.acceptance.conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ENGINE = """
import asyncio, os
from pathlib import Path
from aisquad_core import service
from aisquad_core.settings import load_settings

settings = load_settings(cwd=Path.cwd(), environ=os.environ)
asyncio.run(service.serve(settings, on_ready=lambda: service.report(None)))
"""

RUNS_ON = rb"the engine runs on \(2 running, 0 queued\); `aisquad down` stops it\r\n\Z"
SILENT = r"engine away since \d\d:\d\d:\d\d: does not answer, trying again"
AWAY = r"engine away since \d\d:\d\d:\d\d, trying again"


def start_engine(project: Project) -> subprocess.Popen[bytes]:
    """Start an engine on the project's state folder and wait until it answers.

    It is killed with the test; what it runs is killed by the project.
    """
    process = project.stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-c", ENGINE],
            cwd=project.path,
            env=minimal_env(project.home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
    )
    project.stack.callback(process.kill)
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b'{"pid"')
    return process


def aisquad(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command beside the screen, to its end."""
    return subprocess.run(
        [*AISQUAD, *arguments],
        cwd=project.path,
        env=minimal_env(project.home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def holder(project: Project) -> int | None:
    """Return the process that holds the project's state folder."""
    return engine_pid(project.path / ".ai_squad")


def test_without_an_engine_the_screen_starts_one_that_outlives_it(project: Project) -> None:
    terminal = project.open(project.write(WAITING))
    terminal.wait_for(r"● up .* 2 running")
    operation, engine = project.pid("first"), holder(project)
    assert engine not in {None, terminal.pid}
    terminal.send("q")
    assert terminal.wait() == 0
    assert re.search(RUNS_ON, terminal.output)
    assert terminal.left_on() == set()
    assert is_running(operation)

    again = project.open()
    again.wait_for(r"● first +running")
    assert (project.pid("first"), holder(project)) == (operation, engine)
    again.hang_up()
    until(lambda: not again.is_alive, what="the screen ends with its terminal")
    assert is_running(operation)
    assert holder(project) == engine


def test_screens_that_open_at_the_same_instant_share_one_engine(project: Project) -> None:
    screens = [project.open() for _ in range(3)]
    for screen in screens:
        screen.wait_for("● up")
    engine = holder(project)
    assert engine not in {None, *(screen.pid for screen in screens)}
    launched = aisquad(project, "launch", project.write(WAITING))
    assert launched.returncode == 0
    for screen in screens:
        screen.wait_for("2 running")
        screen.send("q")
        assert screen.wait() == 0
    assert holder(project) == engine


def test_an_engine_that_cannot_be_started_is_an_error_that_names_the_remedy(
    project: Project,
) -> None:
    state = project.path / ".ai_squad"
    state.mkdir(mode=0o700)
    (state / "engine.log").symlink_to("elsewhere")
    terminal = project.open()
    assert terminal.wait() == 1
    assert b"\x1b[?1049h" not in terminal.output
    assert re.search(rb"error: \S*engine.log: .*\r\n.*`aisquad --embedded`", terminal.output)
    embedded = project.open("--embedded")
    embedded.wait_for("No convoys yet")


def test_a_project_that_is_not_trusted_is_shown_by_an_engine_that_ends_with_the_screen(
    project: Project,
) -> None:
    project.write('[agents.mine]\ncommand = ["touch", "ran"]\n', "aisquad.toml")
    terminal = project.open()
    terminal.wait_for("No convoys yet")
    assert holder(project) == terminal.pid
    terminal.send("q")
    assert terminal.wait() == 0
    assert holder(project) is None


def test_an_engine_in_the_screen_is_reached_and_stopped_from_another_terminal(
    project: Project,
) -> None:
    terminal = project.open("--embedded")
    terminal.wait_for("● up")
    launched = aisquad(project, "launch", project.write(WAITING))
    assert (launched.returncode, launched.stdout.startswith("yard-")) == (0, True)
    terminal.wait_for("2 running")
    assert aisquad(project, "cancel", "second", "--kill").returncode == 0
    terminal.wait_for(r"second +cancelled")
    assert aisquad(project, "down", "--now").returncode == 0
    assert terminal.wait() == 0
    assert b"the engine was stopped from another terminal" in terminal.output
    assert not is_running(project.pid("first"))
    assert holder(project) is None


def test_an_engine_that_hangs_is_told_as_away_and_comes_back(project: Project) -> None:
    engine = start_engine(project)
    terminal = project.open(project.write(WAITING))
    terminal.wait_for(r"● first +running.*hello from first")
    os.kill(engine.pid, signal.SIGSTOP)
    try:
        terminal.wait_for(SILENT)
        terminal.wait_for(r"● first +running.*hello from first")
        terminal.insist("-", f"the engine with pid {engine.pid} does not answer")
    finally:
        os.kill(engine.pid, signal.SIGCONT)
    terminal.wait_gone("engine away")
    terminal.wait_for(r"● up .* 2 running")
    terminal.insist("-", "parallelism pinned at")


def test_leaving_an_attached_screen_asks_nothing_and_the_work_goes_on(project: Project) -> None:
    engine = start_engine(project)
    terminal = project.open(project.write(WAITING))
    terminal.wait_for("launched yard.*q leaves, work goes on")
    terminal.wait_for(r"● up .* 2 running")
    operation = project.pid("first")
    terminal.send("q")
    assert terminal.wait() == 0
    assert terminal.left_on() == set()

    by_signal = project.open()
    by_signal.wait_for(r"● first +running")
    by_signal.signal(signal.SIGTERM)
    assert by_signal.wait() == 128 + signal.SIGTERM
    assert is_running(operation)
    assert engine.poll() is None


def test_a_killed_engine_is_told_and_the_next_one_is_found_without_a_key(project: Project) -> None:
    engine = start_engine(project)
    terminal = project.open(project.write(WAITING))
    terminal.wait_for("2 running")
    operation = project.pid("first")
    terminal.wait_for(r"✓ third +completed")
    os.kill(engine.pid, signal.SIGKILL)
    engine.wait()
    terminal.wait_for(AWAY)
    assert terminal.shows(r"✓ third +completed")
    assert is_running(operation)
    terminal.insist("-", "✗ the engine is away, trying again")

    start_engine(project)
    terminal.wait_gone("engine away")
    terminal.wait_for(r"● up .* 2 running")
    assert project.pid("first") == operation
    terminal.insist("-", "parallelism pinned at")
    terminal.send("q")
    assert terminal.wait() == 0


def test_two_screens_show_the_same(project: Project) -> None:
    start_engine(project)
    screens = [project.open(), project.open(size=(100, 30))]
    for screen in screens:
        screen.wait_for("● up")
    launching = project.open(project.write(WAITING))
    for screen in [*screens, launching]:
        screen.wait_for(r"✓ third +completed")
        screen.wait_for("2 running")
    screens[0].send("2/")
    screens[0].wait_for("filter.*field:value")
    screens[0].send("first\r")
    screens[0].wait_gone(r"✓ third")
    screens[0].insist("x", "(?i)cancel first")
    screens[0].insist("y", r"first +cancelled")
    for screen in [*screens, launching]:
        screen.wait_for(r"first +cancelled")
        screen.wait_for("1 running")


def test_an_end_rings_on_every_screen_once_and_not_for_what_ended_before(
    project: Project,
) -> None:
    start_engine(project)
    quick = '[[operations]]\nid = "quick"\nrun = "true"\n'
    first = project.open(project.write(f'name = "early"\n{quick}', "early.toml"))
    silent = project.open(variables={"AI_SQUAD_BELL": "false"})
    first.wait_written(b"\x07\x1b]9;aisquad: early: 1 done")
    silent.wait_for("✓ early")
    late = project.open()
    late.wait_for("✓ early")

    launching = project.open(project.write(f'name = "late"\n{quick}', "late.toml"))
    for screen in (first, late, launching):
        screen.wait_written(b"\x07\x1b]9;aisquad: late: 1 done")
    silent.wait_for("✓ late")
    told = re.compile(rb"\x1b\]9;aisquad: (\w+)")
    assert told.findall(first.output) == [b"early", b"late"]
    assert told.findall(late.output) == [b"late"]
    assert told.findall(silent.output) == []
    assert b"\x07" not in re.sub(rb"\x1b\][^\x07]*\x07", b"", silent.output)


def test_embedded_beside_an_engine_is_refused_with_its_pid(project: Project) -> None:
    engine = start_engine(project)
    terminal = project.open("--embedded")
    assert terminal.wait() == 3
    assert b"\x1b[?1049h" not in terminal.output
    assert f"the engine with pid {engine.pid} is already running".encode() in terminal.output
