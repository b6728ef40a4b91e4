"""Old runs go: what ended too long ago, and the oldest of what together is too large.

Only folders of convoys that have ended, never one in which a start's lock is held, and nothing
that no convoy of the work state names. The work state's rows stay: the log of an item whose run
went is empty and final. A folder is first given another name, in one step, and then emptied in
slices off the loop; what a crash leaves of that, the next pass finishes. No link is followed.

The engine does this in the background; `run_upkeep` does it where no engine runs.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from aisquad_core.clock import SteadyWall, SystemClock
from aisquad_core.errors import PoolError, StateError
from aisquad_core.execution.evidence import is_any_locked
from aisquad_core.execution.launcher import folder_name
from aisquad_core.execution.removal import Removal, Sizing
from aisquad_core.model import ConvoyStatus
from aisquad_core.sanitise import one_line
from aisquad_core.state.folder import StateFolder
from aisquad_core.state.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime
    from pathlib import Path

    from aisquad_core.clock import Clock
    from aisquad_core.settings import Settings

ENTRIES_PER_SLICE = 500
"""Files that are looked at or removed between two pauses."""
PAUSE_S = 0.02
"""Between two slices, so that a pass takes a fraction of one core and of the disk."""
EVERY_S = 3600.0
"""Between two passes of an engine."""

_ENDED = tuple(status for status in ConvoyStatus if status.is_final)
_DOOMED = re.compile(r"pruned~[0-9a-f]{16}")
"""Name of a folder that is being removed; no convoy's folder has it (24 digits follow a `~`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRun:
    """The folder of a convoy that has ended."""

    convoy_id: str
    finished_at: datetime
    size_bytes: int
    """What it takes on the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpkeepPlan:
    """What would go."""

    runs: tuple[EndedRun, ...]
    """Oldest first."""
    kept: int
    """Folders of ended convoys that stay."""
    kept_bytes: int
    """What those take on the disk."""

    @property
    def size_bytes(self) -> int:
        """What would be free afterwards."""
        return sum(run.size_bytes for run in self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpkeepReport:
    """What went."""

    runs: tuple[EndedRun, ...]
    """Oldest first; what was retried or locked meanwhile is not among them."""
    kept: int
    """Folders of ended convoys that stay, by the plan."""
    kept_bytes: int
    """What those take on the disk."""
    problems: tuple[str, ...]
    """In words, what could not be measured or removed; the next pass tries again."""

    @property
    def size_bytes(self) -> int:
        """What was freed."""
        return sum(run.size_bytes for run in self.runs)


def plan(runs: Sequence[EndedRun], *, now: datetime, keep_days: int, keep_bytes: int) -> UpkeepPlan:
    """Say which runs go.

    Args:
        runs: All folders of ended convoys.
        now: Aware.
        keep_days: What ended longer ago goes; 0: age alone is no reason.
        keep_bytes: Of the rest, the oldest go until it takes no more than this; 0: no limit.
    """
    rest_bytes = sum(run.size_bytes for run in runs)
    going: list[EndedRun] = []
    for run in sorted(runs, key=lambda run: (run.finished_at, run.convoy_id)):
        is_old = bool(keep_days) and now - run.finished_at > timedelta(days=keep_days)
        if is_old or (keep_bytes and rest_bytes > keep_bytes):
            going.append(run)
            rest_bytes -= run.size_bytes
    return UpkeepPlan(runs=tuple(going), kept=len(runs) - len(going), kept_bytes=rest_bytes)


class Upkeep:
    """Measures and prunes the runs of one state folder.

    Args:
        settings: What is kept, and where it lies.
        reader: Which convoys have ended.
        clock: Says how old they are, and paces.
        is_busy: Whether a convoy is worked on, although it may be stored as ended.
        convoy_ends: Held while a folder is taken away; nobody may revive a convoy meanwhile.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        reader: Reader,
        clock: Clock,
        is_busy: Callable[[str], bool],
        convoy_ends: AbstractAsyncContextManager[object],
    ) -> None:
        self.trouble: str | None = None
        """What the last `attempt` could not do; None: it could do everything."""
        self._runs_dir = settings.state_dir.absolute() / "runs"
        self._keep_days = settings.keep_runs_days
        self._keep_bytes = settings.keep_runs_bytes
        self._reader = reader
        self._clock = clock
        self._wall = SteadyWall(clock)
        self._is_busy = is_busy
        self._convoy_ends = convoy_ends
        self._measured: dict[tuple[str, datetime], int] = {}
        """Convoy and when it ended to its size, which does not change until it is retried."""
        self._problems: list[str] = []

    async def plan(self) -> UpkeepPlan:
        """Measure, and say what would go."""
        runs = await self._measure()
        return plan(
            runs,
            now=self._wall.now(),
            keep_days=self._keep_days,
            keep_bytes=self._keep_bytes,
        )

    async def run(self) -> UpkeepReport:
        """Finish what an earlier pass left, then prune."""
        self._problems = []
        for name in await asyncio.to_thread(_names, self._runs_dir):
            if _DOOMED.fullmatch(name):
                await self._remove(name)
        planned = await self.plan()
        gone = [run for run in planned.runs if await self._prune(run)]
        return UpkeepReport(
            runs=tuple(gone),
            kept=planned.kept,
            kept_bytes=planned.kept_bytes,
            problems=tuple(self._problems),
        )

    async def attempt(self) -> None:
        """Do as `run`, and only say as `trouble` what cannot be done now."""
        try:
            report = await self.run()
        except (StateError, PoolError, OSError) as error:
            self.trouble = f"cannot prune old runs: {error}"
        else:
            first = next(iter(report.problems), None)
            self.trouble = first and one_line(f"cannot prune an old run: {first}")

    async def _measure(self) -> list[EndedRun]:
        names = set(await asyncio.to_thread(_names, self._runs_dir))
        measured: dict[tuple[str, datetime], int] = {}
        for record in await self._reader.convoys(_ENDED):
            if record.finished_at is None or folder_name(record.id) not in names:
                continue
            key = record.id, record.finished_at
            size = self._measured.get(key)
            if size is None:
                size = await self._size(folder_name(record.id))
            measured[key] = size
        self._measured = measured
        return [
            EndedRun(convoy_id=convoy_id, finished_at=finished_at, size_bytes=size)
            for (convoy_id, finished_at), size in measured.items()
        ]

    async def _size(self, name: str) -> int:
        sizing = Sizing(str(self._runs_dir / name))
        while not await asyncio.to_thread(sizing.advance, ENTRIES_PER_SLICE):
            await self._clock.sleep(PAUSE_S)
        return sizing.size_bytes

    async def _prune(self, run: EndedRun) -> bool:
        """Take a folder away and remove it; False if its convoy is worked on after all."""
        path = self._runs_dir / folder_name(run.convoy_id)
        # Before the hold, since it takes a look at every start; only a revival locks another one.
        if await asyncio.to_thread(is_any_locked, str(path)):
            self._problems.append(f"{run.convoy_id}: an operation of it still holds its lock")
            return False
        doomed = f"pruned~{secrets.token_hex(8)}"
        async with self._convoy_ends:
            record = await self._reader.convoy(run.convoy_id)
            is_ended = record.status.is_final and record.finished_at == run.finished_at
            if not is_ended or self._is_busy(run.convoy_id):
                return False
            try:
                await _rename(path, self._runs_dir / doomed)
            except OSError as error:
                self._problems.append(f"{run.convoy_id}: {error.strerror}")
                return False
        return await self._remove(doomed)

    async def _remove(self, name: str) -> bool:
        removal = Removal(str(self._runs_dir), name)
        try:
            while not await asyncio.to_thread(removal.advance, ENTRIES_PER_SLICE):
                await self._clock.sleep(PAUSE_S)
        except OSError as error:
            self._problems.append(f"{name}: {error.strerror}")
            return False
        self._problems += removal.problems
        return not removal.problems


