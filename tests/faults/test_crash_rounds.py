"""Ten rounds of `crash_rounds.py`; two hundred are for a machine with time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROUNDS = 10
ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_ten_kills_lose_nothing_repeat_nothing_and_leave_nothing_behind() -> None:
    command = [sys.executable, "-m", "tests.faults.crash_rounds", "--rounds", str(ROUNDS)]
    done = subprocess.run(
        [*command, "--seed", "7"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    print(done.stdout, done.stderr)
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["error"] is None
    unwanted = (
        "lost",
        "run_twice",
        "rerun_after_completion",
        "out_of_order",
        "unkept_launches",
        "left_over",
        "corrupt",
    )
    assert {name: summary[name] for name in unwanted} == dict.fromkeys(unwanted, 0)
    assert (summary["rounds"], done.returncode) == (ROUNDS, 0)
