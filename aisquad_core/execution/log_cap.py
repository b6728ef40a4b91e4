"""Keeps what running operations print below a size: head and tail stay, the middle goes.

An operation writes into its log itself, by a descriptor of its own that only appends, so the log is
cut from outside while it grows: a hole is punched into the middle (fallocate(2)), which gives its
blocks back and moves no byte of the rest. The file's length and all offsets stay as they are;
`output.read_range` shows a line in place of the hole. What is not plainly the log that the engine
made (a link, a second name, another owner) is reported and never touched. A `result` that is kept
apart is treated as a log.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from functools import cache
from typing import TYPE_CHECKING

from aisquad_core.execution.launcher import LOG, RESULT, start_folder
from aisquad_core.sanitise import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from aisquad_core.execution.runner import StartRef

SMALLEST_LIMIT_BYTES = 65_536
"""A limit below this counts as this: a head and a tail need some blocks each."""
MOST_LOGS = 200
"""Starts that one look covers; with more of them, the next look goes on with the rest."""

_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_BLOCK_BYTES = 512
"""The unit of `st_blocks`, whatever the file system."""
_KEEP_SIZE, _PUNCH_HOLE = 1, 2
_NOT_SUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS})


class LogCap:
    """Looks at the logs of running operations and cuts those that have grown too long.

    Args:
        runs_dir: Parent of the convoys' folders.
        limit_bytes: Most bytes that a log may hold on the disk; 0: no limit.
        punch: Frees a range of an open file; None: the kernel's own.
    """

    def __init__(
        self,
        runs_dir: Path,
        *,
        limit_bytes: int,
        punch: Callable[[int, int, int], None] | None = None,
    ) -> None:
        self._runs_dir = str(runs_dir)
        self._limit_bytes = max(limit_bytes, SMALLEST_LIMIT_BYTES) if limit_bytes else 0
        self._punch = punch or punch_hole
        self._is_supported = True
        self._next = 0
        self._running: dict[str, StartRef] = {}
        """The starts of the last look, by token: those that are gone ended since."""
        self._troubles: dict[str, str] = {}
        """By path, what is wrong with a log that still runs."""

    async def check(self, refs: Sequence[StartRef]) -> str | None:
        """Cut what has grown too long.

        Args:
            refs: Every start that runs now.

        Returns:
            None, or in words the first log that could not be kept below the limit.
        """
        running = {ref.token: ref for ref in refs}
        ended = [ref for token, ref in self._running.items() if token not in running]
        self._running = running
        if not self._limit_bytes or not (refs or ended):
            return None
        return await asyncio.to_thread(self._check, refs, ended[:MOST_LOGS])

    def _check(self, refs: Sequence[StartRef], ended: Sequence[StartRef]) -> str | None:
        for path in self._paths(ended):  # a last time: much may have come since the last look
            self._look_at(path)
        begin = self._next if self._next < len(refs) else 0
        self._next = begin + MOST_LOGS
        for path in self._paths(refs[begin : self._next]):
            trouble = self._look_at(path)
            if trouble is None:
                self._troubles.pop(path, None)
            else:
                self._troubles[path] = trouble
        if self._troubles:
            running = set(self._paths(refs))
            self._troubles = {p: what for p, what in self._troubles.items() if p in running}
        for path, trouble in self._troubles.items():
            others = len(self._troubles) - 1
            return one_line(f"{path}: {trouble}") + (f" (and {others} more)" if others else "")
        return None

    def _paths(self, refs: Sequence[StartRef]) -> list[str]:
        folders = [start_folder(self._runs_dir, ref) for ref in refs]
        return [f"{folder}/{name}" for folder in folders for name in (LOG, RESULT)]

    def _look_at(self, path: str) -> str | None:
        """Return what is wrong with a log, having cut it if it is too long."""
        try:
            status = os.lstat(path)
            if (strange := _find_strange(status)) or not self._is_too_long(status):
                return strange
            if not self._is_supported:
                return "it grows without a limit: this file system cannot free a file's middle"
            return self._cut(path)
        except FileNotFoundError:  # not begun yet, or its folder was deleted
            return None
        except OSError as error:
            if error.errno in _NOT_SUPPORTED:
                self._is_supported = False
                return self._look_at(path)
            return f"its size cannot be limited: {error.strerror}"

    def _cut(self, path: str) -> str | None:
        descriptor = os.open(path, _FLAGS)
        try:
            status = os.fstat(descriptor)  # of what is open now, whatever was there before
            if (strange := _find_strange(status)) or not self._is_too_long(status):
                return strange
            block = max(status.st_blksize, 4096)
            begin = max(self._limit_bytes // 4 // block, 1) * block
            end = (status.st_size - self._limit_bytes // 2) // block * block
            if end > begin:
                self._punch(descriptor, begin, end - begin)
        finally:
            os.close(descriptor)
        return None

    def _is_too_long(self, status: os.stat_result) -> bool:
        held_bytes = status.st_blocks * _BLOCK_BYTES
        return status.st_size > self._limit_bytes and held_bytes > self._limit_bytes


def _find_strange(status: os.stat_result) -> str | None:
    """Return why this is not the log that the engine made."""
    if stat.S_ISLNK(status.st_mode):
        return "it has become a link; its size is not limited"
    if not stat.S_ISREG(status.st_mode):
        return "it is no regular file any more; its size is not limited"
    if status.st_nlink > 1:
        return "it has a second name; its size is not limited"
    if status.st_uid != os.geteuid():
        return "it belongs to another user; its size is not limited"
    return None


def punch_hole(descriptor: int, offset: int, length: int) -> None:
    """Give the blocks of a range back; the file keeps its length, the range reads as zeros.

    Raises:
        OSError: EOPNOTSUPP where the file system cannot.
    """
    import ctypes  # noqa: PLC0415 - only an engine that cuts a log pays for it

    arguments = (
        ctypes.c_int(descriptor),
        ctypes.c_int(_PUNCH_HOLE | _KEEP_SIZE),
        ctypes.c_int64(offset),
        ctypes.c_int64(length),
    )
    while _fallocate()(*arguments) != 0:
        code = ctypes.get_errno()
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))


@cache
def _fallocate() -> Callable[..., int]:
    """Return the C library's fallocate with 64-bit offsets, which Python itself does not offer."""
    import ctypes  # noqa: PLC0415 - as above

    library = ctypes.CDLL(None, use_errno=True)
    # glibc calls it so on every machine; musl's one has 64-bit offsets under the plain name.
    found: Callable[..., int] = getattr(library, "fallocate64", None) or library.fallocate
    return found
