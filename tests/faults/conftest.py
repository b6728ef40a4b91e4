"""A command to run, kill and resume, as an operator would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults import served_engine
from tests.faults.serving import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENOUGH_S = 60.0


@dataclass
class Operator:
    """Runs `aisquad` in a folder of its own and ends only what it started itself."""

    folder: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a command without waiting for it; its output goes to `out.log`."""
        with (self.folder / "out.log").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "aisquad_tui.cli", *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **environment},
            )
        self.started.append(process)
        return process

    def json(self, *arguments: str) -> Any:  # noqa: ANN401 - whatever the command prints
        """Run a command to its end and decode what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "aisquad_tui.cli", *arguments, "--json"],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=ENOUGH_S,
        )
        return json.loads(done.stdout)

    def output(self) -> str:
        """Return what the started commands have printed."""
        return (self.folder / "out.log").read_text(errors="replace")

    def wait_until(self, is_so: Callable[[], bool], what: str) -> None:
        """Look at the world again and again until something is so, within a bound."""
        deadline = time.monotonic() + ENOUGH_S
        while not is_so():
            assert time.monotonic() < deadline, f"never happened: {what}\n{self.output()}"
            time.sleep(0.005)

    @staticmethod
    def kill(process: subprocess.Popen[bytes]) -> None:
        """End a process as the kernel would for want of memory."""
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    operator = Operator(tmp_path)
    yield operator
    for process in operator.started:
        if process.poll() is None:
            operator.kill(process)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Service]:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    served = Service(tmp_path, folder)
    yield served
    for pid in served.pids:
        served_engine.end(pid, signal.SIGKILL)
    served_engine.kill_processes_of(folder)


def processes_of(convoy_id: str) -> list[int]:
    """Return the pids of all processes whose environment names the convoy."""
    marker = f"AISQUAD_CONVOY={convoy_id}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if marker in environment:
            found.append(int(folder.name))
    return found


@pytest.fixture
def find_processes() -> Callable[[str], list[int]]:
    return processes_of
