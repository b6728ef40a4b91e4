from __future__ import annotations

import base64
import os
import re
from typing import TYPE_CHECKING

import pytest

from aisquad_tui import clipboard
from aisquad_tui.clipboard import CopyError, copy
from aisquad_tui.surroundings import Terminal

if TYPE_CHECKING:
    from pathlib import Path

_BARE, _TMUX = Terminal(), Terminal(multiplexer="tmux")
_MOST_BYTES = 74_994 // 4 * 3
"""What fits in a sequence, encoded."""


@pytest.fixture
def tmux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is first on PATH, for a pretended tmux."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return tmp_path


def _install(folder: Path, script: str) -> None:
    program = folder / "tmux"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def _drop(sequence: str) -> None:
    pytest.fail(f"written to the terminal: {sequence[:20]!r}")


def _decoded(written: list[str]) -> bytes:
    found = re.fullmatch(r"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07", "".join(written))
    assert found is not None
    return base64.b64decode(found[1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fix-api-001", "11 characters copied to the terminal's clipboard"),
        ("x", "1 character copied to the terminal's clipboard"),
        ("one\ntwo\nthree", "3 lines copied to the terminal's clipboard"),
        ("one\ntwo\n", "2 lines copied to the terminal's clipboard"),
        ("Grüße ✓", "7 characters copied to the terminal's clipboard"),
    ],
)
async def test_outside_tmux_the_terminal_is_handed_the_text(text: str, said: str) -> None:
    written: list[str] = []
    assert await copy(text, _BARE, written.append) == said
    assert _decoded(written) == text.encode()


async def test_bytes_that_were_no_text_come_out_as_they_were() -> None:
    written: list[str] = []
    await copy(os.fsdecode(b"caf\xe9"), _BARE, written.append)
    assert _decoded(written) == b"caf\xe9"


async def test_what_a_terminal_would_cut_is_refused_with_the_way_out() -> None:
    written: list[str] = []
    await copy("x" * _MOST_BYTES, _BARE, written.append)
    assert len(_decoded(written)) == _MOST_BYTES
    with pytest.raises(CopyError, match="56,247 bytes are too many for a terminal; S saves"):
        await copy("x" * (_MOST_BYTES + 3), _BARE, written.append)
    assert len(written) == 1


async def test_in_tmux_it_goes_through_tmux_whatever_its_size(tmux: Path) -> None:
    _install(tmux, f'echo "$@" > {tmux}/arguments; cat > {tmux}/buffer')
    written: list[str] = []
    text = "line\n" * 40_000
    said = await copy(text, _TMUX, written.append)
    assert said == "40,000 lines copied to tmux's buffer and the terminal's clipboard"
    assert (tmux / "arguments").read_text() == "load-buffer -w -\n"
    assert (tmux / "buffer").read_text() == text
    assert written == []


async def test_what_tmux_says_when_it_refuses_is_told_without_control_characters(
    tmux: Path,
) -> None:
    _install(tmux, "cat > /dev/null; printf 'no server\\033[31m running' >&2; exit 1")
    with pytest.raises(CopyError) as caught:
        await copy("x", _TMUX, _drop)
    assert str(caught.value).startswith("tmux: no server")
    assert "\x1b" not in str(caught.value)


async def test_a_tmux_that_does_not_read_its_input_is_no_crash(tmux: Path) -> None:
    _install(tmux, "exit 1")
    with pytest.raises(CopyError, match="tmux: exit status 1"):
        await copy("x" * 1_000_000, _TMUX, _drop)


async def test_a_tmux_that_is_not_there_is_told(
    tmux: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmux))
    with pytest.raises(CopyError, match="tmux: No such file or directory"):
        await copy("x", _TMUX, _drop)


async def test_a_tmux_that_hangs_is_killed(tmux: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipboard, "TMUX_WAIT_S", 0.2)
    _install(tmux, f"echo $$ > {tmux}/pid; exec sleep 600")
    with pytest.raises(CopyError, match=r"did not take it within 0\.2 s"):
        await copy("x", _TMUX, _drop)
    if (tmux / "pid").exists():  # it may have been killed before it wrote it
        pid = int((tmux / "pid").read_text())
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
