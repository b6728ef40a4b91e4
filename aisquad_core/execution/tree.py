"""Finding and signalling the whole process tree of a start.

One scan of /proc serves every tree that is being ended at that moment. A tree without a cgroup of
its own cannot be ended with certainty: one that empties its environment and leaves the session, or
forks and dies faster than a sweep, escapes. A start that has a cgroup is to be ended in
`kill_members`, by `cgroup.kill` in place of the sweeps.
"""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


TOKEN_VARIABLE = "AISQUAD_TOKEN"
"""The environment variable that carries a start's token."""

MAX_FREEZE_SWEEPS = 200
"""Sweeps in one go before a tree that still grows is killed as far as it is known."""

_ENVIRON_LIMIT_BYTES = 4 * 1024 * 1024
_CHUNK_BYTES = 65_536
_KTHREADD = 2
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class ProcessId(NamedTuple):
    """Names one process for ever: its number alone is used again."""

    pid: int
    start_ticks: int
    """When it began, in clock ticks since the machine booted."""

    def age_s(self) -> float:
        """Return how many seconds ago it began."""
        now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        return max(0.0, now_s - self.start_ticks / _TICKS_PER_S)


class ProcessRow(NamedTuple):
    """What one line of /proc/PID/stat tells."""

    id: ProcessId
    parent: int
    session: int
    is_dead: bool
    """A zombie: it holds its number, and does nothing more."""


def parse_stat(stat: bytes) -> ProcessRow:
    """Read the line of /proc/PID/stat.

    Raises:
        ValueError: It is none.
    """
    head, separator, tail = stat.rpartition(b")")
    fields = tail.split()
    if not separator or len(fields) < 20:
        raise ValueError("not a line of /proc/PID/stat")
    pid = int(head.split(b" ", 1)[0])
    return ProcessRow(
        ProcessId(pid, int(fields[19])), int(fields[1]), int(fields[3]), fields[0] in b"ZXx"
    )


def read_row(pid: int) -> ProcessRow | None:
    """Return the process of that number, None if there is none."""
    try:
        return parse_stat(_read_proc(f"/proc/{pid}/stat", 4096))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


class ProcessLoad(NamedTuple):
    """What a process has used of the processors, and holds of the memory."""

    ticks: int
    pages: int


def read_load(process: ProcessId) -> ProcessLoad | None:
    """Return the load of exactly that process, None if it is gone."""
    try:
        stat = _read_proc(f"/proc/{process.pid}/stat", 4096)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    if parse_stat(stat).id != process:
        return None
    fields = stat.rpartition(b")")[2].split()
    return ProcessLoad(int(fields[11]) + int(fields[12]), int(fields[21]))


def read_token(pid: int) -> bytes:
    """Return the token in the environment of a process; empty: it has none, or hides it."""
    try:
        environ = _read_proc(f"/proc/{pid}/environ", _ENVIRON_LIMIT_BYTES)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
    _, _, rest = (b"\0" + environ).partition(f"\0{TOKEN_VARIABLE}=".encode())
    return rest.partition(b"\0")[0]


def is_carried(token: str) -> bool:
    """Whether any process has that token in its environment."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return any(read_token(pid) == token.encode() for pid in pids)


def _read_proc(path: str, limit_bytes: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        data = chunk = os.read(descriptor, _CHUNK_BYTES)
        while len(chunk) == _CHUNK_BYTES and len(data) < limit_bytes:
            chunk = os.read(descriptor, _CHUNK_BYTES)
            data += chunk
        return data
    finally:
        os.close(descriptor)


def send_signal(process: ProcessId, number: int) -> bool:
    """Signal exactly that process; False if it may not be signalled.

    Raises:
        OSError: No descriptor is left for it.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        row = read_row(process.pid)
        if row is not None and row.id == process:
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    finally:
        os.close(descriptor)
    return True


@dataclass(slots=True, kw_only=True, eq=False)
class Tree:
    """What is known of the processes of one start while it is being ended."""

    token: str
    launcher: ProcessId | None
    """Leader of its session; None when nobody knows it."""
    is_launcher_certain: bool = True
    """False when only the claim says so, which the operation can forge."""
    seen: set[ProcessId] = field(default_factory=set)
    """Members found so far; they stay members when their parents die."""
    stopped: set[ProcessId] = field(default_factory=set)
    untouchable: set[ProcessId] = field(default_factory=set)
    """Members that this user may not signal."""

    @property
    def session(self) -> int:
        """The number of its session; -1, which no process has, when nobody knows it."""
        return -1 if self.launcher is None else self.launcher.pid


