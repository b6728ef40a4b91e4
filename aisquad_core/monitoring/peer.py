"""Which user is at the other end of a TCP connection within this machine, as the kernel tells.

Loopback is shared with every other user of the machine. The kernel's table of connections has a
row for each end; the one that counts is the caller's: its address first, ours second. Only an
established row with an inode has an owner: of one that is closed the kernel says user 0. One row
is asked for by netlink; where a kernel does not answer that, the whole table is read.
"""

from __future__ import annotations

import os
import sys
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from aisquad_core.monitoring import sock_diag

if TYPE_CHECKING:
    import socket

_TABLES = Path("/proc/self/net")
_OVERFLOW = Path("/proc/sys/kernel/overflowuid")
_MAPPED = bytes(10) + b"\xff\xff"
_ESTABLISHED = "01"
_LOOKS = 2
"""The table is not read at one moment: a row may be passed over while others come and go."""


class End(NamedTuple):
    """One end of a connection; an IPv4 address that IPv6 wraps is the IPv4 address."""

    address: IPv4Address | IPv6Address
    port: int


def ends(connection: socket.socket) -> tuple[End, End]:
    """Return this end of a connection, and the other.

    Raises:
        OSError: It is closed.
    """
    return _end(connection.getsockname()), _end(connection.getpeername())


def is_own_user(own: End, other: End) -> bool:
    """Tell whether this process's user has the other end, on this machine (blocking).

    Args:
        own: This end.
        other: The caller's.
    """
    uid = os.geteuid()
    # How the kernel also shows a user whom this user namespace does not know.
    return uid != _overflow_uid() and find_user(own, other) == uid


def find_user(own: End, other: End) -> int | None:
    """Return the user who has the other end open; None if nobody on this machine has (blocking)."""
    uid = sock_diag.find_owner(own, other)
    return find_in_tables(own, other) if uid is None else uid


def find_in_tables(own: End, other: End, *, tables: Path = _TABLES) -> int | None:
    """Return the user who has the other end open by the tables as text (blocking).

    Args:
        own: This end.
        other: The caller's.
        tables: Folder of the kernel's tables `tcp` and `tcp6`.
    """
    for _ in range(_LOOKS):
        for name, wanted in _wanted(own, other):
            try:
                table = (tables / name).read_text("ascii")
            except FileNotFoundError:  # a kernel without IPv6
                continue
            uid = _search(table, wanted)
            if uid is not None:
                return uid
    return None


def _search(table: str, wanted: str) -> int | None:
    start = table.find(wanted)
    if start < 0:
        return None
    # After the state: queues, timer, retransmits, uid, timeout, inode.
    fields = table[start + len(wanted) :].split("\n", 1)[0].split()
    uid, inode = int(fields[3]), int(fields[5])
    return uid if inode else None


def _wanted(own: End, other: End) -> list[tuple[str, str]]:
    """Return table and text of the caller's row; a socket of IPv6 may carry IPv4."""
    forms: list[tuple[str, bytes, bytes]] = []
    if isinstance(own.address, IPv4Address) and isinstance(other.address, IPv4Address):
        plain = other.address.packed, own.address.packed
        forms.append(("tcp", *plain))
        forms.append(("tcp6", _MAPPED + plain[0], _MAPPED + plain[1]))
    else:
        forms.append(("tcp6", other.address.packed, own.address.packed))
    return [
        (
            name,
            f" {_hexadecimal(theirs)}:{other.port:04X} {_hexadecimal(ours)}:{own.port:04X}"
            f" {_ESTABLISHED} ",
        )
        for name, theirs, ours in forms
    ]


def _hexadecimal(packed: bytes) -> str:
    """Return an address as the tables write it: words of four bytes, each as this machine's int."""
    words = (packed[n : n + 4] for n in range(0, len(packed), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)


def _end(name: tuple[str, int] | tuple[str, int, int, int]) -> End:
    address = ip_address(name[0].partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return End(address, name[1])


def _overflow_uid() -> int | None:
    try:
        return int(_OVERFLOW.read_text("ascii"))
    except FileNotFoundError:
        return None
