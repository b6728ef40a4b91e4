"""A small world around each implementation of EngineAPI, for one suite over all of them."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import pytest

from aisquad_core.attached import AttachedEngine
from aisquad_core.client import SocketEngine
from aisquad_core.daemon import Server
from aisquad_core.embedded import EmbeddedEngine
from aisquad_core.engine import Engine
from aisquad_core.errors import EngineStoppedError
from aisquad_core.execution import ending
from aisquad_core.model import ItemKey, WorkStatus
from aisquad_core.settings import Settings
from aisquad_core.spec import SpecFormat, SpecSource
from aisquad_core.testing import FakeEngine, FakeSampler
from aisquad_core.testing.machine import FakeBacklog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from aisquad_core.api import ConvoyView, EngineAPI, Event, ItemView, Snapshot

T = TypeVar("T")

BOUND_S = 15
STEP_S = 0.05


@dataclass
class World:
    """An engine, and how time passes for it."""

    api: EngineAPI
    cwd: str
    set_backlog: Callable[[int], Awaitable[None]]
    """Lets so many of 1,000 writes wait for the disk."""
    step: Callable[[], Awaitable[None]] | None = None
    """Moves a fake clock on a little; None: time passes by itself."""

    def source(self, *operations: dict[str, object], **convoy: object) -> SpecSource:
        """Write a convoy file; an operation is its table, with `id` and `run`."""
        text = json.dumps({"name": "work", **convoy, "operations": operations})
        return SpecSource(text=text, format=SpecFormat.JSON, origin="work.json", base_dir=self.cwd)

    async def launch(
        self, *operations: dict[str, object], is_patient: bool = False, **convoy: object
    ) -> str:
        """Launch a convoy; see `source`."""
        return await self.api.launch(
            self.source(*operations, **convoy),
            env={"PATH": os.environ["PATH"]},
            cwd=self.cwd,
            is_patient=is_patient,
        )

    async def during(self, call: Coroutine[object, object, T]) -> T:
        """Await a call while time passes."""
        error: list[Exception] = []

        async def catch() -> T | None:
            try:
                return await call
            except Exception as caught:  # raised again below, out of the group
                error.append(caught)
                return None

        async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as tasks:
            calling = tasks.create_task(catch())
            while not calling.done():
                await (asyncio.wait([calling]) if self.step is None else self.step())
        if error:
            raise error[0]
        return calling.result()  # type: ignore[return-value]  # None only beside an error

    async def ended(self, convoy_id: str) -> ConvoyView:
        """Return a convoy at its end."""
        return (await self.during(self.api.wait([convoy_id])))[0]

    async def reached(self, convoy_id: str, item_id: str, *statuses: WorkStatus) -> ItemView:
        """Return an item as soon as it is seen with one of the statuses.

        Time passes only while there are no news, so that a short one is not missed.
        """
        async with asyncio.timeout(BOUND_S), self.api.subscribe() as stream:

            async def take() -> Snapshot | Event | None:
                return await anext(stream, None)

            while (view := await self.view(convoy_id, item_id)).status not in statuses:
                if await self.during(take()) is None:
                    raise AssertionError(f"{item_id} never became {statuses}")
        return view

    async def view(self, convoy_id: str, item_id: str) -> ItemView:
        """Return an item as it is."""
        return (await self.api.item(ItemKey(convoy_id, item_id))).view

    async def read(
        self,
        stream: AsyncIterator[Snapshot | Event],
        is_last: Callable[[Snapshot | Event], bool] = lambda _: False,
    ) -> list[Snapshot | Event]:
        """Take news up to the one that is the last, or to the end of the stream."""

        async def take() -> list[Snapshot | Event]:
            taken = []
            async for news in stream:
                taken.append(news)
                if is_last(news):
                    break
            return taken

        return await self.during(take())


@asynccontextmanager
async def _fake(folder: Path) -> AsyncIterator[World]:
    async with FakeEngine() as engine:
        yield World(
            engine,
            str(folder),
            _backlog_of(engine),
            step=lambda: engine.clock.advance(STEP_S),
        )


@asynccontextmanager
async def _embedded_fake(folder: Path) -> AsyncIterator[World]:
    inside: list[tuple[asyncio.AbstractEventLoop, FakeEngine]] = []

    @asynccontextmanager
    async def enter() -> AsyncIterator[EngineAPI]:
        async with FakeEngine() as engine:
            inside.append((asyncio.get_running_loop(), engine))
            yield engine

    async def step() -> None:
        loop, engine = inside[0]
        await _across(engine.clock.advance(STEP_S), loop)

    async def set_backlog(pending: int) -> None:
        loop, engine = inside[0]
        await _across(_backlog_of(engine)(pending), loop)

    async with EmbeddedEngine(enter) as api:
        yield World(api, str(folder), set_backlog, step=step)


async def _across(work: Coroutine[object, object, None], loop: asyncio.AbstractEventLoop) -> None:
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


def _backlog_of(engine: Engine | FakeEngine) -> Callable[[int], Coroutine[object, object, None]]:
    """Return what decides how many writes the engine believes to wait."""
    backlog = FakeBacklog()

    async def set_backlog(pending: int) -> None:
        if isinstance(engine, FakeEngine):
            engine.set_backlog(pending)
            return
        backlog.backlog = pending
        engine._backpressure.watch(backlog)
        engine._backpressure.note_drain(1_000, 1.0)

    return set_backlog


def _engine(folder: Path) -> Engine:
    settings = Settings(
        workstate_db=folder / "state" / "workstate.db",
        grace_s=1.0,
        cpu_threshold=100.0,
        memory_threshold=100.0,
    )
    # A load at which the parallelism stays where it begins, for tests that nothing else changes it.
    return Engine(settings, sampler=FakeSampler(cpu_percent=100.0, memory_percent=100.0))


@asynccontextmanager
async def _real(folder: Path) -> AsyncIterator[World]:
    async with _engine(folder) as engine:
        yield World(engine, str(folder), _backlog_of(engine))


@asynccontextmanager
async def _embedded_real(folder: Path) -> AsyncIterator[World]:
    inside: list[tuple[asyncio.AbstractEventLoop, Engine]] = []

    @asynccontextmanager
    async def enter() -> AsyncIterator[EngineAPI]:
        async with _engine(folder) as engine:
            inside.append((asyncio.get_running_loop(), engine))
            yield engine

    async def set_backlog(pending: int) -> None:
        loop, engine = inside[0]
        await _across(_backlog_of(engine)(pending), loop)

    async with EmbeddedEngine(enter) as api:
        yield World(api, str(folder), set_backlog)


@asynccontextmanager
async def _across_a_socket(api: EngineAPI, folder: Path) -> AsyncIterator[EngineAPI]:
    state_dir = folder / "state"
    state_dir.mkdir(mode=0o700, exist_ok=True)
    async with Server(api, state_dir), SocketEngine(state_dir) as client:
        yield client


def _step_of(engine: FakeEngine, api: EngineAPI) -> Callable[[], Awaitable[None]]:
    """Return what moves the clock on no faster than who looks on through the socket can follow."""

    async def step() -> None:
        await engine.clock.advance(STEP_S)
        with suppress(EngineStoppedError):
            await api.snapshot()

    return step


@asynccontextmanager
async def _socket_fake(folder: Path) -> AsyncIterator[World]:
    async with FakeEngine() as engine, _across_a_socket(engine, folder) as api:
        yield World(api, str(folder), _backlog_of(engine), step=_step_of(engine, api))


@asynccontextmanager
async def _socket_real(folder: Path) -> AsyncIterator[World]:
    async with _engine(folder) as engine, _across_a_socket(engine, folder) as api:
        yield World(api, str(folder), _backlog_of(engine))


@asynccontextmanager
async def _attached_fake(folder: Path) -> AsyncIterator[World]:
    state_dir = folder / "state"
    state_dir.mkdir(mode=0o700)
    async with FakeEngine() as engine, Server(engine, state_dir), AttachedEngine(state_dir) as api:
        yield World(api, str(folder), _backlog_of(engine), step=_step_of(engine, api))


WORLDS: dict[str, Callable[[Path], AbstractAsyncContextManager[World]]] = {
    "fake": _fake,
    "embedded fake": _embedded_fake,
    "real": _real,
    "embedded real": _embedded_real,
    "socket fake": _socket_fake,
    "socket real": _socket_real,
    "attached fake": _attached_fake,
}


_SLOW = {"embedded fake", "embedded real", "socket fake", "socket real", "attached fake"}
"""Worlds that differ from a quicker one only in the way that calls take."""


@pytest.fixture(autouse=True)
def trees_are_gone_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no operation flee: what hunts those that do has tests of its own."""
    monkeypatch.setattr(ending, "QUIET_S", ending.SWEEP_INTERVAL_S)


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.slow if name in _SLOW else ()) for name in WORLDS]
)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with WORLDS[request.param](tmp_path) as made:
        yield made
