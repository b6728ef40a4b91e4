"""Looks for something in a whole log, forward or backward, in steps that leave the loop free."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, NamedTuple

from aisquad_tui.log_reader import BLOCK_BYTES, MARGIN_BYTES, piece_starts
from aisquad_tui.log_viewport import shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aisquad_tui.log_matcher import Matcher
    from aisquad_tui.log_reader import LogReader

CHUNK_BYTES = 32 * BLOCK_BYTES
_STEP_S = 0.002
"""How long a search holds the loop before others have their turn."""
_LOOKS = 8
"""Pieces between two looks at the time, where each takes little."""


class Found(NamedTuple):
    """Where a search ended."""

    start: int
    """Of the piece."""
    char: int
    """Of the match in its text."""


async def search(
    reader: LogReader,
    matcher: Matcher,
    origin: int,
    *,
    is_backward: bool,
    on_progress: Callable[[int], None],
) -> Found | None:
    """Return the next piece with a match, going round at the end; None: there is none at all.

    Args:
        reader: The log.
        matcher: What to look for.
        origin: Start of the piece to begin behind (before, if backward); it comes last itself.
            -1 begins with the first piece.
        is_backward: Whether to go towards the beginning.
        on_progress: Told how many percent are done.
    """
    size = reader.size
    count = -(-size // CHUNK_BYTES)
    if not count:
        return None
    first = min(max(0, origin) // CHUNK_BYTES, count - 1)
    step = -1 if is_backward else 1
    for visit in range(count + 1):
        on_progress(100 * visit // (count + 1))
        start = (first + step * visit) % count * CHUNK_BYTES
        base = max(0, start - BLOCK_BYTES)
        data = await reader.read(base, start + CHUNK_BYTES + MARGIN_BYTES - base)
        if matcher.may_be_in(data):
            starts = piece_starts(data, base)
            first_of, last_of = bisect_left(starts, start), bisect_left(starts, start + CHUNK_BYTES)
            if visit in {0, count}:
                has_low = (visit == 0) is is_backward
                border = (bisect_left if is_backward else bisect_right)(starts, origin)
                first_of, last_of = (
                    (first_of, min(border, last_of))
                    if has_low
                    else (max(border, first_of), last_of)
                )
            places = range(first_of, last_of)
            found = await _first_of(
                reversed(places) if is_backward else places, starts, data, base, matcher
            )
            if found is not None:
                return found
        await asyncio.sleep(0)
    return None


async def _first_of(
    places: Iterable[int], starts: Sequence[int], data: bytes, base: int, matcher: Matcher
) -> Found | None:
    since = time.perf_counter()
    for index, place in enumerate(places):
        end = starts[place + 1] - base if place + 1 < len(starts) else len(data)
        raw = data[starts[place] - base : end]
        if matcher.is_text and not matcher.may_be_in(raw):
            continue
        for found in matcher.scan(shape(raw)):
            if found is not None:
                return Found(starts[place], found[0])
            if (index % _LOOKS == 0 or not matcher.is_text) and _is_over(since):
                await asyncio.sleep(0)
                since = time.perf_counter()
    return None


def _is_over(since: float) -> bool:
    return time.perf_counter() - since > _STEP_S
