"""A log written to a file."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from aisquad_core.errors import InputError, RunnerError
from aisquad_core.model import ItemKey
from aisquad_tui.log_reader import LogReader
from aisquad_tui.log_saving import FileThereError, default_name, save
from tests.unit.tui.log_files import MemoryLog, opened

if TYPE_CHECKING:
    from pathlib import Path

_DATA = b"a line\x1b[31m\xff\r\n" * 300_000


async def test_the_bytes_are_saved_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    size = await save(await opened(MemoryLog(_DATA)), str(path))

    assert size == len(_DATA)
    assert await asyncio.to_thread(path.read_bytes) == _DATA


async def test_a_file_that_is_there_is_kept_unless_it_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    await asyncio.to_thread(path.write_text, "mine")
    reader = await opened(MemoryLog(b"new"))
    with pytest.raises(FileThereError):
        await save(reader, str(path))
    assert await asyncio.to_thread(path.read_text) == "mine"
    await save(reader, str(path), is_replacing=True)

    assert await asyncio.to_thread(path.read_text) == "new"
    assert os.listdir(tmp_path) == ["a.log"]


async def test_nothing_is_left_of_what_failed_on_the_way(tmp_path: Path) -> None:
    log = MemoryLog(_DATA)
    reader = await opened(log)
    log.trouble = "disk gone"
    with pytest.raises(RunnerError):
        await save(reader, str(tmp_path / "a.log"))

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["no/such/folder.log", "."])
async def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        await save(await opened(MemoryLog(b"new")), str(tmp_path / name), is_replacing=True)

    assert os.listdir(tmp_path) == []


def test_the_name_comes_from_the_item_and_is_harmless() -> None:
    log = MemoryLog()

    def name(item_id: str, attempt: int = 1) -> str:
        return default_name(LogReader(log, ItemKey("c", item_id), attempt=attempt))

    assert name("fix-api-018") == "fix-api-018.log"
    assert name("fix", attempt=2) == "fix-try2.log"
    assert name("../../etc/passwd") == "etc-passwd.log"
    assert name("\\x1b/..") == "x1b.log"
    assert name("..") == "log.log"