class Scan:
    """One look at all processes of the machine, apart from this one."""

    def __init__(self) -> None:
        self._rows: dict[int, ProcessRow] = {}
        self._children: defaultdict[int, list[ProcessRow]] = defaultdict(list)
        self._sessions: defaultdict[int, list[ProcessRow]] = defaultdict(list)
        self._marked: defaultdict[bytes, list[ProcessRow]] = defaultdict(list)
        engine = os.getpid()
        for name in os.listdir("/proc"):
            row = read_row(int(name)) if name.isdigit() else None
            if row is None or row.id.pid == engine or _KTHREADD in (row.id.pid, row.parent):
                continue
            self._rows[row.id.pid] = row
            self._children[row.parent].append(row)
            self._sessions[row.session].append(row)
            if not row.is_dead and (token := read_token(row.id.pid)):
                self._marked[token].append(row)

    def members(self, tree: Tree) -> set[ProcessId]:
        """Return the living members of a tree, and remember them in it.

        They are its session, the descendants of its launcher and of earlier members, and whoever
        carries its token.
        """
        found = [row for p in tree.seen if (row := self._rows.get(p.pid)) and row.id == p]
        found += self._marked.get(tree.token.encode(), ())
        if self._owns_session(tree, found):
            found += self._sessions.get(tree.session, ())
        members: set[ProcessId] = set()
        while found:
            row = found.pop()
            if row.id not in members:
                members.add(row.id)
                found += [
                    child
                    for child in self._children.get(row.id.pid, ())
                    if child.id.start_ticks >= row.id.start_ticks
                ]
        tree.seen |= members
        return {p for p in members - tree.untouchable if not self._rows[p.pid].is_dead}

    def session(self, process: ProcessId) -> int:
        """Return the session of a process that was found."""
        return self._rows[process.pid].session

    def _owns_session(self, tree: Tree, known: list[ProcessRow]) -> bool:
        """Whether the session of the launcher's number is the tree's, not a stranger's."""
        if tree.launcher is None:
            return False
        leader = self._rows.get(tree.launcher.pid)
        if leader is not None and (tree.is_launcher_certain or leader.id != tree.launcher):
            return leader.id == tree.launcher
        return any(row.session == tree.launcher.pid for row in known)


def count_members(trees: Sequence[Tree]) -> list[int]:
    """Return how many members of each tree live."""
    scan = Scan()
    return [len(scan.members(tree)) for tree in trees]


def terminate_sessions(trees: Sequence[Tree]) -> list[int]:
    """Send TERM to each tree's session, and to whoever else is known of a tree without one.

    Parents first: a shell that saw its command end before its own TERM would begin the next one.
    """
    scan = Scan()
    counts = []
    for tree in trees:
        members = scan.members(tree)
        session = {p for p in members if scan.session(p) == tree.session} or members
        oldest_first = sorted(session, key=lambda process: (process.start_ticks, process.pid))
        _signal_all(tree, oldest_first, signal.SIGTERM)
        counts.append(len(session))
    return counts


def kill_members(trees: Sequence[Tree]) -> list[int]:
    """Stop every member of each tree until a sweep finds none new, then kill them all.

    Returns:
        How many members each tree had.
    """
    members: list[set[ProcessId]] = [set() for _ in trees]
    for _ in range(MAX_FREEZE_SWEEPS):
        scan = Scan()
        fresh = 0
        for index, tree in enumerate(trees):
            members[index] = scan.members(tree)
            new = members[index] - tree.stopped
            _signal_all(tree, new, signal.SIGSTOP)
            tree.stopped |= new
            fresh += len(new)
        if not fresh:
            break
    for tree, living in zip(trees, members, strict=True):
        launcher = {tree.launcher} & living
        _signal_all(tree, living - launcher, signal.SIGKILL)
        _signal_all(tree, living & launcher, signal.SIGKILL)
    return [len(living) for living in members]


def _signal_all(tree: Tree, processes: Iterable[ProcessId], number: int) -> None:
    for process in processes:
        if not send_signal(process, number):
            tree.untouchable.add(process)
