"""A whole engine in memory, for the tests of whatever stands before the EngineAPI.

It keeps the contract of the real one but runs nothing: operations end as a script says, when the
test moves the clock. Limits of agents, rate limits and the timeout of a whole convoy are not
pretended; a resize comes when the test says so.
"""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, Self

from aisquad_core.api import (
    ConvoyView,
    History,
    ItemSort,
    Outcome,
    Snapshot,
    StatusCounts,
    StopMode,
    check_history,
)
from aisquad_core.errors import EngineStoppedError, InputError, StorageError
from aisquad_core.events import EventHub
from aisquad_core.execution.queries import preview
from aisquad_core.model import ConvoyStatus, ItemKey, WorkStatus
from aisquad_core.spec import SpecSource, plan
from aisquad_core.testing.clock import FakeClock
from aisquad_core.testing.machine import FakeMachine
from aisquad_core.testing.reader import FakeReader
from aisquad_core.testing.records import FakeConvoy, new_item
from aisquad_core.testing.script import ScriptedItem, ScriptedOutcome, run_as_shell
from aisquad_core.testing.work import FakeWork

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from aisquad_core.api import Event, ItemDetail, ItemFilter, ItemPage, LogChunk, Preview
    from aisquad_core.model import Operation
    from aisquad_core.settings import AgentProfile
    from aisquad_core.spec import ConvoySource
    from aisquad_core.testing.records import FakeItem


