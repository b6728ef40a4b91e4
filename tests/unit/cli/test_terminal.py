from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from aisquad_tui.cli.terminal import Block, ColorChoice, Ink, Stream, open_terminal
from aisquad_tui.formatting import ASCII_GLYPHS, GLYPHS

if TYPE_CHECKING:
    from collections.abc import Mapping


class Tty(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding)

    def isatty(self) -> bool:
        return True


def streams(
    monkeypatch: pytest.MonkeyPatch,
    environ: Mapping[str, str],
    color: ColorChoice = ColorChoice.AUTO,
    *,
    is_tty: bool = True,
    encoding: str = "utf-8",
) -> Stream:
    file = Tty(encoding) if is_tty else io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", file)
    monkeypatch.setattr("sys.stderr", file)
    return open_terminal(color=color, environ=environ).out


@pytest.mark.parametrize(
    ("environ", "is_tty", "color", "expected"),
    [
        ({"TERM": "xterm"}, True, ColorChoice.AUTO, True),
        ({"TERM": "xterm"}, False, ColorChoice.AUTO, False),
        ({"TERM": "dumb"}, True, ColorChoice.AUTO, False),
        ({}, True, ColorChoice.AUTO, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, ColorChoice.AUTO, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, ColorChoice.AUTO, True),
        ({"FORCE_COLOR": "1"}, False, ColorChoice.AUTO, True),
        ({"FORCE_COLOR": "0"}, False, ColorChoice.AUTO, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, ColorChoice.AUTO, False),
        ({"NO_COLOR": "1"}, False, ColorChoice.ALWAYS, True),
        ({"TERM": "xterm", "FORCE_COLOR": "1"}, True, ColorChoice.NEVER, False),
    ],
)
def test_colours_follow_the_flag_then_the_environment_then_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    is_tty: bool,
    color: ColorChoice,
    expected: bool,
) -> None:
    assert streams(monkeypatch, environ, color, is_tty=is_tty).has_color is expected


def test_a_dumb_terminal_is_never_repainted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not streams(monkeypatch, {"TERM": "dumb"}).is_terminal


def test_other_encodings_get_plain_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert streams(monkeypatch, {}, encoding="latin-1").glyphs is ASCII_GLYPHS
    assert streams(monkeypatch, {}).glyphs is GLYPHS


def test_fitted_pieces_end_where_the_width_ends() -> None:
    stream = Stream(io.StringIO(), True, False, GLYPHS)
    assert stream.fit([("ab", Ink.GOOD), ("cdef", Ink.BAD), ("gh", Ink.PLAIN)], 5) == "abcd…"


class Sized(Stream):
    """A terminal of 10 columns and 4 lines."""

    __slots__ = ()

    def size(self) -> tuple[int, int]:
        return 10, 4


@pytest.fixture
def written() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def block(written: io.StringIO) -> Block:
    return Block(Sized(written, True, True, GLYPHS))


def test_a_block_is_repainted_in_place(block: Block, written: io.StringIO) -> None:
    block.paint(["one", "two"])
    block.paint(["three"])
    assert written.getvalue() == (
        "\r\x1b[Kone\n\x1b[Ktwo\n\x1b[J"  # painted
        "\x1b[2A\r\x1b[Kthree\n\x1b[J"  # two lines up, painted again, the rest erased
    )


def test_a_block_that_did_not_change_writes_nothing(block: Block, written: io.StringIO) -> None:
    block.paint(["one"])
    before = written.getvalue()
    block.paint(["one"])
    assert written.getvalue() == before


def test_a_block_never_takes_more_lines_than_the_terminal(
    block: Block, written: io.StringIO
) -> None:
    block.paint([str(n) for n in range(50)])
    assert written.getvalue().count("\n") == 3


def test_lines_that_wrapped_in_a_narrower_terminal_are_counted(
    block: Block, written: io.StringIO
) -> None:
    block.paint(["\x1b[32m" + "x" * 25 + "\x1b[0m"])
    block.clear()
    assert written.getvalue().endswith("\x1b[3A\r\x1b[J")
