"""A cloned repository with its own aisquad.toml: nothing of it runs before the operator's yes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from typing import TYPE_CHECKING

import pytest

from aisquad_core.connect import open_engine
from aisquad_core.errors import UntrustedError
from aisquad_core.model import ItemKey
from aisquad_core.settings import load_settings
from aisquad_core.spec import read_source
from tests.integration.cli.conftest import COMMAND

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.cli.conftest import Folder

pytestmark = pytest.mark.slow

CONVOY = '{"name": "work", "operations": [{"id": "a", "agent": "evil", "prompt": "hello"}]}'
ANSWER_S = 60


@pytest.fixture
def cloned(folder: Folder) -> Folder:
    """Return a project whose file makes every agent's operation leave a file behind."""
    traces = folder.path.parent / "traces"
    command = json.dumps(["sh", "-c", f"echo $1 $KEY >> {traces}", "sh", "{prompt}"])
    folder.write(
        "aisquad.toml",
        'max_parallelism = 3\nbaseline_parallelism = 2\nworkstate_db = "elsewhere/work.db"\n'
        f'[agents.evil]\ncommand = {command}\nenv = {{ KEY = "s3cret" }}\n',
    )
    folder.write("work.json", CONVOY)
    return folder


def traces(folder: Folder) -> str:
    path = folder.path.parent / "traces"
    return path.read_text() if path.exists() else ""


def test_nothing_of_a_cloned_repository_runs_until_it_is_trusted(cloned: Folder) -> None:
    refused = [
        cloned.run("run", "work.json"),
        cloned.run("run", "--each", "echo {} > ../traces", "x"),
        cloned.run("up"),
    ]
    for ran in refused:
        assert ran.returncode == 2
        assert f"`aisquad trust {cloned.path}` shows what it would run and asks" in ran.stderr
        assert "agents.evil.command" in ran.stderr
    assert (traces(cloned), sorted(os.listdir(cloned.path))) == ("", ["aisquad.toml", "work.json"])

    trusted = cloned.run("trust", "--yes")
    assert trusted.returncode == 0
    ran = cloned.run("run", "work.json")
    assert (ran.returncode, traces(cloned)) == (0, "hello s3cret\n")
    assert (cloned.path / "elsewhere" / "work.db").is_file()

    with (cloned.path / "aisquad.toml").open("a") as file:
        file.write('cwd = "/"\n')
    assert cloned.run("run", "work.json").returncode == 2
    assert traces(cloned) == "hello s3cret\n"


async def test_an_engine_with_untrusted_settings_starts_nothing_and_can_be_looked_at(
    cloned: Folder,
) -> None:
    settings = load_settings(cwd=cloned.path, environ={"HOME": cloned.env["HOME"]})
    source = read_source(str(cloned.path / "work.json"))
    with pytest.raises(UntrustedError):
        async with open_engine(settings, is_resuming_all=True):
            pass
    async with open_engine(settings) as engine:
        with pytest.raises(UntrustedError):
            await engine.preview(source, cwd=str(cloned.path))
        with pytest.raises(UntrustedError):
            await engine.launch(source, env={}, cwd=str(cloned.path))
        with pytest.raises(UntrustedError):
            await engine.retry([ItemKey("work", "a")])
        with pytest.raises(UntrustedError):
            await engine.resume("work")
        assert (await engine.snapshot()).convoys == ()
    assert traces(cloned) == ""


def test_what_only_reads_works_without_trust_and_config_says_what_does_not_hold(
    cloned: Folder,
) -> None:
    ran = cloned.run("ls", "--json")
    assert (ran.returncode, json.loads(ran.stdout)) == (0, [])
    assert f"workstate_db does not hold: this is {cloned.path}/.ai_squad;" in ran.stderr
    assert cloned.run("ls", "--json", "--state", "mine").stderr == ""
    ran = cloned.run("config")
    assert ran.returncode == 0
    assert "default; aisquad.toml (not trusted)" in ran.stdout
    assert f"{cloned.path}/aisquad.toml (not trusted)" in ran.stdout
    assert "agents.evil.command, agents.evil.env, workstate_db" in ran.stderr
    assert "`aisquad trust`" in ran.stderr
    assert "s3cret" not in ran.stdout + ran.stderr
    shown = json.loads(cloned.run("config", "--json").stdout)
    assert shown["untrusted"]["held_back"] == [
        "agents.evil.command",
        "agents.evil.env",
        "workstate_db",
    ]
    values = {row["name"]: row["value"] for row in shown["settings"]}
    assert values["max_parallelism"] == "3"
    assert json.loads(values["workstate_db"]) == f"{cloned.path}/.ai_squad/workstate.db"


def test_trust_shows_all_that_would_run_and_without_a_terminal_names_yes(cloned: Folder) -> None:
    long = "x" * 500
    cloned.write(
        "aisquad.toml",
        f'workstate_db = "w.db"\n[agents."e.vil"]\ncommand = "echo \\u202e\\u001b[2K {long} END"\n'
        'env = { KEY = "s3cret" }\nstdin_file = "task"\n[agents.claude]\ncwd = "/etc"\n',
    )
    ran = cloned.run("trust")
    assert ran.returncode == 2
    assert "--yes" in ran.stderr
    lines = [line.split() for line in ran.stdout.splitlines()]
    assert lines == [
        [str(cloned.path / "aisquad.toml"), "sets"],
        ["agent", "e.vil"],
        ["command", "echo", "\\u202e\\x1b[2K", long, "END"],
        ["env", "KEY", "(values", "are", "not", "shown)"],
        ["stdin_file", "task"],
        ["agent", "claude"],
        ["command", "claude", "--print", "--permission-mode", "acceptEdits", "--", "'{prompt}'"],
        ["cwd", "/etc"],
        ["workstate_db", "=", f'"{cloned.path}/w.db"'],
    ]
    assert cloned.run("config", "--json").stdout.count("not trusted") == 3


def test_what_needs_no_trust_asks_nothing(folder: Folder) -> None:
    assert "nothing needs trust" in folder.run("trust").stderr
    assert folder.run("init").returncode == 0
    said = folder.run("trust")
    assert (said.returncode, said.stdout) == (0, "")
    assert "sets nothing that needs trust" in said.stderr
    folder.write("aisquad.toml", "max_parallelism = 8\n[agents.claude]\nmax_parallel = 2\n")
    assert folder.run("run", "--each", "echo {}", "x").returncode == 0


@pytest.mark.parametrize(("answer", "status"), [(b"n\n", 1), (b"\n", 1), (b"y\n", 0)])
def test_on_a_terminal_it_asks_and_only_yes_trusts(
    cloned: Folder, answer: bytes, status: int
) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "trust", str(cloned.path)],
        cwd=cloned.path.parent,
        env=cloned.env,
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    try:
        os.write(ours, answer)
        assert process.wait(timeout=ANSWER_S) == status
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)
    assert is_listed(cloned.path.parent) is (status == 0)


def is_listed(home: Path) -> bool:
    return (home / ".local" / "state" / "aisquad" / "trusted.json").exists()
