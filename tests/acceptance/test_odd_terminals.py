"""What terminals over SSH do to a screen: each row of it that can be seen from outside."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import WAITING
from tests.acceptance.terminal import minimal_env

if TYPE_CHECKING:
    from tests.acceptance.conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EMPTY = "No convoys yet"
FOOTER = r"q leave.*\? help"
KITTY_ON = re.compile(rb"\x1b\[>\d+u")
SPLIT_S = 0.08


def test_over_ssh_rubbish_and_torn_keys_do_no_harm(project: Project) -> None:
    terminal = project.open(
        project.write(WAITING),
        size=(200, 60),
        variables={
            "COLUMNS": "80",
            "LINES": "24",
            "ESCDELAY": "1000",
            "SSH_CONNECTION": "192.0.2.1 50000 192.0.2.2 22",
        },
    )
    terminal.wait_for("2 running")
    terminal.wait_for(
        lambda: bool(re.search(FOOTER, terminal.rows()[59])), what="a footer in row 60"
    )
    assert max(map(len, terminal.rows())) > 190, "COLUMNS froze the size"
    assert b"\x1b[?1003h" not in terminal.output
    assert b"\x1b[?1000h" in terminal.output

    terminal.send(b"\xff\xfe\x80")
    terminal.send(b"\x1b[M\x20\xa0\x30")
    terminal.send("\x1b[B")
    terminal.send("\x1b")
    time.sleep(SPLIT_S)  # what a slow link does to the sequence of the up key
    terminal.send("[A")
    terminal.insist("?", " Keys ")
    terminal.insist("\x1b", FOOTER)


def test_any_size_that_a_terminal_can_have_is_survived(project: Project) -> None:
    terminal = project.open()
    terminal.wait_for(EMPTY)
    terminal.resize(1, 1)
    terminal.resize(38, 8)
    terminal.wait_for("aisquad needs 40x10")
    terminal.resize(120, 40)
    terminal.wait_for(EMPTY)
    terminal.wait_for(FOOTER)
    terminal.resize(80, 24)
    terminal.wait_for(
        lambda: bool(re.search(FOOTER, terminal.rows()[23])), what="a footer in row 24"
    )


def test_a_locale_without_utf8_gets_ascii_alone(project: Project) -> None:
    env = minimal_env(project.home, LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
    terminal = project.open(env=env, without="LANG")
    terminal.wait_for(EMPTY)
    terminal.wait_for(FOOTER)
    assert terminal.output.isascii()


def test_in_tmux_the_keyboard_protocol_that_it_garbles_stays_off(project: Project) -> None:
    terminal = project.open(variables={"TMUX": "/nonexistent,1,0"})
    terminal.wait_for(EMPTY)
    assert not KITTY_ON.search(terminal.output)


def test_elsewhere_the_keyboard_protocol_is_on(project: Project) -> None:
    terminal = project.open()
    terminal.wait_for(EMPTY)
    assert KITTY_ON.search(terminal.output)


def test_keys_that_come_in_one_packet_go_where_each_of_them_leads(project: Project) -> None:
    terminal = project.open(project.write(WAITING))
    terminal.wait_for("third +completed")
    terminal.send("2/sl\r")
    terminal.wait_for("filter: sl")
    assert not terminal.shows("sort: (?!status)")
