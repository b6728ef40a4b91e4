"""The machine outside the engine: processes that outlive it, and their folders.

It also is the judge of what must never happen to a process. Its time goes on while no engine lives.
"""

from __future__ import annotations

import heapq
import itertools
import random
import zlib
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from tests.faults.simulated.loop import Halt

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from aisquad_core.execution.runner import StartRef
    from aisquad_core.model import Operation

_TRACE_LINES = 400
_TERMINATED = 143


class Violation(Halt):
    """Something happened that must not."""


class Claim(StrEnum):
    """Whose a start is."""

    NONE = "none"
    ENGINE = "engine"
    TORN = "torn"
    """The launcher's, not written to its end yet."""
    LAUNCHER = "launcher"


class Body(StrEnum):
    """Where the command of a start stands."""

    UNBORN = "unborn"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """How a start goes, if nobody interferes."""

    claims_after_s: float
    """From the fork to the claim."""
    duration_s: float
    exit_code: int
    stop_s: float | None
    """From TERM to the end of the command; None: it ignores TERM."""
    stopped_code: int
    """What a command that heeds TERM exits with."""
    dies_early: bool
    """Whether TERM ends a launcher that has not claimed yet."""
    launcher_dies_s: float | None
    """From its claim to its sudden death; None: it does not."""


def script_for(operation: Operation, ref: StartRef, seed: int) -> Script:
    """Decide how a start goes: what the operation says, and chance."""
    wish = operation.metadata
    chance = random.Random(f"{seed}/{ref.token}")
    outcome = random.Random(f"{seed}/{ref.item_id}/{ref.attempt}")
    is_slow = chance.random() < wish["slow_launchers"]
    fails = outcome.random() < wish["failures"]
    return Script(
        claims_after_s=chance.uniform(0.3, 3.0) if is_slow else chance.uniform(0.001, 0.02),
        duration_s=wish["duration_s"] * outcome.uniform(0.5, 1.5),
        exit_code=outcome.choice([1, 2, 127, 255]) if fails else 0,
        stop_s=None if chance.random() < wish["stubborn"] else chance.uniform(0.01, 1.0),
        stopped_code=chance.choice([0, 1, _TERMINATED, _TERMINATED]),
        dies_early=chance.random() < 0.5,
        launcher_dies_s=chance.uniform(0, 2.0) if chance.random() < wish["killed"] else None,
    )


@dataclass(slots=True, eq=False)
class Start:
    """The folder and the processes of one start."""

    ref: StartRef
    epoch: int
    """The boot in which its folder was made."""
    script: Script
    agent_id: str
    claim: Claim = Claim.NONE
    is_forked: bool = False
    is_launcher_alive: bool = False
    body: Body = Body.UNBORN
    begun_at_s: float = 0.0
    exit_code: int | None = None
    """What `exit` says."""
    is_terminated: bool = False

    @property
    def is_alive(self) -> bool:
        """Whether a process of it is there."""
        return self.is_launcher_alive or self.body is Body.RUNNING

    @property
    def may_run(self) -> bool:
        """Whether its command runs, or may yet begin."""
        is_coming = self.is_launcher_alive and self.claim in (Claim.NONE, Claim.TORN)
        return self.body is Body.RUNNING or (self.body is Body.UNBORN and is_coming)


class Watcher(Protocol):
    """The engine's runner while one lives."""

    def note_death(self, start: Start) -> None:
        """A launcher ended."""
        ...


class Ownership(Protocol):
    """What the work state durably says."""

    def check_owned(self, start: Start, what: str) -> None:
        """Raise `Violation` unless the item's present start is this one."""
        ...


