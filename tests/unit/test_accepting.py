"""A listener for which descriptors run short goes on listening."""

from __future__ import annotations

import asyncio
import errno
import os
import socket

import pytest

from aisquad_core import accepting
from aisquad_core.accepting import accept


async def test_without_descriptors_the_connection_waits_which_is_logged_once_and_is_then_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    failures = [errno.EMFILE, errno.ENOBUFS]
    real = loop.sock_accept

    async def sock_accept(listener: socket.socket) -> object:
        if failures:
            code = failures.pop()
            raise OSError(code, os.strerror(code))
        return await real(listener)

    monkeypatch.setattr(accepting, "_RETRY_S", 0)
    monkeypatch.setattr(loop, "sock_accept", sock_accept)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as caller,
    ):
        listener.setblocking(False)
        with await accept(listener) as taken:
            assert taken.getpeername() == caller.getsockname()
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"cannot take a connection now: {os.strerror(errno.ENOBUFS)}"]


async def test_a_listener_that_is_closed_ends_it() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    listener.close()
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        await accept(listener)
