"""Engines as processes of their own, one after another on one state folder, and what they say."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aisquad_core.api import Sampled
from aisquad_core.model import ConvoyStatus, ItemKey
from aisquad_core.spec import SpecFormat, SpecSource
from aisquad_core.state.reader import Reader
from tests.faults import served_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from aisquad_core.api import EngineView, Event, Snapshot
    from aisquad_core.client import SocketEngine
    from aisquad_core.model import WorkItem

    News = AsyncIterator[Snapshot | Event]

BOUND_S = 30


@dataclass
class Service:
    """One state folder, its engines one after another, and a client's view of them."""

    folder: Path
    state_dir: Path
    pids: list[int] = field(default_factory=list)

    async def start(self, *, grace_s: float = 10.0, log_limit_bytes: int = 64_000_000) -> int:
        """Start an engine; return its pid."""
        pid = await asyncio.to_thread(
            served_engine.start, self.state_dir, grace_s=grace_s, log_limit_bytes=log_limit_bytes
        )
        self.pids.append(pid)
        return pid

    async def end(self, pid: int, number: signal.Signals = signal.SIGKILL) -> int:
        """End an engine; return its exit status."""
        self.pids.remove(pid)
        return await asyncio.to_thread(served_engine.end, pid, number)

    async def left(self, pid: int) -> None:
        """Wait until an engine that was stopped has ended."""
        await asyncio.to_thread(os.waitpid, pid, 0)
        self.pids.remove(pid)

    async def launch(self, client: SocketEngine, *operations: Mapping[str, object]) -> str:
        """Launch a convoy of operations in the test's folder."""
        source = SpecSource(
            text=json.dumps({"name": "work", "operations": operations}),
            format=SpecFormat.JSON,
            origin="work.json",
            base_dir=str(self.folder),
        )
        return await client.launch(source, env={"PATH": os.defpath}, cwd=str(self.folder))

    async def read(self, convoy_id: str, item_id: str) -> WorkItem:
        """Return an item as it is stored, without an engine."""
        async with Reader.open(self.state_dir / "workstate.db") as reader:
            return await reader.item(ItemKey(convoy_id, item_id))


async def until(is_so: Callable[[], bool]) -> None:
    """Look at the disk again and again until something is so, within a bound."""
    async with asyncio.timeout(BOUND_S):
        while not is_so():  # noqa: ASYNC110 - a file tells nobody that it is there
            await asyncio.sleep(0.01)


async def ended(client: SocketEngine, convoy_id: str) -> ConvoyStatus:
    (view,) = await client.wait([convoy_id], timeout_s=BOUND_S)
    return view.status


async def ticks(client: SocketEngine, count: int, *, news: News | None = None) -> None:
    """Return after so many ticks of the engine; without `news` by a stream of its own."""
    stream = client.subscribe() if news is None else nullcontext(news)
    async with asyncio.timeout(BOUND_S), stream as each_news:
        async for each in each_news:
            count -= isinstance(each, Sampled)
            if count < 0:  # the first belongs to a tick that has begun
                return


async def until_said(
    client: SocketEngine,
    is_so: Callable[[EngineView], bool],
    bound_s: float = BOUND_S,
    *,
    news: News | None = None,
) -> EngineView:
    """Return what the engine says of itself as soon as it is so; see `ticks` for `news`."""
    stream = client.subscribe() if news is None else nullcontext(news)
    async with asyncio.timeout(bound_s), stream as each_news:
        async for _ in each_news:  # a tick a second, at least
            engine = (await client.snapshot()).engine
            if is_so(engine):
                return engine
    raise AssertionError("the engine has gone")


async def until_troubled(client: SocketEngine, words: str, *, news: News | None = None) -> str:
    """Return the engine's trouble as soon as it has these words in it; see `ticks` for `news`."""
    engine = await until_said(client, lambda view: words in (view.trouble or ""), news=news)
    return engine.trouble or ""


async def until_well(client: SocketEngine) -> None:
    """Return when nothing ails the engine."""
    await until_said(client, lambda view: view.trouble is None)
