from __future__ import annotations

import io
from pathlib import Path

import pytest

from aisquad_core.errors import SpecError
from aisquad_core.spec import SpecFormat, read_source


def problem(path: Path | str, format: SpecFormat | None = None) -> tuple[str, str, int | None]:
    with pytest.raises(SpecError) as raised:
        read_source(path, format=format, stdin=io.BytesIO())
    (found,) = raised.value.problems
    return found.file, found.message, found.line


@pytest.mark.parametrize(
    ("name", "format"),
    [("a.toml", "toml"), ("a.yaml", "yaml"), ("a.YML", "yaml"), ("a.json", "json")],
)
def test_the_suffix_tells_the_format(tmp_path: Path, name: str, format: str) -> None:
    (tmp_path / name).write_bytes(b"\xef\xbb\xbftext\r\n")
    source = read_source(tmp_path / name)
    assert ("text\r\n", format, str(tmp_path)) == (source.text, source.format, source.base_dir)
    assert str(tmp_path / name) == source.origin


def test_a_relative_name_is_kept_and_its_folder_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.toml").touch()
    monkeypatch.chdir(tmp_path)
    source = read_source("sub/a.toml")
    assert ("sub/a.toml", str(tmp_path / "sub")) == (source.origin, source.base_dir)


def test_standard_input_is_read_with_a_format() -> None:
    source = read_source("-", format=SpecFormat.JSON, stdin=io.BytesIO(b"{}"))
    assert ("{}", "<stdin>", str(Path.cwd())) == (source.text, source.origin, source.base_dir)
    assert "--format toml" in problem("-")[1]


def test_what_cannot_be_read_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "bytes.toml").write_bytes(b"a = 1\nb = '\xff'")
    (tmp_path / "long.toml").write_bytes(b"#" * 10_000_001)
    assert problem(tmp_path / "no.toml")[1] == "cannot be read: No such file or directory"
    assert problem(tmp_path / "folder.toml")[1] == "cannot be read: Is a directory"
    assert problem(f"{tmp_path}/a\0.toml")[1] == "cannot be read: embedded null byte"
    assert problem(tmp_path / "bytes.toml")[1:] == ("found byte 0xff, expected UTF-8 text", 2)
    assert problem(tmp_path / "long.toml")[1] == "longer than 10 MB"
    assert "does not tell the format" in problem(tmp_path / "convoy.txt")[1]
    assert "\\n" in problem(tmp_path / "a\n.toml")[0]