async def _rename(path: Path, target: Path) -> None:
    """Rename a folder; cancelled, still wait for it, so that it never happens after the hold."""
    renaming = asyncio.get_running_loop().run_in_executor(None, path.rename, target)
    try:
        await asyncio.shield(renaming)
    except asyncio.CancelledError:
        await asyncio.wait((renaming,))
        renaming.exception()  # looked at, so that asyncio does not report it as forgotten
        raise


def _names(runs_dir: Path) -> list[str]:
    """Return the real folders below `runs`; none if there is no `runs` or it is a link."""
    try:
        descriptor = os.open(runs_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return []
    try:
        with os.scandir(descriptor) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    finally:
        os.close(descriptor)


async def plan_upkeep(settings: Settings, *, clock: Clock | None = None) -> UpkeepPlan:
    """Say what would go, beside an engine or without one; changes nothing."""
    async with Reader.open(settings.workstate_db) as reader:
        return await _alone(settings, reader, clock).plan()


async def run_upkeep(settings: Settings, *, clock: Clock | None = None) -> UpkeepReport:
    """Prune where no engine runs.

    Raises:
        EngineRunningError: One runs; it prunes by itself.
        StateFolderError: The state folder must not be used.
    """
    folder = StateFolder(settings.state_dir)
    await asyncio.to_thread(folder.acquire)
    try:
        async with Reader.open(settings.workstate_db) as reader:
            return await _alone(settings, reader, clock).run()
    finally:
        await asyncio.to_thread(folder.release)


def _alone(settings: Settings, reader: Reader, clock: Clock | None) -> Upkeep:
    return Upkeep(
        settings,
        reader=reader,
        clock=clock or SystemClock(),
        is_busy=lambda _: False,
        convoy_ends=asyncio.Lock(),
    )
