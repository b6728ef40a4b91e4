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
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

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
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    project.mkdir()
    (project / "jobs").mkdir()
    for number in range(OPERATIONS):
        (project / "jobs" / f"{number:03d}").touch()
    env = minimal_env(
        home, AI_SQUAD_BASELINE_PARALLELISM="40", AI_SQUAD_MAX_PARALLELISM="40",
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
    aisquad("up")
    try:
        with ssh_server(tmp_path) as client:
            with Terminal([*client, "-tt", screen], cwd=tmp_path, env=env) as first:
                first.wait_for("No convoys yet")
                first.send("n")
                first.wait_for("New convoy")
                first.send("\x1b[B")
                first.send("sh -c 'until test -e ../go; do sleep 0.5; done' {}")
                first.send("\x1b[B")
                first.send("jobs/*")
                first.wait_for(f"{OPERATIONS} operations")
                first.insist("\r", lambda: not first.shows("New convoy"))
                first.wait_for("● .* running")
                first.signal(signal.SIGKILL)
                first.wait()
            with Terminal([*client, "-tt", screen], cwd=tmp_path, env=env) as second:
                second.wait_for("● .* running")
                (tmp_path / "go").touch()
                second.wait_for("✓ .* 100 %", bound_s=120)
                second.insist("q", lambda: not second.is_alive)
                assert second.wait() == 0
        (convoy,) = json.loads(aisquad("ls", "--json"))
        assert (convoy["completed"], convoy["total"]) == (OPERATIONS, OPERATIONS)
    finally:
        aisquad("down", "--now")
