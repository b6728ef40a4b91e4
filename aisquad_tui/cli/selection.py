"""Which items a command means: ids, `-` for ids on standard input, statuses, convoys, agents."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from aisquad_core.api import ItemFilter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_core.api import ItemView
    from aisquad_core.connect import WorkReader
    from aisquad_core.model import WorkStatus

_PAGE = 1_000


def read_words(words: Sequence[str]) -> list[str]:
    """Return the words, with the lines of standard input in place of `-`."""
    found: list[str] = []
    for word in words:
        found += read_lines(separator=b"\n") if word == "-" else [word]
    return found


def read_lines(*, separator: bytes) -> list[str]:
    """Return the entries of standard input, without the empty ones; any bytes are kept."""
    entries = sys.stdin.buffer.read().split(separator)
    return [os.fsdecode(entry) for entry in entries if entry]


async def select(
    reader: WorkReader,
    *,
    names: Sequence[str],
    statuses: Sequence[WorkStatus],
    convoys: Sequence[str],
    agents: Sequence[str],
) -> list[ItemView]:
    """Return the items that fit all that was named, in order.

    Raises:
        NotFoundError: A name or convoy does not exist, or fits more than one.
    """
    filter = ItemFilter(
        statuses=tuple(statuses),
        convoy_ids=tuple([await reader.resolve_convoy(convoy) for convoy in convoys]),
        agent_ids=tuple(agents),
        keys=tuple([await reader.resolve_item(name) for name in names]),
    )
    chosen: list[ItemView] = []
    after: str | None = None
    while True:
        page = await reader.items(filter, after=after, limit=_PAGE)
        chosen += page.items
        after = page.next_after
        if after is None:
            return chosen
