"""Over a real SSH server: a login that is cut off leaves its work to the next one."""

from __future__ import annotations

import getpass
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aisquad_core.state.folder import engine_pid
from tests.acceptance.terminal import AISQUAD, Terminal, minimal_env, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
OPERATIONS = 200

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(SSHD is None, reason="no sshd here: Debian's openssh-server has it"),
]


@contextmanager
def ssh_server(folder: Path) -> Iterator[Sequence[str]]:
    """Run an SSH server on loopback that lets this user in by a key; yield the client's command."""
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True
        )
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/user.pub\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nPermitRootLogin yes\nPrintMotd no\n"
    )
    assert SSHD is not None
    with (folder / "sshd.log").open("wb") as log:
        server = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stdin=subprocess.DEVNULL,
            stdout=log, stderr=log,
        )  # fmt: skip
    options = (
        "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR",
        "IdentitiesOnly=yes", "BatchMode=yes",
    )  # fmt: skip
    client = ["ssh", "-F", "none", "-p", str(port), "-i", str(folder / "user")]
    client += [word for option in options for word in ("-o", option)]
    client += ["-l", getpass.getuser(), "127.0.0.1"]
    try:
        until(
            lambda: (
                subprocess.run([*client, "true"], capture_output=True, check=False).returncode == 0
            ),
            what=f"the server lets in; {folder}/sshd.log",
        )
        yield client
    finally:
        server.terminate()
        server.wait()


def test_a_login_that_is_cut_off_leaves_its_work_to_the_next_one(tmp_path: Path) -> None:
    """The first login starts the engine; nothing of its session is left when it is cut off."""
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    project.mkdir()
    os.mkfifo(project / "gate")
    (project / "gated.toml").write_text(
        'name = "gated"\n[[operations]]\nid = "op-{n}"\nrun = ": <gate"\n'
        f"for_each = {{ n = {[str(number) for number in range(OPERATIONS)]} }}\n",
        encoding="utf-8",
    )
    at_once = str(OPERATIONS)
    env = minimal_env(
        home, AI_SQUAD_BASELINE_PARALLELISM=at_once, AI_SQUAD_MAX_PARALLELISM=at_once,
        AI_SQUAD_ENABLE_AUTO_TUNING="false",
    )  # fmt: skip

    def aisquad(*arguments: str) -> str:
        done = subprocess.run(
            [*AISQUAD, *arguments], cwd=project, env=env, capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    variables = " ".join(shlex.quote(f"{name}={value}") for name, value in env.items())
    screen = f"cd {shlex.quote(str(project))} && exec env {variables} {shlex.join(AISQUAD)}"
    try:
        with ssh_server(tmp_path) as client:
            first_login = [*client, "-tt", f"{screen} gated.toml"]
            with Terminal(first_login, cwd=tmp_path, env=env) as first:
                first.wait_for(f"● up .* {OPERATIONS} running")
                screens, engine = processes_on(project), engine_pid(project / ".ai_squad")
                assert screens
                assert engine not in screens
                first.signal(signal.SIGKILL)
                first.wait()
            until(lambda: not processes_on(project) & screens, what="the first screen has gone")
            with Terminal([*client, "-tt", screen], cwd=tmp_path, env=env) as second:
                second.wait_for(f"● up .* {OPERATIONS} running")
                assert engine_pid(project / ".ai_squad") == engine
                gate = os.open(project / "gate", os.O_RDWR)
                second.wait_for("✓ gated .* 100 %", bound_s=120)
                os.close(gate)
                second.insist("q", lambda: not second.is_alive)
                assert second.wait() == 0
        (convoy,) = json.loads(aisquad("ls", "--json"))
        assert (convoy["completed"], convoy["total"]) == (OPERATIONS, OPERATIONS)
    finally:
        aisquad("down", "--now")


def processes_on(project: Path) -> set[int]:
    """Return the processes with a terminal whose folder is this: screens, and what runs them."""
    found = set()
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdigit() and (folder / "cwd").resolve(strict=True) == project:
                terminal = int((folder / "stat").read_text().rpartition(")")[2].split()[4])
                found |= {int(folder.name)} if terminal else set()
    return found
