from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisquad_core.api import (
    ConvoyChanged,
    ConvoyView,
    EngineState,
    EngineView,
    Event,
    ItemChanged,
    ItemView,
    Load,
    Resized,
    Sampled,
    Snapshot,
    StatusCounts,
)
from aisquad_core.events import EventHub, EventStream
from aisquad_core.model import ConvoyStatus, WorkStatus

NOW = datetime(2026, 1, 2, tzinfo=UTC)
BOUND_S = 5


class Truth:
    """What an engine knows, and its hub."""

    def __init__(self, *, limit: int = 4096, backlog: int = 1024) -> None:
        self.hub = EventHub(limit=limit, backlog=backlog)
        self.items: dict[str, int] = {}
        self.convoys: dict[str, int] = {}
        self.parallelism = 1
        self.cpu_percent = 0.0

    def snapshot(self) -> Snapshot:
        return Snapshot(
            seq=self.hub.seq,
            at=NOW,
            engine=self.engine_view(),
            nodes=(),
            convoys=tuple(convoy_view(name, total) for name, total in self.convoys.items()),
            counts=StatusCounts(),
        )

    def engine_view(self) -> EngineView:
        return EngineView(
            pid=1,
            version="0",
            sqlite_version="3",
            state_dir="/s",
            started_at=NOW,
            parallelism=self.parallelism,
            baseline=1,
            max=9,
            auto=True,
            running=0,
            queued=0,
            cpu_percent=self.cpu_percent,
            memory_percent=0.0,
            cpu_threshold=80.0,
            memory_threshold=80.0,
            throttle=0.0,
            reason="",
            waiting=None,
        )

    def set_item(self, name: str, version: int = 1, *, convoy: str = "c") -> None:
        self.items[name] = version
        self._tell(ItemChanged(seq=self.hub.next_seq(), item=item_view(name, version, convoy)))

    def set_convoy(self, name: str, total: int) -> None:
        self.convoys[name] = total
        self._tell(ConvoyChanged(seq=self.hub.next_seq(), convoy=convoy_view(name, total)))

    def resize(self, parallelism: int) -> None:
        previous, self.parallelism = self.parallelism, parallelism
        self._tell(
            Resized(
                seq=self.hub.next_seq(),
                at=NOW,
                previous=previous,
                parallelism=parallelism,
                auto=True,
                reason="",
            )
        )

    def sample(self, cpu_percent: float) -> None:
        self.cpu_percent = cpu_percent
        load = Load(
            at=NOW,
            cpu_percent=cpu_percent,
            memory_percent=0.0,
            parallelism=self.parallelism,
            throttle=0.0,
        )
        self._tell(Sampled(seq=self.hub.next_seq(), load=load))

    def announce(self) -> None:
        self._tell(EngineState(seq=self.hub.next_seq(), engine=self.engine_view()))

    def _tell(self, event: Event) -> None:
        # As the engine does: nothing is handed on while nobody listens.
        if self.hub.has_subscribers:
            self.hub.publish(event)


def convoy_view(name: str, total: int) -> ConvoyView:
    return ConvoyView(
        id=name,
        name=name,
        status=ConvoyStatus.RUNNING,
        counts=StatusCounts(pending=total),
        created_at=NOW,
        started_at=None,
        finished_at=None,
        source=None,
    )


def item_view(name: str, version: int, convoy: str) -> ItemView:
    return ItemView(
        id=name,
        convoy_id=convoy,
        status=WorkStatus.PENDING,
        agent_id="shell",
        attempt=1,
        max_attempts=1,
        priority=0,
        position=0,
        version=version,
        created_at=NOW,
        updated_at=NOW,
        started_at=None,
        finished_at=None,
        exit_code=None,
        error=None,
        reason=None,
    )


@dataclass
class Reader:
    """Rebuilds the truth from a stream, as a screen does; items it asks for at a snapshot."""

    truth: Truth
    seq: int = -1
    snapshots: int = 0
    items: dict[str, int] = field(default_factory=dict)
    convoys: dict[str, int] = field(default_factory=dict)
    parallelism: int = 0
    cpu_percent: float = 0.0

    def apply(self, news: Snapshot | Event) -> None:
        assert news.seq > self.seq or (isinstance(news, Snapshot) and news.seq == self.seq)
        self.seq = news.seq
        match news:
            case Snapshot():
                self.snapshots += 1
                self.items = dict(self.truth.items)
                self.convoys = {convoy.id: convoy.counts.pending for convoy in news.convoys}
                self.parallelism = news.engine.parallelism
                self.cpu_percent = news.engine.cpu_percent
            case ItemChanged():
                self.items[news.item.id] = news.item.version
            case ConvoyChanged():
                self.convoys[news.convoy.id] = news.convoy.counts.pending
            case Resized():
                self.parallelism = news.parallelism
            case Sampled():
                self.cpu_percent = news.load.cpu_percent
            case EngineState():
                self.parallelism = news.engine.parallelism

    def agrees(self) -> bool:
        truth = self.truth
        return (self.items, self.convoys, self.parallelism, self.cpu_percent) == (
            truth.items,
            truth.convoys,
            truth.parallelism,
            truth.cpu_percent,
        )


