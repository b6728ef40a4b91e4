"""The command on a real terminal, in a project of its own."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from aisquad_core.state.folder import engine_pid
from tests.acceptance.terminal import AISQUAD, Terminal, minimal_env, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

WAITING = """name = "yard"

[[operations]]
id = "first"
run = "echo hello from first; echo $$ > first.pid; exec sleep 600"

[[operations]]
id = "second"
run = "echo hello from second; echo $$ > second.pid; exec sleep 600"

[[operations]]
id = "third"
run = "echo goodbye from third"
"""
"""Two operations that run until they are stopped, and one that ends."""


@dataclass(frozen=True, slots=True)
class Project:
    """A folder, and the screen in it."""

    path: Path
    home: Path
    stack: ExitStack

    def open(
        self,
        *arguments: str,
        size: tuple[int, int] = (120, 40),
        wrapper: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
        without: str = "",
    ) -> Terminal:
        """Start `aisquad`; it is ended with the test.

        Args:
            arguments: Those of the command.
            size: Columns and rows.
            wrapper: A command that starts it.
            env: Its whole environment; None: a minimal one.
            variables: More of them.
            without: One that is left out.
        """
        whole = {**(minimal_env(self.home) if env is None else env), **(variables or {})}
        whole.pop(without, None)
        command = [*wrapper, *AISQUAD, *arguments]
        return self.stack.enter_context(Terminal(command, cwd=self.path, env=whole, size=size))

    def write(self, text: str, name: str = "yard.toml") -> str:
        """Write a convoy file; return its name."""
        (self.path / name).write_text(text, encoding="utf-8")
        return name

    def pid(self, name: str) -> int:
        """Return the process that an operation of `WAITING` says it is, once it says so."""
        file = self.path / f"{name}.pid"
        until(lambda: file.exists() and file.read_text().strip(), what=f"{name} runs")
        return int(file.read_text())


def is_running(pid: int) -> bool:
    """Tell whether there is such a process, other than one that only waits to be reaped."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    home, path = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    path.mkdir()
    with ExitStack() as stack:
        yield Project(path, home, stack)
    # The engine that a screen started outlives it by design; what it ran is ended by its pid files.
    engine = engine_pid(path / ".ai_squad")
    if engine:
        with suppress(ProcessLookupError):
            os.kill(engine, signal.SIGKILL)
    for file in path.glob("*.pid"):
        with suppress(ProcessLookupError, ValueError):
            os.kill(int(file.read_text()), signal.SIGKILL)
