"""The databases' schemas: numbered migrations, never changed once released, and their loader.

`PRAGMA user_version` holds the number of the last migration that a database has seen. Each
migration commits together with its number, so a crash in between repeats or skips none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from aisquad_core.errors import NewerSchemaError

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step forward."""

    number: int
    """Counted from 1 without gaps."""
    sql: str


@cache
def load_migrations(database: str) -> tuple[Migration, ...]:
    """Read the migrations of a database from the files beside this module (blocking).

    Args:
        database: Folder of its `.sql` files, such as `workstate`.

    Raises:
        ValueError: The numbers of the files have a gap or repeat.
    """
    files = sorted(
        (file for file in (resources.files(__name__) / database).iterdir()),
        key=lambda file: file.name,
    )
    migrations = tuple(
        Migration(number=int(file.name.split("_")[0]), sql=file.read_text("utf-8"))
        for file in files
        if file.name.endswith(".sql")
    )
    if [migration.number for migration in migrations] != list(range(1, len(migrations) + 1)):
        raise ValueError(f"the migrations of {database} are not numbered 1, 2, 3, …")
    return migrations


def check_version(connection: sqlite3.Connection, path: Path, database: str) -> int:
    """Return the number of the last migration that the database has seen; 0 for a new one.

    Raises:
        NewerSchemaError: It has seen one that this aisquad does not know.
    """
    [(version,)] = connection.execute("PRAGMA user_version").fetchall()
    supported = len(load_migrations(database))
    if version > supported:
        raise NewerSchemaError(path, version, supported)
    return int(version)


def migrate(connection: sqlite3.Connection, path: Path, database: str) -> None:
    """Bring a database up to this aisquad's schema.

    Args:
        connection: In autocommit mode (`isolation_level=None`), outside a transaction.
        path: For the error's message.
        database: As for `load_migrations`.

    Raises:
        NewerSchemaError: A newer aisquad wrote it; nothing was changed.
    """
    version = check_version(connection, path, database)
    for migration in load_migrations(database)[version:]:
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{migration.sql}\n"
                f"PRAGMA user_version = {migration.number};\nCOMMIT;"
            )
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
