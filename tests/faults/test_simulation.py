"""Five hundred seeds of `simulation.py`, every commit of a small scenario, and planted defects."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.simulated.playing import Plant

ROOT = Path(__file__).parents[2]
SEEDS = 500


def play(*flags: str) -> tuple[dict[str, Any], str, int]:
    """Return the summary, all that was printed, and the exit status."""
    command = [sys.executable, "tests/faults/simulation.py", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout[-20_000:], done.stderr[-5_000:])
    return json.loads(done.stdout.splitlines()[-1]), done.stdout, done.returncode


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_no_seed_loses_repeats_or_leaves_anything() -> None:
    summary, _, status = play("--seeds", str(SEEDS), "--jobs", "2")
    assert (summary["failed"], summary["played"], status) == ([], SEEDS, 0)
    # A world in which little happens would show little.
    assert summary["starts"] > 5 * SEEDS
    assert summary["deaths"] > SEEDS
    assert summary["faults"] > SEEDS


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_every_commit_may_fail_or_be_the_last_of_an_engine() -> None:
    summary, printed, status = play("--every-commit", "--jobs", "2")
    assert (summary["failed"], status) == ([], 0)
    commits = [int(line.split()[2]) for line in printed.splitlines() if line.endswith(" commits")]
    assert len(commits) == 2
    assert min(commits) > 10


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_seed_goes_the_same_way_each_time_it_is_played() -> None:
    alone = [play("--seeds", "1", "--first", str(seed))[0]["digest"] for seed in range(4)]
    together = play("--seeds", "4", "--jobs", "4")[0]["digest"]
    assert together == alone[0] ^ alone[1] ^ alone[2] ^ alone[3]


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("plant", "finding"),
    [
        (Plant.NO_CLAIMS, " began, but durable is "),
        (Plant.EARLY_NEWS, "was shown before it was durable"),
    ],
)
def test_a_planted_defect_is_found_and_played_again(plant: Plant, finding: str) -> None:
    summary, printed, status = play("--seeds", "10", "--plant", plant, "--jobs", "2")
    assert status == 1
    assert finding in printed
    name = summary["failed"][0]
    assert f"again: python tests/faults/simulation.py --trace --plant '{plant}'" in printed
    again, _, _ = play("--seeds", "1", "--first", name.removeprefix("seed "), "--plant", plant)
    assert again["failed"] == [name]
