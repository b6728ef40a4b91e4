"""The database and its WAL as SQLite has them open, compared with what is at their paths now.

A database that was moved or deleted takes commits into nowhere, and SQLite does not notice. Nobody
here opens the files: closing another descriptor on them would drop this process's locks.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aisquad_core.errors import StorageError

if TYPE_CHECKING:
    import os
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What one look at the database saw."""

    begun: int
    """Batches that the writer had taken up before it."""
    is_idle: bool
    """Whether all of those had ended."""
    size: int
    changed_ns: int


class OpenFiles:
    """Watches the files of one writer; all calls but `begin` and `end` block.

    Args:
        path: The database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wal_path = path.with_name(f"{path.name}-wal")
        self._identities: dict[Path, tuple[int, int]] = {}
        """Device and inode of each file as it is open."""
        self._looking = threading.Lock()
        self._last: _Look | None = None
        self._is_overwritten = False
        self._begun = 0
        self._ended = 0
        self.change: str | None = None
        """In words, what the last look found to have become of a file; None: nothing."""
        self.wal_bytes = 0
        """Size of the WAL at the last look."""

    @property
    def are_known(self) -> bool:
        """Whether they have been open before."""
        return bool(self._identities)

    def begin(self) -> None:
        """Take note that the writer may write into the database from now on, until `end`."""
        self._begun += 1

    def end(self) -> None:
        """Take note that the writer has left the database."""
        self._ended += 1

    def note(self) -> None:
        """Remember the files that were just opened.

        Raises:
            StorageError: It is another database than the one that was open before.
        """
        identity = _identify(self._path.stat())
        with self._looking:
            if self._identities.setdefault(self._path, identity) != identity:
                raise StorageError(f"{self._path} was replaced by another file")
            self._identities[self._wal_path] = _identify(self._wal_path.stat())

    def let_go(self) -> None:
        """Take note that the writer is about to close them: SQLite may remove the WAL then."""
        with self._looking:
            self._identities.pop(self._wal_path, None)

    def look(self) -> str | None:
        """Compare, and return in words what became of a file; None: nothing."""
        with self._looking:
            self.change = self._find_change()
        return self.change

    def _find_change(self) -> str | None:
        for path, identity in self._identities.items():
            begun = self._begun
            is_idle = begun == self._ended
            try:
                status = path.stat()
            except FileNotFoundError:
                return f"{path} was moved or deleted"
            except OSError as error:
                return f"{path} cannot be looked at: {error.strerror}"
            if _identify(status) != identity:
                return f"{path} was replaced by another file"
            if path == self._wal_path:
                self.wal_bytes = status.st_size
                continue
            now = _Look(
                begun=begun, is_idle=is_idle, size=status.st_size, changed_ns=status.st_mtime_ns
            )
            self._is_overwritten = self._is_overwritten or self._is_foreign(now)
            self._last = now
            if self._is_overwritten:
                return f"{path} was overwritten by another program"
        return None

    def _is_foreign(self, now: _Look) -> bool:
        """Whether somebody else wrote into the database since the last look.

        Only the writer's batches change it, and they never make it shorter.
        """
        last = self._last
        if last is None:
            return False
        is_changed = (now.size, now.changed_ns) != (last.size, last.changed_ns)
        may_be_ours = self._begun != last.begun or not last.is_idle
        return now.size < last.size or (is_changed and not may_be_ours)


def _identify(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