class FakeEngine:
    """An EngineAPI of which a test decides what its operations do and when.

    Args:
        clock: What time it is; the test advances it.
        outcome: Says how each attempt of an operation goes.
        parallelism: How many run at a time until the test resizes it.
        agents: Profiles that convoy files may name.
        pid: What it says its process is; those of operations follow.
        cpu_count: Cores that its machine says it has.
        memory_bytes: Memory that its machine says it has.
    """

    def __init__(
        self,
        *,
        clock: FakeClock | None = None,
        outcome: Callable[[Operation, int], ScriptedOutcome] = run_as_shell,
        parallelism: int = 5,
        agents: Mapping[str, AgentProfile] | None = None,
        pid: int = 4242,
        cpu_count: float = 2.0,
        memory_bytes: int = 8_000_000_000,
    ) -> None:
        self.clock = clock or FakeClock()
        self.hub = EventHub()
        self.past: History | None = None
        """What `history` says; None: metrics are off."""
        self._is_hastened = False
        self._agents = dict(agents or {})
        self._work = FakeWork(
            clock=self.clock, hub=self.hub, outcome=outcome, parallelism=parallelism
        )
        self._machine = FakeMachine(
            clock=self.clock,
            hub=self.hub,
            work=self._work,
            pid=pid,
            cpu_count=cpu_count,
            memory_bytes=memory_bytes,
        )
        self._reader = FakeReader(self._work, pid=pid)

    async def __aenter__(self) -> Self:
        """Begin; operations can be launched from now on."""
        await self._work.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()
        await self._work.__aexit__()

    # What a test does to it

    def set_load(self, cpu_percent: float, memory_percent: float, throttle: float = 0.0) -> None:
        """Tick: the machine is as busy as this, in percent; `throttle` is 0 to 1."""
        self._machine.set_load(cpu_percent, memory_percent, throttle)

    def resize(self, parallelism: int, reason: str = "set by the test") -> None:
        """Let auto tuning come to another size; without effect while the size is pinned."""
        self._machine.tune(parallelism, reason)

    def set_trouble(self, trouble: str | None, waiting: str | None = None) -> None:
        """Let the engine say what ails it, and why nothing starts although work waits."""
        self._machine.trouble, self._machine.waiting = trouble, waiting
        self._machine.announce()

    def set_backlog(self, pending: int, *, drained_per_s: float = 1_000.0) -> None:
        """Let so many of 1,000 writes wait for the disk, which takes so many a second."""
        self._machine.set_backlog(pending, drained_per_s)
        self._machine.announce()

    def write(self, key: ItemKey, text: str) -> None:
        """Append to the output of an item's present attempt."""
        item = self._work.item(key)
        attempt = item.view.attempt
        item.output[attempt] = item.output.get(attempt, b"") + text.encode()

    def set_pace(
        self, convoy_id: str, *, rate_per_s: float | None, eta_s: float | None = None
    ) -> None:
        """Let a convoy say how fast it gets on."""
        convoy = self._work.convoy(convoy_id)
        convoy.view = replace(convoy.view, rate_per_s=rate_per_s, eta_s=eta_s)
        self._work.tell_convoy(convoy)

    def add_convoy(
        self,
        name: str,
        operations: Iterable[Operation],
        *,
        statuses: Mapping[str, ScriptedItem | WorkStatus] | None = None,
        stop_on_first_failure: bool = False,
        timeout_s: float | None = None,
        source: str | None = None,
        cwd: str | None = None,
        age_s: float = 0.0,
        ended_s: float | None = None,
        is_paused: bool = False,
        reason: str | None = None,
    ) -> str:
        """Launch operations without a convoy file.

        Args:
            name: Of the convoy; its id is made from it.
            operations: What to pretend to run.
            statuses: Where operations stand already, by id; the others wait.
            stop_on_first_failure: Skip what has not started when one fails.
            timeout_s: Shown, but without effect.
            source: The convoy file, to be shown.
            cwd: Where it was launched.
            age_s: Seconds ago that it was.
            ended_s: Seconds ago that it ended, if it has; None: now.
            is_paused: Whether it starts nothing until it is resumed.
            reason: Why nothing of it moves.

        Returns:
            The convoy's id.
        """
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "convoy"
        convoy_id = f"{slug}-{len(self._work.convoys) + 1:04d}"
        now = self.clock.now()
        created_at = now - timedelta(seconds=age_s)
        view = ConvoyView(
            id=convoy_id,
            name=name,
            status=ConvoyStatus.PENDING,
            counts=StatusCounts(),
            created_at=created_at,
            started_at=None,
            finished_at=None,
            source=source,
            reason=reason,
            stop_on_first_failure=stop_on_first_failure,
            timeout_s=timeout_s,
        )
        convoy = FakeConvoy(view=view, cwd=cwd)
        if ended_s is not None:
            convoy.ended_at = now - timedelta(seconds=ended_s)
        for position, operation in enumerate(operations):
            script = (statuses or {}).get(operation.id, ScriptedItem())
            if isinstance(script, WorkStatus):
                script = ScriptedItem(status=script)
            convoy.items[operation.id] = new_item(convoy, position, operation, script, now)
        starts = [item.view.started_at for item in convoy.items.values() if item.view.started_at]
        if starts:
            status = ConvoyStatus.RUNNING
            convoy.view = replace(convoy.view, status=status, started_at=min(starts))
        if is_paused:
            convoy.view = replace(convoy.view, status=ConvoyStatus.PAUSED)
        self._work.add(convoy)
        return convoy_id

    # EngineAPI

    async def snapshot(self) -> Snapshot:
        """Return the whole picture."""
        self._check_readable()
        return self._snapshot()

    def subscribe(
        self, since: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Snapshot | Event]]:
        """Open a stream: a snapshot, then every change after it, in order."""
        self._check_readable()
        return self.hub.subscribe(since, self._snapshot)

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
        """Return one window of the items."""
        self._check_readable()
        return self._reader.items(
            filter,
            sort=sort,
            is_reversed=is_reversed,
            after=after,
            offset=offset,
            limit=limit,
            is_counted=is_counted,
            has_last_lines=has_last_lines,
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
        self._check_readable()
        return self._reader.offset_of(filter, key, sort=sort, is_reversed=is_reversed)

    async def item(self, key: ItemKey) -> ItemDetail:
        """Return everything about one item."""
        self._check_readable()
        return self._reader.item(key)

    async def log_range(
        self,
        key: ItemKey,
        *,
        attempt: int | None = None,
        offset: int = 0,
        length: int = 65_536,
        stream: Literal["log", "result"] = "log",
    ) -> LogChunk:
        """Return bytes of what an attempt has pretended to print."""
        self._check_readable()
        return self._reader.log_range(
            key, attempt=attempt, offset=offset, length=length, stream=stream
        )

    async def history(
        self, *, period_s: float = 3600.0, points: int = 120, convoy_id: str | None = None
    ) -> History:
        """Return the past that the test set (`past`), or that nothing is recorded."""
        self._check_readable()
        check_history(period_s, points)
        now = self.clock.now()
        start = now - timedelta(seconds=period_s)
        return self.past or History(is_recorded=False, start=start, end=now)

    async def preview(self, source: ConvoySource, *, cwd: str, limit: int = 20) -> Preview:
        """Say what a launch would run."""
        self._check_running()
        return await asyncio.to_thread(preview, source, agents=self._agents, cwd=cwd, limit=limit)

    async def launch(
        self,
        source: ConvoySource,
        *,
        env: Mapping[str, str],
        cwd: str,
        is_patient: bool = False,
    ) -> str:
        """Take a convoy and let it start; return its id."""
        self._check_running()
        convoy = await asyncio.to_thread(plan, source, agents=self._agents, cwd=cwd)
        async with self._machine.backpressure.admit(is_patient=is_patient):
            return self.add_convoy(
                convoy.name,
                convoy.operations(),
                stop_on_first_failure=convoy.stop_on_first_failure,
                timeout_s=convoy.timeout_s,
                source=source.origin if isinstance(source, SpecSource) else None,
                cwd=cwd,
            )

    async def cancel(
        self,
        targets: Sequence[ItemKey] | str,
        *,
        is_kill: bool = False,
        is_waiting: bool = True,
    ) -> Outcome:
        """Cancel items, or all of a convoy; nothing pretended takes time to end."""
        self._check_running()
        if isinstance(targets, str):
            convoy = self._work.convoy(targets)
            ending = [item for item in convoy.items.values() if not item.view.status.is_final]
            if ending:
                convoy.is_closing = convoy.is_cancelled = True
            reason = "convoy cancelled"
        else:
            ending = [self._work.item(key) for key in targets]
            reason = "cancelled by hand"
        late = [item for item in ending if item.view.status.is_final]
        open_items = [item for item in ending if not item.view.status.is_final]
        refused = {str(item.key): f"it is {item.view.status.word}" for item in late}
        self._work.cancel(open_items, reason)
        self._work.pump()
        return Outcome(changed=tuple(item.key for item in open_items), refused=refused)

    async def retry(
        self, targets: Sequence[ItemKey], *, env: Mapping[str, str] | None = None
    ) -> Outcome:
        """Put ended items back, attempt + 1, with what was skipped because of them."""
        self._check_running()
        refused: dict[str, str] = {}
        wanted: list[FakeItem] = []
        for item in [self._work.item(key) for key in targets]:
            if item.view.status.is_final:
                wanted.append(item)
            else:
                refused[str(item.key)] = f"it is {item.view.status.word}"
        obstacles = [(item, item.convoy.obstacle(item, wanted)) for item in wanted]
        refused |= {
            str(item.key): f"it needs {obstacle.view.id}, which {obstacle.view.status.word}"
            for item, obstacle in obstacles
            if obstacle is not None
        }
        retried = [item for item, obstacle in obstacles if obstacle is None]
        for item in retried:
            self._work.retry(item)
        changed = [item.key for item in retried]
        for convoy_id in dict.fromkeys(key.convoy_id for key in changed):
            self._work.reopen(self._work.convoy(convoy_id))
        self._work.pump()
        return Outcome(changed=tuple(changed), refused=refused)

    async def pause(self, convoy_id: str) -> None:
        """Start nothing more of the convoy."""
        self._check_running()
        convoy = self._work.convoy(convoy_id)
        if not convoy.view.status.is_final:
            convoy.view = replace(convoy.view, status=ConvoyStatus.PAUSED, reason="paused by hand")
            self._work.tell_convoy(convoy)

    async def resume(self, convoy_id: str, *, env: Mapping[str, str] | None = None) -> None:
        """Let a paused convoy start operations again."""
        self._check_running()
        convoy = self._work.convoy(convoy_id)
        if convoy.view.status is ConvoyStatus.PAUSED:
            self._work.reopen(convoy)
            self._work.pump()

    async def set_parallelism(self, parallelism: int | None) -> int:
        """Pin the parallelism, or with None give it back to auto."""
        self._check_running()
        if parallelism is not None and (type(parallelism) is not int or parallelism < 1):
            raise InputError(f"parallelism {parallelism!r}: expected a whole number from 1")
        self._machine.pin(parallelism)
        return self._work.parallelism

    async def rescue(self, target: str) -> int:
        """Write down which items there are, in place of a copy of a work state."""
        self._check_readable()
        if not os.path.isabs(target):
            raise InputError(f"{target!r}: expected an absolute path")
        text = "".join(
            f"{convoy.view.id}/{item_id}\n"
            for convoy in self._work.convoys.values()
            for item_id in convoy.items
        )

        def write() -> int:
            try:
                with open(
                    os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w"
                ) as file:
                    return file.write(text)
            except FileExistsError as error:
                raise InputError(f"{target} exists already") from error
            except OSError as error:
                raise StorageError(f"{target}: {error.strerror}") from error

        return await asyncio.to_thread(write)

    async def wait(
        self, convoy_ids: Sequence[str], *, is_any: bool = False, timeout_s: float | None = None
    ) -> tuple[ConvoyView, ...]:
        """Return the convoys when all (or one) of them have ended; time is the fake clock's."""
        self._check_running()
        convoys = [self._work.convoy(convoy_id) for convoy_id in convoy_ids]
        deadline_s = None
        if timeout_s is not None:
            deadline_s = self.clock.monotonic() + timeout_s
            self._work.wake_after(timeout_s)
        is_enough = any if is_any else all
        while convoys and not is_enough(convoy.view.status.is_final for convoy in convoys):
            if deadline_s is not None and self.clock.monotonic() >= deadline_s:
                raise TimeoutError(f"not ended after {timeout_s:g} s: {', '.join(convoy_ids)}")
            await self._work.wait_for_news()
            self._check_running()
        return tuple(convoy.shown() for convoy in convoys)

    async def stop(self, mode: StopMode = StopMode.INTERRUPT) -> None:
        """Take no more commands, deal with what runs, end every stream."""
        if self._machine.phase == "stopped":
            return
        self._machine.phase = "stopping"
        self._machine.backpressure.dismiss(lambda: EngineStoppedError("the engine has stopped"))
        self._machine.announce()
        self._work.start_nothing()
        self._is_hastened = self._is_hastened or mode is not StopMode.DRAIN
        while not self._is_hastened and self._work.running():
            await self._work.wait_for_news()
        self._work.close(is_detaching=mode in {StopMode.DETACH, StopMode.DRAIN})
        self._machine.phase = "stopped"
        self._machine.announce()
        self.hub.close()

    def _check_readable(self) -> None:
        if self._machine.phase == "stopped":
            raise EngineStoppedError("the engine has stopped")

    def _check_running(self) -> None:
        if self._machine.phase != "running":
            raise EngineStoppedError("the engine has stopped")

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            seq=self.hub.seq,
            at=self.clock.now(),
            engine=self._machine.view(),
            nodes=(self._machine.node(),),
            convoys=tuple(convoy.shown() for convoy in reversed(self._work.convoys.values())),
            counts=self._work.counts(),
            history=tuple(self._machine.history),
        )
