"""`aisquad up --systemd`, `down --systemd`: with a `systemctl` that starts what the unit says."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aisquad_tui.cli.systemd import unit_name
from tests.integration.cli import fake_systemctl
from tests.integration.cli.conftest import Folder, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(90)


class Machine:
    """A project with a name that is hard to quote, and the user's systemd."""

    def __init__(self, folder: Folder) -> None:
        project = folder.path / 'odd % "dir" $HOME \\x é'
        project.mkdir()
        self.systemd = folder.path / "systemd"
        self.systemd.mkdir()
        script = self.systemd / "bin" / "systemctl"
        script.parent.mkdir()
        command = shlex.join([sys.executable, fake_systemctl.__file__])
        script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        script.chmod(0o700)
        path = f"{script.parent}{os.pathsep}{folder.env['PATH']}"
        env = {**folder.env, "PATH": path, "FAKE_SYSTEMD": str(self.systemd)}
        self.folder = Folder(project, env)
        self.name = unit_name(project)
        self.unit = Path(env["HOME"], ".config", "systemd", "user", self.name)

    def calls(self) -> list[str]:
        """Return what systemd was asked since the last look."""
        path = self.systemd / "calls"
        found = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [call.replace(self.name, "UNIT") for call in found]

    def refuse(self, verb: str) -> None:
        (self.systemd / "refuses").write_text(verb)

    def pid(self) -> object:
        return json.loads(self.folder.run("status", "--json").stdout)["pid"]


@pytest.fixture
def machine(folder: Folder) -> Iterator[Machine]:
    machine = Machine(folder)
    yield machine
    machine.folder.run("down", "--now")
    with suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int((machine.systemd / "pid").read_text()), signal.SIGKILL)


@pytest.mark.slow
def test_the_unit_is_written_started_changed_and_removed_and_the_work_goes_on(
    machine: Machine,
) -> None:
    folder = machine.folder
    ran = folder.run("up", "--systemd", "--json")
    assert ran.returncode == 0, ran.stderr
    first = json.loads(ran.stdout)
    assert (first["is_new"], first["unit"], first["pid"]) == (
        True,
        str(machine.unit),
        machine.pid(),
    )
    assert "journalctl --user -u " in first["log"]
    assert f"wrote {machine.unit}; `aisquad down --systemd` removes it" in ran.stderr
    assert machine.unit.stat().st_mode & 0o777 == 0o600
    started = ["show", "is-active UNIT", "daemon-reload", "enable UNIT", "start UNIT"]
    assert machine.calls() == started

    gated = "echo x >>began; until [ -e gate ]; do sleep 0.05; done; echo {}"
    convoy = folder.run("launch", "--each", gated, "x").stdout.strip()
    until((folder.path / "began").exists, "it runs")
    again = json.loads(folder.run("up", "--systemd", "--json").stdout)
    assert (again["is_new"], again["pid"]) == (False, first["pid"])
    assert machine.calls() == ["show", "is-active UNIT"]

    folder.env["AI_SQUAD_MAX_PARALLELISM"] = "7"
    changed = json.loads(folder.run("up", "--systemd", "--json").stdout)
    assert changed["is_new"] is True
    assert changed["pid"] != first["pid"]
    assert machine.calls()[-1] == "restart UNIT"
    assert json.loads(folder.run("status", "--json").stdout)["max"] == 7
    (folder.path / "gate").touch()
    assert folder.run("wait", convoy, "--timeout", "30s").returncode == 0
    assert (folder.path / "began").read_text() == "x\n"

    down = folder.run("down")
    assert (down.returncode, machine.pid()) == (0, None)
    assert "`aisquad down --systemd` removes that" in down.stderr
    assert machine.calls() == []
    removed = folder.run("down", "--systemd")
    assert (removed.returncode, machine.unit.exists()) == (0, False)
    assert machine.calls() == ["show", "disable UNIT", "daemon-reload"]
    gone = folder.run("down", "--systemd")
    assert (gone.returncode, "there is no such unit" in gone.stderr) == (4, True)


@pytest.mark.slow
def test_down_stops_the_engine_of_the_unit_and_removes_it(machine: Machine) -> None:
    assert machine.folder.run("up", "--systemd").returncode == 0
    down = machine.folder.run("down", "--systemd", "--now")
    assert (down.returncode, machine.pid(), machine.unit.exists()) == (0, None, False)


def test_a_dry_run_prints_the_unit_and_changes_nothing(machine: Machine) -> None:
    ran = machine.folder.run("up", "--systemd", "--dry-run")
    assert ran.returncode == 0
    assert ran.stderr == f"would write {machine.unit}\n"
    assert fake_systemctl.read_unit(ran.stdout)["KillMode"] == ["process"]
    assert (machine.calls(), machine.unit.parent.exists()) == ([], False)
    assert list(machine.folder.path.iterdir()) == []


def test_where_no_systemd_answers_nothing_is_written_and_the_remedy_is_named(
    machine: Machine,
) -> None:
    machine.refuse("show")
    ran = machine.folder.run("up", "--systemd")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "Failed to connect to bus: No medium found" in ran.stderr
    assert "`aisquad up` starts the engine without it" in ran.stderr
    assert "`loginctl enable-linger`" in ran.stderr
    assert not machine.unit.exists()
    machine.folder.env["PATH"] = "/nowhere"
    assert "there is no `systemctl`" in machine.folder.run("up", "--systemd").stderr


def test_a_start_that_fails_says_where_to_look(machine: Machine) -> None:
    machine.refuse("start")
    ran = machine.folder.run("up", "--systemd")
    assert ran.returncode == 1
    assert f"`journalctl --user -u '{machine.name}'` says more" in ran.stderr


@pytest.mark.slow
def test_an_engine_without_systemd_is_not_taken_over_unasked(machine: Machine) -> None:
    assert machine.folder.run("up").returncode == 0
    ran = machine.folder.run("up", "--systemd")
    assert ran.returncode == 3
    assert "`aisquad down --detach`, then this again" in ran.stderr
    assert not machine.unit.exists()


@pytest.mark.parametrize("flags", [("--dry-run",), ("--systemd", "--foreground")])
def test_flags_that_do_not_go_together_are_refused(
    machine: Machine, flags: tuple[str, ...]
) -> None:
    assert machine.folder.run("up", *flags).returncode == 2
    assert machine.calls() == []