async def rest_of(stream: EventStream) -> list[Snapshot | Event]:
    """Take everything up to the end of a stream that is about to be closed."""
    async with asyncio.timeout(BOUND_S):
        return [news async for news in stream]


async def test_a_stream_begins_with_the_snapshot_of_its_opening() -> None:
    truth = Truth()
    truth.set_convoy("a", 1)
    async with truth.hub.subscribe(None, truth.snapshot) as stream:
        truth.set_convoy("b", 2)
        snapshot, change = await anext(stream), await anext(stream)
    assert isinstance(snapshot, Snapshot)
    assert [convoy.id for convoy in snapshot.convoys] == ["a"]
    assert change == ConvoyChanged(seq=2, convoy=convoy_view("b", 2))


async def test_a_waiting_reader_gets_a_change_at_once() -> None:
    truth = Truth()
    async with truth.hub.subscribe(None, truth.snapshot) as stream, asyncio.TaskGroup() as tasks:
        await anext(stream)
        reading = tasks.create_task(anext(stream))
        await asyncio.sleep(0)
        truth.set_item("a")
        async with asyncio.timeout(BOUND_S):
            assert (await reading).seq == 1


async def test_a_cancelled_wait_loses_nothing() -> None:
    truth = Truth()
    async with truth.hub.subscribe(None, truth.snapshot) as stream, asyncio.TaskGroup() as tasks:
        await anext(stream)
        reading = tasks.create_task(anext(stream))
        await asyncio.sleep(0)
        truth.set_item("a")
        reading.cancel()
        await asyncio.wait([reading])
        assert reading.cancelled()
        assert (await anext(stream)).seq == 1


async def test_a_slow_reader_gets_the_newest_state_of_each_thing_in_order() -> None:
    truth = Truth()
    async with truth.hub.subscribe(None, truth.snapshot) as stream:
        for version in range(1, 4):
            truth.set_item("a", version)
            truth.set_item("b", version)
        truth.set_item("a", 4)
        news = stream.take_ready(100)[1:]
    assert [(event.seq, event.item.id, event.item.version) for event in news] == [  # type: ignore[union-attr]
        (6, "b", 3),
        (7, "a", 4),
    ]


async def test_different_things_of_one_name_are_not_merged() -> None:
    truth = Truth()
    async with truth.hub.subscribe(None, truth.snapshot) as stream:
        truth.set_item("a")
        truth.set_item("a", convoy="d")
        truth.set_convoy("a", 1)
        assert [event.seq for event in stream.take_ready(9)] == [0, 1, 2, 3]


async def test_resizes_reach_a_slow_reader_one_by_one_up_to_a_bound() -> None:
    truth = Truth()
    async with truth.hub.subscribe(None, truth.snapshot) as stream:
        for size in range(1, 101):
            truth.resize(size)
        news = stream.take_ready(1000)[1:]
    assert [event.parallelism for event in news if isinstance(event, Resized)] == list(
        range(37, 101)
    )


async def test_a_reader_far_behind_gets_a_new_snapshot_instead() -> None:
    truth = Truth(limit=3)
    async with truth.hub.subscribe(None, truth.snapshot) as stream:
        for number in range(4):
            truth.set_convoy(f"c{number}", 1)
        truth.set_convoy("c4", 1)
        news = stream.take_ready(100)
        truth.set_item("a")
        after = await anext(stream)
    assert [(type(one), one.seq) for one in news] == [(Snapshot, 5)]
    assert isinstance(news[0], Snapshot)
    assert len(news[0].convoys) == 5
    assert after.seq == 6


async def test_one_slow_reader_costs_the_others_nothing() -> None:
    truth = Truth(limit=2)
    async with (
        truth.hub.subscribe(None, truth.snapshot) as slow,
        truth.hub.subscribe(None, truth.snapshot) as quick,
    ):
        seen = []
        for number in range(10):
            truth.set_item(f"i{number}")
            seen += [one.seq for one in quick.take_ready(100)]
        assert seen == list(range(11))
        assert [one.seq for one in slow.take_ready(100)] == [10]


async def test_a_reader_that_comes_back_gets_only_what_it_missed() -> None:
    truth = Truth()
    async with truth.hub.subscribe(None, truth.snapshot):
        for number in range(5):
            truth.set_item(f"i{number}")
        async with truth.hub.subscribe(3, truth.snapshot) as stream:
            assert [one.seq for one in stream.take_ready(100)] == [4, 5]


