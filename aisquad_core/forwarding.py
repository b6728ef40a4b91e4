"""The calls of the EngineAPI for an engine that is somewhere else: each goes through one method.

Streams are not among them: how one crosses is what its bearer is about.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal, TypeVar

from aisquad_core.api import ItemSort, StopMode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from aisquad_core.api import (
        ConvoyView,
        EngineAPI,
        History,
        ItemDetail,
        ItemFilter,
        ItemPage,
        LogChunk,
        Outcome,
        Preview,
        Snapshot,
    )
    from aisquad_core.model import ItemKey
    from aisquad_core.spec import ConvoySource

_T = TypeVar("_T")


class ForwardingEngine(ABC):
    """Everything of `EngineAPI` but `subscribe`, handed on by `call`."""

    @abstractmethod
    async def call(self, make: Callable[[EngineAPI], Awaitable[_T]]) -> _T:
        """Make a call where the engine is, and bring its result or exception back.

        Args:
            make: Given the engine, there, returns what is to be awaited there.
        """

    async def snapshot(self) -> Snapshot:
        """Return the whole picture."""
        return await self.call(lambda api: api.snapshot())

    async def items(
        self,
        filter: ItemFilter,
        *,
        sort: ItemSort = ItemSort.POSITION,
        is_reversed: bool = False,
        after: str | None = None,
        offset: int = 0,
        limit: int = 100,
        is_counted: bool = True,
        has_last_lines: bool = False,
    ) -> ItemPage:
        """Return one window of committed items."""
        return await self.call(
            lambda api: api.items(
                filter,
                sort=sort,
                is_reversed=is_reversed,
                after=after,
                offset=offset,
                limit=limit,
                is_counted=is_counted,
                has_last_lines=has_last_lines,
            )
        )

    async def offset_of(
        self,
        filter: ItemFilter,
        key: ItemKey,
        *,
        sort: ItemSort = ItemSort.POSITION,
        is_reversed: bool = False,
    ) -> int | None:
        """Return how many items stand before this one."""
        return await self.call(
            lambda api: api.offset_of(filter, key, sort=sort, is_reversed=is_reversed)
        )

    async def item(self, key: ItemKey) -> ItemDetail:
        """Return everything about one item."""
        return await self.call(lambda api: api.item(key))

    async def log_range(
        self,
        key: ItemKey,
        *,
        attempt: int | None = None,
        offset: int = 0,
        length: int = 65_536,
        stream: Literal["log", "result"] = "log",
    ) -> LogChunk:
        """Return bytes of an attempt's log."""
        return await self.call(
            lambda api: api.log_range(
                key, attempt=attempt, offset=offset, length=length, stream=stream
            )
        )

    async def history(
        self, *, period_s: float = 3600.0, points: int = 120, convoy_id: str | None = None
    ) -> History:
        """Return what the metrics say of the last seconds."""
        return await self.call(
            lambda api: api.history(period_s=period_s, points=points, convoy_id=convoy_id)
        )

    async def preview(self, source: ConvoySource, *, cwd: str, limit: int = 20) -> Preview:
        """Say what a launch would run."""
        return await self.call(lambda api: api.preview(source, cwd=cwd, limit=limit))

    async def launch(
        self,
        source: ConvoySource,
        *,
        env: Mapping[str, str],
        cwd: str,
        is_patient: bool = False,
    ) -> str:
        """Commit a convoy and let it start; return its id."""
        return await self.call(
            lambda api: api.launch(source, env=env, cwd=cwd, is_patient=is_patient)
        )

    async def cancel(
        self,
        targets: Sequence[ItemKey] | str,
        *,
        is_kill: bool = False,
        is_waiting: bool = True,
    ) -> Outcome:
        """Cancel items, or all of a convoy."""
        return await self.call(
            lambda api: api.cancel(targets, is_kill=is_kill, is_waiting=is_waiting)
        )

    async def retry(
        self, targets: Sequence[ItemKey], *, env: Mapping[str, str] | None = None
    ) -> Outcome:
        """Put ended items back, attempt + 1."""
        return await self.call(lambda api: api.retry(targets, env=env))

    async def pause(self, convoy_id: str) -> None:
        """Start nothing more of the convoy."""
        await self.call(lambda api: api.pause(convoy_id))

    async def resume(self, convoy_id: str, *, env: Mapping[str, str] | None = None) -> None:
        """Let a convoy start operations again."""
        await self.call(lambda api: api.resume(convoy_id, env=env))

    async def set_parallelism(self, parallelism: int | None) -> int:
        """Pin the parallelism, or with None give it back to auto."""
        return await self.call(lambda api: api.set_parallelism(parallelism))

    async def rescue(self, target: str) -> int:
        """Write a copy of the work state to a new file."""
        return await self.call(lambda api: api.rescue(target))

    async def wait(
        self, convoy_ids: Sequence[str], *, is_any: bool = False, timeout_s: float | None = None
    ) -> tuple[ConvoyView, ...]:
        """Return the convoys when all (or one) of them have ended."""
        return await self.call(lambda api: api.wait(convoy_ids, is_any=is_any, timeout_s=timeout_s))

    async def stop(self, mode: StopMode = StopMode.INTERRUPT) -> None:
        """Stop the engine."""
        await self.call(lambda api: api.stop(mode))
