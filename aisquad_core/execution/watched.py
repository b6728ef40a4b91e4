"""One start that a runner watches, and the exits made of what became of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import select
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aisquad_core.execution import launcher
from aisquad_core.execution.evidence import (
    Evidence,
    Sight,
    is_exit_unwritten,
    open_process,
    read_exit,
)
from aisquad_core.execution.output import read_last_line
from aisquad_core.execution.runner import Exit
from aisquad_core.execution.tree import ProcessId, Tree, read_row

if TYPE_CHECKING:
    from datetime import datetime

    from aisquad_core.execution.ending import Ending
    from aisquad_core.execution.runner import StartRef, StartRequest

_NOT_BEGUN = "it was ended before its command began"
_KILLED = 128 + 9
_CANNOT_RUN = frozenset({126, 127})
"""Exit codes after which the log's last line says why the command could not run."""
_LAUNCHERS_PLACE = re.compile(r"aisquad: (?:(?:line )?\d+: )?(?:exec: )?")
"""Where in the launcher's text that was, before the reason."""


@dataclass(slots=True, kw_only=True, eq=False)
class Start:
    """A start whose launcher is being watched."""

    ref: StartRef
    folder: str
    is_child: bool
    """The launcher is this process's child, and stays a zombie until it is released."""
    launcher: ProcessId | None = None
    """For one that was adopted, once its launcher is found."""
    claimed: ProcessId | None = None
    """For one that was adopted: whom its claim names, alive or not."""
    pid: int | None = None
    pidfd: int | None = None
    is_dead: bool = False
    """The launcher has ended."""
    ending: Ending | None = None
    spawned: asyncio.Event = field(default_factory=asyncio.Event)
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    """Nothing more happens: its end is known, or nobody watches it any more."""

    def release(self) -> None:
        """Reap the launcher if it is a dead child of this process, and close its descriptor."""
        pidfd, self.pidfd = self.pidfd, None
        if pidfd is not None:
            _reap(os.P_PIDFD, pidfd)
            os.close(pidfd)
        elif self.is_child and self.pid is not None:
            _reap(os.P_PID, self.pid)

    def tree(self) -> Tree:
        """Return what is known of its processes."""
        process = self.launcher
        if self.is_child and self.pid is not None and (row := read_row(self.pid)) is not None:
            process = row.id
        if process is None:
            return Tree(token=self.ref.token, launcher=self.claimed, is_launcher_certain=False)
        return Tree(token=self.ref.token, launcher=process)

    def exit_code(self) -> int | None:
        """Return how the command of the dead launcher ended, None if nobody said."""
        if note := read_exit(self.folder):
            return note.exit_code
        if self.is_child and self.pidfd is not None and is_exit_unwritten(self.folder):
            # No space was left for `exit`; the launcher ends with the command's status.
            ended = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is not None and ended.si_code == os.CLD_EXITED:
                return ended.si_status
        return None


