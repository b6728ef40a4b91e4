"""Launchers that claim late, under engines that die: nothing starts twice."""

from __future__ import annotations

import glob
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

OPERATIONS = 60
KILLS = 8

LATE_SHELL = """#!/bin/sh
# Sleeps for up to 0.4 s, a random time, before it does what a shell does.
sleep "0.$(($(od -An -N1 -tu1 /dev/urandom) % 4))"
exec /bin/sh "$@"
"""


def count_starts(folder: Path) -> int:
    """Return how many starts came to their lock."""
    return len(glob.glob("*/*/*/lock", root_dir=folder / "state" / "runs"))


def run_and_kill(folder: Path, *flags: str) -> Counter[str]:
    """Kill engine after engine at random moments, let the last one finish; count the marks.

    The moments count from when an engine comes to its work, and every other time from its first
    start, so that it is killed at work however long that takes on a busy machine.
    """
    shell = folder / "late-sh"
    shell.write_text(LATE_SHELL)
    shell.chmod(0o755)
    engine = [sys.executable, str(Path(__file__).with_name("late_engine.py"))]
    arguments = [str(folder), str(OPERATIONS), *flags]
    moments = random.Random(7)
    for number in range(KILLS):
        earlier = count_starts(folder)
        with subprocess.Popen(
            [*engine, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            while number % 2 and process.poll() is None and count_starts(folder) == earlier:
                time.sleep(0.01)
            try:
                process.wait(timeout=moments.random() * 0.7)
            except subprocess.TimeoutExpired:
                process.kill()
    subprocess.run([*engine, *arguments], check=True, timeout=60)
    return Counter((folder / "marks").read_text().split())


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_late_launcher_never_starts_what_another_engine_started_anew(
    tmp_path: Path, find_processes: Callable[[str], list[int]]
) -> None:
    marks = run_and_kill(tmp_path)
    assert marks == Counter(f"op-{number}" for number in range(OPERATIONS))
    # More than one convoy where an engine was killed before its launch was committed.
    convoys = [path.name for path in (tmp_path / "state" / "runs").iterdir()]
    assert [pid for convoy in convoys for pid in find_processes(convoy)] == []


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_without_the_claim_the_same_kills_start_operations_twice(tmp_path: Path) -> None:
    marks = run_and_kill(tmp_path, "--without-claim")
    deadline = time.monotonic() + 10
    while not any(count > 1 for count in marks.values()) and time.monotonic() < deadline:
        time.sleep(0.1)  # the late ones write their marks when they wake
        marks = Counter((tmp_path / "marks").read_text().split())
    assert max(marks.values()) > 1
