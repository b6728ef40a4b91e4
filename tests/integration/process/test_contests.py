"""Contesting what another engine left: each case, and late launchers against it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aisquad_core.execution.evidence import read_exit
from aisquad_core.execution.runner import Finding
from aisquad_core.execution.tree import read_row

if TYPE_CHECKING:
    from aisquad_core.execution.runner import StartRef
    from tests.integration.process.conftest import Harness


async def _prepared(harness: Harness) -> tuple[StartRef, Path]:
    """Return a start whose intent was committed and whose engine died then."""
    request = harness.shell("touch ran")
    async with harness.runner() as runner:
        await runner.prepare(request)
    return request.ref, harness.folder(request.ref)


async def _contest(harness: Harness, ref: StartRef) -> tuple[Finding, str | None]:
    async with harness.runner() as runner:
        found = await runner.contest(ref, boot_id=harness.boot_id)
    return found.finding, found.reason


async def test_a_start_that_nobody_claimed_never_ran_and_never_will(harness: Harness) -> None:
    ref, folder = await _prepared(harness)
    for _ in range(2):
        assert await _contest(harness, ref) == (Finding.NEVER_RAN, None)
    assert (folder / "claim").read_text() == f"engine {os.getpid()}\n"


async def test_a_claim_of_an_earlier_engine_means_it_never_ran(harness: Harness) -> None:
    ref, folder = await _prepared(harness)
    (folder / "claim").write_text("engine 4711\n")
    assert await _contest(harness, ref) == (Finding.NEVER_RAN, None)


@pytest.mark.parametrize("claim", ["", "launch", "launcher 12\n", "launcher 12\n12 (sh) S 1"])
async def test_a_torn_claim_without_lock_died_before_its_command(
    harness: Harness, claim: str
) -> None:
    ref, folder = await _prepared(harness)
    (folder / "claim").write_text(claim)
    (folder / "lock").touch()
    assert await _contest(harness, ref) == (Finding.NEVER_RAN, None)


async def test_half_a_claim_of_an_engine_that_died_before_the_fork_means_it_never_ran(
    harness: Harness,
) -> None:
    ref, folder = await _prepared(harness)
    (folder / "claim").touch()
    assert not (folder / "lock").exists()
    assert await _contest(harness, ref) == (Finding.NEVER_RAN, None)


async def test_half_a_claim_without_a_lock_is_waited_for_while_somebody_has_the_token(
    harness: Harness,
) -> None:
    ref, folder = await _prepared(harness)
    (folder / "claim").touch()
    slow = subprocess.Popen(["sleep", "600"], env={"AISQUAD_TOKEN": ref.token})  # noqa: ASYNC220
    try:
        async with harness.runner() as runner:
            found = await runner.contest(ref, boot_id=harness.boot_id)
            assert found.finding is Finding.ALIVE
            slow.kill()
            assert not (await harness.end_of(ref)).did_run
    finally:
        slow.kill()
        slow.wait()


async def test_an_ended_start_is_settled_with_the_time_of_its_end(harness: Harness) -> None:
    request = harness.shell("exit 3")
    async with harness.runner() as runner:
        await harness.run(runner, request)
    async with harness.runner() as runner:
        found = await runner.contest(request.ref, boot_id=harness.boot_id)
    assert found.finding is Finding.ENDED
    assert found.exit is not None
    assert found.exit.exit_code == 3
    stamp = (harness.folder(request.ref) / "exit").stat().st_mtime
    assert found.exit.finished_at is not None
    assert found.exit.finished_at.timestamp() == pytest.approx(stamp)


async def test_a_running_start_is_adopted_and_its_end_arrives(harness: Harness) -> None:
    os.mkfifo(harness.cwd / "go")
    request = harness.shell("read x <go; exit 4")
    async with harness.runner() as runner:
        ref = await harness.start(runner, request)
        pid = await harness.until_claimed(ref)
    async with harness.runner() as runner:
        found = await runner.contest(ref, boot_id=harness.boot_id)
        assert found.finding is Finding.ALIVE
        assert 0 <= found.running_for_s < 15
        assert runner.pid(ref.token) == pid
        assert (await runner.contest(ref, boot_id=harness.boot_id)).finding is Finding.ALIVE
        await harness.until(lambda: (harness.cwd / "go").write_text("x\n") > 0)
        assert (await harness.end_of(ref)).exit_code == 4
        await harness.until(lambda: read_row(pid) is None)


ENGINE = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from aisquad_core.clock import SystemClock
    from aisquad_core.execution.process import LocalRunner
    from aisquad_core.execution.runner import StartRef, StartRequest
    from aisquad_core.model import Operation

    async def main():
        runs, cwd, token, line = sys.argv[1:]
        request = StartRequest(
            ref=StartRef("convoy", "item", 1, token),
            operation=Operation(id="item", argv=("/bin/sh", "-c", line)),
            cwd=cwd,
            env={"PATH": "/usr/bin:/bin"},
        )
        async with LocalRunner(Path(runs), clock=SystemClock()) as runner:
            await runner.prepare(request)
            await runner.start(request)
            print("started", flush=True)
            await asyncio.sleep(600)

    asyncio.run(main())
""")


