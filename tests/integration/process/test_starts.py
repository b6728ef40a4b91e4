"""A start: environment, input, output, ids, ends."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from aisquad_core.errors import RunnerError
from aisquad_core.execution import launcher
from aisquad_core.execution.launcher import folder_name
from aisquad_core.execution.tree import read_row
from aisquad_core.model import OutputMode

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.process.conftest import Harness


@pytest.mark.parametrize("code", [0, 1, 7, 125, 255])
async def test_a_command_ends_with_its_own_exit_code(harness: Harness, code: int) -> None:
    async with harness.runner() as runner:
        end = await harness.run(runner, harness.shell(f"exit {code}"))
    assert (end.exit_code, end.error, end.did_run) == (code, None, True)
    assert (harness.folder(harness.request().ref._replace(token=end.token)) / "exit").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
async def test_a_command_killed_by_a_signal_ends_as_the_shell_says(
    harness: Harness, number: int
) -> None:
    async with harness.runner() as runner:
        end = await harness.run(runner, harness.shell(f"kill -{number:d} $$"))
    assert end.exit_code == 128 + number


async def test_every_start_ends_once_and_leaves_no_zombie(harness: Harness) -> None:
    requests = [harness.shell("exit 3", item=f"item-{number}") for number in range(60)]
    async with harness.runner() as runner:
        async with asyncio.TaskGroup() as starts:
            for request in requests:
                starts.create_task(harness.start(runner, request))
        for request in requests:
            assert (await harness.end_of(request.ref)).exit_code == 3
        claims = [harness.folder(request.ref) / "claim" for request in requests]
        pids = [int(claim.read_text().split()[1]) for claim in claims]
        assert await asyncio.to_thread(lambda: [pid for pid in pids if read_row(pid)]) == []
    assert [len(ends) for ends in harness.exits.values()] == [1] * 60


async def test_a_token_starts_once_however_often_it_is_asked_for(harness: Harness) -> None:
    request = harness.shell("echo x >> ran; sleep 0.1")
    async with harness.runner() as runner:
        await runner.prepare(request)
        await asyncio.gather(*(runner.start(request) for _ in range(5)))
        await harness.end_of(request.ref)
        with pytest.raises(RunnerError):
            await runner.start(request)
    assert (harness.cwd / "ran").read_text() == "x\n"


@pytest.mark.parametrize("name", ["exit", "echo", "eval", "_aisquad_run", "-rf", "no-such-command"])
async def test_a_command_is_never_a_builtin_of_the_launcher(harness: Harness, name: str) -> None:
    request = harness.request(name, "5", env={"PATH": str(harness.cwd)})
    async with harness.runner() as runner:
        end = await harness.run(runner, request)
    assert end.exit_code == 127
    assert end.error == f"{name}: not found"
    assert "not found" in harness.log(request.ref)


async def test_a_file_that_is_no_program_ends_as_126(harness: Harness) -> None:
    plain = harness.cwd / "plain"
    plain.write_text("x")
    async with harness.runner() as runner:
        end = await harness.run(runner, harness.request(str(plain)))
    assert end.exit_code == 126
    assert end.error is not None
    assert "Permission denied" in end.error


async def test_a_missing_folder_fails_the_operation_and_says_which(harness: Harness) -> None:
    async with harness.runner() as runner:
        end = await harness.run(runner, harness.shell("echo ran", cwd="/no/such/folder"))
    assert end.exit_code == 126
    assert end.error is not None
    assert end.error.startswith("cd: ")
    assert "/no/such/folder" in end.error


@pytest.mark.parametrize(
    "name",
    [
        *("$(touch x)", "-rf", "a b", "a\nb", "../../x", ".", "..", "[@click=app.quit]x[/]"),
        *("{file}", "fix-src/a.py", "", "n" * 300, "byte\udcff", "~", "*"),
    ],
)
async def test_any_id_gets_a_folder_of_its_own_inside_runs(harness: Harness, name: str) -> None:
    request = harness.request(
        "/bin/sh", "-c", 'printf %s "$AISQUAD_ITEM|$AISQUAD_CONVOY"', item=name, convoy=name
    )
    async with harness.runner() as runner:
        end = await harness.run(runner, request)
    assert end.exit_code == 0
    folder = harness.folder(request.ref)
    assert folder.resolve().parent.parent.parent == harness.runs_dir.resolve()
    assert (folder / "output.log").read_bytes() == os.fsencode(f"{name}|{name}")
    assert sorted(os.listdir(harness.cwd)) == []


def test_folder_names_of_different_ids_differ() -> None:
    ids = ["a/b", "a-b", "a b", "a\tb", folder_name("a/b").replace("~", "-"), ".", "..", "A-B"]
    assert len({folder_name(name) for name in ids}) == len(ids)
    assert folder_name("fix-src_a.py-1") == "fix-src_a.py-1"


async def test_arguments_arrive_unchanged(harness: Harness) -> None:
    nasty = ["$(touch x)", "a b", "", "'", '"', "\\n", "*", "a\nb", "byte\udcff", "{x}"]
    request = harness.request("printf", "%s\\0", *nasty)
    async with harness.runner() as runner:
        await harness.run(runner, request)
    data = (harness.folder(request.ref) / "output.log").read_bytes()
    assert data.split(b"\0")[:-1] == [os.fsencode(text) for text in nasty]


async def test_the_environment_is_the_request_s_with_the_item_s_names(harness: Harness) -> None:
    env = {"PATH": os.environ["PATH"], "OPENAI_API_KEY": "k", "1": "x", "status": "mine"}
    request = harness.request(sys.executable, "-c", "import os; print(dict(os.environ))", env=env)
    async with harness.runner() as runner:
        await harness.run(runner, request)
    seen: dict[str, str] = eval(harness.log(request.ref))
    assert seen["OPENAI_API_KEY"] == "k"
    assert seen["status"] == "mine"
    assert (seen["AISQUAD_ITEM"], seen["AISQUAD_CONVOY"]) == ("item", "convoy")
    assert (seen["AISQUAD_ATTEMPT"], seen["AISQUAD_TOKEN"]) == ("1", request.ref.token)
    assert not [name for name in seen if name.startswith("_AISQUAD")]
    assert "HOME" not in seen


async def test_standard_input_is_empty_unless_given(harness: Harness) -> None:
    prompt = harness.cwd / "prompt"
    prompt.write_text("from a file")
    silent, text, file = (
        harness.request("cat"),
        harness.request("cat", stdin="from text é\udcff"),
        harness.request("cat", stdin_file=str(prompt)),
    )
    async with harness.runner() as runner:
        for request in (silent, text, file):
            assert (await harness.run(runner, request)).exit_code == 0
    logs = [(harness.folder(r.ref) / "output.log").read_bytes() for r in (silent, text, file)]
    assert logs == [b"", "from text é".encode() + b"\xff", b"from a file"]
    kept = harness.folder(text.ref) / "stdin"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700


async def test_a_missing_input_file_fails_the_operation_and_says_which(harness: Harness) -> None:
    async with harness.runner() as runner:
        end = await harness.run(runner, harness.request("cat", stdin_file="/no/such/prompt"))
    assert end.exit_code == 126
    assert end.error is not None
    assert "/no/such/prompt" in end.error


async def test_output_goes_to_the_log_together_or_apart(harness: Harness) -> None:
    line = "echo out; echo err >&2"
    together, apart = (
        harness.shell(line),
        harness.request("/bin/sh", "-c", line, stdout=OutputMode.RESULT),
    )
    async with harness.runner() as runner:
        for request in (together, apart):
            await harness.run(runner, request)
    assert harness.log(together.ref) == "out\nerr\n"
    assert not (harness.folder(together.ref) / "result").exists()
    assert harness.log(apart.ref) == "err\n"
    assert (harness.folder(apart.ref) / "result").read_text() == "out\n"


async def test_a_command_gets_default_signals_and_no_stray_descriptors(harness: Harness) -> None:
    read_end, stray = os.pipe()
    os.set_inheritable(stray, True)
    code = (
        "import os, signal; print([s for s in signal.valid_signals()"
        " if s not in (signal.SIGPIPE, signal.SIGXFSZ) and signal.getsignal(s) == signal.SIG_IGN],"
        " [d for d in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{d}')],"
        " os.getsid(0) == os.getppid())"
    )
    request = harness.python(code)
    ignored = harness.shell("grep SigIgn /proc/self/status")
    try:
        async with harness.runner() as runner:
            await harness.run(runner, request)
            await harness.run(runner, ignored)
    finally:
        os.close(read_end)
        os.close(stray)
    assert harness.log(request.ref) == "[] ['0', '1', '2'] True\n"
    classic = (1 << 31) - 1  # beyond, glibc ignores two of its own
    assert int(harness.log(ignored.ref).split()[1], 16) & classic == 0


async def test_the_kernel_prefers_operations_to_the_engine(harness: Harness) -> None:
    request = harness.request("cat", "/proc/self/oom_score_adj")
    async with harness.runner() as runner:
        await harness.run(runner, request)
    assert harness.log(request.ref) == "500\n"


async def test_too_long_arguments_are_refused_for_good(harness: Harness) -> None:
    request = harness.request("echo", "x" * 200_000)
    async with harness.runner() as runner:
        await runner.prepare(request)
        with pytest.raises(RunnerError, match="stdin") as caught:
            await runner.start(request)
    assert not caught.value.is_transient
    assert (harness.folder(request.ref) / "claim").read_text() == f"engine {os.getpid()}\n"


async def test_arguments_with_nul_are_refused_for_good(harness: Harness) -> None:
    request = harness.request("echo", "a\0b")
    async with harness.runner() as runner:
        await runner.prepare(request)
        with pytest.raises(RunnerError) as caught:
            await runner.start(request)
    assert not caught.value.is_transient


async def test_want_of_descriptors_is_transient(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(24, "Too many open files")

    request = harness.shell("touch ran")
    async with harness.runner() as runner:
        await runner.prepare(request)
        with monkeypatch.context() as patch:
            patch.setattr(launcher, "spawn_session", refuse)
            with pytest.raises(RunnerError) as caught:
                await runner.start(request)
    assert caught.value.is_transient
    assert (harness.folder(request.ref) / "claim").read_text() == f"engine {os.getpid()}\n"


async def test_a_child_without_pidfd_is_watched_when_one_is_left(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    pidfd_open = os.pidfd_open
    refusals = [True, True]

    def scarce(pid: int, flags: int = 0) -> int:
        if refusals:
            refusals.pop()
            raise OSError(24, "Too many open files")
        return pidfd_open(pid, flags)

    monkeypatch.setattr(os, "pidfd_open", scarce)
    async with harness.runner() as runner:
        assert (await harness.run(runner, harness.shell("exit 4"))).exit_code == 4


async def test_a_start_without_its_folder_is_refused(harness: Harness) -> None:
    async with harness.runner() as runner:
        with pytest.raises(RunnerError):
            await runner.start(harness.shell("touch ran"))
    assert os.listdir(harness.cwd) == []


async def test_a_cancelled_start_is_watched_all_the_same(harness: Harness) -> None:
    request = harness.shell("exit 6")
    async with harness.runner() as runner:
        await runner.prepare(request)
        async with asyncio.TaskGroup() as tasks:
            starting = tasks.create_task(runner.start(request))
            await asyncio.sleep(0)
            starting.cancel()
        assert starting.cancelled()
        assert (await harness.end_of(request.ref)).exit_code == 6


async def test_an_exit_that_could_not_be_written_is_known_to_the_parent(
    harness: Harness, tmp_path: Path
) -> None:
    patient = tmp_path / "patient-sh"
    patient.write_text("#!/bin/sh\ntrap '' XFSZ\nexec /bin/sh \"$@\"\n")
    patient.chmod(0o755)
    code = (
        "import os, resource as r; "
        "r.prlimit(os.getppid(), r.RLIMIT_FSIZE, (0, r.RLIM_INFINITY)); raise SystemExit(9)"
    )
    request = harness.python(code)
    async with harness.runner(shell=str(patient)) as runner:
        end = await harness.run(runner, request)
    assert (harness.folder(request.ref) / "exit").read_bytes() == b""
    assert end.exit_code == 9
