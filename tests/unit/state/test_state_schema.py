"""Migrations go forward, once each, all or nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from aisquad_core.errors import NewerSchemaError
from aisquad_core.state import schema
from aisquad_core.state.schema import Migration, load_migrations, migrate
from aisquad_core.state.workstate import WorkState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aisquad_core.testing import FakeClock


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as opened:
        yield opened


def _version(connection: sqlite3.Connection) -> int:
    [(version,)] = connection.execute("PRAGMA user_version").fetchall()
    return int(version)


def test_a_new_database_gets_every_migration_once(
    connection: sqlite3.Connection, path: Path
) -> None:
    migrate(connection, path, "workstate")
    migrate(connection, path, "workstate")
    assert _version(connection) == len(load_migrations("workstate"))
    columns = {row[1] for row in connection.execute("PRAGMA table_info(work_items)").fetchall()}
    assert columns >= {
        *("id", "status", "agent_id", "convoy_id", "version", "created_at", "updated_at"),
        *("context", "metadata", "artifacts", "dependencies", "attempt", "exit_code", "error"),
    }


def test_only_what_is_missing_is_run_and_a_failing_step_leaves_the_one_before(
    connection: sqlite3.Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [
        Migration(number=1, sql="CREATE TABLE a (x); INSERT INTO a VALUES (1);"),
        Migration(number=2, sql="CREATE TABLE b (x); INSERT INTO nowhere VALUES (1);"),
    ]
    monkeypatch.setattr(schema, "load_migrations", lambda _: tuple(steps))
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        migrate(connection, path, "workstate")
    assert _version(connection) == 1
    assert not connection.in_transaction
    steps[1] = Migration(number=2, sql="CREATE TABLE b (x);")
    migrate(connection, path, "workstate")
    assert _version(connection) == 2
    assert connection.execute("SELECT count(*) FROM a").fetchall() == [(1,)]


async def test_a_newer_database_is_refused_and_untouched(path: Path, clock: FakeClock) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")
    with pytest.raises(NewerSchemaError) as caught:
        async with WorkState(path, clock=clock):
            pass
    assert (caught.value.path, caught.value.found, caught.value.supported) == (path, 7, 1)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_schema").fetchall() == [(0,)]
