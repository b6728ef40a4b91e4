"""Whether the file system of the state folder has room for more work.

The last megabytes are kept for outcomes: what runs can still be settled when nothing new starts.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aisquad_core.state.writer import JOURNAL_SIZE_LIMIT_BYTES

if TYPE_CHECKING:
    from pathlib import Path

RESERVE_BYTES = JOURNAL_SIZE_LIMIT_BYTES + 2 * 1024 * 1024
"""Free space below which nothing starts: a whole WAL, and the small files of what runs."""


def find_shortage(folder: Path) -> str | None:
    """Return in words that there is no room left, or None (blocking).

    What cannot be told is no shortage: a start that finds none says so itself.
    """
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    free_bytes = status.f_bavail * status.f_frsize
    if free_bytes < RESERVE_BYTES:
        return (
            f"disk full: {free_bytes / 1e6:.1f} MB left in {folder}, of which "
            f"{RESERVE_BYTES / 1e6:.0f} MB are kept for the outcomes of what runs; nothing starts"
        )
    if status.f_files and not status.f_favail:  # without a count of files there is no limit
        return f"disk full: no room for another file in {folder}; nothing starts"
    return None