async def test_what_a_killed_engine_left_running_is_adopted(harness: Harness) -> None:
    request = harness.shell("")
    os.mkfifo(harness.cwd / "go")
    arguments = (str(harness.runs_dir), str(harness.cwd), request.ref.token, "read x <go; exit 8")
    engine = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ENGINE, *arguments, stdout=subprocess.PIPE, cwd=Path.cwd()
    )
    assert engine.stdout is not None
    assert await engine.stdout.readline() == b"started\n"
    engine.kill()
    assert await engine.wait() == -signal.SIGKILL
    async with harness.runner() as runner:
        found = await runner.contest(request.ref, boot_id=harness.boot_id)
        assert found.finding in {Finding.ALIVE, Finding.NEVER_RAN}
        if found.finding is Finding.ALIVE:
            await harness.until(lambda: (harness.cwd / "go").write_text("x\n") > 0)
            assert (await harness.end_of(request.ref)).exit_code == 8


async def test_an_adopted_start_whose_launcher_is_killed_is_lost(harness: Harness) -> None:
    request = harness.shell("sleep 600")
    async with harness.runner() as runner:
        ref = await harness.start(runner, request)
        pid = await harness.until_claimed(ref)
    async with harness.runner() as runner:
        await runner.contest(ref, boot_id=harness.boot_id)
        os.kill(pid, signal.SIGKILL)
        end = await harness.end_of(ref)
        assert await harness.processes_of(ref.token) == []
    assert end.exit_code is None


async def test_a_launcher_killed_while_no_engine_ran_is_lost_with_its_tree(
    harness: Harness,
) -> None:
    request = harness.shell("echo up; exec sleep 600")
    async with harness.runner() as runner:
        ref = await harness.start(runner, request)
        pid = await harness.until_claimed(ref)
        await harness.until_says(ref, "up")  # before its exec the command's process has the lock
    os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(os.waitpid, pid, 0)
    assert await harness.processes_of(ref.token) != []
    async with harness.runner() as runner:
        found = await runner.contest(ref, boot_id=harness.boot_id)
        assert await harness.processes_of(ref.token) == []
    assert found.finding is Finding.LOST
    assert found.exit is not None
    assert found.exit.exit_code is None


async def test_a_launcher_killed_while_it_forked_is_lost_with_its_session_when_the_lock_is_free(
    harness: Harness,
) -> None:
    request = harness.shell("(env -i sleep 60 & echo $!); exec sleep 600")
    async with harness.runner() as runner:
        ref = await harness.start(runner, request)
        pid = await harness.until_claimed(ref)
        await harness.until_says(ref, "\n")
    unmarked = int(harness.log(ref))
    await harness.until(lambda: unmarked not in harness.look_for(ref.token))
    os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(os.waitpid, pid, 0)
    with (harness.folder(ref) / "lock").open() as lock:  # as its child has it up to the exec
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        async with harness.runner() as runner:
            found = await runner.contest(ref, boot_id=harness.boot_id)
            assert found.finding is Finding.ALIVE
            lock.close()
            assert (await harness.end_of(ref)).exit_code is None
            assert await harness.processes_of(ref.token) == []
            row = await asyncio.to_thread(read_row, unmarked)
            assert row is None or row.is_dead


async def test_a_folder_deleted_under_a_command_is_lost_with_its_tree(harness: Harness) -> None:
    request = harness.shell("sleep 600")
    async with harness.runner() as runner:
        ref = await harness.start(runner, request)
        await harness.until_claimed(ref)
    folder = harness.folder(ref)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    async with harness.runner() as runner:
        found = await runner.contest(ref, boot_id=harness.boot_id)
        assert await harness.processes_of(ref.token) == []
    assert found.finding is Finding.LOST
    assert found.reason is not None
    assert "deleted" in found.reason


@pytest.mark.parametrize("boot_id", ["another", None])
async def test_another_boot_is_lost_without_a_contest(
    harness: Harness, boot_id: str | None
) -> None:
    ref, folder = await _prepared(harness)
    async with harness.runner() as runner:
        found = await runner.contest(ref, boot_id=boot_id)
    assert found.finding is Finding.LOST
    assert not (folder / "claim").exists()


@pytest.mark.parametrize("kind", ["folder", "link", "fifo"])
async def test_what_cannot_be_told_is_not_decided(harness: Harness, kind: str) -> None:
    ref, folder = await _prepared(harness)
    claim = folder / "claim"
    if kind == "folder":
        claim.mkdir()
    elif kind == "link":
        claim.symlink_to("/etc/passwd")
    else:
        os.mkfifo(claim)
    finding, reason = await _contest(harness, ref)
    assert finding is Finding.UNKNOWN
    assert reason


