"""Ending whole process trees in time: TERM, grace, kill, and quiet sweeps until they are gone."""

from __future__ import annotations

import asyncio
import errno
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aisquad_core.execution.tree import (
    Tree,
    count_members,
    kill_members,
    terminate_sessions,
)
from aisquad_core.execution.work_thread import steady_pool

if TYPE_CHECKING:
    from aisquad_core.clock import Clock

QUIET_S = 0.25
"""Seconds during which no sweep may find anything before a tree counts as gone."""
SWEEP_INTERVAL_S = 0.05
"""Seconds between the sweeps of that time."""
LATE_SWEEPS_S = (1.0, 4.0)
"""Seconds to wait, one after the other, before each late look at a tree that was ended."""
GIVE_UP_S = 30.0
"""Seconds after which what cannot be killed (a process in the kernel's hands) is left alone."""
LONGEST_PAUSE_S = 0.5
"""Seconds at most between looks at a tree whose launcher ended within the grace."""

_WANT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_RETRY_S = 0.2

_Sweep = Callable[[Sequence[Tree]], list[int]]


@dataclass(slots=True, eq=False)
class Ending:
    """A tree that is being ended."""

    kill_at: float
    """Monotonic second at which the grace is over."""
    is_launcher_dead: bool = False
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def hasten(self, kill_at: float) -> None:
        """End the grace at that second, unless it ends earlier."""
        if kill_at < self.kill_at:
            self.kill_at = kill_at
            self.woken.set()

    def note_death(self) -> None:
        """Take note that the launcher ended: the tree may be gone before the grace is over."""
        self.is_launcher_dead = True
        self.woken.set()


class _Call:
    """One tree's share in a hop to the sweeping thread."""

    __slots__ = ("found", "is_done", "tree")

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.found = 0
        self.is_done = False


class TreeEnder:
    """Ends process trees, many at a time, from a thread of its own; making one blocks.

    Args:
        clock: Paces grace periods and sweeps.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pool = steady_pool(1, "aisquad-sweep")
        self._waiting: defaultdict[_Sweep, list[_Call]] = defaultdict(list)
        self._turn = asyncio.Lock()
        self._late: set[Tree] = set()

    async def end(self, tree: Tree, ending: Ending) -> int:
        """End a tree; return how many of its processes would not die.

        It is to be given to `sweep_late` afterwards.
        """
        await self._sweep(terminate_sessions, tree)
        pause_s = SWEEP_INTERVAL_S
        while (left_s := ending.kill_at - self._clock.monotonic()) > 0:
            ending.woken.clear()
            if ending.is_launcher_dead:
                if not await self._sweep(count_members, tree):
                    break
                left_s = min(left_s, pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            await self._wait(ending.woken, left_s)
        self._late.add(tree)
        return await self._kill(tree)

    async def sweep_late(self, tree: Tree) -> None:
        """Look again, a while later, for what escaped the end of a tree."""
        for seconds in LATE_SWEEPS_S:
            await self._clock.sleep(seconds)
            if await self._sweep(kill_members, tree):
                await self._kill(tree)
        self._late.discard(tree)

    async def close(self) -> None:
        """Have the late looks that are still to come at once, and let the thread end."""
        try:
            async with asyncio.TaskGroup() as sweeps:
                for tree in self._late:
                    sweeps.create_task(self._sweep(kill_members, tree))
        finally:
            await asyncio.to_thread(self._pool.shutdown)

    async def _kill(self, tree: Tree) -> int:
        """Kill a tree until sweeps stay quiet; return how many members would not die."""
        begun = last_seen = self._clock.monotonic()
        while True:
            found = await self._sweep(kill_members, tree)
            now = self._clock.monotonic()
            if found:
                last_seen = now
            if now - last_seen >= QUIET_S or now - begun >= GIVE_UP_S:
                return found
            await self._clock.sleep(SWEEP_INTERVAL_S)

    async def _sweep(self, sweep: _Sweep, tree: Tree) -> int:
        """Run a sweep for the tree, and for all others that wait for the same."""
        call = _Call(tree)
        self._waiting[sweep].append(call)
        async with self._turn:
            while not call.is_done:
                batch = self._waiting.pop(sweep, [])
                if call not in batch:  # whoever took it along was cancelled, or failed
                    batch.append(call)
                try:
                    counts = await asyncio.get_running_loop().run_in_executor(
                        self._pool, sweep, [other.tree for other in batch]
                    )
                except OSError as error:
                    if error.errno not in _WANT:
                        raise
                    await self._clock.sleep(_RETRY_S)
                else:
                    for other, found in zip(batch, counts, strict=True):
                        other.found = found
                        other.is_done = True
        return call.found

    async def _wait(self, event: asyncio.Event, seconds: float) -> None:
        """Wait for an event, or until the clock says that the time is over."""
        async with asyncio.TaskGroup() as race:
            timer = race.create_task(self._clock.sleep(seconds))
            waiter = race.create_task(event.wait())
            await asyncio.wait((timer, waiter), return_when=asyncio.FIRST_COMPLETED)
            timer.cancel()
            waiter.cancel()
