"""Readers that are lent out: never more than there may be, never broken, never left at work."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from aisquad_core.errors import (
    NewerSchemaError,
    PoolClosedError,
    PoolTimeoutError,
    StorageError,
)
from aisquad_core.state.connection_pool import ConnectionPool
from aisquad_core.state.schema import migrate
from aisquad_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SLOW = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000)"
    " SELECT count(*) FROM n"
)


def _count(connection: sqlite3.Connection) -> int:
    [(count,)] = connection.execute("SELECT count(*) FROM convoys").fetchall()
    return int(count)


@pytest.fixture
def database(path: Path) -> Path:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        migrate(connection, path, "workstate")
    return path


@pytest.fixture
async def pool(database: Path) -> AsyncIterator[ConnectionPool]:
    opened = ConnectionPool(database, size=2, acquire_timeout_s=10)
    yield opened
    await opened.close()


async def test_readers_are_opened_when_needed_and_kept(pool: ConnectionPool) -> None:
    assert pool.get_stats()["open_connections"] == 0
    async with pool.acquire() as first:
        assert pool.get_stats() == {
            "pool_size": 2,
            "open_connections": 1,
            "active_connections": 1,
            "pool_utilization": 0.5,
            "waits": 0,
            "reconnects": 0,
        }
    async with pool.acquire() as second:
        assert second is first
    assert pool.get_stats()["active_connections"] == 0


async def test_without_pooling_no_reader_is_kept(database: Path) -> None:
    pool = ConnectionPool(database, size=2, is_keeping=False)
    assert await pool.run(_count) == 0
    assert pool.get_stats()["open_connections"] == 0
    await pool.close()


async def test_a_reader_is_an_aiosqlite_connection_that_cannot_write(pool: ConnectionPool) -> None:
    async with pool.acquire() as reader:
        async with reader.execute("SELECT count(*) FROM convoys") as cursor:
            assert list(await cursor.fetchall()) == [(0,)]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await reader.execute("DELETE FROM convoys")


async def test_a_caller_waits_for_a_reader_no_longer_than_allowed(database: Path) -> None:
    pool = ConnectionPool(database, size=1, acquire_timeout_s=0.02)
    async with pool.acquire():
        with pytest.raises(PoolTimeoutError) as caught:
            await pool.run(_count)
    assert (caught.value.size, caught.value.waited_s) == (1, 0.02)
    assert pool.get_stats()["waits"] == 1
    assert await pool.run(_count) == 0
    await pool.close()


async def test_never_more_readers_than_the_size(pool: ConnectionPool) -> None:
    peak = 0

    async def read() -> None:
        nonlocal peak
        async with pool.acquire() as reader:
            peak = max(peak, pool.get_stats()["active_connections"])
            await reader.run(_count)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(read())
    assert peak == 2
    assert pool.get_stats()["open_connections"] == 2


async def test_a_broken_reader_is_replaced(pool: ConnectionPool) -> None:
    async with pool.acquire() as reader:
        await reader.close()
    assert await pool.run(_count) == 0
    assert pool.get_stats()["reconnects"] == 1


async def test_a_reader_of_a_database_that_was_replaced_is_replaced(
    pool: ConnectionPool, database: Path, tmp_path: Path
) -> None:
    assert await pool.run(_count) == 0
    other = tmp_path / "other.db"

    def replace() -> None:
        with closing(sqlite3.connect(other, isolation_level=None)) as connection:
            migrate(connection, other, "workstate")
            connection.execute("INSERT INTO launches VALUES (1, 'x', 1)")
        other.rename(database)

    await asyncio.to_thread(replace)

    def launches(connection: sqlite3.Connection) -> int:
        [(count,)] = connection.execute("SELECT count(*) FROM launches").fetchall()
        return int(count)

    assert await pool.run(launches) == 1
    assert pool.get_stats()["reconnects"] == 1


async def test_a_failed_call_is_rolled_back(pool: ConnectionPool) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("SELECT * FROM convoys").fetchall()
        raise LookupError

    with pytest.raises(LookupError):
        await pool.run(fail)
    async with pool.acquire() as reader:
        assert not reader.in_transaction
    assert pool.get_stats()["reconnects"] == 0


@pytest.mark.parametrize("is_late", [False, True])
async def test_a_cancelled_call_has_ended_before_its_reader_goes_back(
    pool: ConnectionPool, is_late: bool
) -> None:
    begun, cancelled, ended = threading.Event(), threading.Event(), threading.Event()

    def read(connection: sqlite3.Connection) -> None:
        begun.set()
        if is_late:  # its statement begins after the first interrupt
            cancelled.wait(5)
        try:
            connection.execute(SLOW).fetchall()
        finally:
            ended.set()

    async with asyncio.TaskGroup() as tasks:
        caller = tasks.create_task(pool.run(read))
        await asyncio.to_thread(begun.wait, 5)
        assert pool.get_stats()["active_connections"] == 1
        caller.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        cancelled.set()
    assert caller.cancelled()
    assert ended.is_set()
    assert pool.get_stats()["active_connections"] == 0
    async with pool.acquire() as reader:
        assert not reader.in_transaction
        assert await reader.run(_count) == 0
    assert pool.get_stats()["reconnects"] == 0


async def test_a_caller_cancelled_while_its_reader_opens_leaves_nothing_behind(
    pool: ConnectionPool,
) -> None:
    for rounds in range(4):
        async with asyncio.TaskGroup() as tasks:
            caller = tasks.create_task(pool.run(_count))
            for _ in range(rounds):
                await asyncio.sleep(0)
            caller.cancel()
        assert pool.get_stats()["active_connections"] == 0
    threads = threading.active_count()
    assert await pool.run(_count) == 0
    assert threading.active_count() <= threads + 1


async def test_a_caller_cancelled_while_waiting_takes_no_reader(database: Path) -> None:
    pool = ConnectionPool(database, size=1)
    async with asyncio.TaskGroup() as tasks, pool.acquire():
        waiting = tasks.create_task(pool.run(_count))
        await asyncio.sleep(0)
        waiting.cancel()
    assert await pool.run(_count) == 0
    await pool.close()


async def test_a_closed_pool_lends_nothing(pool: ConnectionPool) -> None:
    await pool.run(_count)
    await pool.close()
    assert pool.get_stats()["open_connections"] == 0
    with pytest.raises(PoolClosedError):
        await pool.run(_count)


async def test_no_database_is_not_created(tmp_path: Path) -> None:
    pool = ConnectionPool(tmp_path / "none?mode=rwc.db")
    with pytest.raises(FileNotFoundError):
        await pool.run(_count)
    await pool.close()
    assert await asyncio.to_thread(os.listdir, tmp_path) == []


async def test_a_newer_database_is_refused(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA user_version = 99")
    pool = ConnectionPool(database)
    with pytest.raises(NewerSchemaError) as caught:
        await pool.run(_count)
    assert (caught.value.found, caught.value.supported) == (99, 1)
    await pool.close()


async def test_what_is_no_database_is_a_storage_error(path: Path) -> None:
    await asyncio.to_thread(path.write_bytes, b"not a database" * 100)
    pool = ConnectionPool(path)
    with pytest.raises(StorageError, match="not a database"):
        await pool.run(_count)
    await pool.close()


async def test_the_oldest_reader_is_the_one_lent_out_for_the_longest(database: Path) -> None:
    clock = FakeClock()
    pool = ConnectionPool(database, size=2, clock=clock)
    assert pool.oldest_reader_s == 0.0
    async with pool.acquire():
        await clock.advance(5)
        async with pool.acquire():
            await clock.advance(2)
            assert pool.oldest_reader_s == 7.0
        assert pool.oldest_reader_s == 7.0
    assert pool.oldest_reader_s == 0.0
    await pool.close()
