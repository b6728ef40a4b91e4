"""A convoy over real files: hundreds of compilations, one that cannot, one that needs a retry."""

from __future__ import annotations

import json
import shutil
import sys
import sysconfig
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Folder

FILES = 200

CONVOY = f"""
name = "compile-all"

[[operations]]
id = "look"
run = "ls src"

[[operations]]
id = "compile-{{file}}"
for_each = {{ file = "src/**/*.py" }}
needs = ["look"]
run = ["{sys.executable}", "-m", "py_compile", "{{file}}"]

[[operations]]
id = "flaky"
retries = 2
retry_delay = 0.1
run = 'test "$AISQUAD_ATTEMPT" -ge 2'

[[operations]]
id = "after-flaky"
needs = ["flaky", "look"]
run = "true"

[[operations]]
id = "report"
needs = ["compile-{{file}}"]
run = "echo all compiled"
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_convoy_over_the_standard_library_agrees_with_reality(folder: Folder) -> None:
    source = folder.path / "src"
    library = Path(sysconfig.get_path("stdlib"))
    for module in sorted(library.glob("*.py"))[: FILES // 2]:
        (source / "top").mkdir(parents=True, exist_ok=True)
        shutil.copy(module, source / "top")
    for module in sorted(library.glob("*/*.py"))[: FILES // 2]:
        (source / module.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(module, source / module.parent.name)
    (source / "broken.py").write_text("def nothing(:\n")
    (source / "a b $(touch x).py").write_text("VALUE = 1\n")
    modules = sorted(source.rglob("*.py"))
    assert len(modules) > FILES

    ran = folder.run("run", folder.write("compile.toml", CONVOY), "--max", "40")

    assert ran.returncode == 1, ran.stderr
    items = {item["id"]: item for item in json.loads(folder.run("items", "--all", "--json").stdout)}
    compiled = {
        str(module.relative_to(folder.path))
        for module in modules
        if list((module.parent / "__pycache__").glob(f"{module.stem}.*.pyc"))
    }
    completed = {
        id.removeprefix("compile-")
        for id, item in items.items()
        if item["status"] == "completed" and id.startswith("compile-")
    }
    assert completed == compiled
    assert items["compile-src/broken.py"]["status"] == "failed"
    assert items["compile-src/broken.py"]["exit_code"] == 1
    assert "SyntaxError" in folder.run("logs", "compile-src/broken.py").stdout
    assert (items["flaky"]["status"], items["flaky"]["attempt"]) == ("completed", 2)
    assert items["report"]["status"] == "skipped"
    assert "compile-src/broken.py" in items["report"]["reason"]
    assert Counter(item["status"] for item in items.values()) == {
        "completed": len(modules) - 1 + 3,
        "failed": 1,
        "skipped": 1,
    }
    assert not (folder.path / "x").exists()
