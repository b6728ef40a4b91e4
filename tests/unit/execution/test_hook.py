"""The operator's own command: bounded in time and output, whatever it does."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from aisquad_core.execution import hook as module
from aisquad_core.execution.hook import KEPT_BYTES, Hook, HookEnd

ENV = {"PATH": os.environ["PATH"]}
ENOUGH_S = 15.0


def run(
    tmp_path: Path, *command: str, timeout_s: float = ENOUGH_S, env: dict[str, str] | None = None
) -> HookEnd:
    with Hook(command, env=ENV if env is None else env, cwd=tmp_path, timeout_s=timeout_s) as hook:
        return hook.run()


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def until_gone(pid: int) -> None:
    deadline_s = time.monotonic() + ENOUGH_S
    while not is_gone(pid):
        assert time.monotonic() < deadline_s, f"{pid} lives"
        time.sleep(0.005)  # a process that is no child of ours tells nobody of its end


def test_it_runs_where_and_with_what_it_was_told_and_its_output_is_kept(tmp_path: Path) -> None:
    line = 'read -r x; pwd; echo "$NAME" >&2; ps -o sid= -p $$ >/dev/null; env | wc -l'
    end = run(tmp_path, "/bin/sh", "-c", line, env={"NAME": "a b"})
    assert end.problem is None
    assert end.output.splitlines()[:2] == [str(tmp_path), "a b"]


def test_it_has_a_session_of_its_own_and_no_descriptor_of_ours(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        line = "cut -d' ' -f6 /proc/self/stat; echo $$; ls /proc/self/fd"
        sid, pid, *descriptors = run(tmp_path, "/bin/sh", "-c", line).output.split()
    finally:
        os.close(reader)
        os.close(writer)
    assert sid == pid
    assert descriptors == ["0", "1", "2", "3"]  # the last is the listing's own


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("exit 3", "exit 3"),
        ("exit 127", "exit 127: command not found"),
        ("kill -9 $$", "exit 137: ended by signal 9"),
    ],
)
def test_a_failure_says_how(tmp_path: Path, line: str, problem: str) -> None:
    assert run(tmp_path, "/bin/sh", "-c", line) == HookEnd(problem=problem)


@pytest.mark.parametrize("command", ["no-such-program", "./nor-this", "a\0b"])
def test_what_cannot_be_started_is_a_problem_and_no_exception(tmp_path: Path, command: str) -> None:
    problem = run(tmp_path, command).problem
    assert problem is not None
    assert problem.startswith("cannot be started: ")


def test_of_endless_output_the_end_is_kept(tmp_path: Path) -> None:
    end = run(tmp_path, "/bin/sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; echo the end")
    assert end.problem is None
    assert len(end.output) == KEPT_BYTES
    assert end.output.endswith("xthe end\n")


def test_what_it_leaves_in_the_background_does_not_hold_it_up(tmp_path: Path) -> None:
    end = run(tmp_path, "/bin/sh", "-c", "sleep 600 & echo $!")
    assert end.problem is None
    os.kill(int(end.output), signal.SIGKILL)


def test_over_its_time_its_whole_group_is_ended_whatever_it_ignores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TERM_S", 0.02)
    line = "trap '' TERM; sleep 600 & echo $! >pid; while :; do sleep 0.1; done"
    end = run(tmp_path, "/bin/sh", "-c", line, timeout_s=0.3)
    assert end.problem == "was ended: it took longer than 0.3 s"
    until_gone(int((tmp_path / "pid").read_text()))


def test_over_its_time_it_may_end_in_order(tmp_path: Path) -> None:
    line = "trap 'echo in order; exit 0' TERM; while :; do sleep 0.01; done"
    end = run(tmp_path, "/bin/sh", "-c", line, timeout_s=0.3)
    assert end.problem == "was ended: it took longer than 0.3 s"
    assert end.output.endswith("in order\n")  # a shell may name the signal first


def test_it_can_be_cut_short_from_another_thread(tmp_path: Path) -> None:
    ends: list[HookEnd] = []
    command = ("/bin/sh", "-c", "echo $$ >pid; sleep 600")
    with Hook(command, env=ENV, cwd=tmp_path, timeout_s=600) as hook:
        thread = threading.Thread(target=lambda: ends.append(hook.run()))
        thread.start()
        hook.cut()
        thread.join(ENOUGH_S)
    assert [end.problem for end in ends] == ["was ended with the engine"]


def test_nothing_is_left_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    for command in (("/bin/true",), ("no-such-program",)):
        run(tmp_path, *command)
    assert os.listdir("/proc/self/fd") == before
