"""Showing something again whenever it changes (`--watch`)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aisquad_tui.cli.terminal import Block

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aisquad_tui.cli.terminal import Terminal

_EVERY_S = 1.0


async def show(
    terminal: Terminal, read: Callable[[], Awaitable[list[str]]], *, is_watched: bool
) -> None:
    """Print lines once, or with `is_watched` again whenever they change, until interrupted.

    On a terminal they are repainted in place; elsewhere each new picture follows the last.
    """
    out = terminal.out
    if not is_watched:
        for line in await read():
            out.line(line)
        return
    block = Block(out)
    last: list[str] = []
    while True:
        lines = await read()
        if lines != last:
            last = lines
            if out.is_terminal:
                block.paint(lines)
            else:
                for line in lines:
                    out.line(line)
            out.file.flush()
        await asyncio.sleep(_EVERY_S)
