"""Reading what operations wrote: ranges of a log, and the newest line of many.

The middle of a log that grew too long is a hole in the file (see `log_cap`). Nobody is shown its
zeros: one line stands in its place, at the last bytes of the hole, so that what follows is where
it always was. A range ends where a hole begins; one that begins within a hole begins with that
line, further on than was asked. A reader that goes on at `offset + len(data)` of what it got sees
head, line and tail, each once.
"""

from __future__ import annotations

import errno
import os
import re
from typing import NamedTuple

from aisquad_core.api import LogChunk
from aisquad_core.errors import RunnerError
from aisquad_core.execution.evidence import NotRegularError, open_regular
from aisquad_core.execution.launcher import runner_error
from aisquad_core.sanitise import one_line

MAX_RANGE_BYTES = 4 * 1024 * 1024
"""Most bytes of a log that one call returns."""
_TAIL_BYTES = 4096
_LINE_ENDS = re.compile(rb"[\r\n]")
_SMALLEST_HOLE_BYTES = 4096
"""Smaller ones are zeros that somebody wrote, or a file's own affair."""
_MOST_HOLES = 16
"""Holes that are looked for in one file; the engine makes one."""


class Hole(NamedTuple):
    """A range of a file that is not there."""

    begin: int
    end: int

    @property
    def line(self) -> bytes:
        """What is shown in its place."""
        return f"\n… {self.end - self.begin:,} bytes were left out here …\n".encode()


def read_range(path: str, *, offset: int, length: int, is_final: bool) -> LogChunk:
    """Return a range of a file; one that is not there is empty.

    Args:
        path: The file.
        offset: First byte; negative: counted from the end.
        length: Bytes at most.
        is_final: What the chunk is to say.

    Raises:
        RunnerError: It is no regular file, or cannot be read.
    """
    try:
        descriptor = open_regular(path)
    except FileNotFoundError:
        return LogChunk(data=b"", offset=0, size=0, is_final=is_final)
    except NotRegularError as error:
        raise RunnerError(str(error), is_transient=False) from error
    except OSError as error:
        raise runner_error("cannot read the log", error) from error
    try:
        status = os.fstat(descriptor)
        size = status.st_size
        begin = max(0, size + offset) if offset < 0 else offset
        wanted = max(0, min(length, MAX_RANGE_BYTES))
        holes = find_holes(descriptor, size) if status.st_blocks * 512 < size else []
        begin, data = _read(descriptor, begin, wanted, holes)
    except OSError as error:
        raise runner_error("cannot read the log", error) from error
    finally:
        os.close(descriptor)
    return LogChunk(data=data, offset=begin, size=size, is_final=is_final)


def find_holes(descriptor: int, size: int) -> list[Hole]:
    """Return the holes of an open file, in order; none where the file system does not tell.

    Args:
        descriptor: The file.
        size: Where to stop looking.
    """
    holes: list[Hole] = []
    end = 0
    try:
        while len(holes) < _MOST_HOLES:
            begin = os.lseek(descriptor, end, os.SEEK_HOLE)
            if begin >= size:
                break
            try:
                end = min(os.lseek(descriptor, begin, os.SEEK_DATA), size)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                end = size  # nothing but the hole up to the end
            holes.append(Hole(begin, end))
            if end >= size:
                break
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENXIO):  # it cannot tell; it was cut short
            raise
    return [hole for hole in holes if hole.end - hole.begin >= _SMALLEST_HOLE_BYTES]


def _read(descriptor: int, begin: int, length: int, holes: list[Hole]) -> tuple[int, bytes]:
    """Return where the data of a range begins, and the data, with lines in place of holes."""
    for hole in holes:
        if begin < hole.begin:
            return begin, os.pread(descriptor, min(length, hole.begin - begin), begin)
        if begin < hole.end:
            start = max(begin, hole.end - len(hole.line))
            return start, hole.line[len(hole.line) - (hole.end - start) :][:length]
    return begin, os.pread(descriptor, length, begin)


def read_last_line(path: str) -> str:
    """Return the newest line of a log that is not empty, sanitised; empty if there is none."""
    try:
        chunk = read_range(path, offset=-_TAIL_BYTES, length=_TAIL_BYTES, is_final=False)
    except RunnerError:
        return ""
    for line in reversed(_LINE_ENDS.split(chunk.data)):
        if text := one_line(line.decode("utf-8", "replace")):
            return text
    return ""
