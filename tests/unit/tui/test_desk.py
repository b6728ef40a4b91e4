from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from aisquad_tui.desk import Desk

if TYPE_CHECKING:
    from pathlib import Path


def make_files(folder: Path, number: int) -> list[str]:
    paths = [folder / f"convoy-{n}.toml" for n in range(number)]
    for path in paths:
        path.touch()
    return [str(path) for path in paths]


def test_the_newest_file_is_first_and_each_is_there_once(tmp_path: Path) -> None:
    one, two = make_files(tmp_path, 2)
    desk = Desk(str(tmp_path))
    for path in (one, two, one):
        desk.remember(path)
    assert Desk(str(tmp_path)).recent() == (one, two)


def test_only_so_many_are_kept(tmp_path: Path) -> None:
    paths = make_files(tmp_path, 25)
    desk = Desk(str(tmp_path))
    for path in paths:
        desk.remember(path)
    assert desk.recent() == tuple(reversed(paths[5:]))
    assert len(json.loads((tmp_path / "recent.json").read_text())) == 20


def test_a_file_that_is_gone_is_not_offered(tmp_path: Path) -> None:
    one, two = make_files(tmp_path, 2)
    desk = Desk(str(tmp_path))
    desk.remember(one)
    desk.remember(two)
    os.unlink(two)
    assert desk.recent() == (one,)


def test_only_its_owner_can_read_the_list_and_no_draft_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    Desk(str(folder)).remember(make_files(tmp_path, 1)[0])
    assert os.listdir(folder) == ["recent.json"]
    assert stat.S_IMODE((folder / "recent.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "rubbish",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"7",
        b'{"a": 1}',
        b'["relative", 7, null, "/a\\u0000b"]',
        b"[" * 9000,
    ],
)
def test_rubbish_counts_as_an_empty_list_and_is_replaced(tmp_path: Path, rubbish: bytes) -> None:
    (tmp_path / "recent.json").write_bytes(rubbish)
    desk = Desk(str(tmp_path))
    assert desk.recent() == ()
    [path] = make_files(tmp_path, 1)
    desk.remember(path)
    assert json.loads((tmp_path / "recent.json").read_text()) == [path]


def test_a_folder_that_is_not_there_remembers_nothing(tmp_path: Path) -> None:
    [path] = make_files(tmp_path, 1)
    for folder in ("", str(tmp_path / "nowhere")):
        desk = Desk(folder)
        desk.remember(path)
        assert desk.recent() == ()
