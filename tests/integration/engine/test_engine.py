"""The real engine, real SQLite, real processes; only the machine's load is a test's."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from aisquad_core.api import ItemChanged, ItemFilter, Resized, Sampled, StopMode
from aisquad_core.clock import SystemClock
from aisquad_core.engine import Engine
from aisquad_core.errors import EngineRunningError, RunnerError
from aisquad_core.execution.process import LocalRunner
from aisquad_core.model import ConvoyStatus, ItemKey, Operation, StopReason, WorkStatus
from aisquad_core.settings import load_settings
from aisquad_core.spec import SpecFormat, SpecSource
from aisquad_core.state.reader import Reader
from aisquad_core.testing import FakeSampler
from aisquad_core.trust import trust

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from aisquad_core.api import ItemView
    from aisquad_core.execution.runner import Contest, StartRef, StartRequest

ENOUGH_S = 15


@asynccontextmanager
async def running(
    folder: Path, *, sampler: FakeSampler | None = None, is_resuming: bool = False, **flags: object
) -> AsyncIterator[Engine]:
    settings = load_settings(
        cwd=folder,
        environ={"HOME": str(folder)},
        flags={"grace_seconds": 0.2, "tick_seconds": 0.1, **flags},
        state_dir=folder / "state",
    )
    async with (
        asyncio.timeout(ENOUGH_S),
        Engine(settings, sampler=sampler or FakeSampler(), is_resuming=is_resuming) as engine,
    ):
        yield engine


async def launch(
    engine: Engine, folder: Path, *operations: Mapping[str, object], **top: object
) -> str:
    text = json.dumps({"name": "work", "operations": operations, **top})
    source = SpecSource(text=text, format=SpecFormat.JSON, origin="work.json", base_dir=str(folder))
    return await engine.launch(source, env={"PATH": os.environ["PATH"]}, cwd=str(folder))


async def items(engine: Engine, convoy_id: str) -> dict[str, ItemView]:
    page = await engine.items(ItemFilter(convoy_ids=(convoy_id,)), limit=1_000)
    return {item.id: item for item in page.items}


async def until(engine: Engine, is_so: Callable[[], Awaitable[bool]]) -> None:
    """Look again after every change until something is so."""
    async with engine.subscribe() as changes:
        async for _ in changes:
            if await is_so():
                return
    raise AssertionError("the engine stopped first")


async def test_growth_starts_at_baseline_and_adds_two_a_tick(tmp_path: Path) -> None:
    async with (
        running(tmp_path, baseline_parallelism=2, max_parallelism=9) as engine,
        engine.subscribe() as changes,
    ):
        sizes = []
        async for change in changes:
            if isinstance(change, Resized):
                sizes.append((change.previous, change.parallelism))
                assert change.reason == "CPU 10 %, memory 20 %: up to 9" + (
                    "" if change.parallelism == 9 else ", growing by 2"
                )
                if change.parallelism == 9:
                    break
    assert sizes == [(2, 4), (4, 6), (6, 8), (8, 9)]


async def test_load_shrinks_to_baseline_and_touches_nothing_that_runs(tmp_path: Path) -> None:
    sampler = FakeSampler()
    async with running(
        tmp_path, sampler=sampler, baseline_parallelism=1, max_parallelism=4
    ) as engine:
        convoy_id = await launch(
            engine,
            tmp_path,
            *({"id": f"op-{n}", "run": "until [ -e go ]; do sleep 0.02; done"} for n in range(8)),
        )

        async def four_run() -> bool:
            return (await engine.snapshot()).counts.running == 4

        await until(engine, four_run)
        sampler.cpu_percent = 91.0

        async def is_small() -> bool:
            return (await engine.snapshot()).engine.parallelism == 1

        await until(engine, is_small)
        engine_view = (await engine.snapshot()).engine
        assert engine_view.reason == "CPU 91 % over 80 %: baseline 1"
        assert engine_view.running == 4
        (tmp_path / "go").touch()
        (view,) = await engine.wait([convoy_id])
        assert view.status is ConvoyStatus.COMPLETED


async def test_an_agents_max_parallel_is_never_exceeded(tmp_path: Path) -> None:
    (tmp_path / "aisquad.toml").write_text("[agents.narrow]\nmax_parallel = 2\n")
    async with running(tmp_path) as engine:
        await engine.set_parallelism(10)
        async with engine.subscribe() as changes:
            convoy_id = await launch(
                engine,
                tmp_path,
                *({"id": f"n-{n}", "run": "sleep 0.05", "agent": "narrow"} for n in range(8)),
            )
            status: dict[str, WorkStatus] = {}
            peak = 0
            async for change in changes:
                if isinstance(change, ItemChanged):
                    status[change.item.id] = change.item.status
                    running_now = Counter(status.values())[WorkStatus.IN_PROGRESS]
                    peak = max(peak, running_now)
                    if Counter(status.values())[WorkStatus.COMPLETED] == 8:
                        break
        assert peak == 2
        assert (await engine.wait([convoy_id]))[0].status is ConvoyStatus.COMPLETED


async def test_an_operation_over_its_time_is_ended_and_fails(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        convoy_id = await launch(
            engine, tmp_path, {"id": "slow", "run": "sleep 60", "timeout": 0.2}
        )
        await engine.wait([convoy_id])
        item = (await items(engine, convoy_id))["slow"]
    assert item.status is WorkStatus.FAILED
    assert item.error == "timed out after 0.2 s"


async def test_a_convoy_over_its_time_ends_with_everything_decided(tmp_path: Path) -> None:
    async with running(tmp_path, baseline_parallelism=1, max_parallelism=1) as engine:
        convoy_id = await launch(
            engine,
            tmp_path,
            {"id": "quick", "run": "true"},
            {"id": "slow", "run": "sleep 60"},
            {"id": "queued", "run": "true"},
            timeout=0.5,
        )
        (view,) = await engine.wait([convoy_id])
        ended = await items(engine, convoy_id)
    assert view.status is ConvoyStatus.PARTIAL
    assert ended["slow"].status is WorkStatus.FAILED
    assert ended["queued"].status is WorkStatus.SKIPPED
    assert ended["slow"].error == ended["queued"].reason == "the convoy's time of 0.5 s is over"


async def test_an_operation_gets_the_launchers_environment_and_no_more(tmp_path: Path) -> None:
    file = tmp_path / "aisquad.toml"
    file.write_text('[agents.a.env]\nKEY = "of-the-agent"\n')
    trust({"HOME": str(tmp_path)}, file, file.read_bytes())
    async with running(tmp_path) as engine:
        text = json.dumps({"name": "e", "operations": [{"id": "e", "run": "env", "agent": "a"}]})
        source = SpecSource(text=text, format=SpecFormat.JSON, origin="e", base_dir=str(tmp_path))
        env = {"PATH": os.environ["PATH"], "MINE": "1", "CLAUDECODE": "1"}
        convoy_id = await engine.launch(source, env=env, cwd=str(tmp_path))
        await engine.wait([convoy_id])
        log = await engine.log_range(ItemKey(convoy_id, "e"))
    found = dict(line.partition("=")[::2] for line in log.data.decode().splitlines())
    assert found["MINE"] == "1"
    assert found["KEY"] == "of-the-agent"
    assert (found["AISQUAD_ITEM"], found["AISQUAD_ATTEMPT"]) == ("e", "1")
    assert "CLAUDECODE" not in found
    assert b"of-the-agent" not in (tmp_path / "state" / "workstate.db").read_bytes()
    assert not list((tmp_path / "state" / "runs").glob("*/environment*"))


async def test_a_second_engine_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    async with running(tmp_path):
        with pytest.raises(EngineRunningError, match=rf"pid {os.getpid()} .*--state DIR"):
            async with running(tmp_path):
                pass


async def test_a_detached_operation_is_adopted_by_the_next_engine(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        convoy_id = await launch(
            engine,
            tmp_path,
            {"id": "long", "run": "touch on; until [ -e go ]; do sleep 0.02; done; exit 7"},
            {"id": "after", "run": "true", "needs": ["long"]},
        )

        async def runs() -> bool:
            return (tmp_path / "on").exists()

        await until(engine, runs)
        await engine.stop(StopMode.DETACH)
    async with running(tmp_path, is_resuming=True) as engine:

        async def is_adopted() -> bool:
            return (await engine.snapshot()).engine.phase == "running"

        await until(engine, is_adopted)
        assert (await items(engine, convoy_id))["long"].status is WorkStatus.IN_PROGRESS
        (tmp_path / "go").touch()
        await engine.wait([convoy_id])
        ended = await items(engine, convoy_id)
    assert (ended["long"].status, ended["long"].exit_code) == (WorkStatus.FAILED, 7)
    assert ended["after"].status is WorkStatus.SKIPPED


async def test_an_interrupted_convoy_is_held_until_it_is_resumed(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        convoy_id = await launch(engine, tmp_path, {"id": "a", "run": "[ -e go ] || sleep 60"})

        async def runs() -> bool:
            return (await items(engine, convoy_id))["a"].status is WorkStatus.IN_PROGRESS

        await until(engine, runs)
    async with running(tmp_path) as engine:

        async def is_held() -> bool:
            return (await items(engine, convoy_id))["a"].reason == (
                f"interrupted: `aisquad run --resume {convoy_id}` continues it"
            )

        await until(engine, is_held)
        (tmp_path / "go").touch()
        await engine.resume(convoy_id)
        (view,) = await engine.wait([convoy_id])
        item = (await items(engine, convoy_id))["a"]
    assert view.status is ConvoyStatus.COMPLETED
    assert item.attempt == 1


async def test_priority_and_fairness_between_convoys(tmp_path: Path) -> None:
    async with running(tmp_path, baseline_parallelism=1, max_parallelism=1) as engine:
        line = 'echo "$AISQUAD_ITEM" >> order'
        gate = {"id": "gate", "run": "until [ -e go ]; do sleep 0.02; done"}
        big = [{"id": f"big-{n}", "run": line} for n in range(20)]
        first = await launch(engine, tmp_path, gate, *big)

        async def runs() -> bool:
            return (await items(engine, first))["gate"].status is WorkStatus.IN_PROGRESS

        await until(engine, runs)
        urgent = {"id": "urgent", "run": line, "priority": 5}
        second = await launch(engine, tmp_path, {"id": "small", "run": line}, urgent)
        (tmp_path / "go").touch()
        await engine.wait([first, second])
    order = (tmp_path / "order").read_text().split()
    assert order[0] == "urgent"
    assert order.index("small") <= 3


async def test_callables_run_and_their_errors_are_outcomes(tmp_path: Path) -> None:
    done = []

    async def good() -> None:
        done.append("good")

    async def bad() -> None:
        raise ValueError("no\nluck")

    async def gives_up() -> None:
        raise asyncio.CancelledError

    async def endless() -> None:
        await asyncio.Event().wait()

    operations = [
        Operation(id="good"),
        Operation(id="bad"),
        Operation(id="gives-up"),
        Operation(id="endless", timeout_s=0.1),
        Operation(id="after", needs=("good",)),
    ]
    calls = {"good": good, "bad": bad, "gives-up": gives_up, "endless": endless, "after": good}
    async with running(tmp_path) as engine:
        convoy_id = await engine.launch_operations(
            "calls", operations, calls, env={}, cwd=str(tmp_path)
        )
        (view,) = await engine.wait([convoy_id])
        ended = await items(engine, convoy_id)
    assert view.status is ConvoyStatus.PARTIAL
    assert done == ["good", "good"]
    assert ended["bad"].error is not None
    assert ended["bad"].error.startswith("ValueError: no")
    assert ended["gives-up"].error == "CancelledError, from within"
    assert ended["endless"].error == "timed out after 0.1 s"


async def test_cancelling_a_callable_cancels_its_await(tmp_path: Path) -> None:
    events = []
    has_begun = asyncio.Event()

    async def endless() -> None:
        has_begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            events.append("cancelled")

    async with running(tmp_path) as engine:
        convoy_id = await engine.launch_operations(
            "calls", [Operation(id="endless")], {"endless": endless}, env={}, cwd=str(tmp_path)
        )

        await has_begun.wait()
        await engine.cancel([ItemKey(convoy_id, "endless")])
        assert (await items(engine, convoy_id))["endless"].status is WorkStatus.CANCELLED
    assert events == ["cancelled"]


async def test_leaving_the_engine_leaves_no_task_and_no_thread_behind(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    async with running(tmp_path) as engine:
        await engine.wait([await launch(engine, tmp_path, {"id": "a", "run": "true"})])
    assert asyncio.all_tasks() == before


async def test_a_database_that_was_moved_away_stops_new_starts_and_says_so(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        convoy_id = await launch(engine, tmp_path, {"id": "before", "run": "true"})
        await engine.wait([convoy_id])
        database = tmp_path / "state" / "workstate.db"
        database.rename(tmp_path / "moved.db")

        async def has_noticed() -> bool:
            return (await engine.snapshot()).engine.trouble is not None

        await until(engine, has_noticed)
        trouble = (await engine.snapshot()).engine.trouble
        assert trouble is not None
        assert str(database) in trouble
        (tmp_path / "moved.db").rename(database)

        async def is_well() -> bool:
            return (await engine.snapshot()).engine.trouble is None

        await until(engine, is_well)


async def test_a_killed_launcher_is_a_loss_and_its_retry_never_overlaps_it(tmp_path: Path) -> None:
    line = (
        '[ -e first ] && grep -q "^State:.[^Z]" "/proc/$(cat first)/status" && touch overlap; '
        'if [ "$AISQUAD_ATTEMPT" = 1 ]; then echo $$ > first; trap "" TERM; sleep 60; fi'
    )
    async with running(tmp_path) as engine:
        convoy_id = await launch(
            engine, tmp_path, {"id": "op", "run": line, "retries": 1, "retry_delay": 0}
        )

        async def runs() -> bool:
            return (tmp_path / "first").exists()

        await until(engine, runs)
        detail = await engine.item(ItemKey(convoy_id, "op"))
        assert detail.pid is not None
        os.kill(detail.pid, signal.SIGKILL)
        (view,) = await engine.wait([convoy_id])
        detail = await engine.item(ItemKey(convoy_id, "op"))
    assert view.status is ConvoyStatus.COMPLETED
    assert [ended.status for ended in detail.tries] == [WorkStatus.LOST]
    assert not (tmp_path / "overlap").exists()


async def test_what_is_lost_for_good_says_so_and_is_no_success(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        convoy_id = await launch(engine, tmp_path, {"id": "op", "run": "touch on; sleep 60"})

        async def runs() -> bool:
            return (tmp_path / "on").exists()

        await until(engine, runs)
        pid = (await engine.item(ItemKey(convoy_id, "op"))).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        (view,) = await engine.wait([convoy_id])
        item = (await items(engine, convoy_id))["op"]
    assert view.status is ConvoyStatus.FAILED
    assert item.status is WorkStatus.LOST
    assert item.error is not None
    assert "launcher was killed" in item.error


async def test_a_cancel_that_was_under_way_is_finished_by_the_next_engine(tmp_path: Path) -> None:
    stubborn = 'trap "" TERM; touch on; while :; do sleep 0.1; done'
    async with running(tmp_path, grace_seconds=60) as engine:
        convoy_id = await launch(
            engine,
            tmp_path,
            {"id": "op", "run": stubborn},
            {"id": "next", "run": "true", "needs": ["op"]},
        )

        async def runs() -> bool:
            return (tmp_path / "on").exists()

        await until(engine, runs)
        version = (await items(engine, convoy_id))["op"].version
        async with asyncio.TaskGroup() as tasks:
            cancelling = tasks.create_task(engine.cancel(convoy_id))

            async def is_intended() -> bool:
                return (await items(engine, convoy_id))["op"].version > version

            await until(engine, is_intended)
            await engine.stop(StopMode.DETACH)
            cancelling.cancel()
    async with running(tmp_path) as engine:
        (view,) = await engine.wait([convoy_id])
        ended = await items(engine, convoy_id)
    assert view.status is ConvoyStatus.CANCELLED
    assert {item.status for item in ended.values()} == {WorkStatus.CANCELLED}


async def test_a_cancel_that_is_not_done_holds_up_no_start_of_the_next_engine(
    tmp_path: Path,
) -> None:
    stubborn = 'trap "" TERM; touch on; until [ -e go ]; do sleep 0.05; done'
    async with running(tmp_path, grace_seconds=60) as engine:
        cancelled_id = await launch(engine, tmp_path, {"id": "op", "run": stubborn})

        async def runs() -> bool:
            return (tmp_path / "on").exists()

        await until(engine, runs)
        async with asyncio.TaskGroup() as tasks:
            cancelling = tasks.create_task(engine.cancel(cancelled_id))

            async def is_intended() -> bool:
                (view,) = (await engine.snapshot()).convoys
                return view.reason == "cancelled"

            await until(engine, is_intended)
            await engine.stop(StopMode.DETACH)
            cancelling.cancel()
    async with running(tmp_path, grace_seconds=60) as engine:
        other_id = await launch(engine, tmp_path, {"id": "op", "run": "true"})
        (other,) = await engine.wait([other_id])
        still = {view.id: view.status for view in (await engine.snapshot()).convoys}
        (tmp_path / "go").touch()
        (cancelled,) = await engine.wait([cancelled_id])
    assert other.status is ConvoyStatus.COMPLETED
    assert not still[cancelled_id].is_final
    assert cancelled.status is ConvoyStatus.CANCELLED


async def test_what_ended_without_an_engine_is_retried_after_its_own_delay(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        convoy_id = await engine.launch_operations(
            "work",
            [
                Operation(
                    id="op",
                    argv=("/bin/sh", "-c", "until [ -e go ]; do sleep 0.02; done; exit 1"),
                    retries=1,
                    retry_delay_s=200.0,
                )
            ],
            {},
            env={"PATH": os.defpath},
            cwd=str(tmp_path),
        )

        async def runs() -> bool:
            return (await engine.item(ItemKey(convoy_id, "op"))).pid is not None

        await until(engine, runs)
        pid = (await engine.item(ItemKey(convoy_id, "op"))).pid
        assert pid is not None
        pidfd = os.pidfd_open(pid)
        await engine.stop(StopMode.DETACH)
    (tmp_path / "go").touch()
    assert await asyncio.to_thread(select.select, [pidfd], [], [], ENOUGH_S) != ([], [], [])
    os.close(pidfd)
    async with running(tmp_path, is_resuming=True) as engine:

        async def is_retried() -> bool:
            return (await engine.item(ItemKey(convoy_id, "op"))).view.attempt == 2

        await until(engine, is_retried)
        reason = (await engine.item(ItemKey(convoy_id, "op"))).view.reason
    assert reason is not None
    before, _, rest = reason.partition(" in ")
    assert before == "retry 1 of 1"
    assert 140 <= int(rest.removesuffix(" s")) <= 250


async def test_a_cancel_without_waiting_is_durable_when_it_returns(tmp_path: Path) -> None:
    stubborn = 'trap "" TERM; touch on-$AISQUAD_ITEM; while :; do sleep 0.1; done'
    async with running(tmp_path, grace_seconds=60) as engine:
        convoy_id = await launch(
            engine, tmp_path, {"id": "one", "run": stubborn}, {"id": "two", "run": stubborn}
        )

        async def run() -> bool:
            return all((tmp_path / f"on-{each}").exists() for each in ("one", "two"))

        await until(engine, run)
        one = ItemKey(convoy_id, "one")
        outcome = await engine.cancel([one], is_waiting=False)
        assert outcome.changed == (one,)
        async with Reader.open(tmp_path / "state" / "workstate.db") as reader:
            item = await reader.item(one)
        assert (item.status, item.stopping) == (WorkStatus.IN_PROGRESS, StopReason.CANCEL)
        await engine.cancel([one, ItemKey(convoy_id, "two")], is_kill=True)


async def test_a_cancel_goes_on_without_whoever_waited_for_it(tmp_path: Path) -> None:
    stubborn = 'trap "" TERM; touch on; while :; do sleep 0.1; done'
    async with running(tmp_path, grace_seconds=0.5) as engine:
        convoy_id = await launch(
            engine,
            tmp_path,
            {"id": "op", "run": stubborn},
            {"id": "next", "run": "true", "needs": ["op"]},
        )

        async def runs() -> bool:
            return (tmp_path / "on").exists()

        async def is_cancelling() -> bool:
            return (await engine.snapshot()).convoys[0].reason == "cancelled"

        await until(engine, runs)
        async with asyncio.TaskGroup() as tasks:
            cancelling = tasks.create_task(engine.cancel(convoy_id))
            await until(engine, is_cancelling)
            cancelling.cancel()
        (view,) = await engine.wait([convoy_id])
        assert view.status is ConvoyStatus.CANCELLED
        assert {item.status for item in (await items(engine, convoy_id)).values()} == {
            WorkStatus.CANCELLED
        }


@asynccontextmanager
async def undecided(folder: Path) -> AsyncIterator[tuple[Engine, str, Callable[[], None]]]:
    """Run an engine that cannot tell what became of `a`, and what lets it be told."""
    async with running(folder) as engine:
        convoy_id = await launch(
            engine,
            folder,
            {"id": "a", "run": "echo >>ran; until [ -e go ]; do sleep 0.02; done"},
            {"id": "next", "run": "true", "needs": ["a"]},
        )

        async def runs() -> bool:
            return (folder / "ran").exists()

        await until(engine, runs)
        await engine.stop(StopMode.DETACH)
    (claim,) = (folder / "state" / "runs" / convoy_id / "a").glob("*/claim")
    claim.rename(kept := claim.with_name("kept"))
    claim.mkdir()

    def let_tell() -> None:
        claim.rmdir()
        kept.rename(claim)

    async with running(folder, is_resuming=True) as engine:

        async def is_told() -> bool:
            return (await engine.snapshot()).engine.trouble is not None

        await until(engine, is_told)
        yield engine, convoy_id, let_tell


async def test_what_cannot_be_told_of_one_item_holds_up_no_other(tmp_path: Path) -> None:
    async with undecided(tmp_path) as (engine, convoy_id, let_tell):
        other = await launch(engine, tmp_path, {"id": "b", "run": "true"})
        (view,) = await engine.wait([other])
        assert view.status is ConvoyStatus.COMPLETED
        seen = (await engine.snapshot()).engine
        said = "cannot tell whether it ran: "
        assert (seen.trouble or "").startswith(f"a: {said}")
        assert (seen.phase, seen.running) == ("running", 1)
        before = await items(engine, convoy_id)
        assert (before["a"].reason or "").startswith(said)
        assert (before["a"].status, before["next"].status) == (
            WorkStatus.IN_PROGRESS,
            WorkStatus.BLOCKED,
        )
        let_tell()
        (tmp_path / "go").touch()
        (view,) = await engine.wait([convoy_id])
        assert view.status is ConvoyStatus.COMPLETED
        assert (await engine.snapshot()).engine.trouble is None
    assert (tmp_path / "ran").read_text() == "\n"


async def test_a_cancel_of_what_cannot_be_told_is_carried_out_when_it_can(tmp_path: Path) -> None:
    async with undecided(tmp_path) as (engine, convoy_id, let_tell):
        outcome = await engine.cancel([ItemKey(convoy_id, "a")], is_waiting=False)
        assert outcome.changed == (ItemKey(convoy_id, "a"),)
        async with Reader.open(tmp_path / "state" / "workstate.db") as reader:
            item = await reader.item(ItemKey(convoy_id, "a"))
        assert item.status is WorkStatus.IN_PROGRESS
        assert item.stopping is StopReason.CANCEL
        let_tell()
        await engine.wait([convoy_id])
        after = await items(engine, convoy_id)
        assert after["a"].status is WorkStatus.CANCELLED
        assert after["next"].status is WorkStatus.SKIPPED


@pytest.mark.parametrize("mode", [StopMode.INTERRUPT, StopMode.DRAIN])
async def test_what_cannot_be_told_is_left_to_the_next_engine(
    tmp_path: Path, mode: StopMode
) -> None:
    async with undecided(tmp_path) as (engine, convoy_id, let_tell):
        await engine.stop(mode)
        let_tell()
    (tmp_path / "go").touch()
    async with running(tmp_path, is_resuming=True) as engine:
        (view,) = await engine.wait([convoy_id])
        assert view.status is ConvoyStatus.COMPLETED
    assert (tmp_path / "ran").read_text() == "\n"


class LateContest(LocalRunner):
    """Contests nothing before it is told to."""

    def __init__(self, runs_dir: Path) -> None:
        super().__init__(runs_dir, clock=SystemClock())
        self.due = asyncio.Event()

    async def contest(self, ref: StartRef, *, boot_id: str | None) -> Contest:
        await self.due.wait()
        return await super().contest(ref, boot_id=boot_id)


async def test_a_convoy_whose_time_is_over_while_it_is_read_again_ends(tmp_path: Path) -> None:
    async with running(tmp_path, tick_seconds=60) as engine:
        convoy_id = await launch(engine, tmp_path, {"id": "a", "run": "sleep 60"}, timeout=0.05)

        async def runs() -> bool:
            return (await items(engine, convoy_id))["a"].status is WorkStatus.IN_PROGRESS

        await until(engine, runs)
        await engine.stop(StopMode.DETACH)
    settings = load_settings(
        cwd=tmp_path,
        environ={},
        flags={"grace_seconds": 0.2, "tick_seconds": 0.1},
        state_dir=tmp_path / "state",
    )
    runner = LateContest(settings.state_dir / "runs")
    async with asyncio.timeout(ENOUGH_S), Engine(settings, runner=runner) as engine:
        ticks = 0
        async with engine.subscribe() as changes:
            async for change in changes:
                ticks += isinstance(change, Sampled)
                if ticks == 3:
                    break
        runner.due.set()
        (view,) = await engine.wait([convoy_id])
        ended = await items(engine, convoy_id)
    assert view.status is ConvoyStatus.FAILED
    assert (ended["a"].error or ended["a"].reason) == "the convoy's time of 0.05 s is over"


class LateRefusal(LocalRunner):
    """Has no room for the operation `late`, and says so when it is told to."""

    def __init__(self, runs_dir: Path) -> None:
        super().__init__(runs_dir, clock=SystemClock())
        self.due = asyncio.Event()

    async def start(self, request: StartRequest) -> None:
        if request.ref.item_id == "late":
            await self.due.wait()
            raise RunnerError("no room", is_transient=True)
        await super().start(request)


async def test_what_never_ran_is_skipped_when_its_convoy_was_stopped_meanwhile(
    tmp_path: Path,
) -> None:
    settings = load_settings(cwd=tmp_path, environ={}, flags={}, state_dir=tmp_path / "state")
    runner = LateRefusal(settings.state_dir / "runs")
    async with asyncio.timeout(ENOUGH_S), Engine(settings, runner=runner) as engine:
        convoy_id = await launch(
            engine,
            tmp_path,
            {"id": "late", "run": "true"},
            {"id": "bad", "run": "exit 1"},
            {"id": "next", "run": "true", "needs": ["late"]},
            stop_on_first_failure=True,
        )

        async def is_stopped() -> bool:
            return (await items(engine, convoy_id))["next"].status is WorkStatus.SKIPPED

        await until(engine, is_stopped)
        runner.due.set()
        (view,) = await engine.wait([convoy_id])
        late = (await items(engine, convoy_id))["late"]
    assert view.status is ConvoyStatus.FAILED
    assert (late.status, late.reason) == (
        WorkStatus.SKIPPED,
        "stopped after the first failure, of bad",
    )


async def test_a_wait_counts_the_time_in_which_earlier_work_is_read(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        convoy_id = await launch(engine, tmp_path, {"id": "a", "run": "touch on; sleep 60"})

        async def runs() -> bool:
            return (tmp_path / "on").exists()

        await until(engine, runs)
        await engine.stop(StopMode.DETACH)
    settings = load_settings(cwd=tmp_path, environ={}, flags={}, state_dir=tmp_path / "state")
    runner = LateContest(settings.state_dir / "runs")
    async with asyncio.timeout(ENOUGH_S), Engine(settings, runner=runner) as engine:
        with pytest.raises(TimeoutError, match=rf"not even loaded after 0\.05 s: {convoy_id}"):
            await engine.wait([convoy_id], timeout_s=0.05)
        await engine.stop(StopMode.DETACH)
    async with running(tmp_path) as engine:
        await engine.cancel(convoy_id, is_kill=True)
