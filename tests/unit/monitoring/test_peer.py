"""The kernel's table of connections: which row counts, and which do not."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import pytest

from aisquad_core.monitoring import sock_diag
from aisquad_core.monitoring.peer import End, ends, find_in_tables

if TYPE_CHECKING:
    from pathlib import Path

HEAD = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout\n"
)
OWN = End(IPv4Address("127.0.0.1"), 8080)
OTHER = End(IPv4Address("127.0.0.1"), 50000)
HERS, OURS = "0100007F:C350", "0100007F:1F90"
MAPPED = "0000000000000000FFFF0000"


def row(local: str, remote: str, *, state: str = "01", uid: int = 1000, inode: int = 77) -> str:
    return (
        f"   3: {local} {remote} {state} 00000000:00000000 00:00000000 00000000  {uid:4d}"
        f"        0 {inode} 1 0000000000000000 20 4 30 10 -1\n"
    )


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    for name in ("tcp", "tcp6"):
        (tmp_path / name).write_text(HEAD)
    return tmp_path


def test_the_callers_end_counts_and_not_ours(tables: Path) -> None:
    ours_first = row(OURS, HERS, uid=1) + row(HERS, OURS, uid=1000)
    (tables / "tcp").write_text(HEAD + ours_first)
    assert find_in_tables(OWN, OTHER, tables=tables) == 1000


def test_a_caller_who_is_not_in_the_table_is_nobody(tables: Path) -> None:
    (tables / "tcp").write_text(HEAD + row(OURS, HERS))
    assert find_in_tables(OWN, OTHER, tables=tables) is None


@pytest.mark.parametrize("state", ["02", "04", "05", "06", "07", "08", "0A"])
def test_a_connection_that_is_not_established_has_no_user(tables: Path, state: str) -> None:
    (tables / "tcp").write_text(HEAD + row(HERS, OURS, state=state, uid=0, inode=0))
    assert find_in_tables(OWN, OTHER, tables=tables) is None


def test_a_row_without_an_inode_has_no_user(tables: Path) -> None:
    (tables / "tcp").write_text(HEAD + row(HERS, OURS, uid=0, inode=0))
    assert find_in_tables(OWN, OTHER, tables=tables) is None


def test_a_caller_whose_ipv6_socket_carries_ipv4_is_found(tables: Path) -> None:
    (tables / "tcp6").write_text(HEAD + row(MAPPED + HERS, MAPPED + OURS, uid=1234))
    assert find_in_tables(OWN, OTHER, tables=tables) == 1234


def test_ipv6_loopback_is_found(tables: Path) -> None:
    one = "00000000000000000000000001000000"
    (tables / "tcp6").write_text(HEAD + row(f"{one}:C350", f"{one}:1F90", uid=1234))
    ends = (End(IPv6Address("::1"), port) for port in (8080, 50000))
    assert find_in_tables(*ends, tables=tables) == 1234


def test_a_longer_address_that_ends_in_the_same_is_another(tables: Path) -> None:
    (tables / "tcp6").write_text(HEAD + row("1" * 24 + HERS, "1" * 24 + OURS))
    assert find_in_tables(OWN, OTHER, tables=tables) is None


def test_without_ipv6_there_is_no_second_table(tables: Path) -> None:
    (tables / "tcp6").unlink()
    assert find_in_tables(OWN, OTHER, tables=tables) is None


@pytest.mark.parametrize(
    ("listening", "calling", "address"),
    [
        (socket.AF_INET, socket.AF_INET, "127.0.0.1"),
        (socket.AF_INET6, socket.AF_INET6, "::1"),
        (socket.AF_INET, socket.AF_INET6, "::ffff:127.0.0.1"),
        (socket.AF_INET6, socket.AF_INET, "127.0.0.1"),
    ],
)
def test_of_a_real_connection_the_kernel_tells_the_same_both_ways(
    listening: socket.AddressFamily, calling: socket.AddressFamily, address: str
) -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(listening))
        listener.bind(("::" if listening is socket.AF_INET6 else "127.0.0.1", 0))
        listener.listen()
        caller = stack.enter_context(socket.socket(calling))
        caller.connect((address, listener.getsockname()[1]))
        own, other = ends(stack.enter_context(listener.accept()[0]))
        assert find_in_tables(own, other) == os.geteuid()
        assert sock_diag.find_owner(own, other) in {os.geteuid(), None}  # None: cannot be asked
        turned_round = other._replace(port=other.port ^ 1)
        assert sock_diag.find_owner(own, turned_round) is None
        caller.close()
        assert find_in_tables(own, other) is None
        assert sock_diag.find_owner(own, other) is None


def test_whoever_listens_at_the_callers_address_is_not_the_caller() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        there = End(IPv4Address("127.0.0.1"), listener.getsockname()[1])
        assert sock_diag.find_owner(OWN, there) is None
        assert find_in_tables(OWN, there) is None
