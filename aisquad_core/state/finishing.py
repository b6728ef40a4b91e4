"""Critical writes on the way out: waited for also by who is being cancelled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

T = TypeVar("T")


async def finish(futures: Sequence[asyncio.Future[Any]], *, within_s: float | None = None) -> None:
    """Wait for futures to be done even when cancelled; then be cancelled.

    Args:
        futures: What to wait for; how they end is the caller's to look at.
        within_s: Seconds after which the waiting is over in any case; None: never.
    """
    loop = asyncio.get_running_loop()
    until_s = None if within_s is None else loop.time() + within_s
    cancelled: asyncio.CancelledError | None = None
    while not all(future.done() for future in futures):
        left_s = None if until_s is None else until_s - loop.time()
        if left_s is not None and left_s <= 0:
            break
        try:
            await asyncio.wait(futures, timeout=left_s)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def unbroken(work: Coroutine[object, object, T]) -> T:
    """Do work to its end even when cancelled; then be cancelled."""
    doing = asyncio.ensure_future(work)
    try:
        await finish((doing,))
    finally:
        doing.exception()  # nobody asks for it who was cancelled
    return doing.result()
