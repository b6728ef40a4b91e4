"""The command, the real engine and real processes together."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

pytestmark = pytest.mark.slow

COMMAND = (sys.executable, "-m", "aisquad_tui.cli")

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.cli.conftest import Folder

CONVOY = """
name = "small"

[[operations]]
id = "good-{n}"
for_each = { n = ["1", "2", "3"] }
run = "echo did {n}"

[[operations]]
id = "bad"
run = "echo first; echo the reason >&2; exit 3"

[[operations]]
id = "after-bad"
needs = ["bad"]
run = "true"

[[operations]]
id = "second-try"
run = "test $AISQUAD_ATTEMPT -ge 2"
"""


def wait_for(path: Path, process: subprocess.Popen[bytes], lines: int = 1) -> None:
    """Wait until a running command's operations have written so many lines."""
    deadline_s = time.monotonic() + 15
    while not path.exists() or len(path.read_bytes().splitlines()) < lines:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline_s, f"{path} was not written"
        select.select([], [], [], 0.02)


def test_a_convoy_runs_and_every_view_agrees_with_what_happened(folder: Folder) -> None:
    ran = folder.run("run", folder.write("small.toml", CONVOY))
    assert ran.returncode == 1
    assert "3 completed, 2 failed, 1 skipped" in ran.stdout
    assert "\x1b" not in ran.stdout + ran.stderr
    assert "bad  failed, exit 3: the reason" in ran.stderr
    [convoy] = json.loads(folder.run("ls", "--json").stdout)
    assert (convoy["name"], convoy["status"], convoy["total"]) == ("small", "partial", 6)
    items = {item["id"]: item for item in json.loads(folder.run("items", "--json").stdout)}
    assert {id: item["status"] for id, item in items.items()} == {
        "good-1": "completed",
        "good-2": "completed",
        "good-3": "completed",
        "bad": "failed",
        "after-bad": "skipped",
        "second-try": "failed",
    }
    assert items["bad"]["exit_code"] == 3
    assert folder.run("logs", "bad").stdout == "first\nthe reason\n"
    assert folder.run("logs", "good-2").stdout == "did 2\n"
    why = folder.run("why", "after-bad").stdout
    assert why.startswith("\N{EN DASH} after-bad skipped")
    assert "bad (failed)" in why
    status = json.loads(folder.run("status", "--json").stdout)
    assert (status["pid"], status["running"], status["queued"]) == (None, 0, 0)


def test_retry_runs_again_what_failed_and_frees_what_was_skipped(folder: Folder) -> None:
    flaky = CONVOY.replace("exit 3", "test $AISQUAD_ATTEMPT -ge 2")
    assert folder.run("run", folder.write("small.toml", flaky), "-q").returncode == 1
    asked = folder.run("retry", "--status", "failed")
    assert asked.returncode == 2
    assert "--yes" in asked.stderr
    listed = folder.run("retry", "--status", "failed", "--dry-run")
    assert [line.split()[-1] for line in listed.stdout.splitlines()] == ["failed", "failed"]
    again = folder.run("retry", "--status", "failed", "--yes")
    assert (again.returncode, again.stderr) == (0, again.stderr)
    items = json.loads(folder.run("items", "--json").stdout)
    assert {item["status"] for item in items} == {"completed"}
    assert {item["id"]: item["attempt"] for item in items}["bad"] == 2
    assert folder.run("logs", "bad", "--attempt", "1").stdout == "first\nthe reason\n"


