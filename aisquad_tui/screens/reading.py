"""What the dashboard reads from the engine beside its rows: a log's end, the keys of many items."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aisquad_core.api import ItemFilter
from aisquad_core.errors import AISquadError, EngineStoppedError, NotFoundError
from aisquad_core.model import FAILURE_STATUSES, ItemKey
from aisquad_tui.widgets.side_log import READ_BYTES

if TYPE_CHECKING:
    from aisquad_core.api import ItemReader
    from aisquad_tui.widgets.side_log import SideLog

_PAGE = 1_000
_PAUSE_S = 0.5
"""Least time between two reads of a log."""


class LogTail:
    """Keeps the end of one log on display, with two reads a second at most.

    Args:
        engine: What is read.
        box: Where it is shown.
        is_lasting: Whether an engine that is gone may come back.
    """

    def __init__(self, engine: ItemReader, box: SideLog, *, is_lasting: bool = False) -> None:
        self._engine = engine
        self._box = box
        self._is_lasting = is_lasting
        self._key: ItemKey | None = None
        self._wanted = asyncio.Event()

    def follow(self, key: ItemKey | None, *, is_changed: bool) -> None:
        """Show this item's log from now on.

        Args:
            key: Whose; None: nobody's.
            is_changed: Whether there may be more in it than before.
        """
        if key != self._key or is_changed:
            self._key = key
            self._wanted.set()

    async def run(self) -> None:
        """Read when there is something to read, until the engine stops for good."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            key = self._key
            if key is None:
                self._box.show(None, b"")
                continue
            try:
                chunk = await self._engine.log_range(key, offset=-READ_BYTES, length=READ_BYTES)
            except EngineStoppedError:
                if self._is_lasting:
                    continue  # its last words stay on display
                return
            except NotFoundError:  # forgotten by the engine since
                self._box.show(None, b"")
                continue
            except AISquadError:  # the next change asks again
                continue
            if key == self._key:
                self._box.show(key, chunk.data, is_cut=chunk.offset > 0)
            await asyncio.sleep(_PAUSE_S)


async def keys_of(engine: ItemReader, filter: ItemFilter, most: int) -> list[ItemKey]:
    """Return the keys of the items that fit a filter, so many at most."""
    keys: list[ItemKey] = []
    after: str | None = None
    while len(keys) < most:
        page = await engine.items(filter, after=after, limit=_PAGE, is_counted=False)
        keys.extend(ItemKey(item.convoy_id, item.id) for item in page.items)
        after = page.next_after
        if after is None:
            break
    return keys[:most]


def failures_of(convoy_id: str) -> ItemFilter:
    """Return the filter of what failed in a convoy."""
    return ItemFilter(convoy_ids=(convoy_id,), statuses=tuple(FAILURE_STATUSES))