async def test_want_of_space_for_a_claim_decides_nothing(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref, folder = await _prepared(harness)
    real_open = os.open

    def full(path: str, flags: int, mode: int = 0o777) -> int:
        if path.endswith("/claim"):
            raise OSError(28, "No space left on device")
        return real_open(path, flags, mode)

    async with harness.runner() as runner:
        monkeypatch.setattr(os, "open", full)
        found = await runner.contest(ref, boot_id=harness.boot_id)
        monkeypatch.undo()
    assert (found.finding, found.reason) == (Finding.UNKNOWN, "No space left on device")
    assert not (folder / "claim").exists()


@pytest.mark.parametrize(
    "content",
    ["", "3", "-1\n", "256\n", "99999\n", "0\n0\n", " 0\n", "0x1\n", "zero\n", "0" * 9999],
)
def test_an_exit_counts_only_when_complete_and_in_range(tmp_path: Path, content: str) -> None:
    (tmp_path / "exit").write_text(content)
    assert read_exit(str(tmp_path)) is None


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "socket"])
def test_an_exit_that_is_no_regular_file_does_not_count(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "exit"
    if kind == "link":
        (tmp_path / "elsewhere").write_text("0\n")
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        os.mknod(path, 0o140600)
    assert read_exit(str(tmp_path)) is None


@pytest.mark.parametrize("stamp_s", [-1e12, 1e12, 2**62])
def test_a_forged_time_of_an_exit_does_no_harm(tmp_path: Path, stamp_s: float) -> None:
    path = tmp_path / "exit"
    path.write_text("0\n")
    try:
        os.utime(path, (stamp_s, stamp_s))
    except OverflowError:
        pytest.skip("the file system has no such time")
    note = read_exit(str(tmp_path))
    assert note is not None
    assert note.exit_code == 0


async def test_an_operation_that_plants_a_link_for_its_exit_is_lost(harness: Harness) -> None:
    target = harness.cwd / "target"
    target.write_text("0\n")
    request = harness.shell("")
    folder = harness.runs_dir / "convoy" / "item" / f"1-{request.ref.token}"
    request = harness.replace_argv(request, "/bin/ln", "-s", str(target), f"{folder}/exit")
    async with harness.runner() as runner:
        end = await harness.run(runner, request)
    assert end.exit_code is None


async def test_a_claim_that_names_another_process_adopts_and_ends_nobody(harness: Harness) -> None:
    bystander = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    ref, folder = await _prepared(harness)
    (folder / "lock").touch()
    line = (Path("/proc") / str(bystander.pid) / "stat").read_text()
    (folder / "claim").write_text(f"launcher {bystander.pid}\n{line}")
    async with harness.runner() as runner:
        found = await runner.contest(ref, boot_id=harness.boot_id)
    assert found.finding is Finding.LOST
    assert bystander.returncode is None
    row = await asyncio.to_thread(read_row, bystander.pid)
    assert row is not None
    assert not row.is_dead
    bystander.kill()
    await bystander.wait()


async def test_a_late_launcher_is_waited_for_and_then_watched(harness: Harness) -> None:
    late = harness.late_shell(0.5)
    request = harness.shell("echo x >>ran; exit 2")
    async with harness.runner(shell=late) as runner:
        ref = await harness.start(runner, request)
    (harness.folder(ref) / "claim").touch()  # as if the launcher were just writing it
    async with harness.runner() as runner:
        found = await runner.contest(ref, boot_id=harness.boot_id)
        assert found.finding is Finding.ALIVE
        end = await harness.end_of(ref)
    assert (end.exit_code, end.did_run) == (None, False)
    assert os.listdir(harness.cwd) == []


@pytest.mark.slow
async def test_late_launchers_and_contests_never_start_one_item_twice(harness: Harness) -> None:
    starts = 24
    async with harness.runner() as last:
        for number in range(starts):
            first = harness.shell(f"echo x >>ran-{number}", item=f"item-{number}")
            async with harness.runner(shell=harness.late_shell(number % 8 * 0.01)) as runner:
                await harness.start(runner, first)
            found = await last.contest(first.ref, boot_id=harness.boot_id)
            if found.finding is Finding.ALIVE:
                did_run = (await harness.end_of(first.ref)).did_run
            else:
                assert found.finding in {Finding.NEVER_RAN, Finding.ENDED}
                did_run = found.finding is Finding.ENDED
            if not did_run:
                again = harness.shell(f"echo x >>ran-{number}", item=f"item-{number}")
                assert (await harness.run(last, again)).exit_code == 0
        for token in harness.tokens:
            await harness.until_gone(token)
    ran = sorted(path.name for path in harness.cwd.iterdir())
    assert ran == sorted(f"ran-{number}" for number in range(starts))
    assert {path.read_text() for path in harness.cwd.iterdir()} == {"x\n"}
