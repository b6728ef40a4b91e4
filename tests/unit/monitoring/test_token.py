"""The token and its file."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from aisquad_core.monitoring.token import TOKEN_NAME, Token

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_made_when_needed_for_its_owner_alone_and_then_stays(tmp_path: Path) -> None:
    token = Token(tmp_path).obtain()
    assert stat.S_IMODE((tmp_path / TOKEN_NAME).stat().st_mode) == 0o600
    assert len(token) >= 43
    assert Token(tmp_path).obtain() == token
    assert os.listdir(tmp_path) == [TOKEN_NAME]


def test_it_alone_is_the_token(tmp_path: Path) -> None:
    token = Token(tmp_path)
    secret = token.obtain()
    assert token.is_shown(secret)
    for wrong in ("", secret[:-1], secret + "x", secret.swapcase(), "é" * 43, "\udcff"):
        assert not token.is_shown(wrong)


def test_without_a_file_nothing_is_the_token(tmp_path: Path) -> None:
    assert not Token(tmp_path).is_shown("")
    assert not Token(tmp_path / "nowhere").is_shown("x" * 43)


def test_a_removed_one_no_longer_holds(tmp_path: Path) -> None:
    token = Token(tmp_path)
    secret = token.obtain()
    (tmp_path / TOKEN_NAME).unlink()
    assert not token.is_shown(secret)
    assert token.obtain() != secret


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o606])
def test_one_that_others_could_read_or_write_lets_nobody_in(tmp_path: Path, mode: int) -> None:
    token = Token(tmp_path)
    secret = token.obtain()
    (tmp_path / TOKEN_NAME).chmod(mode)
    assert not token.is_shown(secret)
    with pytest.raises(PermissionError):
        token.obtain()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("x" * 43)
    (tmp_path / "elsewhere").chmod(0o600)
    (tmp_path / TOKEN_NAME).symlink_to(tmp_path / "elsewhere")
    assert not Token(tmp_path).is_shown("x" * 43)


def test_one_too_short_to_be_a_secret_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / TOKEN_NAME).touch(mode=0o600)
    assert not Token(tmp_path).is_shown("")
