"""What every EngineAPI must do, whatever is behind it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from aisquad_core.api import (
    ConvoyChanged,
    EngineState,
    Event,
    ItemChanged,
    ItemFilter,
    ItemSort,
    Outcome,
    Resized,
    Snapshot,
    StopMode,
)
from aisquad_core.errors import (
    EngineStoppedError,
    InputError,
    NotFoundError,
    SpecError,
    StorageError,
)
from aisquad_core.model import ConvoyStatus, ItemKey, WorkStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from aisquad_core.api import ConvoyView, ItemView
    from tests.contract.conftest import World

PENDING, BLOCKED, RUNNING = WorkStatus.PENDING, WorkStatus.BLOCKED, WorkStatus.IN_PROGRESS
COMPLETED, FAILED = WorkStatus.COMPLETED, WorkStatus.FAILED
CANCELLED, SKIPPED = WorkStatus.CANCELLED, WorkStatus.SKIPPED


def op(item_id: str, run: str = "true", **options: object) -> dict[str, object]:
    return {"id": item_id, "run": run, **options}


def is_ended(convoy_id: str) -> Callable[[Snapshot | Event], bool]:
    def check(news: Snapshot | Event) -> bool:
        told: tuple[ConvoyView, ...] = ()
        if isinstance(news, Snapshot):
            told = news.convoys
        elif isinstance(news, ConvoyChanged):
            told = (news.convoy,)
        return any(convoy.id == convoy_id and convoy.status.is_final for convoy in told)

    return check


async def statuses(world: World, convoy_id: str) -> dict[str, WorkStatus]:
    page = await world.api.items(ItemFilter(convoy_ids=(convoy_id,)))
    return {view.id: view.status for view in page.items}


async def whole_state(world: World) -> tuple[object, ...]:
    """Everything that a refused call must leave as it was."""
    snapshot = await world.api.snapshot()
    page = await world.api.items(ItemFilter())
    return snapshot.convoys, snapshot.counts, snapshot.engine.parallelism, page.items


# Snapshot


async def test_a_new_engine_has_no_work(world: World) -> None:
    snapshot = await world.api.snapshot()
    assert snapshot.convoys == ()
    assert snapshot.counts.total == 0
    assert (snapshot.engine.running, snapshot.engine.queued) == (0, 0)


async def test_parallelism_is_the_sum_over_the_nodes(world: World) -> None:
    snapshot = await world.api.snapshot()
    assert snapshot.engine.parallelism >= 1
    assert sum(node.parallelism for node in snapshot.nodes) == snapshot.engine.parallelism


async def test_convoys_are_listed_newest_first_and_counts_add_up(world: World) -> None:
    older = await world.launch(op("a"), op("b", "false"), op("c", needs=["b"]), name="older")
    await world.ended(older)
    newer = await world.launch(op("x", "sleep 60"), op("y", needs=["x"]), name="newer")
    await world.reached(newer, "x", RUNNING)
    snapshot = await world.api.snapshot()
    assert [(view.id, view.name) for view in snapshot.convoys] == [
        (newer, "newer"),
        (older, "older"),
    ]
    new, old = (view.counts for view in snapshot.convoys)
    assert (old.total, old.completed, old.failed, old.skipped) == (3, 1, 1, 1)
    assert (new.total, new.running, new.blocked, new.queued) == (2, 1, 1, 1)
    assert snapshot.counts.total == new.total + old.total
    assert (snapshot.engine.running, snapshot.engine.queued) == (1, 1)


# Events


async def test_a_stream_begins_with_a_snapshot_and_goes_on_with_every_later_change(
    world: World,
) -> None:
    async with world.api.subscribe() as stream:
        convoy = await world.launch(op("a"), op("b", "exit 3", needs=["a"]))
        news = await world.read(stream, is_ended(convoy))
    assert isinstance(news[0], Snapshot)
    assert news[0].convoys == ()
    sequence = [one.seq for one in news]
    assert sequence == sorted(set(sequence))
    last = {one.item.id: one.item for one in news if isinstance(one, ItemChanged)}
    assert (last["a"].status, last["b"].status, last["b"].exit_code) == (COMPLETED, FAILED, 3)
    ended = news[-1]
    assert isinstance(ended, ConvoyChanged)
    assert (ended.convoy.counts.completed, ended.convoy.counts.failed) == (1, 1)


async def test_an_event_is_told_only_when_the_state_can_be_read(world: World) -> None:
    async with world.api.subscribe() as stream:
        convoy = await world.launch(op("a"))

        async def compare() -> None:
            async for news in stream:
                if isinstance(news, ItemChanged):
                    view = await world.view(convoy, "a")
                    assert view.version >= news.item.version
                    if news.item.status.is_final:
                        return

        await world.during(compare())


async def test_a_reader_that_comes_back_misses_nothing(world: World) -> None:
    async with world.api.subscribe() as stream:
        first = await world.launch(op("a"))
        seen = (await world.read(stream, is_ended(first)))[-1].seq
        second = await world.launch(op("b"))
        await world.ended(second)
        async with world.api.subscribe(since=seen) as resumed:
            news = await world.read(resumed, is_ended(second))
    assert not any(isinstance(one, Snapshot) for one in news)
    assert all(one.seq > seen for one in news)
    items = {one.item.id for one in news if isinstance(one, ItemChanged)}
    assert items == {"b"}


async def test_a_reader_from_another_time_gets_a_snapshot(world: World) -> None:
    async with world.api.subscribe(since=10**9) as stream:
        news = await world.read(stream, lambda _: True)
    assert isinstance(news[0], Snapshot)


async def test_two_readers_end_with_the_same_picture(world: World) -> None:
    pictures = []
    async with world.api.subscribe() as early:
        convoy = await world.launch(op("a"), op("b", "false"), op("c", needs=["b"]))
        await world.reached(convoy, "a", RUNNING, COMPLETED)
        async with world.api.subscribe() as late:
            for stream in (early, late):
                picture = {}
                for news in await world.read(stream, is_ended(convoy)):
                    if isinstance(news, Snapshot):
                        picture = {view.id: view.counts for view in news.convoys}
                    elif isinstance(news, ConvoyChanged):
                        picture[news.convoy.id] = news.convoy.counts
                pictures.append(picture)
    assert pictures[0] == pictures[1]
    assert pictures[0][convoy].ended == 3


# Rescue


async def test_a_rescue_is_a_new_file_that_only_its_owner_reads(
    world: World, tmp_path: Path
) -> None:
    await world.ended(await world.launch(op("precious")))
    target = tmp_path / "copy.db"
    size_bytes = await world.api.rescue(str(target))
    assert size_bytes == target.stat().st_size > 0
    assert b"precious" in await asyncio.to_thread(target.read_bytes)
    assert target.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["is there", "relative"])
async def test_a_rescue_never_writes_over_a_file_nor_to_a_place_that_is_not_named(
    world: World, tmp_path: Path, name: str
) -> None:
    target = tmp_path / "copy.db"
    target.write_text("mine")
    with pytest.raises(InputError):
        await world.api.rescue(str(target) if name == "is there" else "new.db")
    assert target.read_text() == "mine"


async def test_a_rescue_that_cannot_be_written_leaves_nothing(world: World, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        await world.api.rescue(str(tmp_path / "nowhere" / "copy.db"))


# Launch, preview, wait


async def test_what_was_launched_runs_in_the_order_of_its_needs(world: World) -> None:
    convoy = await world.launch(op("first"), op("second", needs=["first"]))
    view = await world.ended(convoy)
    assert (view.id, view.status) == (convoy, ConvoyStatus.COMPLETED)
    assert view.counts.completed == view.counts.total == 2
    assert view.started_at is not None
    assert view.finished_at is not None
    first, second = [await world.view(convoy, name) for name in ("first", "second")]
    assert first.finished_at is not None
    assert second.started_at is not None
    assert first.finished_at <= second.started_at
    assert (first.exit_code, first.reason, first.error) == (0, None, None)


async def test_a_launch_with_problems_writes_nothing(world: World) -> None:
    async with world.api.subscribe() as stream:
        with pytest.raises(SpecError) as raised:
            await world.launch(op("a", needs=["nobody"]), op("b", needs=["nowhere"]))
        after = await world.launch(op("z"))
        news = await world.read(stream, is_ended(after))
    problems = [(problem.file, problem.operation) for problem in raised.value.problems]
    assert problems == [("work.json", "a"), ("work.json", "b")]
    convoys = {one.convoy.id for one in news if isinstance(one, ConvoyChanged)}
    assert convoys == {after}
    assert (await world.api.items(ItemFilter())).total == 1


async def test_a_preview_says_what_would_run_and_runs_nothing(world: World) -> None:
    source = world.source(
        op("build", "exit 3", priority=4),
        {
            "id": "test-{n}",
            "for_each": {"n": ["1", "2", "3"]},
            "run": "echo {n}",
            "needs": ["build"],
        },
        name="look",
        stop_on_first_failure=True,
    )
    preview = await world.api.preview(source, cwd=world.cwd, limit=2)
    assert (preview.name, preview.total, preview.problems) == ("look", 4, ())
    assert preview.stop_on_first_failure
    assert preview.agents == {"shell": 4}
    assert [(one.count, one.priority) for one in preview.templates] == [(1, 4), (3, 0)]
    assert [one.id for one in preview.operations] == ["build", "test-1"]
    assert "exit 3" in preview.operations[0].command
    assert (await world.api.items(ItemFilter())).total == 0


async def test_a_preview_lists_problems_instead_of_raising(world: World) -> None:
    preview = await world.api.preview(
        world.source(op("a", needs=["nobody"])), cwd=world.cwd, limit=5
    )
    assert [problem.operation for problem in preview.problems] == ["a"]
    assert preview.operations == ()


async def test_waiting_for_any_returns_at_the_first_end(world: World) -> None:
    slow = await world.launch(op("a", "sleep 60"))
    quick = await world.launch(op("b"))
    views = await world.during(world.api.wait([slow, quick], is_any=True))
    ended = {view.id for view in views if view.status.is_final}
    assert ended == {quick}


async def test_waiting_for_what_has_ended_returns_at_once(world: World) -> None:
    convoy = await world.launch(op("a"))
    await world.ended(convoy)
    views = await world.api.wait([convoy, convoy], timeout_s=0)
    assert {view.status for view in views} == {ConvoyStatus.COMPLETED}


async def test_a_wait_that_is_too_short_times_out(world: World) -> None:
    convoy = await world.launch(op("a", "sleep 60"))
    with pytest.raises(TimeoutError):
        await world.during(world.api.wait([convoy], timeout_s=0.2))
    assert not (await world.api.snapshot()).convoys[0].status.is_final


async def test_a_cancelled_wait_leaves_the_work_alone(world: World) -> None:
    convoy = await world.launch(op("a", "sleep 60"))
    await world.reached(convoy, "a", RUNNING)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(world.api.wait([convoy]))
        await asyncio.sleep(0)
        waiting.cancel()
    assert (await world.view(convoy, "a")).status is RUNNING


# Unknown names


async def test_an_unknown_name_is_refused_and_nothing_is_done(world: World) -> None:
    convoy = await world.launch(op("a", "sleep 60"), op("b", "false"))
    await world.reached(convoy, "a", RUNNING)
    await world.reached(convoy, "b", FAILED)
    api, a, b = world.api, ItemKey(convoy, "a"), ItemKey(convoy, "b")
    nobody, nowhere = ItemKey(convoy, "nobody"), ItemKey("nowhere", "a")
    before = await whole_state(world)
    for make_call in (
        lambda: api.item(nobody),
        lambda: api.item(nowhere),
        lambda: api.log_range(nobody),
        lambda: api.cancel([a, nobody]),
        lambda: api.cancel("nowhere"),
        lambda: api.retry([b, nowhere]),
        lambda: api.pause("nowhere"),
        lambda: api.resume("nowhere"),
        lambda: api.wait([convoy, "nowhere"], is_any=True),
    ):
        with pytest.raises(NotFoundError):
            await make_call()
    assert await whole_state(world) == before


# Failure


async def test_what_needs_a_failed_operation_is_skipped_and_says_why(world: World) -> None:
    convoy = await world.launch(
        op("lint", "exit 3"),
        op("fix", needs=["lint"]),
        op("push", needs=["fix"]),
        op("other"),
    )
    view = await world.ended(convoy)
    assert view.status is ConvoyStatus.PARTIAL
    assert await statuses(world, convoy) == {
        "lint": FAILED,
        "fix": SKIPPED,
        "push": SKIPPED,
        "other": COMPLETED,
    }
    lint, fix = await world.view(convoy, "lint"), await world.view(convoy, "fix")
    assert (lint.exit_code, lint.attempt, lint.max_attempts) == (3, 1, 1)
    assert lint.error
    assert "lint" in (fix.reason or "")
    assert fix.started_at is None


async def test_a_convoy_of_which_nothing_completed_has_failed(world: World) -> None:
    view = await world.ended(await world.launch(op("a", "false"), op("b", "exit 2")))
    assert view.status is ConvoyStatus.FAILED


async def test_stop_on_first_failure_starts_nothing_more(world: World) -> None:
    await world.api.set_parallelism(1)
    convoy = await world.launch(
        op("a", "false"), op("b"), op("c", needs=["b"]), stop_on_first_failure=True
    )
    view = await world.ended(convoy)
    assert view.status is ConvoyStatus.FAILED
    assert await statuses(world, convoy) == {"a": FAILED, "b": SKIPPED, "c": SKIPPED}
    assert "a" in ((await world.view(convoy, "b")).reason or "")


async def test_an_operation_that_takes_too_long_fails(world: World) -> None:
    convoy = await world.launch(op("a", "sleep 60", timeout="0.2s"))
    await world.ended(convoy)
    view = await world.view(convoy, "a")
    assert view.status is FAILED
    assert "timed out" in (view.error or "")


# Retries


async def test_a_failed_attempt_is_tried_again_and_kept(world: World) -> None:
    convoy = await world.launch(
        op("a", "test $AISQUAD_ATTEMPT -ge 2", retries=3, retry_delay="0.1s")
    )
    await world.ended(convoy)
    detail = await world.api.item(ItemKey(convoy, "a"))
    assert (detail.view.status, detail.view.attempt, detail.view.max_attempts) == (COMPLETED, 2, 4)
    assert [(one.attempt, one.status, one.exit_code) for one in detail.tries] == [(1, FAILED, 1)]


async def test_an_item_fails_when_its_retries_are_used_up(world: World) -> None:
    convoy = await world.launch(
        op("a", "exit 7", retries=1, retry_delay="0.1s"), op("b", needs=["a"])
    )
    await world.ended(convoy)
    detail = await world.api.item(ItemKey(convoy, "a"))
    assert (detail.view.status, detail.view.attempt, detail.view.exit_code) == (FAILED, 2, 7)
    assert [one.attempt for one in detail.tries] == [1]
    assert (await world.view(convoy, "b")).status is SKIPPED


async def test_a_retry_by_hand_frees_what_was_skipped(world: World) -> None:
    convoy = await world.launch(
        op("a", "test $AISQUAD_ATTEMPT -ge 2"), op("b", needs=["a"]), op("c", needs=["b"])
    )
    assert (await world.ended(convoy)).status is ConvoyStatus.FAILED
    outcome = await world.api.retry([ItemKey(convoy, "a")], env={"PATH": "/usr/bin:/bin"})
    assert ItemKey(convoy, "a") in outcome.changed
    assert outcome.refused == {}
    view = await world.ended(convoy)
    assert view.status is ConvoyStatus.COMPLETED
    attempts = {name: (await world.view(convoy, name)).attempt for name in "abc"}
    assert attempts == {"a": 2, "b": 1, "c": 1}


async def test_what_would_wait_in_vain_is_not_retried(world: World) -> None:
    env = {"PATH": "/usr/bin:/bin"}
    convoy = await world.launch(
        op("a", "test $AISQUAD_ATTEMPT -ge 2"),
        op("b", needs=["a"]),
        op("c", needs=["b"]),
        op("d", "test $AISQUAD_ATTEMPT -ge 2"),
    )
    ended = await world.ended(convoy)
    a, b, c, d = (ItemKey(convoy, name) for name in "abcd")
    outcome = await world.api.retry([b, c], env=env)
    assert outcome.changed == ()
    assert set(outcome.refused) == {str(b), str(c)}
    assert all("needs a, which failed" in reason for reason in outcome.refused.values())
    (again,) = await world.api.wait([convoy], timeout_s=10)
    assert (again.status, again.counts) == (ended.status, ended.counts)
    outcome = await world.api.retry([c, d], env=env)
    assert (outcome.changed, set(outcome.refused)) == ((d,), {str(c)})
    assert (await world.ended(convoy)).status is ConvoyStatus.PARTIAL
    outcome = await world.api.retry([c, a], env=env)
    assert set(outcome.changed) == {a, c}
    assert (await world.ended(convoy)).status is ConvoyStatus.COMPLETED
    attempts = {name: (await world.view(convoy, name)).attempt for name in "abcd"}
    assert attempts == {"a": 2, "b": 1, "c": 2, "d": 2}


async def test_what_a_failure_left_out_is_not_retried_without_it(world: World) -> None:
    env = {"PATH": "/usr/bin:/bin"}
    await world.api.set_parallelism(1)
    convoy = await world.launch(
        op("a", "test $AISQUAD_ATTEMPT -ge 2"),
        op("b"),
        op("c", needs=["b"]),
        stop_on_first_failure=True,
    )
    await world.ended(convoy)
    a, c = ItemKey(convoy, "a"), ItemKey(convoy, "c")
    outcome = await world.api.retry([c], env=env)
    assert (outcome.changed, set(outcome.refused)) == ((), {str(c)})
    outcome = await world.api.retry([a, c], env=env)
    assert set(outcome.changed) == {a, c}
    assert (await world.ended(convoy)).status is ConvoyStatus.COMPLETED


async def test_a_retry_waits_for_what_it_needs(world: World) -> None:
    await world.api.set_parallelism(1)
    convoy = await world.launch(op("a", "sleep 60"), op("b", "true", needs=["a"]))
    await world.reached(convoy, "a", RUNNING)
    key = ItemKey(convoy, "b")
    await world.api.cancel([key])
    await world.api.retry([key])
    view = await world.view(convoy, "b")
    assert (view.status, view.attempt) == (BLOCKED, 2)
    assert "a" in (view.reason or "")


async def test_what_has_not_ended_is_not_retried(world: World) -> None:
    convoy = await world.launch(op("a", "sleep 60"))
    await world.reached(convoy, "a", RUNNING)
    key = ItemKey(convoy, "a")
    outcome = await world.api.retry([key])
    assert outcome.changed == ()
    assert set(outcome.refused) == {str(key)}
    assert (await world.view(convoy, "a")).attempt == 1


# Cancel


async def test_cancelling_an_item_skips_what_needs_it_and_leaves_the_rest(world: World) -> None:
    convoy = await world.launch(
        op("a", "sleep 60"), op("b", needs=["a"]), op("c", "sleep 60"), op("d")
    )
    await world.reached(convoy, "a", RUNNING)
    await world.reached(convoy, "c", RUNNING)
    await world.reached(convoy, "d", COMPLETED)
    a, d = ItemKey(convoy, "a"), ItemKey(convoy, "d")
    outcome = await world.during(world.api.cancel([a, d]))
    assert outcome.changed == (a,)
    assert set(outcome.refused) == {str(d)}
    after = await statuses(world, convoy)
    assert (after["a"], after["c"], after["d"]) == (CANCELLED, RUNNING, COMPLETED)
    skipped = await world.reached(convoy, "b", SKIPPED)
    assert "a" in (skipped.reason or "")


async def test_cancelling_a_convoy_ends_all_of_it(world: World) -> None:
    await world.api.set_parallelism(1)
    convoy = await world.launch(op("a", "sleep 60"), op("b"), op("c", needs=["a"]))
    await world.reached(convoy, "a", RUNNING)
    outcome = await world.during(world.api.cancel(convoy, is_kill=True))
    assert {key.item_id for key in outcome.changed} == {"a", "b", "c"}
    assert (await world.ended(convoy)).status is ConvoyStatus.CANCELLED
    assert set((await statuses(world, convoy)).values()) == {CANCELLED}
    again = await world.api.cancel(convoy)
    assert again.changed == ()


async def test_cancelling_what_runs_and_what_waits_leaves_nothing_to_start(world: World) -> None:
    await world.api.set_parallelism(1)
    convoy = await world.launch(op("a", "sleep 60"), op("b", "sleep 60"), op("c", needs=["a"]))
    await world.reached(convoy, "a", RUNNING)
    keys = tuple(ItemKey(convoy, item_id) for item_id in "abc")
    outcome = await world.during(world.api.cancel(keys, is_kill=True))
    assert outcome == Outcome(changed=keys)
    assert set((await statuses(world, convoy)).values()) == {CANCELLED}


async def test_a_cancel_that_nobody_waits_for_says_what_it_concerns_and_happens(
    world: World,
) -> None:
    convoy = await world.launch(op("a", "sleep 60"), op("b", needs=["a"]), op("c"))
    await world.reached(convoy, "a", RUNNING)
    await world.reached(convoy, "c", COMPLETED)
    a, c = ItemKey(convoy, "a"), ItemKey(convoy, "c")
    outcome = await world.api.cancel([a, c], is_waiting=False)
    assert outcome == Outcome(changed=(a,), refused={str(c): "it is completed"})
    await world.reached(convoy, "a", CANCELLED)

    whole = await world.launch(op("a", "sleep 60"), op("b", needs=["a"]))
    await world.reached(whole, "a", RUNNING)
    outcome = await world.api.cancel(whole, is_kill=True, is_waiting=False)
    assert outcome == Outcome(changed=(ItemKey(whole, "a"), ItemKey(whole, "b")))
    assert (await world.ended(whole)).status is ConvoyStatus.CANCELLED


# Pause and resume


async def test_a_paused_convoy_starts_nothing_until_it_is_resumed(world: World) -> None:
    await world.api.set_parallelism(1)
    convoy = await world.launch(op("a", "sleep 60"), op("b"))
    await world.reached(convoy, "a", RUNNING)
    await world.api.pause(convoy)
    paused = (await world.api.snapshot()).convoys[0]
    assert paused.status is ConvoyStatus.PAUSED
    await world.during(world.api.cancel([ItemKey(convoy, "a")], is_kill=True))
    # Another convoy gets the free slot, so b has been passed over.
    await world.ended(await world.launch(op("other")))
    view = await world.view(convoy, "b")
    assert view.status is PENDING
    assert "paused" in (view.reason or "")
    await world.api.resume(convoy)
    assert (await world.ended(convoy)).status is ConvoyStatus.PARTIAL
    assert (await world.view(convoy, "b")).status is COMPLETED


# Parallelism


async def test_a_pinned_parallelism_holds_and_is_told(world: World) -> None:
    async with world.api.subscribe() as stream:
        assert await world.api.set_parallelism(2) == 2
        news = await world.read(stream, lambda one: isinstance(one, Resized))
        resized = news[-1]
        assert isinstance(resized, Resized)
        assert (resized.parallelism, resized.auto) == (2, False)
        assert resized.reason
    convoy = await world.launch(op("a", "sleep 60"), op("b", "sleep 60"), op("c", "sleep 60"))
    await world.reached(convoy, "a", RUNNING)
    await world.reached(convoy, "b", RUNNING)
    assert await statuses(world, convoy) == {"a": RUNNING, "b": RUNNING, "c": PENDING}
    assert (await world.view(convoy, "c")).reason
    await world.api.set_parallelism(3)
    await world.reached(convoy, "c", RUNNING)


async def test_shrinking_leaves_what_runs_alone(world: World) -> None:
    await world.api.set_parallelism(2)
    convoy = await world.launch(op("a", "sleep 60"), op("b", "sleep 60"))
    await world.reached(convoy, "b", RUNNING)
    assert await world.api.set_parallelism(1) == 1
    assert set((await statuses(world, convoy)).values()) == {RUNNING}


async def test_a_pinned_parallelism_can_be_given_back(world: World) -> None:
    await world.api.set_parallelism(1)
    pinned = (await world.api.snapshot()).engine
    size = await world.api.set_parallelism(None)
    given_back = (await world.api.snapshot()).engine
    assert (pinned.auto, pinned.parallelism) == (False, 1)
    assert given_back.auto
    assert size >= 1


@pytest.mark.parametrize("size", [0, -1, 1.5, True])
async def test_a_parallelism_that_makes_no_sense_is_refused(world: World, size: int) -> None:
    before = (await world.api.snapshot()).engine.parallelism
    with pytest.raises(InputError):
        await world.api.set_parallelism(size)
    engine = (await world.api.snapshot()).engine
    assert (engine.parallelism, engine.auto) == (before, True)


async def test_higher_priority_starts_first(world: World) -> None:
    await world.api.set_parallelism(1)
    gate = await world.launch(op("gate", "sleep 60"))
    await world.reached(gate, "gate", RUNNING)
    convoy = await world.launch(op("low"), op("high", priority=5))
    await world.during(world.api.cancel(gate, is_kill=True))
    await world.ended(convoy)
    low, high = await world.view(convoy, "low"), await world.view(convoy, "high")
    assert low.started_at is not None
    assert high.finished_at is not None
    assert high.finished_at <= low.started_at


# Items


@pytest.fixture
async def mixed(world: World) -> str:
    """A convoy of every common status, at rest."""
    await world.api.set_parallelism(5)
    convoy = await world.launch(
        op("zeta", "sleep 60"),
        op("alpha", "exit 9"),
        op("mid"),
        op("Beta", needs=["zeta"]),
        op("gamma", needs=["alpha"]),
    )
    await world.reached(convoy, "gamma", SKIPPED)
    await world.reached(convoy, "mid", COMPLETED)
    await world.reached(convoy, "zeta", RUNNING)
    return convoy


async def ids(world: World, wanted: ItemFilter, **options: ItemSort | bool) -> list[str]:
    page = await world.api.items(wanted, **options)  # type: ignore[arg-type]
    assert page.total == len(page.items)
    return [view.id for view in page.items]


async def test_items_are_filtered(world: World, mixed: str) -> None:
    other = await world.launch(op("alphabet", "sleep 60"))
    await world.reached(other, "alphabet", RUNNING)
    assert await ids(world, ItemFilter(convoy_ids=(other,))) == ["alphabet"]
    assert await ids(world, ItemFilter(statuses=(FAILED, SKIPPED))) == ["alpha", "gamma"]
    assert await ids(world, ItemFilter(statuses=(FAILED,), convoy_ids=(other,))) == []
    assert await ids(world, ItemFilter(keys=(ItemKey(mixed, "mid"),))) == ["mid"]
    assert await ids(world, ItemFilter(agent_ids=("nobody",))) == []
    assert len(await ids(world, ItemFilter(agent_ids=("shell",)))) == 6
    assert await ids(world, ItemFilter(text="BETA", convoy_ids=(mixed,))) == ["Beta"]
    assert await ids(world, ItemFilter(text="exit 9")) == ["alpha"]


async def test_items_are_sorted(world: World, mixed: str) -> None:
    assert await ids(world, ItemFilter()) == ["zeta", "alpha", "mid", "Beta", "gamma"]
    assert await ids(world, ItemFilter(), is_reversed=True) == [
        "gamma",
        "Beta",
        "mid",
        "alpha",
        "zeta",
    ]
    by_status = await ids(world, ItemFilter(), sort=ItemSort.STATUS)
    assert by_status[:3] == ["zeta", "alpha", "Beta"]
    by_id = await ids(world, ItemFilter(), sort=ItemSort.ID)
    assert [name for name in by_id if name != "Beta"] == ["alpha", "gamma", "mid", "zeta"]
    assert await ids(world, ItemFilter(), sort=ItemSort.ID, is_reversed=True) == by_id[::-1]


@pytest.mark.parametrize("sort", ItemSort)
@pytest.mark.parametrize("is_reversed", [False, True])
async def test_pages_by_key_and_by_offset_agree(
    world: World, mixed: str, sort: ItemSort, is_reversed: bool
) -> None:
    other = await world.launch(op("alpha", "sleep 60"), op("second", "sleep 60"))
    for name in ("alpha", "second"):
        await world.reached(other, name, RUNNING)

    async def page(after: str | None, offset: int, limit: int) -> tuple[list[ItemKey], str | None]:
        page = await world.api.items(
            ItemFilter(),
            sort=sort,
            is_reversed=is_reversed,
            after=after,
            offset=offset,
            limit=limit,
        )
        assert page.total == 7
        return [ItemKey(view.convoy_id, view.id) for view in page.items], page.next_after

    whole, end = await page(None, 0, 100)
    assert end is None
    assert len(set(whole)) == 7
    by_offset = [(await page(None, offset, 3))[0] for offset in (0, 3, 6, 9)]
    assert by_offset == [whole[:3], whole[3:6], whole[6:], []]
    by_key, after = [], None
    for _ in range(3):
        keys, after = await page(after, 0, 3)
        by_key.append(keys)
    assert by_key == by_offset[:3]
    assert after is None


async def test_an_item_knows_its_relatives_and_its_operation(world: World, mixed: str) -> None:
    detail = await world.api.item(ItemKey(mixed, "zeta"))
    assert [(one.id, one.status) for one in detail.dependents] == [("Beta", BLOCKED)]
    assert detail.operation is not None
    assert "sleep 60" in " ".join(detail.operation.argv)
    assert detail.cwd == world.cwd
    assert detail.pid is not None
    blocked = await world.api.item(ItemKey(mixed, "Beta"))
    assert [(one.id, one.status) for one in blocked.dependencies] == [("zeta", RUNNING)]
    assert "zeta" in (blocked.view.reason or "")
    assert blocked.pid is None


# Logs


async def test_a_log_is_read_in_parts_from_either_end(world: World) -> None:
    convoy = await world.launch(op("a", "echo hello; echo world"))
    await world.ended(convoy)
    key, read = ItemKey(convoy, "a"), world.api.log_range
    whole = await read(key)
    assert (whole.data, whole.offset, whole.size) == (b"hello\nworld\n", 0, 12)
    assert whole.is_final
    middle = await read(key, offset=3, length=4)
    assert (middle.data, middle.offset, middle.size) == (b"lo\nw", 3, 12)
    tail = await read(key, offset=-6)
    assert (tail.data, tail.offset) == (b"world\n", 6)
    more_than_all = await read(key, offset=-100, length=5)
    assert (more_than_all.data, more_than_all.offset) == (b"hello", 0)
    assert (await read(key, offset=12)).data == b""


async def test_each_attempt_has_its_own_log(world: World) -> None:
    convoy = await world.launch(
        op("a", "echo $AISQUAD_ATTEMPT; test $AISQUAD_ATTEMPT -ge 2", retries=1, retry_delay="0.1s")
    )
    await world.ended(convoy)
    key = ItemKey(convoy, "a")
    logs = [await world.api.log_range(key, attempt=attempt) for attempt in (1, 2, None)]
    assert [log.data for log in logs] == [b"1\n", b"2\n", b"2\n"]
    assert all(log.is_final for log in logs)


async def test_no_log_yet_is_an_empty_chunk(world: World, mixed: str) -> None:
    chunk = await world.api.log_range(ItemKey(mixed, "Beta"))
    assert (chunk.data, chunk.offset, chunk.size, chunk.is_final) == (b"", 0, 0, False)


# Stop


async def test_an_interrupted_operation_is_pending_again_at_the_same_attempt(world: World) -> None:
    convoy = await world.launch(op("a", "sleep 60"), op("b", needs=["a"]))
    await world.reached(convoy, "a", RUNNING)
    async with world.api.subscribe() as stream:
        await world.during(world.api.stop(StopMode.INTERRUPT))
        news = await world.read(stream)
    last: ItemView = [one.item for one in news if isinstance(one, ItemChanged)][-1]
    assert (last.id, last.status, last.attempt) == ("a", PENDING, 1)
    assert (last.started_at, last.exit_code) == (None, None)
    phases = [one.engine.phase for one in news if isinstance(one, EngineState)]
    assert phases[-1] == "stopped"


async def test_a_drained_engine_ends_when_what_runs_has_ended(world: World) -> None:
    convoy = await world.launch(op("a", "sleep 0.3"), op("b", needs=["a"]))
    await world.reached(convoy, "a", RUNNING)
    async with world.api.subscribe() as stream:
        await world.during(world.api.stop(StopMode.DRAIN))
        news = await world.read(stream)
    last = {one.item.id: one.item.status for one in news if isinstance(one, ItemChanged)}
    assert (last["a"], last.get("b", PENDING)) == (COMPLETED, PENDING)


async def test_a_drain_can_be_hastened_and_read_from(world: World) -> None:
    convoy = await world.launch(op("a", "sleep 60"))
    await world.reached(convoy, "a", RUNNING)
    async with world.api.subscribe() as stream, asyncio.TaskGroup() as tasks:
        draining = tasks.create_task(world.api.stop(StopMode.DRAIN))
        await world.read(
            stream, lambda one: isinstance(one, EngineState) and one.engine.phase == "stopping"
        )
        assert (await world.view(convoy, "a")).status is RUNNING
        with pytest.raises(EngineStoppedError):
            await world.launch(op("late"))
        await world.during(world.api.stop(StopMode.KILL))
        await draining
        news = await world.read(stream)
    last = [one.item for one in news if isinstance(one, ItemChanged)][-1]
    assert (last.id, last.status, last.attempt) == ("a", PENDING, 1)


async def test_a_stopped_engine_takes_no_more_commands(world: World) -> None:
    convoy = await world.launch(op("a", "false"), op("b", "sleep 60"))
    await world.reached(convoy, "a", FAILED)
    api, key = world.api, ItemKey(convoy, "a")
    source = world.source(op("z"))
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(refusal(api.wait([convoy])))
        await asyncio.sleep(0)
        await world.during(api.stop(StopMode.KILL))
    assert isinstance(waiting.result(), EngineStoppedError)
    for make_call in (
        lambda: api.launch(source, env={}, cwd=world.cwd),
        lambda: api.cancel(convoy),
        lambda: api.retry([key]),
        lambda: api.pause(convoy),
        lambda: api.resume(convoy),
        lambda: api.set_parallelism(3),
        lambda: api.wait([convoy]),
    ):
        with pytest.raises(EngineStoppedError):
            await make_call()
    await api.stop()  # stopping what has stopped is no error


async def refusal(call: Awaitable[object]) -> Exception | None:
    """Return what a call raises."""
    try:
        await call
    except Exception as error:
        return error
    return None
