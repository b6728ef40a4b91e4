from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

GROWN_MOST_MB = 4.0
"""All that waits for a reader; the 16,000 changes of this would take seven, one by one."""


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_a_stopped_viewer_costs_the_engine_no_memory_and_comes_back_to_the_newest() -> None:
    script = Path(__file__).with_name("stopped_viewer.py")
    done = subprocess.run(
        [sys.executable, str(script), "--seconds", "4", "--rate", "4000"],
        cwd=script.parents[2],
        check=True,
        stdout=subprocess.PIPE,
        timeout=80,
    )
    seen = json.loads(done.stdout)
    assert seen["rss_mb_most"] - seen["rss_mb_before"] < GROWN_MOST_MB
    assert seen["other_viewer_meanwhile"]["changes"] > seen["other_viewer_before"]["changes"]
