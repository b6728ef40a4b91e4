"""A run in the foreground, before a fake engine: following, showing, signals."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from aisquad_core.api import ConvoyChanged, ItemChanged, Snapshot, StopMode
from aisquad_core.model import ConvoyStatus, Operation
from aisquad_core.testing.engine import FakeEngine
from aisquad_tui.cli.foreground import Foreground

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from aisquad_core.api import Event, ItemView
    from aisquad_tui.cli.progress import Progress


@dataclass
class Recorder:
    """A reporter that remembers."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False
    events: list[Snapshot | Event] = field(default_factory=list)
    failures: list[tuple[str, str | None]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    ticks: int = 0
    error: OSError | None = None
    """Raised by every tick."""

    def begin(self, progress: Progress) -> None:
        self.begun.set()

    def event(self, event: Snapshot | Event) -> None:
        self.events.append(event)

    def failure(self, item: ItemView, last_line: str | None) -> None:
        self.failures.append((item.id, last_line))

    def tick(self, progress: Progress) -> None:
        self.ticks += 1
        if self.error is not None:
            raise self.error

    def say(self, text: str) -> None:
        self.said.append(text)

    def end(self, progress: Progress) -> None:
        self.ended = True


class StoppingEngine(FakeEngine):
    """Remembers how it was asked to stop, and stops at once."""

    def __init__(self) -> None:
        super().__init__()
        self.stops: list[StopMode] = []
        self.may_stop = asyncio.Event()
        self.may_stop.set()

    async def stop(self, mode: StopMode = StopMode.INTERRUPT) -> None:
        self.stops.append(mode)
        await self.may_stop.wait()
        await super().stop(mode)


@pytest.fixture
async def engine() -> AsyncIterator[StoppingEngine]:
    running = StoppingEngine()
    async with running:
        yield running


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(autouse=True)
def silenced(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One entry for each time that the terminal was given up; the test's own is left alone."""
    calls: list[bool] = []
    monkeypatch.setattr("aisquad_tui.cli.foreground.silence_terminals", lambda: calls.append(True))
    return calls


def shell(id: str, line: str) -> Operation:
    return Operation(id=id, argv=("sh", "-c", line))


async def attended(
    engine: StoppingEngine, recorder: Recorder, *operations: Operation, is_client: bool = False
) -> tuple[Foreground, asyncio.Task[None]]:
    """Begin a run of the operations; return when it follows them."""
    foreground = Foreground(engine, recorder, clock=engine.clock, grace_s=10, is_client=is_client)

    async def begin() -> Sequence[str]:
        return [engine.add_convoy("nightly", operations)]

    task = asyncio.create_task(foreground.run(begin))
    await asyncio.wait_for(recorder.begun.wait(), 5)
    return foreground, task


async def advance(engine: StoppingEngine, task: asyncio.Task[None]) -> None:
    """Let time go on until the run has ended."""
    async with asyncio.timeout(5):
        while not task.done():
            await engine.clock.advance(0.1)
    await task


async def test_a_run_ends_with_its_convoys(engine: StoppingEngine, recorder: Recorder) -> None:
    foreground, task = await attended(engine, recorder, shell("a", "true"), shell("b", "true"))
    await advance(engine, task)
    [convoy] = foreground.progress.convoys
    assert convoy.status is ConvoyStatus.COMPLETED
    assert not foreground.is_interrupted
    assert engine.stops == []
    assert recorder.ended


async def test_failures_are_told_with_the_last_line_of_their_output(
    engine: StoppingEngine, recorder: Recorder
) -> None:
    _, task = await attended(
        engine, recorder, shell("good", "true"), shell("bad", "echo first; echo last; false")
    )
    await advance(engine, task)
    assert recorder.failures == [("bad", "last")]


async def test_the_stream_is_a_snapshot_then_later_events_of_these_convoys(
    engine: StoppingEngine, recorder: Recorder
) -> None:
    engine.add_convoy("other", [shell("x", "sleep 1")])
    foreground, task = await attended(engine, recorder, shell("a", "true"))
    await advance(engine, task)
    first, *rest = recorder.events
    assert isinstance(first, Snapshot)
    assert [event.seq for event in rest] == sorted({event.seq for event in rest})
    assert all(event.seq > first.seq for event in rest)
    [convoy] = foreground.progress.convoys
    seen = {event.item.convoy_id for event in rest if isinstance(event, ItemChanged)}
    assert seen == {convoy.id}
    last = [event for event in rest if isinstance(event, ConvoyChanged)][-1]
    assert last.convoy.status is ConvoyStatus.COMPLETED


async def test_the_first_signal_interrupts_and_the_second_kills(
    engine: StoppingEngine, recorder: Recorder
) -> None:
    foreground, task = await attended(engine, recorder, shell("a", "sleep 1000"))
    engine.may_stop.clear()
    os.kill(os.getpid(), signal.SIGINT)
    await engine.clock.advance(0.5)
    assert engine.stops == [StopMode.INTERRUPT]
    os.kill(os.getpid(), signal.SIGTERM)
    await engine.clock.advance(0.5)
    assert engine.stops == [StopMode.INTERRUPT, StopMode.KILL]
    os.kill(os.getpid(), signal.SIGINT)
    await engine.clock.advance(0.5)
    assert engine.stops == [StopMode.INTERRUPT, StopMode.KILL]
    engine.may_stop.set()
    await advance(engine, task)
    assert foreground.is_interrupted
    assert recorder.said[0].startswith("interrupted: ending what runs (up to 10s)")
    assert recorder.said[1] == "killing what runs"


async def test_a_hangup_leaves_operations_running(
    engine: StoppingEngine, recorder: Recorder, silenced: list[bool]
) -> None:
    foreground, task = await attended(engine, recorder, shell("a", "sleep 1000"))
    os.kill(os.getpid(), signal.SIGHUP)
    await advance(engine, task)
    assert engine.stops == [StopMode.DETACH]
    assert foreground.is_interrupted
    assert silenced


async def test_an_ignored_hangup_stays_ignored(engine: StoppingEngine, recorder: Recorder) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        foreground, task = await attended(engine, recorder, shell("a", "true"))
        os.kill(os.getpid(), signal.SIGHUP)
        await advance(engine, task)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert not foreground.is_interrupted


async def test_a_terminal_that_is_gone_does_not_end_the_run(
    engine: StoppingEngine, recorder: Recorder
) -> None:
    recorder.error = OSError(errno.EIO, "Input/output error")
    foreground, task = await attended(engine, recorder, shell("a", "true"))
    await advance(engine, task)
    assert foreground.progress.convoys[0].status is ConvoyStatus.COMPLETED


async def test_a_reader_that_has_enough_ends_the_run(
    engine: StoppingEngine, recorder: Recorder
) -> None:
    recorder.error = BrokenPipeError(errno.EPIPE, "Broken pipe")
    _, task = await attended(engine, recorder, shell("a", "sleep 1000"))
    with pytest.raises(ExceptionGroup) as caught:
        await advance(engine, task)
    assert caught.group_contains(BrokenPipeError)


async def test_handlers_are_gone_after_a_run(engine: StoppingEngine, recorder: Recorder) -> None:
    before = signal.getsignal(signal.SIGTERM)
    _, task = await attended(engine, recorder, shell("a", "true"))
    assert signal.getsignal(signal.SIGTERM) is not before
    await advance(engine, task)
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_leaves_an_engine_in_another_process_alone(
    engine: StoppingEngine, recorder: Recorder, number: signal.Signals
) -> None:
    foreground, task = await attended(engine, recorder, shell("a", "sleep 9"), is_client=True)
    os.kill(os.getpid(), number)
    await asyncio.wait_for(task, 5)
    assert engine.stops == []
    assert foreground.is_interrupted
    assert not foreground.is_engine_gone
    [convoy] = foreground.progress.convoys
    assert recorder.said == [
        f"{convoy.id} goes on in the engine; `aisquad cancel --convoy {convoy.id}` ends it"
    ]
    assert recorder.ended


async def test_an_engine_that_goes_away_before_the_end_is_noticed(
    engine: StoppingEngine, recorder: Recorder
) -> None:
    foreground, task = await attended(engine, recorder, shell("a", "sleep 9"), is_client=True)
    await engine.stop(StopMode.DETACH)
    await advance(engine, task)
    assert foreground.is_engine_gone
    assert foreground.is_interrupted


async def test_an_engine_of_ones_own_that_somebody_else_stops_ends_the_run(
    engine: StoppingEngine, recorder: Recorder
) -> None:
    foreground, task = await attended(engine, recorder, shell("a", "sleep 9"))
    await engine.stop(StopMode.INTERRUPT)
    await advance(engine, task)
    assert foreground.is_interrupted
    assert not foreground.is_engine_gone


async def test_what_others_launch_meanwhile_is_waited_for(
    engine: StoppingEngine, recorder: Recorder
) -> None:
    foreground, task = await attended(engine, recorder, shell("a", "sleep 1"))
    guest = engine.add_convoy("guest", [shell("x", "sleep 30")])
    held = engine.add_convoy("held", [shell("y", "sleep 1000")])
    await engine.pause(held)
    async with asyncio.timeout(5):
        while not recorder.said:
            await engine.clock.advance(0.1)
    assert not task.done()
    assert guest in recorder.said[0]
    assert held not in recorder.said[0]
    await advance(engine, task)
    assert not foreground.is_interrupted
    ended = {view.id: view.status for view in (await engine.snapshot()).convoys}
    assert ended[guest] is ConvoyStatus.COMPLETED


async def test_a_client_waits_for_its_own_convoys_alone(
    engine: StoppingEngine, recorder: Recorder
) -> None:
    foreground, task = await attended(engine, recorder, shell("a", "sleep 1"), is_client=True)
    engine.add_convoy("other", [shell("x", "sleep 1000")])
    await advance(engine, task)
    assert not foreground.is_interrupted
    assert recorder.said == []