class DeathWatch:
    """Tells which launchers ended, behind one descriptor however many there are.

    Starts are added on the thread that makes them; everything else happens on the loop.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._starts: dict[int, Start] = {}

    def fileno(self) -> int:
        """Return a descriptor that is readable while there is something to take."""
        return self._epoll.fileno()

    def add(self, start: Start, pidfd: int) -> None:
        """Watch a launcher.

        Raises:
            OSError: For want of something; the pidfd is closed then.
        """
        start.pidfd = pidfd
        self._starts[pidfd] = start
        try:
            self._epoll.register(pidfd, select.EPOLLIN | select.EPOLLONESHOT)
        except OSError:
            del self._starts[pidfd]
            start.pidfd = None
            os.close(pidfd)
            raise

    def take(self) -> list[Start]:
        """Return the starts whose launchers ended, each once."""
        return [self._starts.pop(pidfd) for pidfd, _ in self._epoll.poll(0)]

    def discard(self, start: Start) -> None:
        """Watch a launcher no more."""
        if start.pidfd is not None and self._starts.pop(start.pidfd, None) is not None:
            self._epoll.unregister(start.pidfd)

    def close(self) -> None:
        """Watch nothing more."""
        self._starts.clear()
        self._epoll.close()


def spawn_watched(
    start: Start,
    request: StartRequest,
    deaths: DeathWatch,
    *,
    shell: str,
    inherited: tuple[int, ...],
) -> None:
    """Start the launcher and watch it; for want of descriptors it is not watched yet.

    Raises:
        RunnerError: Nothing was started, and the start is claimed so that it never will be.
    """
    start.pid = launcher.spawn(start.folder, request, shell=shell, inherited=inherited)
    watch_child(start, deaths)


def watch_child(start: Start, deaths: DeathWatch) -> None:
    """Watch a launcher that is a child of this process, unless descriptors are wanting."""
    assert start.pid is not None
    with contextlib.suppress(OSError):  # it runs, so this must not fail: it is tried again
        deaths.add(start, os.pidfd_open(start.pid))


def try_open(process: ProcessId) -> int | None:
    """Return a pidfd of exactly that process; None if it is gone, or for want of descriptors."""
    try:
        return open_process(process)
    except OSError:
        return None


def settle_dead(batch: list[Start]) -> list[tuple[Start, Exit | None]]:
    """Return the ends of dead launchers, None where nobody wrote it down; release the others."""
    settled: list[tuple[Start, Exit | None]] = []
    for start in batch:
        try:
            code = start.exit_code()
        except OSError:  # cannot tell now, and is looked into again
            code = None
        end = None if code is None else _exit(start.ref.token, start.folder, code)
        if end is not None:
            start.release()
        settled.append((start, end))
    return settled


def settle_left(token: str, folder: str, found: Evidence) -> Exit:
    """Return the end that an earlier engine's start wrote down.

    Its launcher is reaped where that engine was in this same process.
    """
    assert found.exit is not None
    if found.launcher is not None and (pidfd := try_open(found.launcher)) is not None:
        _reap(os.P_PIDFD, pidfd)
        os.close(pidfd)
    return _exit(token, folder, found.exit.exit_code, found.exit.written_at)


def exit_of(token: str, folder: str, found: Evidence) -> Exit | None:
    """Return the end of a start whose launcher is dead; None if nobody wrote it down."""
    if found.exit is not None:
        return _exit(token, folder, found.exit.exit_code)
    if found.sight is Sight.NEVER_RAN:
        line = read_last_line(f"{folder}/{launcher.LOG}")
        error = f"its command could not begin: {line}" if line else _NOT_BEGUN
        return Exit(token=token, exit_code=None, did_run=False, error=error)
    return None


def lost_exit(token: str, reason: str) -> Exit:
    """Return the end of a start that died unseen."""
    return Exit(token=token, exit_code=None, error=reason)


def lost_reason(found: Evidence, left: int) -> str:
    """Say why a start is lost, and how many of its processes would not die."""
    why = (
        "the folder of its start was deleted while it ran"
        if found.sight is Sight.GONE
        else "its launcher was killed before it could write down how the command ended"
    )
    return why + _left_over(left)


def killed_exit(token: str, left: int) -> Exit:
    """Return the end of a start that had to be killed."""
    error = "it did not end within its grace and was killed" + _left_over(left)
    return Exit(token=token, exit_code=_KILLED, error=error)


def _left_over(count: int) -> str:
    return f"; {count} of its processes could not be ended" if count else ""


def _exit(token: str, folder: str, code: int, finished_at: datetime | None = None) -> Exit:
    said = read_last_line(f"{folder}/{launcher.LOG}") if code in _CANNOT_RUN else ""
    place = _LAUNCHERS_PLACE.match(said)
    error = said[place.end() :] if place else said
    return Exit(token=token, exit_code=code, error=error or None, finished_at=finished_at)


def _reap(kind: int, number: int) -> None:
    # Not our child: an adopted one, or whoever embeds the engine reaps every child.
    with contextlib.suppress(ChildProcessError):
        os.waitid(kind, number, os.WEXITED | os.WNOHANG)
