"""One row of the kernel's table of connections, asked for by netlink; see sock_diag(7).

The same table as text (/proc/net/tcp) costs 5 to 10 ms of a processor each time it is read,
however few rows it has: whoever opens connections would make the engine read it.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aisquad_core.monitoring.peer import End

_NETLINK_SOCK_DIAG = 4
_BY_FAMILY = 20
_REQUEST = 1
_ESTABLISHED = 1
_WAIT_S = 1.0
_MOST_BYTES = 8192
_HEADER = struct.Struct("=IHHII")
"""Length, type, flags, sequence number, port."""
_ASKED = struct.Struct("=BBBBI")
"""Family, protocol, extensions, padding, states."""
_SOCKET = struct.Struct("=2s2s16s16sIII")
"""Its port, the other port, its address, the other address, interface, cookie."""
_NO_COOKIE = 0xFFFF_FFFF
_FOUND = struct.Struct(f"=BBBB{_SOCKET.size}sIIIII")
"""Family, state, timer, retransmits, socket, expiry, queues, uid, inode."""


def find_owner(own: End, other: End) -> int | None:
    """Return the user who has the other end of an established connection open (blocking).

    Returns:
        None if nobody on this machine has, or this kernel does not answer such questions.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
            kernel.settimeout(_WAIT_S)
            kernel.send(_question(own, other))
            answer = kernel.recv(_MOST_BYTES)
    except OSError:
        return None
    if len(answer) < _HEADER.size + _FOUND.size or _HEADER.unpack_from(answer)[1] != _BY_FAMILY:
        return None
    _, state, *_, uid, inode = _FOUND.unpack_from(answer, _HEADER.size)
    # Of established connections the kernel finds this one or none; else it may answer with one that
    # is closed, of user 0, or with whoever listens at that address.
    return uid if state == _ESTABLISHED and inode else None


def _question(own: End, other: End) -> bytes:
    family = socket.AF_INET if isinstance(other.address, IPv4Address) else socket.AF_INET6
    asked = _ASKED.pack(family, socket.IPPROTO_TCP, 0, 0, 1 << _ESTABLISHED)
    body = asked + _SOCKET.pack(
        other.port.to_bytes(2),
        own.port.to_bytes(2),
        other.address.packed,
        own.address.packed,
        0,
        _NO_COOKIE,
        _NO_COOKIE,
    )
    return _HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _REQUEST, 1, 0) + body