class World:
    """Everything but the engine and its disk.

    Args:
        seed: Of how starts go.
        ignores_claims: A planted defect: launchers run their command whoever claimed.
    """

    def __init__(self, seed: int, *, ignores_claims: bool = False) -> None:
        self.seed = seed
        self.now_s = 0.0
        self.epoch = 0
        self.starts: dict[str, Start] = {}
        self.watcher: Watcher | None = None
        self.owners: Ownership | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.trace: deque[str] = deque(maxlen=_TRACE_LINES)
        self.digest = 0
        self._ignores_claims = ignores_claims
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def note(self, line: str) -> None:
        """Add a line to the trace."""
        self.now_s = self.time()
        text = f"{self.now_s:9.3f} {line}"
        self.trace.append(text)
        self.digest = zlib.crc32(text.encode(), self.digest)

    def fail(self, what: str) -> None:
        """Say that something happened that must not.

        Raises:
            Violation: Always.
        """
        self.note(f"VIOLATION: {what}")
        raise Violation(what)

    # Time

    def time(self) -> float:
        """Return the seconds since the beginning."""
        return self.now_s if self.loop is None else self.loop.time()

    def after(self, seconds: float, happen: Callable[[], None]) -> None:
        """Let something happen later, whether an engine lives or not."""
        heapq.heappush(self._due, (self.time() + seconds, next(self._numbers), happen))
        self._arm()

    def enter(self, loop: asyncio.AbstractEventLoop, watcher: Watcher) -> None:
        """Let an engine live, on whose loop time now passes."""
        self.loop, self.watcher = loop, watcher
        self._timer = None
        self._arm()

    def leave(self) -> None:
        """Let no engine live."""
        self.now_s = self.time()
        self.loop = self.watcher = self._timer = None

    def pass_time(self, seconds: float) -> None:
        """Let time pass without an engine."""
        until_s = self.now_s + seconds
        while self._due and self._due[0][0] <= until_s:
            self.now_s, _, happen = heapq.heappop(self._due)
            happen()
        self.now_s = until_s

    def _arm(self) -> None:
        if self.loop is None or not self._due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(self._due[0][0], self._work)

    def _work(self) -> None:
        loop = self.loop
        assert loop is not None
        while self._due and self._due[0][0] <= loop.time():
            heapq.heappop(self._due)[2]()
        self._timer = None
        self._arm()

    # Processes

    def fork(self, start: Start) -> None:
        """Start a launcher."""
        if start.is_forked:
            self.fail(f"{start.ref} was forked twice")
        assert self.owners is not None
        self.owners.check_owned(start, "forked")
        start.is_forked = start.is_launcher_alive = True
        self.note(f"{_name(start)} forked")
        self.after(start.script.claims_after_s, lambda: self._claim(start))

    def _claim(self, start: Start) -> None:
        if not start.is_launcher_alive:
            return
        if start.claim is not Claim.NONE and not self._ignores_claims:
            self.note(f"{_name(start)}: its launcher finds the claim of an engine")
            self._end_launcher(start)
            return
        start.claim = Claim.TORN
        self.after(0.001, lambda: self._begin(start))

    def _begin(self, start: Start) -> None:
        if not start.is_launcher_alive:
            return
        start.claim = Claim.LAUNCHER
        if start.body is not Body.UNBORN:
            self.fail(f"{start.ref} began twice")
        for other in self.starts.values():
            if other.body is Body.RUNNING and other.ref[:2] == start.ref[:2]:
                self.fail(f"{start.ref} began while {other.ref} was still running")
        assert self.owners is not None
        self.owners.check_owned(start, "began")
        start.body = Body.RUNNING
        start.begun_at_s = self.time()
        self.note(f"{_name(start)} begins")
        script = start.script
        self.after(script.duration_s, lambda: self._finish(start, script.exit_code))
        if script.launcher_dies_s is not None:
            self.after(script.launcher_dies_s, lambda: self._lose(start))

    def _finish(self, start: Start, exit_code: int) -> None:
        """Let a command end by itself, or of TERM."""
        if start.body is not Body.RUNNING:
            return
        start.body = Body.ENDED
        if start.is_launcher_alive:
            start.exit_code = exit_code
            self.note(f"{_name(start)} exits {exit_code}")
            self._end_launcher(start)

    def _lose(self, start: Start) -> None:
        """Let a launcher be killed; its command goes on."""
        if start.body is Body.RUNNING and start.is_launcher_alive:
            self.note(f"{_name(start)}: its launcher is killed")
            self._end_launcher(start)

    def _end_launcher(self, start: Start) -> None:
        start.is_launcher_alive = False
        if self.watcher is not None:
            self.watcher.note_death(start)

    def terminate(self, start: Start) -> None:
        """Send TERM to a session."""
        if start.is_terminated or not start.is_alive:
            return
        start.is_terminated = True
        self.note(f"{_name(start)} gets TERM")
        script = start.script
        if start.body is Body.RUNNING:
            if script.stop_s is not None:
                self.after(script.stop_s, lambda: self._finish(start, script.stopped_code))
        elif start.claim is Claim.NONE and script.dies_early:
            self._end_launcher(start)

    def kill(self, start: Start) -> None:
        """End everything of a start."""
        if start.is_alive:
            self.note(f"{_name(start)} is killed")
        if start.body is Body.RUNNING:
            start.body = Body.ENDED
        if start.is_launcher_alive:
            self._end_launcher(start)

    def reboot(self) -> None:
        """End every process without a word, and begin another boot."""
        self.note("the machine is restarted")
        self.epoch += 1
        for start in self.starts.values():
            self.kill(start)

    def alive(self) -> list[Start]:
        """Return the starts of which a process is there."""
        return [start for start in self.starts.values() if start.is_alive]


def _name(start: Start) -> str:
    ref = start.ref
    return f"{ref.convoy_id}/{ref.item_id}#{ref.attempt} {ref.token[:6]}"
