"""The next connection of a listening socket, also when descriptors run short for a while."""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

_SHORT_OF_DESCRIPTORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_RETRY_S = 0.5

logger = logging.getLogger(__name__)


async def accept(listener: socket.socket) -> socket.socket:
    """Return the next connection; without descriptors for one, wait until there are.

    Raises:
        OSError: The listener itself fails.
    """
    is_told = False
    while True:
        try:
            connection, _ = await asyncio.get_running_loop().sock_accept(listener)
        except OSError as error:
            if error.errno not in _SHORT_OF_DESCRIPTORS:
                raise
            if not is_told:
                logger.warning("cannot take a connection now: %s", error.strerror)
            is_told = True
            await asyncio.sleep(_RETRY_S)
        else:
            return connection
