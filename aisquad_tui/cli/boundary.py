"""The edge of a command: one loop, errors as sentences, an exit status.

Nothing below raises `typer.Exit`; nothing above catches an `AISquadError`.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import os
import stat
import sys
from enum import IntEnum
from typing import TYPE_CHECKING, NoReturn

from aisquad_core.errors import (
    AISquadError,
    BackpressureError,
    EngineRunningError,
    EngineStoppedError,
    InputError,
    NoEngineError,
    NotFoundError,
    SettingsError,
    SpecError,
    StorageError,
)
from aisquad_core.sanitise import one_line, sanitise

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable


class Status(IntEnum):
    """Exit statuses."""

    OK = 0
    """All completed."""
    FAILED = 1
    """Some operations failed, or the command itself did."""
    BAD_INPUT = 2
    NO_ENGINE = 3
    """A command that changes something cannot have the engine."""
    NOT_FOUND = 4
    TIMED_OUT = 124
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    """Whoever read the output has enough, as after SIGPIPE."""


_STATUSES: tuple[tuple[type[Exception], Status], ...] = (
    (InputError, Status.BAD_INPUT),
    (NotFoundError, Status.NOT_FOUND),
    (NoEngineError, Status.NO_ENGINE),
    (EngineRunningError, Status.NO_ENGINE),
    (EngineStoppedError, Status.NO_ENGINE),
    (TimeoutError, Status.TIMED_OUT),
)
_HINTS: tuple[tuple[type[Exception], str], ...] = (
    (SpecError, "nothing was started; `aisquad run --dry-run FILE` checks a file"),
    (SettingsError, "`aisquad config --help` names the places where settings come from"),
    (NotFoundError, "`aisquad ls` lists the convoys, `aisquad items` their work"),
    (BackpressureError, "nothing was launched; `aisquad launch --wait-for-room` waits instead"),
    (StorageError, "free some space or repair the disk, then repeat the command"),
)


def conclude(verb: Callable[[], int | Coroutine[object, object, int]]) -> NoReturn:
    """Run a verb and end the command.

    Raises:
        typer.Exit: Always; with the status of `carry_out`.
    """
    import typer  # noqa: PLC0415  # the screen starts without it

    raise typer.Exit(carry_out(verb))


def carry_out(verb: Callable[[], int | Coroutine[object, object, int]]) -> int:
    """Run a verb, on a loop of its own if it is asynchronous.

    Returns:
        The verb's status, or that of the error which it raised.
    """
    try:
        outcome = verb()
        status = asyncio.run(outcome) if inspect.iscoroutine(outcome) else outcome
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    except (AISquadError, OSError, ExceptionGroup) as error:
        status = _report(leaf(error))
    return int(status) if isinstance(status, int) else Status.FAILED


def _report(error: Exception) -> Status:
    """Say what went wrong and what to do next; a bug is raised again."""
    if isinstance(error, OSError) and error.errno in {errno.EPIPE, errno.EIO}:
        _silence()
        return Status.BROKEN_PIPE
    if not isinstance(error, AISquadError | OSError):
        raise error
    for line in _message(error).splitlines() or [type(error).__name__]:
        print(f"error: {line}", file=sys.stderr)
    hint = next((hint for kind, hint in _HINTS if isinstance(error, kind)), None)
    if hint is not None:
        print(hint, file=sys.stderr)
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), Status.FAILED)


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        name = "" if error.filename is None else f"{one_line(os.fsdecode(error.filename))}: "
        return f"{name}{error.strerror}"
    return sanitise(str(error))


def leaf(error: Exception) -> Exception:
    """Return what a task group wrapped; the first, when several tasks failed at once."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def silence_terminals() -> None:
    """Let what is written to a terminal that is gone go nowhere; files and pipes stay."""
    _redirect([fd for fd in (1, 2) if stat.S_ISCHR(os.fstat(fd).st_mode)])


def _silence() -> None:
    """Let nothing more be written to streams whose other end is gone."""
    broken = []
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            broken.append(stream.fileno())
    _redirect(broken)


def _redirect(descriptors: Iterable[int]) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(null, descriptor)
    os.close(null)
