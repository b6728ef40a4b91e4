"""How far the database has come, noted in a file beside it.

A database whose -wal was deleted, or that was replaced by an older copy, is whole in itself; only
a number kept elsewhere tells that it went back.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path


class Mark:
    """The number in the database and its copy in a file; all calls block.

    Args:
        database: Path of the database.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._file = database.with_name(f"{database.name}-mark")
        self._noted = 0
        """What the file says; read once, since reading takes a descriptor."""

    def find_setback(self, connection: sqlite3.Connection) -> str | None:
        """Return in words that the database is older than the file beside it, or None."""
        stored = self.counted(connection)
        self._noted = noted = self._read()
        if noted <= stored:
            return None
        return (
            f"{self._database} went back in time ({stored} instead of {noted} marks): an older"
            " copy was put in its place, or its -wal was deleted; unfinished work waits for a yes"
        )

    def counted(self, connection: sqlite3.Connection) -> int:
        """Return the number in the database."""
        rows = connection.execute("SELECT number FROM mark").fetchall()
        return int(rows[0][0]) if rows else 0

    def count(self, connection: sqlite3.Connection) -> int:
        """Count one further in the database, within a transaction, and return the number.

        Every transaction of functions does so, and can be told by it after a failure.
        """
        [(number,)] = connection.execute(
            "INSERT INTO mark VALUES (1, 1) ON CONFLICT (only) DO UPDATE SET number = number + 1"
            " RETURNING number"
        ).fetchall()
        return int(number)

    def advance(self, connection: sqlite3.Connection) -> int:
        """Count one further in the database, within a transaction, and return the number."""
        [(number,)] = connection.execute(
            "INSERT INTO mark VALUES (1, ? + 1)"
            " ON CONFLICT (only) DO UPDATE SET number = max(number + 1, excluded.number)"
            " RETURNING number",
            (self._noted,),
        ).fetchall()
        return int(number)

    def write(self, number: int) -> None:
        """Note a committed number in the file.

        Raises:
            OSError: It cannot be written.
        """
        new = self._file.with_name(f"{self._file.name}.new")
        new.write_text(f"{number}\n", "ascii")
        os.replace(new, self._file)
        self._noted = number

    def _read(self) -> int:
        try:
            return int(self._file.read_text("ascii"))
        except (FileNotFoundError, ValueError):  # none yet, or torn by a power cut: nothing to say
            return 0
