from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisquad_core.errors import SpecError
from aisquad_core.spec import AdHocSource, SpecFormat, SpecSource, plan
from aisquad_tui import draft as drafts
from aisquad_tui.draft import Draft, Word, expand, file_of, pasted_inputs, words

if TYPE_CHECKING:
    from pathlib import Path

FILE = 'name = "night"\n[[operations]]\nid = "a"\nrun = "true"\n'


def problem_of(draft: Draft, cwd: Path) -> str:
    with pytest.raises(SpecError) as caught:
        draft.source(str(cwd))
    return str(caught.value)


def test_a_file_is_read_from_where_convoys_are_launched(tmp_path: Path) -> None:
    (tmp_path / "convoys").mkdir()
    (tmp_path / "convoys" / "night.toml").write_text(FILE)
    source = Draft(path=" convoys/night.toml ").source(str(tmp_path))
    assert isinstance(source, SpecSource)
    assert (source.text, source.origin) == (FILE, "convoys/night.toml")
    assert source.base_dir == str(tmp_path / "convoys")
    assert file_of(source) == str(tmp_path / "convoys" / "night.toml")


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "night.toml").write_text(FILE)
    source = Draft(path="~/night.toml").source("/")
    assert isinstance(source, SpecSource)
    assert source.origin == "~/night.toml"


def test_a_mistyped_file_is_named_as_it_was_typed_with_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "nightly.toml").write_text(FILE)
    said = problem_of(Draft(path="nihgtly.toml"), tmp_path)
    assert said.startswith("nihgtly.toml: cannot be read: No such file")
    assert said.endswith('; did you mean "nightly.toml"?')


def test_a_file_that_is_too_long_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aisquad_core.spec.source.MAX_FILE_BYTES", 1_000_000)
    (tmp_path / "long.toml").write_bytes(b"#" * 1_000_001)
    assert "longer than 1 MB" in problem_of(Draft(path="long.toml"), tmp_path)


def test_a_command_over_inputs_is_an_ad_hoc_convoy(tmp_path: Path) -> None:
    for name in ("b.py", "a.py", "c.txt"):
        (tmp_path / name).touch()
    source = Draft(
        command="ruff check {}", inputs="*.py 'x y'", name="lint", agent="linter"
    ).source(str(tmp_path))
    assert source == AdHocSource(
        command="ruff check {}", inputs=("a.py", "b.py", "x y"), name="lint", agent="linter"
    )
    assert file_of(source) is None


def test_a_command_without_inputs_runs_once(tmp_path: Path) -> None:
    source = Draft(command="make 'all' -j2").source(str(tmp_path))
    assert isinstance(source, SpecSource)
    assert json.loads(source.text)["operations"] == [{"id": "make", "run": "make 'all' -j2"}]
    planned = plan(source, agents={}, cwd=str(tmp_path))
    assert (planned.name, planned.total) == ("make", 1)
    assert file_of(source) is None


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        (Draft(path="a.toml", command="ls"), drafts.FILE),
        (Draft(path="a.toml", inputs="b"), drafts.FOR_EACH),
        (Draft(path="a.toml", name="b"), drafts.NAME),
        (Draft(path="a.toml", agent="b"), drafts.AGENT),
        (Draft(command="echo {}"), drafts.FOR_EACH),
        (Draft(command="echo", inputs="'a"), drafts.FOR_EACH),
        (Draft(command="echo", inputs="nothing/*.here"), drafts.FOR_EACH),
    ],
)
def test_a_problem_names_its_field(draft: Draft, field: str, tmp_path: Path) -> None:
    assert problem_of(draft, tmp_path).startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  a  b ", [Word("a", False), Word("b", False)]),
        ("src/**/*.py", [Word("src/**/*.py", True)]),
        ("'*.py' \"a b\"", [Word("*.py", False), Word("a b", False)]),
        (r"\*.py a\ b", [Word("*.py", False), Word("a b", False)]),
        (r""" "a\"b\c" '\' """, [Word(r'a"b\c', False), Word("\\", False)]),
        ("''", [Word("", False)]),
        ("a'b c'd", [Word("ab cd", False)]),
    ],
)
def test_inputs_are_split_as_a_shell_does(text: str, expected: list[Word]) -> None:
    assert list(words(text)) == expected


@given(
    st.lists(
        st.text(st.characters(exclude_categories=("C", "Z"))).filter(bool), min_size=2, max_size=8
    )
)
def test_pasted_lines_are_each_one_input_whatever_is_in_them(lines: list[str]) -> None:
    assert [word.text for word in words(pasted_inputs("\n".join(lines)))] == lines


def test_one_pasted_line_stays_as_it_is() -> None:
    assert pasted_inputs("src/*.py tests/*.py\n") == "src/*.py tests/*.py"


def test_more_inputs_than_are_allowed_are_not_all_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aisquad_core.spec.MAX_OPERATIONS", 3)
    assert list(expand("a b c d e f", os.sep)) == ["a", "b", "c", "d"]


def test_what_standard_input_gave_is_no_file_to_remember() -> None:
    source = SpecSource(text=FILE, format=SpecFormat.TOML, origin="<stdin>", base_dir="/")
    assert file_of(source) is None
