"""The state folder: safe or refused, and one engine's at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from aisquad_core.errors import EngineRunningError, StateFolderError
from aisquad_core.state.folder import StateFolder, boot_id, engine_pid, find_file_system

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from aisquad_core.state.folder import StateFolder
folder = StateFolder(Path(sys.argv[1]))
folder.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "project" / ".ai_squad"


@pytest.fixture
def other_engine(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_new_folder_is_private_and_ignored_by_git(folder: Path) -> None:
    StateFolder(folder).prepare()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / ".gitignore").read_text() == "*\n"


def test_a_folder_with_other_things_in_it_is_not_hidden_from_git(tmp_path: Path) -> None:
    (tmp_path / "README").touch()
    StateFolder(tmp_path).prepare()
    assert not (tmp_path / ".gitignore").exists()


def test_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    folder.parent.mkdir()
    folder.symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(StateFolderError, match="symbolic link"):
        StateFolder(folder).prepare()


def test_a_dangling_link_and_a_file_are_refused(folder: Path) -> None:
    folder.parent.mkdir()
    folder.symlink_to(folder.parent / "nowhere")
    with pytest.raises(StateFolderError, match="symbolic link"):
        StateFolder(folder).prepare()
    folder.unlink()
    folder.touch()
    with pytest.raises(StateFolderError, match="not a folder"):
        StateFolder(folder).prepare()


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_may_write_to_is_refused(folder: Path, mode: int) -> None:
    folder.mkdir(parents=True)
    folder.chmod(mode)
    with pytest.raises(StateFolderError, match="others may write"):
        StateFolder(folder).acquire()
    assert [*folder.iterdir()] == []


def test_another_owners_folder_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(parents=True)
    owner = folder.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(StateFolderError, match=f"belongs to user {owner}, not to you"):
        StateFolder(folder).prepare()


def test_a_folder_below_a_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateFolderError, match="cannot be used: Not a directory"):
        StateFolder(tmp_path / "file" / "state").prepare()


def test_a_link_as_lock_is_refused(folder: Path, tmp_path: Path) -> None:
    StateFolder(folder).prepare()
    (folder / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(StateFolderError, match="lock"):
        StateFolder(folder).acquire()
    assert not (tmp_path / "victim").exists()
    assert engine_pid(folder) is None


def test_the_file_system_is_that_of_the_innermost_mount(tmp_path: Path) -> None:
    mounts = (
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "30 22 0:40 / /home rw,nosuid shared:1 - nfs4 server:/home rw\n"
        "31 30 0:41 / /home/a\\040b rw - ext4 /dev/sdb rw\n"
    )
    root = tmp_path.parents[-1]
    assert find_file_system(mounts, root / "home/me/.ai_squad") == "nfs4"
    assert find_file_system(mounts, root / "home/a b/x") == "ext4"
    assert find_file_system(mounts, root / "homes") == "ext4"


def test_a_second_engine_is_refused_and_told_the_first_ones_pid(
    folder: Path, other_engine: subprocess.Popen[str]
) -> None:
    with pytest.raises(EngineRunningError) as caught:
        StateFolder(folder).acquire()
    assert (caught.value.folder, caught.value.pid) == (folder, other_engine.pid)
    assert "--state DIR" in str(caught.value)
    assert engine_pid(folder) == other_engine.pid
    held = json.loads((folder / "lock").read_text())
    assert held.keys() == {"pid", "version", "started"}


def test_the_hold_ends_with_the_process(folder: Path, other_engine: subprocess.Popen[str]) -> None:
    other_engine.kill()
    other_engine.wait()
    assert engine_pid(folder) is None
    mine = StateFolder(folder)
    mine.acquire()
    assert engine_pid(folder) == os.getpid()
    mine.release()
    mine.release()
    assert engine_pid(folder) is None


def test_an_unreadable_lock_file_still_says_that_an_engine_runs(
    folder: Path, other_engine: subprocess.Popen[str]
) -> None:
    assert other_engine.poll() is None
    for text in ("", "{", "[]", '{"pid": "x"}'):
        (folder / "lock").write_text(text)
        assert engine_pid(folder) == 0


def test_no_folder_has_no_engine_and_is_not_made(folder: Path) -> None:
    assert engine_pid(folder) is None
    assert not folder.exists()


def test_the_boot_id_stays_the_same() -> None:
    assert boot_id() == boot_id()
    assert len(boot_id()) == 36
