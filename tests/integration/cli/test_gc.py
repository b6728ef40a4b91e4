"""`aisquad gc` on the logs of real convoys."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.slow


def aisquad(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "aisquad_tui.cli", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_it_shows_asks_and_removes_the_logs_and_keeps_what_is_known(tmp_path: Path) -> None:
    assert aisquad(tmp_path, "run", "--each", "echo {}", "hello").returncode == 0
    (convoy,) = json.loads(aisquad(tmp_path, "ls", "--json").stdout)
    runs = tmp_path / ".ai_squad" / "runs"

    kept = aisquad(tmp_path, "gc")
    assert (kept.returncode, "nothing to remove; 1 run with" in kept.stderr) == (0, True)

    shown = aisquad(tmp_path, "gc", "--keep-bytes", "1", "--dry-run")
    assert shown.stdout.startswith(convoy["id"])
    assert "1 run with" in shown.stderr

    asked = aisquad(tmp_path, "gc", "--keep-bytes", "1")
    assert (asked.returncode, "--yes" in asked.stderr) == (2, True)
    assert list(runs.glob(f"{convoy['id']}*"))

    done = aisquad(tmp_path, "gc", "--keep-bytes", "1", "--yes", "--json")
    assert done.returncode == 0
    assert [run["convoy_id"] for run in json.loads(done.stdout)["runs"]] == [convoy["id"]]
    assert not list(runs.glob(f"{convoy['id']}*"))
    (after,) = json.loads(aisquad(tmp_path, "ls", "--json").stdout)
    assert after == convoy
