from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SCRIPTS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(
    ("script", "said"),
    zip(SCRIPTS, ["completed 42\n", "20 items, 20 readers\n"], strict=True),
    ids=["convoy", "shared instances"],
)
def test_the_readmes_scripts_run_as_they_stand(script: str, said: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == (said, "")
