from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aisquad_tui.completion import Completion, complete_path, complete_word, short_path

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "convoys").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("nightly-review.toml", "nightly-sweep.yaml", "notes.txt", "bell\x07.toml"):
        (tmp_path / "convoys" / name).touch()
    (tmp_path / "one.json").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "text", "choices"),
    [
        ("", "", ("one.json", "convoys/")),
        ("c", "convoys/", ("convoys/",)),
        ("convoys/", "convoys/nightly-", ("nightly-review.toml", "nightly-sweep.yaml")),
        ("convoys/nightly-r", "convoys/nightly-review.toml", ("nightly-review.toml",)),
        ("convoys/notes", "convoys/notes", ()),
        (".h", ".hidden/", (".hidden/",)),
        ("nowhere/x", "nowhere/x", ()),
    ],
)
def test_a_path_is_completed_as_far_as_it_is_certain(
    project: Path, typed: str, text: str, choices: tuple[str, ...]
) -> None:
    assert complete_path(typed, str(project)) == Completion(text=text, choices=choices)


def test_absolute_paths_and_the_home_folder_are_completed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(project))
    assert complete_path("~", "/").text == "~/"
    assert complete_path("~/on", "/").text == "~/one.json"
    assert complete_path(f"{project}/on", "/").text == f"{project}/one.json"


def test_a_word_is_completed_out_of_a_list() -> None:
    agents = ("reviewer", "engineer", "reader")
    assert complete_word("re", agents) == Completion(text="re", choices=("reader", "reviewer"))
    assert complete_word("e", agents).text == "engineer"
    assert complete_word("x", agents) == Completion(text="x")


def test_a_path_is_short_only_beneath_the_folder() -> None:
    assert short_path("/home/ada/shop/a.toml", "/home/ada/shop") == "a.toml"
    assert short_path("/home/ada/shopping/a.toml", "/home/ada/shop") == "/home/ada/shopping/a.toml"
    assert short_path("/a.toml", "/") == "a.toml"
