"""Following a log, loading its pages, counting its lines."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aisquad_core.testing import FakeClock
from aisquad_tui.log_feed import LogFeed
from aisquad_tui.log_reader import PAGE_BYTES, LogReader
from tests.unit.tui.log_files import KEY, MemoryLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def _fed(log: MemoryLog) -> AsyncIterator[tuple[LogFeed, FakeClock, list[int]]]:
    clock, changes = FakeClock(), list[int]()
    reader = LogReader(log, KEY, attempt=1)
    feed = LogFeed(reader, clock, lambda: changes.append(reader.size))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(feed.run())
        await clock.settle()
        yield feed, clock, changes
        running.cancel()


async def test_it_looks_at_most_four_times_a_second_and_tells_only_what_is_new() -> None:
    log = MemoryLog(b"one\n", is_final=False)
    async with _fed(log) as (_, clock, changes):
        await clock.advance(5)
        before = len(changes)
        log.data += b"two\n"
        await clock.advance(0.24)
        assert len(changes) == before
        await clock.advance(0.26)
        assert changes[before:] == [8, 8]  # it has grown; its lines are counted


async def test_a_final_log_is_left_alone_until_someone_wakes_it() -> None:
    log = MemoryLog(b"one\n")
    async with _fed(log) as (feed, clock, changes):
        await clock.advance(5)
        assert clock.sleepers == 0
        log.data += b"two\n"
        await clock.advance(5)
        assert max(changes) == 4
        feed.wake()
        await clock.settle()
        assert max(changes) == 8


async def test_lines_are_counted_with_the_one_that_has_no_end_yet() -> None:
    log = MemoryLog(b"one\ntwo", is_final=False)
    async with _fed(log) as (feed, clock, _):
        assert feed.line_count == 2
        log.data += b" and more\nthree\n"
        await clock.advance(0.5)
        assert feed.line_count == 3


async def test_the_page_wanted_last_is_loaded() -> None:
    async with _fed(MemoryLog(b"line\n" * 100_000)) as (feed, clock, _):
        feed.want(1)
        feed.want(3)
        await clock.settle()
        assert feed.reader.at(3 * PAGE_BYTES + 100).start > 3 * PAGE_BYTES


async def test_trouble_is_told_once_and_goes_with_its_cause() -> None:
    log = MemoryLog(b"one\n", is_final=False)
    async with _fed(log) as (feed, clock, changes):
        log.trouble = "disk gone"
        await clock.advance(0.25)
        told = len(changes)
        await clock.advance(2)
        assert (feed.trouble, len(changes)) == ("disk gone", told)
        log.trouble = None
        await clock.advance(0.25)
        assert feed.trouble is None
        assert len(changes) > told
