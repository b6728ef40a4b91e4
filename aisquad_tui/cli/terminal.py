"""Where a command's words go: data to standard output, talk to standard error.

Knows colours, widths and repainting in place; what is printed here is sanitised already.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TextIO

from aisquad_core.model import ConvoyStatus, WorkStatus
from aisquad_tui.formatting import ASCII_GLYPHS, GLYPHS, Glyphs, cell_width, cut

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SGR = re.compile(r"\x1b\[[0-9;]*m")


class ColorChoice(StrEnum):
    """The values of `--color`."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Ink(StrEnum):
    """What a piece of text means; the SGR parameters that show it."""

    PLAIN = ""
    GOOD = "32"
    BAD = "31"
    BUSY = "36"
    WARN = "33"
    DIM = "2"
    STRONG = "1"


ITEM_INKS: Mapping[WorkStatus, Ink] = {
    WorkStatus.PENDING: Ink.PLAIN,
    WorkStatus.BLOCKED: Ink.DIM,
    WorkStatus.IN_PROGRESS: Ink.BUSY,
    WorkStatus.COMPLETED: Ink.GOOD,
    WorkStatus.FAILED: Ink.BAD,
    WorkStatus.CANCELLED: Ink.WARN,
    WorkStatus.SKIPPED: Ink.DIM,
    WorkStatus.LOST: Ink.BAD,
}
CONVOY_INKS: Mapping[ConvoyStatus, Ink] = {
    ConvoyStatus.PENDING: Ink.PLAIN,
    ConvoyStatus.RUNNING: Ink.BUSY,
    ConvoyStatus.PAUSED: Ink.WARN,
    ConvoyStatus.COMPLETED: Ink.GOOD,
    ConvoyStatus.PARTIAL: Ink.BAD,
    ConvoyStatus.FAILED: Ink.BAD,
    ConvoyStatus.CANCELLED: Ink.WARN,
}


@dataclass(frozen=True, slots=True)
class Stream:
    """One of the standard streams, with what it can show."""

    file: TextIO
    is_terminal: bool
    """Somebody may be looking, and lines may be repainted."""
    has_color: bool
    glyphs: Glyphs

    def line(self, text: str = "") -> None:
        """Write one line."""
        self.file.write(text + "\n")

    def ink(self, text: str, ink: Ink) -> str:
        """Return the text coloured, if this stream shows colours."""
        return f"\x1b[{ink}m{text}\x1b[0m" if self.has_color and ink and text else text

    def fit(self, pieces: Sequence[tuple[str, Ink]], width: int) -> str:
        """Return coloured pieces as one text of at most `width` cells."""
        inked: list[str] = []
        for text, ink in pieces:
            shown = cut(text, width, self.glyphs.ellipsis)
            inked.append(self.ink(shown, ink))
            width -= cell_width(shown)
            if shown != text:
                break
        return "".join(inked)

    def size(self) -> tuple[int, int]:
        """Return the columns and lines of the terminal, now; 80 by 24 when it does not say."""
        try:
            columns, lines = os.get_terminal_size(self.file.fileno())
        except OSError:
            return 80, 24
        return columns or 80, lines or 24

    def width(self) -> int | None:
        """Return the columns that tables may take; None (no limit) when not a terminal."""
        return self.size()[0] if self.is_terminal else None


@dataclass(frozen=True, slots=True)
class Terminal:
    """Both streams, and how stamps are shown."""

    out: Stream
    err: Stream
    is_utc: bool
    """Stamps in UTC instead of local time."""

    def say(self, text: str) -> None:
        """Talk: one line to standard error, at once."""
        self.err.line(text)
        self.err.file.flush()


def open_terminal(
    *,
    color: ColorChoice = ColorChoice.AUTO,
    is_utc: bool = False,
    environ: Mapping[str, str] | None = None,
) -> Terminal:
    """Look at the standard streams once and return what they can show."""
    environ = os.environ if environ is None else environ
    return Terminal(
        out=_look(sys.stdout, color, environ), err=_look(sys.stderr, color, environ), is_utc=is_utc
    )


def _look(file: TextIO, color: ColorChoice, environ: Mapping[str, str]) -> Stream:
    is_terminal = file.isatty() and environ.get("TERM", "") not in {"", "dumb"}
    if color is not ColorChoice.AUTO:
        has_color = color is ColorChoice.ALWAYS
    elif environ.get("NO_COLOR"):
        has_color = False
    else:
        has_color = is_terminal or environ.get("FORCE_COLOR", "") not in {"", "0"}
    is_utf8 = (file.encoding or "").lower().replace("-", "") == "utf8"
    return Stream(file, is_terminal, has_color, GLYPHS if is_utf8 else ASCII_GLYPHS)


class Block:
    """Some lines at the foot of a terminal, repainted in place.

    Never more lines than the terminal has, so that nothing scrolls away; leaves the cursor at the
    start of the line below what it painted.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._painted: list[str] = []

    def paint(self, lines: Sequence[str]) -> None:
        """Show these lines, each fitted to the terminal's width, in place of the earlier ones."""
        columns, height = self._stream.size()
        shown = list(lines[: max(1, height - 1)])
        if shown != self._painted:
            body = "".join(f"\x1b[K{line}\n" for line in shown)
            self._write(f"{self._up(columns)}{body}\x1b[J")
            self._painted = shown

    def clear(self) -> None:
        """Take the lines away; whatever is printed next stands in their place."""
        if self._painted:
            self._write(f"{self._up(self._stream.size()[0])}\x1b[J")
            self._painted = []

    def _up(self, columns: int) -> str:
        """Go to the first painted line; lines have wrapped if the terminal became narrower."""
        widths = (cell_width(_SGR.sub("", line)) for line in self._painted)
        rows = sum(max(1, -(-width // columns)) for width in widths)
        return f"\x1b[{rows}A\r" if rows else "\r"

    def _write(self, text: str) -> None:
        self._stream.file.write(text)
        self._stream.file.flush()
