"""What a start left in its folder, read as if an enemy wrote it.

The operation has the engine's own uid and can do with these files what it likes: only small
regular files count, links are not followed, and nothing is opened that could block.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import re
import stat
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from aisquad_core.execution.launcher import CLAIM, EXIT, LOCK, TRANSIENT, claim_for_engine
from aisquad_core.execution.tree import ProcessId, is_carried, parse_stat, read_row, read_token

_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_CLAIM_LIMIT_BYTES = 4096
_EXIT_CODE = re.compile(rb"(\d{1,3})\n")
_ENGINE_CLAIM = re.compile(rb"engine \d{1,10}\n")
_LAUNCHER_CLAIM = re.compile(rb"launcher (\d{1,10})\n([^\n]+)\n")


class NotRegularError(OSError):
    """Something other than a regular file lies where one was expected."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is not a regular file")


def open_regular(path: str) -> int:
    """Open a file for reading, without following a link and without ever blocking.

    Raises:
        NotRegularError: It is no regular file.
        OSError: It cannot be opened.
    """
    descriptor = os.open(path, _READ_FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegularError(path)
    return descriptor


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitNote:
    """A complete `exit`."""

    exit_code: int
    written_at: datetime
    """By the file's stamp, which the operation can forge, but never in the future."""


def read_exit(folder: str) -> ExitNote | None:
    """Return how the command ended, None while nobody wrote that down completely.

    Raises:
        OSError: Cannot tell, for want of something.
    """
    try:
        descriptor = open_regular(f"{folder}/{EXIT}")
    except OSError as error:
        if error.errno in TRANSIENT:
            raise
        return None
    try:
        match = _EXIT_CODE.fullmatch(os.read(descriptor, 8))
        if match is None or int(match[1]) > 255:
            return None
        stamp_s = min(max(0.0, os.fstat(descriptor).st_mtime), time.time())
        return ExitNote(exit_code=int(match[1]), written_at=datetime.fromtimestamp(stamp_s, UTC))
    finally:
        os.close(descriptor)


def is_exit_unwritten(folder: str) -> bool:
    """Whether the launcher came to its last act and could not write: `exit` is there, empty."""
    try:
        descriptor = open_regular(f"{folder}/{EXIT}")
    except OSError:
        return False
    try:
        return os.fstat(descriptor).st_size == 0
    finally:
        os.close(descriptor)


class ClaimKind(StrEnum):
    """Who claimed a start."""

    ENGINE = "engine"
    LAUNCHER = "launcher"
    TORN = "torn"
    """Not written to its end: whoever made it had not come to the command yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a claim says."""

    kind: ClaimKind
    launcher: ProcessId | None = None


def read_claim(folder: str) -> Claim:
    """Return who claimed the start.

    Raises:
        OSError: Cannot tell.
    """
    descriptor = open_regular(f"{folder}/{CLAIM}")
    try:
        data = os.read(descriptor, _CLAIM_LIMIT_BYTES)
    finally:
        os.close(descriptor)
    if _ENGINE_CLAIM.fullmatch(data):
        return Claim(kind=ClaimKind.ENGINE)
    if match := _LAUNCHER_CLAIM.fullmatch(data):
        try:
            process = parse_stat(match[2]).id
        except ValueError:
            return Claim(kind=ClaimKind.TORN)
        if process.pid == int(match[1]):
            return Claim(kind=ClaimKind.LAUNCHER, launcher=process)
    return Claim(kind=ClaimKind.TORN)


def is_locked(folder: str) -> bool:
    """Whether somebody holds the start's lock.

    Raises:
        OSError: Cannot tell; `FileNotFoundError`: it was never started, or its lock was deleted.
    """
    descriptor = open_regular(f"{folder}/{LOCK}")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def find_locked(runs_dir: str) -> dict[str, str]:
    """Return the tokens of all starts whose lock is held, each with its folder."""
    found = {}
    for lock in glob.iglob(f"{glob.escape(runs_dir)}/*/*/*/{LOCK}"):
        folder = os.path.dirname(lock)
        with contextlib.suppress(OSError):  # just deleted, or no lock of ours
            if is_locked(folder):
                found[os.path.basename(folder).partition("-")[2]] = folder
    return found


def is_any_locked(convoy_folder: str) -> bool:
    """Whether the lock of any start of a convoy is held."""
    for lock in glob.iglob(f"{glob.escape(convoy_folder)}/*/*/{LOCK}"):
        with contextlib.suppress(OSError):  # just deleted, or no lock of ours
            if is_locked(os.path.dirname(lock)):
                return True
    return False


def has_ended(folder: str) -> bool:
    """Whether nothing more will be written by the start's command.

    Raises:
        OSError: Cannot tell.
    """
    if read_exit(folder) is not None:
        return True
    try:
        return not is_locked(folder)
    except FileNotFoundError:
        return not os.path.isdir(folder) or os.path.lexists(f"{folder}/{CLAIM}")


class Sight(StrEnum):
    """What the evidence says about a start."""

    NEVER_RAN = "never_ran"
    ENDED = "ended"
    RUNNING = "running"
    """Its launcher was found and lives."""
    HELD = "held"
    """Its lock is held, by a launcher that has not claimed yet or cannot be found."""
    DEAD = "dead"
    """Its launcher died and left no `exit`."""
    GONE = "gone"
    """Its folder was deleted."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A sight with what goes with it."""

    sight: Sight
    exit: ExitNote | None = None
    """For ENDED."""
    launcher: ProcessId | None = None
    """As its claim names it."""
    reason: str | None = None
    """For UNKNOWN, in words."""


def examine(folder: str, token: str, *, is_launcher_dead: bool = False) -> Evidence:
    """Contest a start: claim it, or find out what became of it.

    Args:
        folder: The start's folder.
        token: The start's token, which its launcher carries in its environment.
        is_launcher_dead: Its launcher is known to have ended: the lock decides nothing.
    """
    try:
        if claim_for_engine(folder):
            return Evidence(sight=Sight.NEVER_RAN)
        return _examine_claimed(folder, token, is_launcher_dead=is_launcher_dead)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not os.path.lexists(folder):
            return Evidence(sight=Sight.GONE)
        return Evidence(sight=Sight.UNKNOWN, reason=error.strerror or str(error))


def _examine_claimed(folder: str, token: str, *, is_launcher_dead: bool) -> Evidence:
    claim = read_claim(folder)
    if claim.kind is ClaimKind.ENGINE:
        return Evidence(sight=Sight.NEVER_RAN)
    note = read_exit(folder)
    if note is None and not is_launcher_dead:
        if claim.launcher is not None and is_launcher(claim.launcher, token):
            return Evidence(sight=Sight.RUNNING, launcher=claim.launcher)
        if _is_held(folder, token, claim):
            return Evidence(sight=Sight.HELD, launcher=claim.launcher)
    # It may have claimed, or written its last line, between the looks above and its end.
    claim = read_claim(folder)
    if note := note or read_exit(folder):
        return Evidence(sight=Sight.ENDED, exit=note, launcher=claim.launcher)
    is_torn = claim.kind is not ClaimKind.LAUNCHER
    return Evidence(sight=Sight.NEVER_RAN if is_torn else Sight.DEAD, launcher=claim.launcher)


def _is_held(folder: str, token: str, claim: Claim) -> bool:
    try:
        return is_locked(folder)
    except FileNotFoundError:
        # Never made, when the engine that wrote half a claim had not come to the fork; or somebody
        # deleted it. The launcher that claimed is not there; one that still writes has the token.
        return claim.launcher is None and is_carried(token)


def open_process(process: ProcessId) -> int | None:
    """Return a pidfd of exactly that process, a zombie too; None if it is gone."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    row = read_row(process.pid)
    if row is None or row.id != process:
        os.close(pidfd)
        return None
    return pidfd


def is_launcher(process: ProcessId, token: str) -> bool:
    """Whether that process lives, leads its session and carries the token."""
    row = read_row(process.pid)
    return (
        row is not None
        and row.id == process
        and row.session == process.pid
        and not row.is_dead
        and read_token(process.pid) == token.encode()
    )
