"""What holds for every verb: statuses, errors, flags before and after the verb, completion."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

from aisquad_core import __version__
from aisquad_core.errors import (
    BackpressureError,
    EngineRunningError,
    NoEngineError,
    StorageError,
)
from aisquad_core.model import ConvoyStatus
from aisquad_core.state.folder import StateFolder
from aisquad_tui.cli import session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aisquad_core.api import ConvoyView, ItemView
    from tests.unit.cli.conftest import Aisquad, FakeReader

VERBS = [
    "demo", "init", "run", "up", "down", "launch", "ls", "items", "why", "logs", "retry", "cancel",
    "pause", "resume", "parallelism", "wait", "status", "gc", "rescue",
    "config", "trust",
]  # fmt: skip


def test_help_names_the_screen_first_and_every_verb_in_order_of_use(aisquad: Aisquad) -> None:
    ran = aisquad("--help")
    assert ran.status == 0
    assert "[FILE | COMMAND]" in ran.out.splitlines()[0]
    assert ran.out.index("opens the screen") < ran.out.index("Commands:")
    commands = ran.out.partition("Commands:")[2].partition("Start here:")[0]
    assert [line.split()[0] for line in commands.splitlines() if line.strip()] == VERBS
    assert "..." not in commands  # no summary is cut off


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_has_examples(aisquad: Aisquad, verb: str) -> None:
    ran = aisquad(verb, "--help")
    assert ran.status == 0
    assert f"  aisquad {verb}" in ran.out.partition("Examples:")[2]


def test_the_version_is_told(aisquad: Aisquad) -> None:
    assert aisquad("--version").out == f"aisquad {__version__}\n"


def test_help_imports_neither_the_engine_nor_rich() -> None:
    script = (
        "import sys; from aisquad_tui.cli import main; main(['--help']); "
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(done.stderr.split())
    heavy = {"aiosqlite", "sqlite3", "psutil", "yaml", "rich", "aisquad_core.engine"}
    assert not loaded & heavy
    assert "aisquad_tui.cli.app" in loaded


def test_other_systems_are_refused_in_one_sentence(
    aisquad: Aisquad, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    ran = aisquad("ls")
    assert (ran.status, ran.out, ran.err) == (2, "", "error: aisquad runs on Linux only.\n")


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def open_reader(settings: object) -> None:
        raise error

    monkeypatch.setattr(session, "open_reader", open_reader)


@pytest.mark.parametrize(
    ("error", "status", "first_line"),
    [
        (NoEngineError("no engine runs"), 3, "error: no engine runs"),
        (EngineRunningError(os, 7), 3, "error: the engine with pid 7 is already running"),  # type: ignore[arg-type]  # shown only
        (
            BackpressureError(pending=900, capacity=1_000, retry_after_s=0.4),
            1,
            "error: 900 of 1,000 writes wait for the disk",
        ),
        (StorageError("disk\x1b]0;x\x07 full"), 1, "error: disk full"),
        (PermissionError(13, "Permission denied", "/x"), 1, "error: /x: Permission denied"),
        (ExceptionGroup("", [StorageError("first")]), 1, "error: first"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
    ],
)
def test_errors_are_sentences_with_a_status_of_their_own(  # noqa: PLR0917  # one case
    aisquad: Aisquad,
    reader: FakeReader,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    status: int,
    first_line: str,
) -> None:
    fail_with(monkeypatch, error)
    ran = aisquad("ls")
    assert (ran.status, ran.out) == (status, "")
    assert (ran.err.splitlines() or [""])[0].startswith(first_line)
    assert "Traceback" not in ran.err


def test_a_bug_keeps_its_traceback(
    aisquad: Aisquad, reader: FakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        aisquad("ls")


def test_a_bad_setting_names_variable_value_and_what_is_allowed(
    aisquad: Aisquad, reader: FakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_SQUAD_POOL_SIZE", "many")
    ran = aisquad("ls")
    assert ran.status == 2
    for word in ("AI_SQUAD_POOL_SIZE", "'many'", "whole number", "aisquad config"):
        assert word in ran.err


def test_flags_before_the_verb_count_like_those_after_it(
    aisquad: Aisquad, reader: FakeReader, tmp_path: Path
) -> None:
    before = json.loads(aisquad("--state", "elsewhere", "config", "--json").out)
    after = json.loads(aisquad("config", "--state", "elsewhere", "--json").out)
    assert before == after
    [database] = [row for row in before["settings"] if row["name"] == "workstate_db"]
    assert json.loads(database["value"]) == str(tmp_path / "elsewhere" / "workstate.db")
    assert database["source"] == "--state"


def test_config_shows_no_secret_of_an_agent(
    aisquad: Aisquad, reader: FakeReader, tmp_path: Path
) -> None:
    (tmp_path / "aisquad.toml").write_text(
        '[agents.engineer]\ncommand = ["sh", "{prompt}"]\nmax_parallel = 3\n'
        'env = { KEY = "s3cret" }\n'
    )
    assert aisquad("trust", "--yes").status == 0
    ran = aisquad("config")
    assert "engineer" in ran.out
    assert "3 at once" in ran.out
    assert "s3cret" not in ran.out + aisquad("config", "--json").out


def test_init_writes_settings_that_hold_and_a_convoy(
    aisquad: Aisquad, reader: FakeReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = aisquad("init", "new/demo")
    assert (ran.status, ran.out) == (0, "")
    settings = (tmp_path / "new/demo/aisquad.toml").read_text()
    assert tomllib.loads(settings) == {}
    switched_on = re.sub("^#(?=[^ ])", "", settings, flags=re.MULTILINE)
    keys = tomllib.loads(switched_on)
    assert keys["max_parallelism"] == 20
    assert keys["workstate_db"] == ".ai_squad/workstate.db"
    assert keys["agents"]["engineer"]["command"][-1] == "{prompt}"
    (tmp_path / "new/demo/aisquad.toml").write_text(switched_on)
    monkeypatch.chdir(tmp_path / "new/demo")
    assert aisquad("config").status == 0
    assert tomllib.loads((tmp_path / "new/demo/starter.toml").read_text())["name"] == "starter"


def test_init_writes_over_nothing_unless_forced(
    aisquad: Aisquad, reader: FakeReader, tmp_path: Path
) -> None:
    mine = tmp_path / "starter.toml"
    mine.write_text("mine")
    ran = aisquad("init")
    assert ran.status == 2
    assert "starter.toml: exists already; --force" in ran.err
    assert mine.read_text() == "mine"
    assert not (tmp_path / "aisquad.toml").exists()
    assert aisquad("init", "--force").status == 0
    assert mine.read_text() != "mine"


@pytest.mark.parametrize(
    "arguments",
    [
        ["down"],
        ["launch", "--each", "true", "x"],
        ["cancel", "--convoy", "x"],
        ["pause", "x"],
        ["resume", "x"],
        ["parallelism", "2"],
    ],
)
def test_what_changes_a_running_engine_says_when_none_runs(
    aisquad: Aisquad, reader: FakeReader, arguments: list[str]
) -> None:
    ran = aisquad(*arguments)
    assert (ran.status, ran.out) == (3, "")
    assert ran.err.startswith("error: no engine runs here; `aisquad up` starts one")


def test_an_engine_that_takes_no_commands_is_named(
    aisquad: Aisquad, reader: FakeReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aisquad_core.connect._PATIENCE_S", 0)
    monkeypatch.setattr("aisquad_tui.cli.session.START_PATIENCE_S", 0)
    folder = StateFolder(tmp_path / ".ai_squad")
    folder.acquire()  # as an engine does that lives in a script
    try:
        ran = aisquad("parallelism", "2")
        raised = aisquad("up")
    finally:
        folder.release()
    for each in (ran, raised):
        assert each.status == 3
        assert f"pid {os.getpid()}" in each.err
        assert "no commands from elsewhere" in each.err


def test_waiting_for_what_has_ended_needs_no_engine(
    aisquad: Aisquad, reader: FakeReader, convoy: Callable[..., ConvoyView]
) -> None:
    good = convoy("good-1", status=ConvoyStatus.COMPLETED)
    bad = convoy("bad-1", status=ConvoyStatus.PARTIAL)
    open = convoy("open-1")
    reader.views = [good, bad, open]
    assert aisquad("wait", "good").status == 0
    assert aisquad("wait", "good", "bad").status == 1
    assert aisquad("wait", "good", "open", "--any").status == 0
    assert [each["id"] for each in json.loads(aisquad("wait", "bad", "--json").out)] == ["bad-1"]
    assert aisquad("wait", "none").status == 4
    still = aisquad("wait", "open")
    assert (still.status, "aisquad up" in still.err) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "give one convoy file"),
        (["run", "a.toml", "b.toml"], "give one convoy file"),
        (["run", "a.toml", "--resume", "x"], "goes without FILE"),
        (["run", "a.toml", "--retries", "0"], "'--retries': goes with --each only"),
        (["run", "--each", "true", "x", "--timeout", "soon"], "'soon'"),
        (["run", "--dry-run", "--resume", "x"], "goes without --resume"),
        (["retry"], "name items"),
        (["cancel"], "name items"),
        (["launch"], "give one convoy file or --each CMD"),
        (["parallelism", "0"], "expected a whole number from 1, or auto"),
        (["parallelism", "²"], "expected a whole number from 1, or auto"),
        (["wait", "x", "--timeout", "soon"], "'soon'"),
        (["down", "--now", "--detach"], "goes without --detach"),
    ],
)
def test_flags_that_do_not_go_together_are_bad_input(
    aisquad: Aisquad, reader: FakeReader, arguments: list[str], words: str
) -> None:
    ran = aisquad(*arguments)
    assert ran.status == 2
    assert words in " ".join(ran.err.split())


def complete(aisquad: Aisquad, monkeypatch: pytest.MonkeyPatch, line: str) -> list[str]:
    words = line.split(" ")
    monkeypatch.setenv("_AISQUAD_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    return aisquad().out.split()


def test_completion_offers_live_ids_that_no_shell_expands(
    aisquad: Aisquad,
    reader: FakeReader,
    monkeypatch: pytest.MonkeyPatch,
    convoy: Callable[..., ConvoyView],
    item: Callable[..., ItemView],
) -> None:
    reader.views = [convoy("nightly-k3f9"), convoy("weekly-b2")]
    ids = ["fix-src/a.py", "fix-$(touch x)", "fix-`id`", "fix-a b", "fix-*", "-rf", "lint"]
    reader.rows = [item(id) for id in ids]
    assert complete(aisquad, monkeypatch, "aisquad logs fix-") == ["fix-src/a.py"]
    assert complete(aisquad, monkeypatch, "aisquad run --resume w") == ["weekly-b2"]
    assert complete(aisquad, monkeypatch, "aisquad items --status ru") == ["running"]
    assert complete(aisquad, monkeypatch, "aisquad wait w") == ["weekly-b2"]
    assert complete(aisquad, monkeypatch, "aisquad ret") == ["retry"]


def test_completion_without_a_work_state_is_silent(
    aisquad: Aisquad, reader: FakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, StorageError("broken"))
    assert complete(aisquad, monkeypatch, "aisquad logs x") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_its_script(
    aisquad: Aisquad, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    monkeypatch.setenv("_AISQUAD_COMPLETE", f"source_{shell}")
    assert f"complete_{shell}" in aisquad().out