def test_inputs_of_any_bytes_reach_the_command_as_they_are(folder: Folder) -> None:
    nasty = [b"$(touch x)", b"-rf", b"a b", b"new\nline", b"../../x", b"[@click=app.quit]x[/]",
             b"{file}", b"\xff\xfe", b"'", b'"', b"\xe6\xbc\xa2"]  # fmt: skip
    command = "printf '%s\\0' {} >> out.bin"
    ran = folder.run(
        "run", "-0", "--each", command, "--parallelism", "1", "--name", "nasty",
        stdin=b"\0".join(nasty),
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    written = (folder.path / "out.bin").read_bytes().split(b"\0")[:-1]
    assert sorted(written) == sorted(nasty)
    assert not (folder.path / "x").exists()
    shown = folder.run("items").stdout
    assert len(shown.splitlines()) == 1 + len(nasty)


def test_json_is_events_and_then_the_end(folder: Folder) -> None:
    ran = folder.run("run", "--json", "--each", "test {} != 2", "1", "2")
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert lines[0]["type"] == "snapshot"
    assert {line["type"] for line in lines[1:-1]} >= {"convoy", "item"}
    end = lines[-1]
    assert (end["type"], end["exit_status"], ran.returncode) == ("end", 1, 1)
    assert end["convoys"][0]["failed"] == 1
    assert ran.stderr == ""


def test_a_dry_run_shows_everything_and_writes_nothing(folder: Folder) -> None:
    name = folder.write("small.toml", CONVOY)
    ran = folder.run("run", name, "--dry-run", "--max", "7")
    assert ran.returncode == 0
    assert ran.stdout.startswith("small: 6 operations\n")
    assert "5 to 7, by load" in ran.stdout
    assert "good-3" in ran.stdout
    shape = json.loads(folder.run("run", name, "--dry-run", "--json").stdout)
    assert [operation["id"] for operation in shape["operations"]][-1] == "second-try"
    assert os.listdir(folder.path) == [name]


def test_a_bad_file_names_every_problem_and_writes_nothing(folder: Folder) -> None:
    name = folder.write(
        "bad.toml", 'name = "x"\n[[operations]]\nid = "a"\nneeds = ["b"]\nrum = 1\n'
    )
    ran = folder.run("run", name)
    assert ran.returncode == 2
    assert "error: bad.toml" in ran.stderr
    assert "rum" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert os.listdir(folder.path) == [name]


SLOW = """
name = "slow"
[[operations]]
id = "quick"
run = "echo quick >> done.txt"
[[operations]]
id = "wait-{n}"
for_each = { n = ["1", "2", "3"] }
needs = ["quick"]
run = "echo {n} >> started.txt; { test -e go || sleep 600; } && echo {n} >> done.txt"
"""


def test_ctrl_c_leaves_a_convoy_that_resumes_without_repeating(folder: Folder) -> None:
    process = folder.start("run", folder.write("slow.toml", SLOW))
    wait_for(folder.path / "started.txt", process, lines=3)
    status = json.loads(folder.run("status", "--json").stdout)
    assert (status["pid"], status["running"]) == (process.pid, 3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"interrupted: ending what runs" in err
    [convoy] = json.loads(folder.run("ls", "--json").stdout)
    assert (convoy["pending"], convoy["completed"]) == (3, 1)
    assert f"aisquad run --resume {convoy['id']}".encode() in err
    assert b"slow" in out
    (folder.path / "go").touch()
    resumed = folder.run("run", "--resume", "slow")
    assert resumed.returncode == 0, resumed.stderr
    assert sorted((folder.path / "done.txt").read_text().split()) == ["1", "2", "3", "quick"]
    assert {item["attempt"] for item in json.loads(folder.run("items", "--json").stdout)} == {1}


def test_another_run_leaves_an_interrupted_convoy_alone_and_names_it(folder: Folder) -> None:
    process = folder.start("run", folder.write("slow.toml", SLOW))
    wait_for(folder.path / "started.txt", process, lines=3)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    [convoy] = json.loads(folder.run("ls", "--json").stdout)
    ran = folder.run("run", "--each", "true", "x")
    assert ran.returncode == 0
    assert convoy["id"] in ran.stderr
    assert "--resume" in ran.stderr
    assert sorted((folder.path / "started.txt").read_text().split()) == ["1", "2", "3"]


LONG = """
name = "long"
[[operations]]
id = "a"
run = "echo a >> started.txt; until test -e go; do sleep 0.05; done; echo a | tee -a done.txt"
"""


def test_a_hangup_lets_operations_run_on_and_the_next_engine_takes_them_over(
    folder: Folder,
) -> None:
    process = folder.start("run", folder.write("long.toml", LONG))
    wait_for(folder.path / "started.txt", process)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=30)
    assert process.returncode == 130
    [item] = json.loads(folder.run("items", "--json").stdout)
    assert item["status"] == "in_progress"
    (folder.path / "go").touch()
    assert folder.run("run", "--resume", "long").returncode == 0
    assert (folder.path / "started.txt").read_text() == "a\n"
    assert (folder.path / "done.txt").read_text() == "a\n"


def test_a_reader_that_has_enough_ends_a_listing_quietly(folder: Folder) -> None:
    inputs = [str(n) for n in range(300)]
    assert folder.run("run", "-q", "--parallelism", "20", "--each", "true", *inputs).returncode == 0
    line = f"set -o pipefail; '{sys.executable}' -m aisquad_tui.cli items --json | head -n 1"
    done = subprocess.run(
        ["bash", "-c", line], cwd=folder.path, env=folder.env, capture_output=True, check=False
    )
    assert (done.stdout, done.stderr) == (b"[\n", b"")


def read_until(process: subprocess.Popen[bytes], wanted: bytes) -> bytes:
    """Return what a running command has written once the wanted words are there."""
    assert process.stdout is not None
    written = b""
    while wanted not in written:
        readable, _, _ = select.select([process.stdout], [], [], 15)
        assert readable, f"{wanted!r} did not come: {written!r}"
        piece = os.read(process.stdout.fileno(), 65_536)
        assert piece, process.communicate()
        written += piece
    return written


def test_a_watched_listing_follows_another_process_in_plain_lines(folder: Folder) -> None:
    watching = folder.start("ls", "--watch")
    read_until(watching, b"No convoys yet")
    assert folder.run("run", "-q", "--each", "true", "x").returncode == 0
    written = read_until(watching, b"completed")
    assert b"\x1b" not in written
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=15)
    assert (watching.returncode, err) == (130, b"")


def test_a_followed_log_ends_with_its_operation(folder: Folder) -> None:
    process = folder.start("run", folder.write("long.toml", LONG))
    wait_for(folder.path / "started.txt", process)
    following = folder.start("logs", "a", "-f")
    (folder.path / "go").touch()
    out, err = following.communicate(timeout=30)
    assert (following.returncode, out, err) == (0, b"a\n", b"")
    process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_the_starter_convoy_runs_here(folder: Folder) -> None:
    assert folder.run("init", "demo").returncode == 0
    ran = folder.run("run", "demo/starter.toml")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    items = json.loads(folder.run("items", "--json").stdout)
    assert len(items) > 40
    assert {item["status"] for item in items} == {"completed"}


def test_a_terminal_sees_progress_in_place(folder: Folder) -> None:
    import fcntl
    import pty
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "aisquad_tui.cli",
            "run",
            "--each",
            "sleep 0.2; test {} != 3",
            "1",
            "2",
            "3",
        ],
        cwd=folder.path,
        env=folder.env,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    written = b""
    while True:
        try:
            piece = os.read(master, 65_536)
        except OSError:  # Linux's end of file of a terminal
            break
        written += piece
    os.close(master)
    assert process.wait(timeout=30) == 1
    text = written.decode()
    assert text.count("\x1b[2A\r") >= 1  # the two lines were painted again in place
    assert "100 %" in text
    assert "✗" in text
    last = text.rpartition("\x1b[J")[2]
    assert "2 completed, 1 failed" in last
    assert "?25l" not in text
