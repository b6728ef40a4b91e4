"""Which settings files the operator has said yes to: path and digest, outside any project.

A file is trusted as it was when it was shown; an edit, or a move, asks again. Whatever is wrong
with the list itself means that nothing is trusted. It says nothing of what a file may set.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aisquad_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FILE: Final = "trusted.json"
_LOCK: Final = "trusted.lock"
_VERSION: Final = 1
_LARGEST_BYTES: Final = 1_000_000
_MOST_FILES: Final = 1_000
"""Beyond, whoever was trusted first is asked for again."""


@dataclass(frozen=True, slots=True)
class TrustedFiles:
    """The list as it was read."""

    digests: Mapping[str, str] = field(default_factory=dict)
    """Real path of a file to the SHA-256 of its content, the oldest yes first."""
    problem: str | None = None
    """Why the list cannot be used, in a sentence; None: it can, or there is none yet."""

    def holds(self, path: Path, content: bytes) -> bool:
        """Tell whether the operator has said yes to this file with this content."""
        return self.digests.get(_key(path)) == digest(content)


def digest(content: bytes) -> str:
    """Return the SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


def read_trusted(environ: Mapping[str, str]) -> TrustedFiles:
    """Read the list; one that cannot be used trusts nothing and says why (blocking).

    Args:
        environ: Variables; say where the list is.
    """
    folder = _folder(environ)
    if folder is None:
        return TrustedFiles(problem=_NO_PLACE)
    path = folder / _FILE
    try:
        _check(folder, os.stat(folder))
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            _check(path, os.fstat(descriptor))
            content = file.read(_LARGEST_BYTES + 1)
        return TrustedFiles(_digests(content))
    except FileNotFoundError:
        return TrustedFiles()
    except OSError as error:
        return TrustedFiles(problem=f"{path} cannot be read: {error.strerror}")
    except ValueError as error:
        return TrustedFiles(problem=f"{path} cannot be used: {error}")


def trust(environ: Mapping[str, str], path: Path, content: bytes) -> None:
    """Remember the operator's yes to a file with this content (blocking).

    A list that cannot be used is written anew.

    Raises:
        InputError: There is no place for the list, or it cannot be written there.
    """
    folder = _folder(environ)
    if folder is None:
        raise InputError(_NO_PLACE)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check(folder, os.stat(folder))
        with _locked(folder):
            digests = dict(read_trusted(environ).digests)
            digests.pop(_key(path), None)
            digests[_key(path)] = digest(content)
            _write(folder, dict(list(digests.items())[-_MOST_FILES:]))
    except OSError as error:
        raise InputError(f"{folder / _FILE} cannot be written: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{folder / _FILE} cannot be written: {error}") from error


_NO_PLACE: Final = "set HOME or XDG_STATE_HOME: the list of trusted files is kept there"


def _folder(environ: Mapping[str, str]) -> Path | None:
    state = environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):  # the XDG specification ignores a relative one
        state = os.path.join(environ.get("HOME", ""), ".local", "state")
    return Path(state, "aisquad") if os.path.isabs(state) else None


def _key(path: Path) -> str:
    return os.path.realpath(path)


def _check(path: Path, status: os.stat_result) -> None:
    """Refuse what others could have written.

    Raises:
        ValueError: It is not the user's own, or others may write to it.
    """
    if status.st_uid != os.geteuid():
        raise ValueError(f"{path} belongs to user {status.st_uid}, not to you ({os.geteuid()})")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ValueError(f"others may write to {path}; `chmod go-w` ends that")
    if not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
        raise ValueError(f"{path} is no ordinary file")


def _digests(content: bytes) -> dict[str, str]:
    if len(content) > _LARGEST_BYTES:
        raise ValueError("it is too large")
    try:
        shape = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError("it is not JSON") from error
    files = shape.get("files") if isinstance(shape, dict) else None
    if not isinstance(files, dict) or shape.get("version") != _VERSION:
        raise ValueError("it is not a list of trusted files that this aisquad knows")
    return {path: known for path, known in files.items() if isinstance(known, str)}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time change the list."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(folder / _LOCK, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(folder: Path, digests: Mapping[str, str]) -> None:
    """Put the list in place as a whole, readable by the user alone."""
    text = json.dumps({"version": _VERSION, "files": digests}, indent=1)
    descriptor, name = tempfile.mkstemp(prefix=f".{_FILE}-", dir=folder)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(descriptor)
        os.replace(name, folder / _FILE)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
