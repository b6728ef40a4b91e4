"""What an operator does: real commands, a real engine, a real terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import WAITING, is_running
from tests.acceptance.terminal import until

if TYPE_CHECKING:
    from tests.acceptance.conftest import Project

pytestmark = pytest.mark.timeout(300)

DOWN = "\x1b[B"
STEPS = """echo "this is $1"
case $1 in
  slow) echo $$ > slow.pid; exec sleep 600 ;;
esac
"""


@pytest.mark.slow
def test_a_command_over_inputs_is_launched_cancelled_and_looked_into(project: Project) -> None:
    project.write(STEPS, "steps.sh")
    terminal = project.open()
    terminal.wait_for("No convoys yet")

    terminal.send("n")
    terminal.wait_for("New convoy")
    terminal.send(DOWN)
    terminal.send("sh steps.sh {}")
    terminal.send(DOWN)
    terminal.send("quick slow")
    terminal.wait_for("2 operations")
    terminal.send("\r")
    terminal.wait_gone("New convoy")
    terminal.wait_for(r"● slow +running.*this is slow")
    terminal.wait_for(r"✓ quick +completed")
    operation = project.pid("slow")

    terminal.send("2/")
    terminal.wait_for("filter.*field:value")
    terminal.send("slow")
    terminal.wait_gone("✓ quick")
    terminal.send("\r")
    terminal.wait_for("filter: slow")
    terminal.wait_gone("^ *filter ")
    terminal.insist("x", "(?i)cancel slow")
    terminal.insist("y", r"slow +cancelled")
    until(lambda: not is_running(operation), what="the operation has been stopped")

    terminal.send("\r")
    terminal.wait_for("^ sh . slow .*cancelled")
    terminal.wait_for("│ this is slow")
    terminal.send("q")
    terminal.wait_for("ITEM +STATUS")
    terminal.send("q")
    assert terminal.wait() == 0


@pytest.mark.slow
def test_leaving_an_embedded_engine_asks_while_work_runs_and_staying_is_the_default(
    project: Project,
) -> None:
    terminal = project.open("--embedded", project.write(WAITING))
    terminal.wait_for("2 running")
    operation = project.pid("first")
    terminal.insist("q", "Leave while 2 operations run")
    terminal.insist("\r", lambda: not terminal.shows("Leave while"))
    assert is_running(operation)
    terminal.insist("q", "Leave while 2 operations run")
    terminal.insist("s", lambda: not terminal.is_alive)
    assert terminal.wait() == 0
    until(lambda: not is_running(operation), what="the operation has been stopped")


@pytest.mark.slow
def test_work_that_was_left_running_is_taken_over_by_the_next_screen(project: Project) -> None:
    terminal = project.open("--embedded", project.write(WAITING))
    terminal.wait_for("2 running")
    operation = project.pid("first")
    terminal.insist("q", "Leave while 2 operations run")
    terminal.insist("d", lambda: not terminal.is_alive)
    assert terminal.wait() == 0
    again = project.open("--embedded")
    again.wait_for("● first +running")
    assert project.pid("first") == operation
    assert is_running(operation)


@pytest.mark.slow
def test_a_wrong_convoy_file_is_said_before_any_screen_opens(project: Project) -> None:
    terminal = project.open(project.write('[[operations]]\nid = "a"\nruns = "true"\n'))
    assert terminal.wait() == 2
    assert b"\x1b[?1049h" not in terminal.output
    assert b"yard.toml" in terminal.output


@pytest.mark.slow
def test_the_demo_moves_and_takes_its_folder_with_it(project: Project) -> None:
    terminal = project.open("demo", variables={"TMPDIR": str(project.home)})
    terminal.wait_for("[1-9][0-9]* running")
    terminal.wait_for("[1-9][0-9]*(,[0-9]+)* queued")
    assert list(project.home.glob("aisquad-demo-*"))
    terminal.send("q")
    assert terminal.wait() == 0
    assert not list(project.home.glob("aisquad-demo-*"))
