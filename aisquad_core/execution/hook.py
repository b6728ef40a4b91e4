"""A command of the operator's own that the engine runs: bounded in time and in what it says.

It is no operation: nothing of it is durable and nothing is retried. Blocking, for a thread.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from aisquad_core.execution.outcome import describe_exit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

KEPT_BYTES = 4_096
"""The end of its output, which says why it failed."""
_PIPE_BYTES = 65_536
"""What a pipe holds."""
_TERM_S = 1.0
"""Seconds between asking it to end and killing it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookEnd:
    """What became of it."""

    problem: str | None
    """What went wrong, in words; None: it ended with 0."""
    output: str = ""
    """The end of what it wrote, as it wrote it."""


class Hook:
    """One run of a command, in a session of its own and without the engine's descriptors.

    Args:
        command: Program and arguments; a program with a slash is sought in `cwd`, else in PATH.
        env: Its whole environment.
        cwd: Where it runs.
        timeout_s: Seconds after which its process group is ended.
    """

    def __init__(
        self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout_s: float
    ) -> None:
        self._command = command
        self._env = env
        self._cwd = cwd
        self._timeout_s = timeout_s
        self._tail = b""

    def __enter__(self) -> Self:
        """Make ready to be cut short from another thread.

        Raises:
            OSError: For want of descriptors.
        """
        self._cut = os.eventfd(0, os.EFD_CLOEXEC)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Let go of it, when `run` has returned."""
        os.close(self._cut)

    def cut(self) -> None:
        """Let it be ended now, as if its time were over; from any thread."""
        os.eventfd_write(self._cut, 1)

    def run(self) -> HookEnd:
        """Run it to its end (blocking)."""
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self._cwd,
                env=self._env,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            return HookEnd(problem=f"cannot be started: {why}")
        if process.stdout is None:
            raise AssertionError("a pipe was asked for")
        with process.stdout as output:
            try:
                pidfd = os.pidfd_open(process.pid)
            except OSError as error:  # for want of descriptors: unwatched, it would be unbounded
                process.kill()
                process.wait()
                return HookEnd(problem=f"cannot be watched: {error.strerror}")
            try:
                problem = self._watch(process.pid, pidfd, output.fileno())
            finally:
                os.close(pidfd)
                code = process.wait()
        if problem is None and code:
            problem = describe_exit(code if code > 0 else 128 - code)
        return HookEnd(problem=problem, output=self._tail.decode(errors="replace"))

    def _watch(self, pid: int, pidfd: int, output: int) -> str | None:
        """Follow it until it has ended; return why it was ended, None if it did so by itself.

        What it left in the background is left alone, but no longer heard.
        """
        poll = select.poll()
        for descriptor in (pidfd, output, self._cut):
            poll.register(descriptor, select.POLLIN)
        problem: str | None = None
        due_s = time.monotonic() + self._timeout_s
        while True:
            wait_s = max(0.0, due_s - time.monotonic())
            ready = {descriptor for descriptor, _ in poll.poll(wait_s * 1_000)}
            if output in ready and not self._read(output):
                poll.unregister(output)
            if pidfd in ready:
                os.set_blocking(output, False)
                with suppress(BlockingIOError):
                    self._read(output)
                if problem is not None:
                    _signal(pid, signal.SIGKILL)
                return problem
            if self._cut in ready or time.monotonic() >= due_s:
                _signal(pid, signal.SIGTERM if problem is None else signal.SIGKILL)
                if self._cut in ready:
                    poll.unregister(self._cut)
                    problem = problem or "was ended with the engine"
                problem = problem or f"was ended: it took longer than {self._timeout_s:g} s"
                due_s = time.monotonic() + _TERM_S

    def _read(self, output: int) -> bool:
        """Keep the end of what it has written; False if nothing more will come."""
        data = os.read(output, _PIPE_BYTES)
        self._tail = (self._tail + data)[-KEPT_BYTES:]
        return bool(data)


def _signal(group: int, number: signal.Signals) -> None:
    """Signal a process group whose leader has not been reaped, so that its number is its own."""
    with suppress(ProcessLookupError):
        os.killpg(group, number)
