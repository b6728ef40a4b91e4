"""Ending whole trees: on a stop, and when a launcher was killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from aisquad_core.execution import tree
from aisquad_core.execution.tree import ProcessId, read_row, send_signal

if TYPE_CHECKING:
    from tests.integration.process.conftest import Harness

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
TREE = (
    "import os, signal, subprocess, sys, time\n"
    f"child = subprocess.Popen([sys.executable, '-c', {STUBBORN!r}])\n"
    "grandchild = subprocess.Popen(['/bin/sh', '-c', 'setsid sleep 600 & sleep 600'])\n"
    "print('up', flush=True)\n"
    "time.sleep(600)\n"
)


async def test_a_polite_tree_ends_at_term_with_its_exit_written(harness: Harness) -> None:
    request = harness.shell("trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done")
    async with harness.runner() as runner:
        ref = await harness.start(runner, request)
        await harness.until_says(ref, "up")
        begun = time.monotonic()
        await runner.stop(ref, grace_s=10)
        assert time.monotonic() - begun < 5
        end = await harness.end_of(ref)
    assert (end.exit_code, end.did_run) == (5, True)
    assert (harness.folder(ref) / "exit").read_text() == "5\n"


@pytest.mark.slow
async def test_trees_with_stubborn_children_and_new_sessions_end_whole(harness: Harness) -> None:
    requests = [
        harness.request(sys.executable, "-c", TREE, item=f"tree-{number}") for number in range(10)
    ]
    async with harness.runner() as runner:
        for request in requests:
            await harness.start(runner, request)
        for request in requests:
            await harness.until_says(request.ref, "up")
        async with asyncio.TaskGroup() as stops:
            for request in requests:
                stops.create_task(runner.stop(request.ref, grace_s=0.5))
        for request in requests:
            assert await harness.processes_of(request.ref.token) == []
            end = await harness.end_of(request.ref)
            assert end.exit_code in {128 + signal.SIGTERM, 128 + signal.SIGKILL}
    assert all(len(ends) == 1 for ends in harness.exits.values())


async def test_a_member_that_cleared_its_environment_is_found_by_descent(harness: Harness) -> None:
    code = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen(['/usr/bin/setsid', 'sleep', '600'], env={})\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    request = harness.python(code)
    async with harness.runner() as runner:
        ref = await harness.start(runner, request)
        await harness.until_says(ref, "\n")
        escaped = int(harness.log(ref))
        await runner.stop(ref, grace_s=0)
        row = await asyncio.to_thread(read_row, escaped)
        assert row is None or row.is_dead


async def test_a_stop_ends_each_shell_before_the_command_that_it_waits_for(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    parents: dict[int, int] = {}

    def record(process: ProcessId, number: int) -> bool:
        if number == signal.SIGTERM and (row := read_row(process.pid)) is not None:
            parents[process.pid] = row.parent
        return send_signal(process, number)

    monkeypatch.setattr(tree, "send_signal", record)
    nest = 'f() { [ "$1" -gt 0 ] || { echo up; sleep 600; return; }; (f $(($1 - 1)); touch ran); }'
    request = harness.shell(f"{nest}; f 6; touch ran")
    async with harness.runner() as runner:
        ref = await harness.start(runner, request)
        await harness.until_says(ref, "up")
        await runner.stop(ref, grace_s=10)
    told = list(parents)
    assert len(told) >= 7
    assert [pid for pid in told if parents[pid] in told[told.index(pid) :]] == []
    assert os.listdir(harness.cwd) == []


async def test_a_second_stop_with_less_grace_hastens_the_first(harness: Harness) -> None:
    request = harness.python(STUBBORN + "; print()")
    async with harness.runner() as runner:
        ref = await harness.start(runner, request)
        await harness.until_claimed(ref)
        async with asyncio.TaskGroup() as stops:
            stops.create_task(runner.stop(ref, grace_s=600))
            await asyncio.sleep(0.1)
            stops.create_task(runner.stop(ref, grace_s=0))
        end = await harness.end_of(ref)
    assert end.exit_code in {128 + signal.SIGTERM, 128 + signal.SIGKILL}


async def test_a_stop_that_had_to_kill_says_so(harness: Harness) -> None:
    request = harness.shell("trap '' TERM; echo up; while :; do sleep 0.05; done")
    async with harness.runner() as runner:
        ref = await harness.start(runner, request)
        await harness.until_says(ref, "up")
        await runner.stop(ref, grace_s=0.2)
        end = await harness.end_of(ref)
        assert runner.pid(ref.token) is None
    assert end.exit_code == 128 + signal.SIGKILL
    assert end.error is not None
    assert "grace" in end.error


async def test_a_stop_of_what_ended_or_never_was_is_no_error(harness: Harness) -> None:
    request = harness.shell("true")
    async with harness.runner() as runner:
        await runner.stop(request.ref, grace_s=10)
        await harness.run(runner, request)
        await runner.stop(request.ref, grace_s=10)
    assert len(harness.exits[request.ref.token]) == 1


async def test_a_cancelled_stop_stops_on(harness: Harness) -> None:
    request = harness.shell("sleep 600")
    async with harness.runner() as runner:
        ref = await harness.start(runner, request)
        await harness.until_claimed(ref)
        stopping = asyncio.ensure_future(runner.stop(ref, grace_s=0.1))
        await asyncio.sleep(0)
        stopping.cancel()
        end = await harness.end_of(ref)
    assert end.exit_code is not None


async def test_a_killed_launcher_loses_its_command_which_does_not_survive(harness: Harness) -> None:
    request = harness.python("import time; print('up', flush=True); time.sleep(600)")
    async with harness.runner() as runner:
        ref = await harness.start(runner, request)
        await harness.until_says(ref, "up")
        pid = runner.pid(ref.token)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        end = await harness.end_of(ref)
        assert await harness.processes_of(ref.token) == []
    assert (end.exit_code, end.did_run) == (None, True)
    assert end.error is not None
    assert "launcher was killed" in end.error


async def test_a_launcher_killed_before_its_claim_never_ran(harness: Harness) -> None:
    late = harness.late_shell(600)
    request = harness.shell("touch ran")
    async with harness.runner(shell=late) as runner:
        ref = await harness.start(runner, request)
        await runner.stop(ref, grace_s=0.2)
        end = await harness.end_of(ref)
    assert (end.exit_code, end.did_run) == (None, False)
    assert os.listdir(harness.cwd) == []
    assert (harness.folder(ref) / "claim").read_text() == f"engine {os.getpid()}\n"


async def test_a_folder_deleted_under_a_command_ends_it_as_lost(harness: Harness) -> None:
    request = harness.shell('rm -rf "$0"; echo', item="gone")
    folder = harness.runs_dir / "convoy" / "gone" / f"1-{request.ref.token}"
    request = harness.replace_argv(request, "/bin/sh", "-c", 'rm -rf "$0"', str(folder))
    async with harness.runner() as runner:
        end = await harness.run(runner, request)
    assert end.exit_code is None
    assert end.error is not None
    assert "deleted" in end.error


async def test_closing_leaves_what_runs_alone(harness: Harness) -> None:
    request = harness.shell("sleep 600")
    async with harness.runner() as runner:
        ref = await harness.start(runner, request)
        pid = await harness.until_claimed(ref)
    assert pid in await harness.processes_of(ref.token)
    assert ref.token not in harness.exits
    async with harness.runner() as runner:
        assert list(await runner.inventory()) == [ref.token]
        await runner.contest(ref, boot_id=harness.boot_id)
        await runner.stop(ref, grace_s=0)
        assert await runner.inventory() == {}


def test_a_signal_never_reaches_a_later_process_of_the_same_number() -> None:
    own = read_row(os.getpid())
    assert own is not None
    stranger = ProcessId(own.id.pid, own.id.start_ticks - 1)
    assert send_signal(stranger, signal.SIGKILL)  # and this test is still there to say so
