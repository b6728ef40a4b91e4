"""A log in memory that is read as the engine reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_core.api import LogChunk
from aisquad_core.errors import RunnerError
from aisquad_core.model import ItemKey
from aisquad_tui.log_reader import LogReader
from aisquad_tui.log_viewport import PageMissingError, Viewport

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisquad_tui.log_reader import Stream

KEY = ItemKey("nightly-review-0001", "fix-api-018")


class MemoryLog:
    """Bytes; counts what was read of them."""

    def __init__(self, data: bytes = b"", *, is_final: bool = True, most: int = 1 << 22) -> None:
        self.data = data
        self.is_final = is_final
        self.most = most
        self.read_bytes = 0
        self.trouble: str | None = None

    async def log_range(
        self,
        key: ItemKey,
        *,
        attempt: int | None = None,
        offset: int = 0,
        length: int = 65_536,
        stream: Stream = "log",
    ) -> LogChunk:
        assert key == KEY
        if self.trouble is not None:
            raise RunnerError(self.trouble, is_transient=True)
        data = self.data[offset : offset + min(length, self.most)]
        self.read_bytes += len(data)
        return LogChunk(data=data, offset=offset, size=len(self.data), is_final=self.is_final)


async def opened(log: MemoryLog) -> LogReader:
    """Return a reader that has looked at the log once."""
    reader = LogReader(log, KEY, attempt=1)
    await reader.look()
    return reader


async def loading(reader: LogReader, step: Callable[[], object]) -> None:
    """Take a step as soon as the pages that it needs are there."""
    for _ in range(1_000):
        try:
            step()
        except PageMissingError as missing:
            await reader.load(missing.page)
        else:
            return
    raise AssertionError("pages that were loaded are missing")


async def texts(reader: LogReader, viewport: Viewport) -> list[str]:
    """Return the rows on display."""
    shown: list[str] = []
    await loading(reader, lambda: shown.__setitem__(slice(None), viewport_texts(viewport)))
    return shown


def viewport_texts(viewport: Viewport) -> list[str]:
    """Return the rows on display; everything must be in memory."""
    return [row.text for row in viewport.visible()]
