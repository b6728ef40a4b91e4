"""Who began a work state, and which of its convoys wait for a yes."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from aisquad_core.state.origin import Origin

if TYPE_CHECKING:
    from pathlib import Path

HERE, ELSEWHERE = "a" * 32, "b" * 32


def opened(folder: Path, *unfinished: str, machine: str = HERE) -> Origin:
    """Return the origin as an engine that opens the work state finds it."""
    database = folder / "workstate.db"
    origin = Origin(database, machine=machine)
    origin.look()
    database.touch()
    origin.hold(unfinished)
    return origin


def waiting(origin: Origin, *ids: str) -> list[str]:
    return [id for id in ids if origin.waits(id)]


def test_nothing_waits_in_a_work_state_that_was_begun_here(tmp_path: Path) -> None:
    assert waiting(opened(tmp_path), "one") == []
    assert waiting(opened(tmp_path, "one", "two"), "one", "two") == []


@pytest.mark.parametrize("machine", [ELSEWHERE, ""])
def test_what_is_unfinished_from_elsewhere_waits_for_its_own_yes(
    tmp_path: Path, machine: str
) -> None:
    opened(tmp_path, machine=machine)
    origin = opened(tmp_path, "one", "two")
    assert waiting(origin, "one", "two", "launched-here") == ["one", "two"]
    origin.release(["one", "unknown"])
    assert waiting(origin, "one", "two") == ["two"]
    assert waiting(opened(tmp_path, "two", "launched-here"), "two", "launched-here") == ["two"]


def test_without_a_machines_id_a_copied_folder_is_from_elsewhere(tmp_path: Path) -> None:
    own, copy = tmp_path / "own", tmp_path / "copy"
    own.mkdir()
    opened(own, machine="")
    assert waiting(opened(own, "one", machine=""), "one") == []
    shutil.copytree(own, copy)
    assert waiting(opened(copy, "one", machine=""), "one") == ["one"]


@pytest.mark.parametrize(
    "content",
    [None, b"", b"\xff", b"[]", b'{"origin": 1}', b"[" * 100_000],
    ids=["missing", "empty", "bytes", "list", "number", "deep"],
)
def test_a_missing_or_broken_file_means_elsewhere(tmp_path: Path, content: bytes | None) -> None:
    opened(tmp_path)
    file = tmp_path / "workstate.db-origin"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    assert waiting(opened(tmp_path, "one"), "one") == ["one"]


def test_a_list_of_waiting_convoys_that_is_none_means_elsewhere(tmp_path: Path) -> None:
    opened(tmp_path)
    file = tmp_path / "workstate.db-origin"
    file.write_text(json.dumps({**json.loads(file.read_text()), "waiting": "one"}))
    assert waiting(opened(tmp_path, "one"), "one") == ["one"]


def test_a_file_that_is_a_pipe_or_a_link_is_not_followed(tmp_path: Path) -> None:
    opened(tmp_path)
    file = tmp_path / "workstate.db-origin"
    real = file.rename(tmp_path / "real")
    file.symlink_to(real)
    before = real.read_text()
    assert waiting(opened(tmp_path, "one"), "one") == ["one"]
    assert real.read_text() == before
    file.unlink()
    os.mkfifo(file)
    assert waiting(opened(tmp_path, "one"), "one") == ["one"]


def test_a_file_that_cannot_be_written_holds_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened(tmp_path, machine=ELSEWHERE)
    (tmp_path / "workstate.db-origin").unlink()
    (tmp_path / "workstate.db-origin").mkdir()
    origin = opened(tmp_path, "one")
    assert waiting(origin, "one", "two") == ["one"]
    assert "workstate.db-origin cannot be written" in caplog.text
    assert sorted(os.listdir(tmp_path)) == ["workstate.db", "workstate.db-origin"]


def test_a_work_state_began_elsewhere_until_an_engine_here_has_looked_at_it(tmp_path: Path) -> None:
    database = tmp_path / "workstate.db"
    origin = Origin(database, machine="here")
    assert not origin.began_elsewhere()  # there is none
    database.touch()
    assert origin.began_elsewhere()
    origin.look()
    origin.hold([])
    assert not origin.began_elsewhere()
    assert Origin(database, machine="elsewhere").began_elsewhere()
