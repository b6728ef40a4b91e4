"""Writes a log to a file as it is, whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import tempfile
from typing import TYPE_CHECKING

from aisquad_core.errors import InputError

if TYPE_CHECKING:
    from aisquad_tui.log_reader import LogReader

_CHUNK_BYTES = 1 << 20
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


class FileThereError(InputError):
    """There is a file already, which nobody allowed to replace.

    Args:
        path: Where.
    """

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is there already")
        self.path = path


def default_name(reader: LogReader) -> str:
    """Return a file's name for a log: its item, and the attempt if it is not the first."""
    name = _UNSAFE.sub("-", reader.key.item_id).strip("-.")[:80] or "log"
    attempt = f"-try{reader.attempt}" if reader.attempt > 1 else ""
    return f"{name}{attempt}.{'log' if reader.stream == 'log' else 'result'}"


async def save(reader: LogReader, path: str, *, is_replacing: bool = False) -> int:
    """Write the whole log to a file; return how many bytes it has.

    Args:
        reader: The log.
        path: Absolute.
        is_replacing: Whether a file that is there may be replaced.

    Raises:
        FileThereError: There is one.
        InputError: The file cannot be written.
        AISquadError: The log cannot be read.
    """
    part: str | None = None
    try:
        part = await asyncio.to_thread(_begin, path, is_replacing=is_replacing)
        size = await _copy(reader, part)
        await asyncio.to_thread(_finish, part, path, is_replacing=is_replacing)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    else:
        part = None
        return size
    finally:
        if part is not None:
            _discard(part)


async def _copy(reader: LogReader, part: str) -> int:
    offset = 0
    while data := await reader.read(offset, _CHUNK_BYTES):
        await asyncio.to_thread(_append, part, data)
        offset += len(data)
    return offset


def _begin(path: str, *, is_replacing: bool) -> str:
    if not is_replacing and os.path.lexists(path):
        raise FileThereError(path)
    if os.path.isdir(path):
        raise IsADirectoryError(21, "it is a folder")
    folder, name = os.path.split(path)
    descriptor, part = tempfile.mkstemp(prefix=f".{name[:40]}.", suffix=".part", dir=folder)
    os.close(descriptor)
    return part


def _append(part: str, data: bytes) -> None:
    with open(part, "ab") as file:
        file.write(data)


def _finish(part: str, path: str, *, is_replacing: bool) -> None:
    if not is_replacing:
        try:  # a file that came in the meantime is not replaced
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError as error:
            raise FileThereError(path) from error
    os.replace(part, path)


def _discard(part: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(part)
