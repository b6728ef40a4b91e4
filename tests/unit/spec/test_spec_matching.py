from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from aisquad_core.spec.matching import TooManyMatchesError, match_files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a.py", "b.txt", ".hidden.py", "src/c.py", "src/deep/d.py", "src/.git/e.py"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "src/loop").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "src/deep")
    (tmp_path / "broken.py").symlink_to("nowhere")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.py", ["a.py"]),
        ("./*.py", ["a.py"]),
        ("*", ["a.py", "b.txt"]),
        ("[!a].???", ["b.txt"]),
        (".*.py", [".hidden.py"]),
        ("src//c.py", ["src/c.py"]),
        ("src/../src/*.py", ["src/../src/c.py"]),
        ("**", ["a.py", "b.txt", "src/c.py", "src/deep/d.py"]),
        ("**/*.py", ["a.py", "src/c.py", "src/deep/d.py"]),
        ("**/**/src/**/d.py", ["src/deep/d.py"]),
        ("**/deep/**", ["src/deep/d.py"]),
        ("src/.git/*", ["src/.git/e.py"]),
        ("*/*.py", ["link/d.py", "src/c.py"]),
        ("src/loop/*.py", ["src/loop/a.py"]),
        ("*/", ["empty", "link", "src"]),
        ("**/", ["empty", "link", "src", "src/deep", "src/loop"]),
        ("src/deep/", ["src/deep"]),
        ("src", []),
        ("a.py/*", []),
        ("nowhere/*.py", []),
        ("/", []),
    ],
)
def test_a_pattern_matches_as_in_a_shell(tree: Path, pattern: str, expected: list[str]) -> None:
    assert expected == list(match_files(pattern, str(tree), 100))


def test_an_absolute_pattern_gives_absolute_paths(tree: Path) -> None:
    assert (f"{tree}/a.py",) == match_files(f"{tree}/*.py", "/", 100)


def test_a_name_that_is_not_utf8_matches(tree: Path) -> None:
    name = b"caf\xe9\n.py"
    os.close(os.open(os.fsencode(tree) + b"/" + name, os.O_CREAT))
    assert os.fsdecode(name) in match_files("*.py", str(tree), 100)


def test_more_matches_than_the_limit_are_an_error(tree: Path) -> None:
    assert len(match_files("**/*.py", str(tree), 3)) == 3
    with pytest.raises(TooManyMatchesError):
        match_files("**/*.py", str(tree), 2)


def test_a_folder_that_cannot_be_read_is_an_error(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:  # root may read everything, so that no mode helps here
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("aisquad_core.spec.matching.os.scandir", refuse)
    with pytest.raises(PermissionError):
        match_files("*.py", str(tree), 100)
