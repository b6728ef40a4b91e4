"""However it ends, the terminal is usable and an engine in its process has stopped in order."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import WAITING, is_running
from tests.acceptance.terminal import Terminal, minimal_env, until

if TYPE_CHECKING:
    from tests.acceptance.conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EMPTY = "No convoys yet"
CRASHING = """
import sys
from aisquad_tui.screens.dashboard import DashboardScreen
def show(self, frame):
    raise RuntimeError("it broke")
DashboardScreen.show = show
from aisquad_tui.cli import main
sys.exit(main())
"""


def expect_restored(terminal: Terminal) -> None:
    terminal.wait_for(lambda: not terminal.left_on(), what="everything switched off again")
    assert b"\x1b[?1049h" in terminal.output
    assert terminal.is_cooked


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_signal_restores_the_terminal_and_stops_the_work(
    number: signal.Signals, project: Project
) -> None:
    terminal = project.open("--embedded", project.write(WAITING))
    terminal.wait_for("2 running")
    operation = project.pid("first")
    terminal.signal(number)
    assert terminal.wait() == 128 + number
    expect_restored(terminal)
    until(lambda: not is_running(operation), what="the operation has been stopped")


def test_a_hangup_restores_the_terminal_and_leaves_the_work_running(project: Project) -> None:
    terminal = project.open("--embedded", project.write(WAITING))
    terminal.wait_for("2 running")
    operation = project.pid("first")
    terminal.signal(signal.SIGHUP)
    assert terminal.wait() == 128 + signal.SIGHUP
    assert terminal.is_cooked
    assert is_running(operation)


def test_without_its_terminal_it_ends_even_where_hangups_are_ignored(project: Project) -> None:
    ignoring = ("sh", "-c", "trap '' HUP; exec \"$@\"", "sh")
    terminal = project.open(wrapper=ignoring)
    terminal.wait_for(EMPTY)
    terminal.hang_up()
    until(lambda: not terminal.is_alive, what="it ends without a terminal")


def test_a_crash_leaves_the_terminal_usable_and_says_where_to_look(project: Project) -> None:
    command = [sys.executable, "-c", CRASHING]
    env = minimal_env(project.home)
    terminal = project.stack.enter_context(Terminal(command, cwd=project.path, env=env))
    assert terminal.wait() not in {0, 2}
    expect_restored(terminal)
    said = terminal.output.rpartition(b"\x1b[?1049l")[2]
    assert b"it broke" in said
    assert b"crash.log" in said.replace(b"\r\n", b"")
    assert "it broke" in (project.path / ".ai_squad" / "crash.log").read_text(encoding="utf-8")


def test_leaving_by_key_restores_the_terminal(project: Project) -> None:
    terminal = project.open()
    terminal.wait_for(EMPTY)
    terminal.send("q")
    assert terminal.wait() == 0
    expect_restored(terminal)
