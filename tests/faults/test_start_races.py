"""A few rounds of `start_races.py`; fifty are for a machine with time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROUNDS = 4
ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_of_commands_that_start_the_engine_at_the_same_instant_one_does() -> None:
    command = [sys.executable, "-m", "tests.faults.start_races", "--rounds", str(ROUNDS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["problems"], summary["rounds"], done.returncode) == ([], ROUNDS, 0)
