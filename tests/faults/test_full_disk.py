"""A disk that is full: nothing starts, all is told, nothing is lost, and then it goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.full_disk import FIRST

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]
RAN = {*FIRST, "chatty"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Leave out what this machine does not permit."""
    probe = tmp_path / "probe"
    probe.mkdir()
    mount = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", str(probe)]
    try:
        subprocess.run(mount, check=True, capture_output=True, text=True, timeout=10)
    except FileNotFoundError as error:
        pytest.skip(f"no {error.filename} here")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no file system can be mounted here: {error.stderr.strip()}")
    return tmp_path


def see(folder: Path, case: str) -> Any:  # noqa: ANN401 - as the script tells it
    script = Path(__file__).with_name("full_disk.py")
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, str(script), str(folder), case],
        cwd=script.parents[2],
        env={"PYTHONPATH": str(script.parents[2]), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
        check=False,
        capture_output=True,
        text=True,
        timeout=80,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_end(seen: Any) -> None:  # noqa: ANN401 - as the script tells it
    """All went on when there was room, once, and the database is whole."""
    assert seen["convoy"] == "completed"
    assert seen["items"] == {item_id: ["completed", 1] for item_id in (*RAN, "last")}
    assert sorted(seen["ran"]) == sorted([*RAN, "last"])
    assert seen["ran"][-1] == "last"
    assert seen["launch afterwards"] == "completed"
    assert seen["integrity"] == "ok"


def test_a_full_disk_is_told_and_waited_for_and_nothing_is_lost(folder: Path) -> None:
    seen = see(folder, "plain")
    assert "disk full: 0.0 MB left" in seen["trouble"]
    assert seen["trouble"] in seen["status"]
    assert "No space left on device" in seen["launch"]
    assert seen["is launch gone"]
    assert seen["while full"] == {**dict.fromkeys(RAN, "in_progress"), "last": "blocked"}
    assert set(seen["ran while full"]) == RAN
    check_end(seen)


def test_outcomes_are_settled_on_a_full_disk_from_the_reserve_of_the_wal(folder: Path) -> None:
    seen = see(folder, "reserve")
    assert seen["wal_bytes"] >= 8_000_000
    assert seen["while full"] == {**dict.fromkeys(RAN, "completed"), "last": "pending"}
    assert "disk full" in seen["trouble at the end"]
    check_end(seen)


def test_an_engine_that_is_killed_on_a_full_disk_is_followed_by_one_that_takes_over(
    folder: Path,
) -> None:
    seen = see(folder, "killed")
    assert "disk full" in seen["trouble after kill"]
    assert seen["ran while full"] == []
    check_end(seen)
