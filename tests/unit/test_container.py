"""The Dockerfile says what the command can do; no Docker is needed to know."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer

from aisquad_core.version import __version__
from aisquad_tui.cli import session
from aisquad_tui.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
OUT_OF_REACH = re.compile(r"NewConnectionError|No matching distribution|Could not find a version")


def instructions() -> Iterator[tuple[str, str]]:
    """Return each instruction with the rest of its line, continued lines joined."""
    lines = [line for line in TEXT.splitlines() if line.strip() and not line.startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        name, _, rest = line.partition(" ")
        yield name, rest


def of(name: str) -> list[str]:
    return [rest for found, rest in instructions() if found == name]


def check_command(words: list[str]) -> None:
    """Refuse a verb or an option that `aisquad` does not have."""
    program, verb, *flags = words
    assert program == "aisquad"
    known = typer.main.get_command(app)
    assert isinstance(known, typer.core.TyperGroup)
    options = {name for parameter in known.commands[verb].params for name in parameter.opts}
    assert set(flags) <= options


def copied() -> dict[str, Path]:
    """Return what the image gets, by its path there."""
    found = {}
    for rest in of("COPY"):
        *sources, target = rest.split()
        for source in sources:
            place = f"{target}{source}" if target.endswith("/") else target
            found[place] = ROOT / source
    return found


def test_its_base_is_a_slim_python() -> None:
    assert of("FROM") == ["python:3.12-slim"]


def test_it_runs_the_engine_as_an_ordinary_user_and_without_a_shell() -> None:
    names = [name for name, _ in instructions()]
    (user,) = of("USER")
    assert user not in {"root", "0"}
    assert f" {user} " in " ".join(of("RUN"))
    assert names.index("USER") > max(place for place, name in enumerate(names) if name == "RUN")
    (command,) = of("CMD")
    words = json.loads(command)
    assert words == ["aisquad", "up", "--foreground"]
    check_command(words)
    assert of("STOPSIGNAL") == ["SIGTERM"]


def test_its_health_is_the_commands_own_check() -> None:
    (check,) = of("HEALTHCHECK")
    line = check.partition("CMD ")[2]
    command, _, otherwise = line.partition(" || ")
    assert otherwise == "exit 1"  # Docker keeps other statuses for itself
    words = shlex.split(command)
    assert words == ["aisquad", "status", "--check"]
    check_command(words)


def test_what_it_sets_are_settings_and_the_project_is_a_volume() -> None:
    known = {row.variable for row in session.describe(session.default_settings())}
    assert {rest.partition("=")[0] for rest in of("ENV")} <= known
    assert of("VOLUME") == of("WORKDIR") == ["/project"]


def test_everything_copied_exists_and_nothing_else_is_sent_to_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    assert rules[0] == "*"
    assert {str(source.relative_to(ROOT)) for source in copied().values()} == kept
    assert [str(source) for source in copied().values() if not source.exists()] == []
    assert any(fnmatch("aisquad_core/state/__pycache__", rule) for rule in rules[1:])


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_its_install_line_installs_from_what_is_copied(tmp_path: Path) -> None:
    """What it depends on is left out: that line of the README which CI runs installs it."""
    source = tmp_path / "src"
    for place, original in copied().items():
        target = tmp_path / place.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if original.is_dir():
            shutil.copytree(original, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(original, target)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    line = next(rest for rest in of("RUN") if rest.startswith("pip install"))
    install = shlex.split(line.partition(" && ")[0].replace("/src", str(source)))
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, *install[1:], "--no-deps"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and OUT_OF_REACH.search(done.stderr):
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    depends_on = [path for path in sys.path if path.endswith("site-packages")]
    ran = subprocess.run(
        [tmp_path / "venv" / "bin" / "aisquad", "--version"],
        cwd=tmp_path,
        env={"PYTHONPATH": os.pathsep.join(depends_on), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == f"aisquad {__version__}\n"
