from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.terminal import AISQUAD, minimal_env

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Project


@pytest.mark.timeout(120)
@pytest.mark.parametrize("arguments", [(), ("demo",)])
def test_without_a_terminal_it_says_one_sentence_and_draws_nothing(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    done = subprocess.run(
        [*AISQUAD, *arguments],
        cwd=tmp_path,
        env=minimal_env(tmp_path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"\x1b" not in done.stderr
    assert b"aisquad status" in done.stderr
    assert done.stderr.count(b"\n") == 1


@pytest.mark.timeout(120)
@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_cannot_draw_gets_one_sentence(term: str, project: Project) -> None:
    terminal = project.open(variables={"TERM": term})
    assert terminal.wait() == 2
    assert b"\x1b" not in terminal.output
    assert b"aisquad status" in terminal.output.replace(b"\r\n", b" ")
