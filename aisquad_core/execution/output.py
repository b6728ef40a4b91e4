"""Reading what operations wrote: ranges of a log, and the newest line of many."""

from __future__ import annotations

import os
import re

from aisquad_core.api import LogChunk
from aisquad_core.errors import RunnerError
from aisquad_core.execution.evidence import NotRegularError, open_regular
from aisquad_core.execution.launcher import runner_error
from aisquad_core.sanitise import one_line

MAX_RANGE_BYTES = 4 * 1024 * 1024
"""Most bytes of a log that one call returns."""
_TAIL_BYTES = 4096
_LINE_ENDS = re.compile(rb"[\r\n]")


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
        size = os.fstat(descriptor).st_size
        begin = max(0, size + offset) if offset < 0 else offset
        data = os.pread(descriptor, max(0, min(length, MAX_RANGE_BYTES)), begin)
    except OSError as error:
        raise runner_error("cannot read the log", error) from error
    finally:
        os.close(descriptor)
    return LogChunk(data=data, offset=begin, size=size, is_final=is_final)


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
