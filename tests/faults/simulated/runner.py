"""The runner of one engine in the simulated world; answers as PROCESS.md says.

What it does outside the engine's memory it does in bare callbacks, soon after it was asked, so that
a crash can leave the loop from there and a cancelled call goes on as a thread would.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from aisquad_core.api import LogChunk
from aisquad_core.errors import RunnerError
from aisquad_core.execution.runner import Contest, Exit, Finding, StartRef, StartRequest
from tests.faults.simulated.storage import Point
from tests.faults.simulated.world import Body, Claim, Start, World, script_for

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType
    from typing import Self

    from aisquad_core.execution.usage import Usage
    from tests.faults.simulated.loop import VirtualLoop

_ORPHAN_GRACE_S = 1.0
_QUIET_S = 0.25
_KILLED = 137


@dataclass(frozen=True, slots=True, kw_only=True)
class Troubles:
    """How often the machine refuses something, 0 to 1."""

    folder: float = 0.0
    fork: float = 0.0
    for_good: float = 0.0
    """Of the refused forks, those that will never do."""
    contest: float = 0.0


@dataclass(slots=True, eq=False)
class _Watch:
    """A start that this engine looks after."""

    start: Start
    spawned: asyncio.Event = field(default_factory=asyncio.Event)
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    kill_at_s: float | None = None
    """When the grace of its ending is over; None: it is not being ended."""
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    is_burying: bool = False


class SimulatedRunner:
    """Starts, watches and stops processes of the world.

    Args:
        world: Where they are.
        loop: The engine's.
        chance: Of troubles.
        troubles: How often.
        pass_point: Called at each point; it leaves the loop if the engine dies there.
        preparing: Called before each folder is made, with the starts that hold a slot.
    """

    def __init__(
        self,
        world: World,
        loop: VirtualLoop,
        *,
        chance: random.Random,
        troubles: Troubles,
        pass_point: Callable[[Point], None],
        preparing: Callable[[StartRequest, list[Start]], None],
    ) -> None:
        self._world = world
        self._loop = loop
        self._chance = chance
        self._troubles = troubles
        self._pass_point = pass_point
        self._preparing = preparing
        self._watches: dict[str, _Watch] = {}
        self._prepared: dict[str, Start] = {}
        """Folders whose start has not been forked yet."""
        self._undecided: set[Start] = set()
        """What earlier engines left, and this one has not been told what became of it."""
        self._exits: asyncio.Queue[Exit | None] = asyncio.Queue()
        self._is_closed = False

    async def __aenter__(self) -> Self:
        """Begin to watch."""
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        self._tasks: list[asyncio.Task[None]] = []
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Stop watching; what still runs, runs on."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(None, None, None)
        for watch in self._watches.values():
            watch.finished.set()
        self._exits.put_nowait(None)

    async def prepare(self, request: StartRequest) -> None:
        """Make the start's folder."""

        def make() -> None:
            if self._chance.random() < self._troubles.folder:
                raise RunnerError("cannot prepare: no space", is_transient=True)
            ref = request.ref
            if ref.token in self._world.starts:
                self._world.fail(f"{ref} was prepared twice")
            start = Start(
                ref,
                self._world.epoch,
                script_for(request.operation, ref, self._world.seed),
                request.operation.agent_id,
            )
            self._preparing(request, self._holders())
            self._world.starts[ref.token] = start
            self._prepared[ref.token] = start
            self._pass_point(Point.AFTER_FOLDER)

        await self._loop.hop(make)

    async def start(self, request: StartRequest) -> None:
        """Start the operation, after its intent is committed; return once it was forked."""
        if self._is_closed:
            raise RunnerError("the runner is closed", is_transient=False)
        if request.ref.token in self._watches:
            self._world.fail(f"{request.ref} was started twice")
        start = self._world.starts[request.ref.token]
        watch = self._watches[request.ref.token] = _Watch(start)
        await asyncio.shield(self._loop.hop(lambda: self._fork(watch)))

    def _fork(self, watch: _Watch) -> None:
        self._pass_point(Point.AFTER_INTENT)
        start = watch.start
        self._prepared.pop(start.ref.token, None)
        watch.spawned.set()
        if self._chance.random() < self._troubles.fork:
            start.claim = Claim.ENGINE
            del self._watches[start.ref.token]
            watch.finished.set()
            is_for_good = self._chance.random() < self._troubles.for_good
            self._world.note(f"{start.ref} cannot be forked")
            raise RunnerError("cannot fork", is_transient=not is_for_good)
        self._world.fork(start)
        self._pass_point(Point.AFTER_FORK)

    async def stop(self, ref: StartRef, *, grace_s: float) -> None:
        """End the whole tree; return when it is gone."""
        watch = self._watches.get(ref.token)
        if watch is None:
            return
        await watch.spawned.wait()
        kill_at_s = self._loop.time() + grace_s
        if watch.kill_at_s is not None:
            watch.kill_at_s = min(watch.kill_at_s, kill_at_s)
            watch.woken.set()
        elif watch.start.is_launcher_alive and not watch.is_burying and not self._is_closed:
            watch.kill_at_s = kill_at_s
            self._spawn(self._stop(watch))
        await watch.finished.wait()

    async def _stop(self, watch: _Watch) -> None:
        await self._end(watch)
        self._finish(watch, self._end_of(watch.start) or _killed(watch.start))

    async def _end(self, watch: _Watch) -> None:
        """TERM, grace, KILL, and quiet."""
        await self._loop.hop(lambda: self._world.terminate(watch.start))
        while watch.start.is_alive:
            assert watch.kill_at_s is not None
            left_s = watch.kill_at_s - self._loop.time()
            if left_s <= 0:
                break
            watch.woken.clear()
            try:
                async with asyncio.timeout(min(left_s, 0.5)):
                    await watch.woken.wait()
            except TimeoutError:
                continue
        await self._loop.hop(lambda: self._world.kill(watch.start))
        await asyncio.sleep(_QUIET_S)

    def note_death(self, start: Start) -> None:
        """Take note that a launcher ended."""
        watch = self._watches.get(start.ref.token)
        if watch is None or self._is_closed:
            return
        if watch.kill_at_s is not None:
            watch.woken.set()
        else:
            watch.is_burying = True
            self._spawn(self._bury(watch))

    async def _bury(self, watch: _Watch) -> None:
        """Settle a launcher that ended by itself, after ending what it left behind."""
        end = await self._loop.hop(lambda: self._end_of(watch.start))
        if end is None:
            watch.kill_at_s = self._loop.time() + _ORPHAN_GRACE_S
            await self._end(watch)
            end = _lost(watch.start.ref, "its launcher was killed")
        self._finish(watch, end)

    def _end_of(self, start: Start) -> Exit | None:
        """Return how a start whose launcher is dead ended; None if nobody wrote it down."""
        if start.exit_code is not None:
            return Exit(token=start.ref.token, exit_code=start.exit_code)
        if start.claim is Claim.NONE:
            start.claim = Claim.ENGINE
        if start.claim is not Claim.LAUNCHER:
            return Exit(
                token=start.ref.token, exit_code=None, did_run=False, error="ended before it began"
            )
        return None

    def _finish(self, watch: _Watch, end: Exit) -> None:
        del self._watches[watch.start.ref.token]
        self._exits.put_nowait(end)
        watch.finished.set()

    async def contest(self, ref: StartRef, *, boot_id: str | None) -> Contest:
        """Find out what became of a start that another engine left `in_progress`."""
        if ref.token in self._watches:
            return Contest(finding=Finding.ALIVE)
        return await self._loop.hop(lambda: self._contest(ref)) or await self._lose(ref)

    def _contest(self, ref: StartRef) -> Contest | None:
        """Return what is found; None: its launcher died without a word."""
        self._pass_point(Point.BEFORE_CONTEST)
        start = self._world.starts.get(ref.token)
        if start is None:
            self._world.fail(f"{ref} has no folder")
            raise AssertionError
        if start.epoch != self._world.epoch:
            return _lost_contest(ref, "the machine was restarted while it ran")
        if self._chance.random() < self._troubles.contest:
            self._undecided.add(start)
            return Contest(finding=Finding.UNKNOWN, reason="no space")
        self._undecided.discard(start)
        if start.claim is Claim.NONE:
            start.claim = Claim.ENGINE
            self._world.note(f"{ref} is claimed by the engine")
            self._pass_point(Point.AFTER_CLAIM)
        self._pass_point(Point.AFTER_CONTEST)
        if start.claim is Claim.ENGINE:
            return Contest(finding=Finding.NEVER_RAN)
        if start.exit_code is not None:
            end = Exit(token=ref.token, exit_code=start.exit_code)
            return Contest(finding=Finding.ENDED, exit=end)
        if start.is_launcher_alive:
            watch = self._watches[ref.token] = _Watch(start)
            watch.spawned.set()
            begun_s = start.begun_at_s if start.body is Body.RUNNING else self._loop.time()
            return Contest(finding=Finding.ALIVE, running_for_s=self._loop.time() - begun_s)
        return Contest(finding=Finding.NEVER_RAN) if start.claim is Claim.TORN else None

    async def _lose(self, ref: StartRef) -> Contest:
        watch = _Watch(self._world.starts[ref.token])
        watch.kill_at_s = self._loop.time() + _ORPHAN_GRACE_S
        await self._end(watch)
        return _lost_contest(ref, "its launcher was killed")

    async def exits(self) -> AsyncIterator[Exit]:
        """Yield every end until the runner is closed."""
        while (end := await self._exits.get()) is not None:
            yield end

    def pid(self, token: str) -> int | None:
        """Return a number for people to see."""
        return 4711 if token in self._watches else None

    async def log_range(
        self,
        ref: StartRef,
        *,
        offset: int,
        length: int,
        stream: Literal["log", "result"] = "log",
    ) -> LogChunk:
        """Return nothing: what an operation prints decides nothing."""
        return LogChunk(data=b"", offset=0, size=0, is_final=ref.token not in self._watches)

    async def inventory(self) -> dict[str, str]:
        """Return the tokens of all starts whose launcher lives."""
        return {each.ref.token: "" for each in self._world.alive() if each.is_launcher_alive}

    async def last_lines(self, refs: list[StartRef]) -> dict[str, str]:
        """Return none."""
        return {}

    async def usage(self, ref: StartRef) -> Usage | None:
        """Return none."""
        return None

    def _holders(self) -> list[Start]:
        """Return the starts that certainly hold a slot."""
        return [*(watch.start for watch in self._watches.values()), *self._undecided]

    def _spawn(self, work: object) -> None:
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(self._group.create_task(work))  # type: ignore[arg-type]


def _killed(start: Start) -> Exit:
    error = "it did not end within its grace and was killed"
    return Exit(token=start.ref.token, exit_code=_KILLED, error=error)


def _lost(ref: StartRef, reason: str) -> Exit:
    return Exit(token=ref.token, exit_code=None, error=reason)


def _lost_contest(ref: StartRef, reason: str) -> Contest:
    return Contest(finding=Finding.LOST, exit=_lost(ref, reason), reason=reason)
