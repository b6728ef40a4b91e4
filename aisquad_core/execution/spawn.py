"""posix_spawn(3) without the interpreter's lock.

`os.posix_spawn` holds the lock until the child has replaced its image; on a busy machine that takes
milliseconds in which nothing else of the engine runs (measured, 20 children on two cores:
stalls of 90 to 180 ms, and a quarter fewer starts a second). A call through `ctypes` gives it up.
The constants are those of glibc and musl, which agree.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_SETSIGDEF, _SETSIGMASK, _SETSID = 0x04, 0x08, 0x80
_OPAQUE_BYTES = 1024
"""More than any libc's posix_spawnattr_t, posix_spawn_file_actions_t and sigset_t take."""

_libc = ctypes.PyDLL(None)
"""For calls that are over at once: giving the lock up for them would cost more."""
_posix_spawn = ctypes.CDLL(None).posix_spawn


@dataclass(frozen=True, slots=True)
class Open:
    """Opens a file as a descriptor of the child."""

    descriptor: int
    path: str
    flags: int
    mode: int = 0o600


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Makes a descriptor of the child another name of one that it has."""

    source: int
    descriptor: int


@dataclass(frozen=True, slots=True)
class Close:
    """Keeps a descriptor from the child."""

    descriptor: int


def spawn_session(
    program: str,
    arguments: Sequence[str],
    env: Mapping[str, str],
    files: Iterable[Open | Duplicate | Close],
) -> int:
    """Start a program in a session of its own, all signals at their defaults; return its pid.

    Args:
        program: Its path.
        arguments: The whole argument list, the name first.
        env: Its whole environment.
        files: What is done to its descriptors, in this order.

    Raises:
        OSError: Nothing was started.
        ValueError: An argument or variable holds a NUL.
    """
    actions = ctypes.create_string_buffer(_OPAQUE_BYTES)
    attributes = ctypes.create_string_buffer(_OPAQUE_BYTES)
    pid = ctypes.c_int()
    argv = _strings(arguments)
    environment = _strings([f"{name}={value}" for name, value in env.items()])
    _check(_libc.posix_spawn_file_actions_init(actions))
    try:
        _check(_libc.posix_spawnattr_init(attributes))
        try:
            for file in files:
                _add(actions, file)
            _set_session_and_signals(attributes)
            _check(
                _posix_spawn(
                    ctypes.byref(pid), _bytes(program), actions, attributes, argv, environment
                )
            )
        finally:
            _libc.posix_spawnattr_destroy(attributes)
    finally:
        _libc.posix_spawn_file_actions_destroy(actions)
    return pid.value


def _add(actions: ctypes.Array[ctypes.c_char], file: Open | Duplicate | Close) -> None:
    match file:
        case Open(descriptor, path, flags, mode):
            _check(
                _libc.posix_spawn_file_actions_addopen(
                    actions, descriptor, _bytes(path), flags, mode
                )
            )
        case Duplicate(source, descriptor):
            _check(_libc.posix_spawn_file_actions_adddup2(actions, source, descriptor))
        case Close(descriptor):
            _check(_libc.posix_spawn_file_actions_addclose(actions, descriptor))


def _set_session_and_signals(attributes: ctypes.Array[ctypes.c_char]) -> None:
    signals = ctypes.create_string_buffer(_OPAQUE_BYTES)
    _libc.sigfillset(signals)
    _check(_libc.posix_spawnattr_setsigdefault(attributes, signals))
    _libc.sigemptyset(signals)
    _check(_libc.posix_spawnattr_setsigmask(attributes, signals))
    flags = ctypes.c_short(_SETSIGDEF | _SETSIGMASK | _SETSID)
    _check(_libc.posix_spawnattr_setflags(attributes, flags))


def _strings(texts: Sequence[str]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * (len(texts) + 1))(*map(_bytes, texts), None)


def _bytes(text: str) -> bytes:
    encoded = os.fsencode(text)
    if b"\0" in encoded:
        raise ValueError("embedded null byte")
    return encoded


def _check(error: int) -> None:
    if error:
        raise OSError(error, os.strerror(error))
