from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import WAITING
from tests.acceptance.terminal import AISQUAD, Tmux, minimal_env, until

if TYPE_CHECKING:
    from tests.acceptance.conftest import Project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]

CONFIGURATION = """
set -g default-terminal "tmux-256color"
set -s extended-keys on
set -g remain-on-exit on
"""


def test_in_tmux_keys_arrive_and_copies_reach_its_buffer(project: Project) -> None:
    project.write(WAITING)
    with Tmux(project.home, minimal_env(project.home), CONFIGURATION) as tmux:
        tmux.run([*AISQUAD, "yard.toml"], project.path)
        tmux.wait_for("2 running")
        tmux.wait_for("✓ third +completed")
        tmux.send("2")
        tmux.send("/")
        tmux.wait_for("filter.*field:value")
        tmux.send("-l", "third")
        tmux.send("Enter")
        tmux.wait_for("filter: third")
        until(lambda: "● first" not in tmux.picture(), what="only third is shown")
        tmux.send("y")
        until(lambda: tmux.buffer() == "third", what="third in tmux's buffer")
        tmux.send("Escape")
        tmux.wait_for("● first +running")
        tmux.send("C-c")
        tmux.wait_for("q leaves, x cancels")
        tmux.wait_for("2 running")
