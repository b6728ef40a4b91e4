"""Text to the operator's own clipboard, over SSH and through tmux.

Inside tmux `load-buffer -w` hands it to tmux, which passes it on to the outer terminal; elsewhere
it is OSC 52 (Xterm Control Sequences, "Operating System Commands"). Neither tells whether the
terminal took it, so the words say what was sent.
"""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

from aisquad_core.sanitise import one_line
from aisquad_tui.formatting import plural

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisquad_tui.surroundings import Terminal

_MOST_ENCODED = 74_994
"""Base64 characters that terminals take in one sequence; xterm's own limit."""
TMUX_WAIT_S = 3.0
"""Longest wait for tmux."""


class CopyError(Exception):
    """The text could not be copied; says why and what to do."""


async def copy(text: str, terminal: Terminal, write: Callable[[str], None]) -> str:
    """Put text on the clipboard.

    Args:
        text: What.
        terminal: Whether it is tmux.
        write: Writes a sequence to the terminal.

    Returns:
        Where it went, in words.

    Raises:
        CopyError: It is too long, or tmux did not take it.
    """
    data = text.encode("utf-8", "surrogateescape")
    lines = len(text.removesuffix("\n").split("\n"))
    what = plural(lines, "line") if lines > 1 else plural(len(text), "character")
    if terminal.multiplexer == "tmux":
        await _load_tmux_buffer(data)
        return f"{what} copied to tmux's buffer and the terminal's clipboard"
    encoded = base64.b64encode(data).decode("ascii")
    if len(encoded) > _MOST_ENCODED:
        raise CopyError(f"{len(data):,} bytes are too many for a terminal; S saves them to a file")
    write(f"\x1b]52;c;{encoded}\x07")
    return f"{what} copied to the terminal's clipboard"


async def _load_tmux_buffer(data: bytes) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            "tmux",
            "load-buffer",
            "-w",
            "-",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise CopyError(f"tmux: {error.strerror}") from error
    try:
        async with asyncio.timeout(TMUX_WAIT_S):
            _, problem = await process.communicate(data)
    except TimeoutError as error:
        raise CopyError(f"tmux did not take it within {TMUX_WAIT_S:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        said = one_line(problem.decode("utf-8", "replace"))
        raise CopyError(f"tmux: {said or f'exit status {process.returncode}'}")
