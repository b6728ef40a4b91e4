"""The Unix socket of a state folder: bound, reached, and who is at its other end.

The socket stands in the state folder, which is its owner's alone. The kernel takes at most 107
bytes of path, so both sides go through a descriptor of the folder (`/proc/self/fd/N/engine.sock`),
whatever its path is. Whether an engine runs is told by the folder's lock, never by this file.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from aisquad_core.errors import StateFolderError

if TYPE_CHECKING:
    from pathlib import Path

SOCKET_NAME = "engine.sock"
_BACKLOG = 64
_CREDENTIALS = struct.Struct("3i")
"""pid, uid, gid; see unix(7), SO_PEERCRED."""


def listen(state_dir: Path) -> socket.socket:
    """Bind the socket of a state folder that this process holds, and listen (blocking).

    What an earlier engine left is replaced: its lock is gone, so it is, too.

    Raises:
        StateFolderError: The folder is not the user's alone, or no socket can be made in it.
    """
    folder = _open(state_dir)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with suppress(FileNotFoundError):
            os.unlink(SOCKET_NAME, dir_fd=folder)
        before = os.umask(0o077)
        try:
            listener.bind(_through(folder))
        finally:
            os.umask(before)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise StateFolderError(state_dir, f"{SOCKET_NAME}: {error.strerror}") from error
    finally:
        os.close(folder)
    return listener


def connect(state_dir: Path) -> socket.socket:
    """Connect to the engine of a state folder (blocking, but not for long).

    Raises:
        ConnectionRefusedError, FileNotFoundError: Nobody listens.
        BlockingIOError: Somebody does, and has not taken those who came before for a long time.
        StateFolderError: The folder, or who listens there, is not the user's own.
    """
    folder = _open(state_dir)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)  # else a full backlog holds us up for ever
        connection.connect(_through(folder))
        if (uid := peer_uid(connection)) != os.geteuid():
            raise StateFolderError(state_dir, f"its engine belongs to user {uid}, not to you")
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(folder)
    return connection


def remove(state_dir: Path) -> None:
    """Take the socket away (blocking); only for the engine that holds the folder."""
    (state_dir / SOCKET_NAME).unlink(missing_ok=True)


def peer_uid(connection: socket.socket) -> int:
    """Return the user at the other end, as the kernel saw it when they connected."""
    return _credentials(connection)[1]


def peer_pid(connection: socket.socket) -> int:
    """Return the process that listens at the other end, as the kernel saw it then."""
    return _credentials(connection)[0]


def _credentials(connection: socket.socket) -> tuple[int, int]:
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return pid, uid


def _open(state_dir: Path) -> int:
    """Return a descriptor of a folder that is really one and the user's alone."""
    try:
        folder = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StateFolderError(state_dir, f"cannot be opened: {error.strerror}") from error
    status = os.fstat(folder)
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        os.close(folder)
        raise StateFolderError(state_dir, "it is not yours alone; no engine is talked to there")
    return folder


def _through(folder: int) -> str:
    return f"/proc/self/fd/{folder}/{SOCKET_NAME}"
