"""The command as a process of its own, in a folder of its own."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMMAND = (sys.executable, "-m", "aisquad_tui.cli")
_TIMEOUT_S = 60
BOUND_S = 40


def until(is_so: Callable[[], bool], what: str) -> None:
    """Look at the world again and again until something is so, within a bound."""
    deadline_s = time.monotonic() + BOUND_S
    while not is_so():
        assert time.monotonic() < deadline_s, f"not within {BOUND_S} s: {what}"
        select.select([], [], [], 0.02)


@dataclass(frozen=True, slots=True)
class Folder:
    """A project's folder, and the command in it."""

    path: Path
    env: dict[str, str]

    def write(self, name: str, text: str) -> str:
        (self.path / name).write_text(text, encoding="utf-8")
        return name

    def run(self, *arguments: str | bytes, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        """Run the command to its end, without a terminal."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.path,
            env=self.env,
            input=stdin,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start the command and leave it running."""
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.path,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    project = tmp_path / "project"
    project.mkdir()
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(__file__))))
    env = {name: value for name, value in os.environ.items() if not name.startswith("AI_SQUAD_")}
    for name in ("NO_COLOR", "FORCE_COLOR"):
        env.pop(name, None)
    env |= {
        "AI_SQUAD_MONITORING_PORT": "0",
        "HOME": str(tmp_path),
        "PYTHONPATH": root,
        "TERM": "xterm-256color",
    }
    return Folder(project, env)
