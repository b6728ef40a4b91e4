"""Every dialog opens and closes on every kind of terminal, and pasted text steers nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import WAITING

if TYPE_CHECKING:
    from tests.acceptance.conftest import Project
    from tests.acceptance.terminal import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ESC = "\x1b"
FOOTER = r"q leave.*\? help"
DIALOGS = {
    "n": "New convoy",
    "?": " Keys ",
    ":": " Commands ",
    "x": "(?i)cancel (first|second|convoy)",
    "X": "(?i)kill (first|second|convoy)",
    "q": "Leave while",
}


def close(terminal: Terminal, title: str) -> None:
    terminal.insist(ESC, lambda: not terminal.shows(title), again_s=0.4)


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({"NO_COLOR": "1"}, id="no colours"),
        pytest.param({"TERM": "vt220"}, id="monochrome"),
        pytest.param({"TERM": "xterm"}, id="16 colours"),
        pytest.param({"TERM": "xterm", "COLORFGBG": "0;15"}, id="16 colours, light"),
        pytest.param({"COLORTERM": "truecolor", "AI_SQUAD_THEME": "light"}, id="truecolor, light"),
        pytest.param({"AI_SQUAD_ASCII": "1"}, id="ASCII"),
    ],
)
def test_every_dialog_opens_and_closes(variables: dict[str, str], project: Project) -> None:
    file = project.write(WAITING)
    terminal = project.open("--embedded", file, size=(80, 24), variables=variables)
    terminal.wait_for("2 running")
    terminal.wait_for("first +running")
    terminal.send("2g")
    for key, title in DIALOGS.items():
        terminal.insist(key, title)
        close(terminal, title)
    terminal.insist("\r", "yard.* (first|second) .*running")
    terminal.insist(ESC, "third +completed")
    assert terminal.is_alive


def test_pasted_text_triggers_no_key_and_submits_nothing(project: Project) -> None:
    terminal = project.open(project.write(WAITING))
    terminal.wait_for("2 running")
    terminal.paste("q\nX\ny\n" * 10)
    terminal.insist("n", "New convoy")
    terminal.paste("echo one\necho two\n")
    terminal.wait_for("echo one")
    assert terminal.shows("New convoy")
    terminal.paste("x" * 1_000_000)
    close(terminal, "New convoy")
    terminal.wait_for("2 running")
    assert terminal.is_alive
