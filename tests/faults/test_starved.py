"""An engine that may have no more descriptors or processes waits for them, says so and goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.starved import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]
USER = 64_321
"""Somebody who has no other process; limits of processes do not hold for root."""
AS_USER = (
    "setpriv",
    f"--reuid={USER}",
    f"--regid={USER}",
    "--clear-groups",
    # The interpreter may lie in root's own folder.
    "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def _can_become_user() -> None:
    """Leave out what this machine does not permit."""
    if os.geteuid() != 0:
        pytest.skip("only root can become a user who has nothing else running")
    probe = [*AS_USER, sys.executable, "-c", "import aisquad_core.engine"]
    try:
        subprocess.run(probe, cwd=ROOT, check=True, capture_output=True, text=True, timeout=20)
    except FileNotFoundError as error:
        pytest.skip(f"no {error.filename} here")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"another user cannot run this Python: {error.stderr.strip()[-200:]}")


@pytest.fixture
def folder(_can_become_user: None) -> Iterator[Path]:
    """Make a folder of the user."""
    with tempfile.TemporaryDirectory(prefix="aisquad-") as name:
        os.chown(name, USER, USER)
        yield Path(name)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("descriptors", "Too many open files"),
        ("forks", "its command could not begin: "),
        ("processes", ": Resource temporarily unavailable"),
    ],
)
def test_starts_wait_until_there_is_room_again(folder: Path, case: str, words: str) -> None:
    script = Path(__file__).with_name("starved.py")
    done = subprocess.run(
        [*AS_USER, sys.executable, str(script), str(folder), case],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        check=False,
        capture_output=True,
        text=True,
        timeout=80,
    )
    assert done.returncode == 0, done.stderr
    seen: Any = json.loads(done.stdout)
    assert words in seen["trouble"]
    assert seen["running while starved"] < OPERATIONS
    assert seen["running while starved"] + seen["queued"] == OPERATIONS
    assert seen["is connected"]
    assert seen["convoy"] == "completed"
    assert sorted(seen["ran"]) == sorted(f"op-{number}" for number in range(OPERATIONS))
    assert seen["attempts"] == [1]
    assert seen["exit"] == 0
    assert "Traceback" not in seen["log"]
    assert seen["log"].count("cannot take a connection") <= 3