async def test_a_reader_that_knows_everything_gets_no_snapshot() -> None:
    truth = Truth()
    truth.set_item("a")
    async with truth.hub.subscribe(1, truth.snapshot) as stream:
        assert stream.take_ready(100) == []
        truth.set_item("b")
        assert [one.seq for one in stream.take_ready(100)] == [2]


@pytest.mark.parametrize(
    ("since", "why"),
    [(0, "the backlog is shorter"), (99, "an engine that ran before"), (-1, "nonsense")],
)
async def test_a_reader_that_cannot_be_caught_up_gets_a_snapshot(since: int, why: str) -> None:
    truth = Truth(backlog=3)
    async with truth.hub.subscribe(None, truth.snapshot):
        for number in range(5):
            truth.set_item(f"i{number}")
        async with truth.hub.subscribe(since, truth.snapshot) as stream:
            assert [type(one) for one in stream.take_ready(100)] == [Snapshot], why


async def test_changes_that_nobody_heard_are_a_gap_in_the_backlog() -> None:
    truth = Truth()
    async with truth.hub.subscribe(None, truth.snapshot):
        truth.set_item("a")
    truth.set_item("unheard")
    async with truth.hub.subscribe(1, truth.snapshot) as stream:
        assert [type(one) for one in stream.take_ready(100)] == [Snapshot]
        truth.set_item("b")
        async with truth.hub.subscribe(1, truth.snapshot) as other:
            assert [type(one) for one in other.take_ready(100)] == [Snapshot]


async def test_the_engine_can_tell_whether_anybody_listens() -> None:
    truth = Truth()
    is_heard = [truth.hub.has_subscribers]
    async with truth.hub.subscribe(None, truth.snapshot):
        is_heard.append(truth.hub.has_subscribers)
    is_heard.append(truth.hub.has_subscribers)
    assert is_heard == [False, True, False]


async def test_a_closed_hub_delivers_what_is_pending_and_then_ends_the_stream() -> None:
    truth = Truth()
    async with truth.hub.subscribe(None, truth.snapshot) as stream:
        truth.set_item("a")
        truth.hub.close()
        assert [one.seq for one in await rest_of(stream)] == [0, 1]
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_closing_wakes_a_waiting_reader() -> None:
    truth = Truth()
    async with truth.hub.subscribe(0, truth.snapshot) as stream, asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(rest_of(stream))
        await asyncio.sleep(0)
        truth.hub.close()
    assert reading.result() == []


async def test_a_stream_opened_on_a_closed_hub_ends_after_its_snapshot() -> None:
    truth = Truth()
    truth.hub.close()
    async with truth.hub.subscribe(None, truth.snapshot) as stream:
        assert [type(one) for one in await rest_of(stream)] == [Snapshot]


_NAMES = st.sampled_from("abcdefgh")
_STEPS = st.one_of(
    st.tuples(st.just("item"), _NAMES, st.integers(0, 99)),
    st.tuples(st.just("convoy"), _NAMES, st.integers(0, 99)),
    st.tuples(st.just("resize"), st.just(""), st.integers(1, 99)),
    st.tuples(st.just("sample"), st.just(""), st.integers(0, 99)),
    st.tuples(st.just("announce"), st.just(""), st.just(0)),
    st.tuples(st.just("read"), st.sampled_from("xy"), st.integers(1, 6)),
    st.tuples(st.just("rejoin"), st.sampled_from("xy"), st.just(0)),
)


@settings(max_examples=300, deadline=None)
@given(
    steps=st.lists(_STEPS, max_size=60),
    limit=st.integers(1, 12),
    backlog=st.integers(1, 8),
)
async def test_every_reader_ends_with_the_truth_whatever_it_read_when(
    steps: list[tuple[str, str, int]], limit: int, backlog: int
) -> None:
    truth = Truth(limit=limit, backlog=backlog)
    readers = {name: Reader(truth) for name in "xy"}
    streams: dict[str, EventStream] = {}
    subscriptions = {name: AsyncExitStack() for name in "xy"}

    async def join(name: str) -> None:
        await subscriptions[name].aclose()
        since = readers[name].seq
        streams[name] = await subscriptions[name].enter_async_context(
            truth.hub.subscribe(None if since < 0 else since, truth.snapshot)
        )

    await join("x")
    for step, name, number in steps:
        match step:
            case "item":
                truth.set_item(name, number)
            case "convoy":
                truth.set_convoy(name, number)
            case "resize":
                truth.resize(number)
            case "sample":
                truth.sample(number)
            case "announce":
                truth.announce()
            case "rejoin":
                await join(name)
            case "read" if name in streams:
                news = streams[name].take_ready(number)
                assert len(news) <= number
                for one in news:
                    readers[name].apply(one)
    truth.hub.close()
    for name, stream in streams.items():
        news = await rest_of(stream)
        assert len(news) <= limit + 1
        for one in news:
            readers[name].apply(one)
        assert readers[name].seq == truth.hub.seq
        assert readers[name].agrees()
        await subscriptions[name].aclose()
