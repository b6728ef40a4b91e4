"""What a search looks for: text, or a regular expression between slashes; pure."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from aisquad_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_WINDOWS = (16_384, 1_500, 300, 100)
"""Characters of a line that a regular expression sees at a time, by the number of its repeats: its
time grows with a power of the length, and nothing can interrupt it. Windows overlap by half, so
that shorter matches are found wherever they are; `$` may hold where a window ends."""
_REPEATS = re.compile(r"[*+]|\{\d*,\d*\}")
_HARMLESS = bytes({*range(0x20, 0x7F), *b"\t\n"})
_COLOUR = re.compile(rb"\x1b\[[0-9;:]*m")


class Matcher:
    """Finds what an operator asked for in the text of a line.

    Case counts only if the query has a capital letter.

    Args:
        query: Text, or `/regex/`.

    Raises:
        InputError: It is empty, no regular expression, or one that could take for ever.
    """

    def __init__(self, query: str) -> None:
        self.query = query
        self._window: int | None = None
        self._needle: bytes | None = None
        if is_regex := len(query) > 2 and query.startswith("/") and query.endswith("/"):
            pattern = query[1:-1]
            self._window = _window_of(pattern)
        else:
            pattern = re.escape(query)
        if not query:
            raise InputError("type what to search for")
        self._ignores_case = not any(char.isupper() for char in query)
        try:
            self._regex = re.compile(pattern, re.IGNORECASE if self._ignores_case else 0)
        except (re.error, OverflowError, RecursionError) as error:
            raise InputError(f"no regular expression: {error}") from error
        if not is_regex:
            needle = query.encode("utf-8", "replace")
            self._needle = needle.lower() if self._ignores_case else needle

    @property
    def is_text(self) -> bool:
        """Whether it looks for plain text."""
        return self._needle is not None

    def spans(self, text: str, *, until: float | None = None) -> list[tuple[int, int]]:
        """Return where it is found in a line: first character, and the one behind the last.

        Args:
            text: The line.
            until: Value of `time.perf_counter` at which to be content with what was found.
        """
        found: list[tuple[int, int]] = []
        for each in self.scan(text):
            if each is not None:
                found.append(each)
            if until is not None and time.perf_counter() > until:
                break
        return found

    def may_be_in(self, data: bytes) -> bool:
        """Whether it can be in any line of these bytes; True where only a closer look can tell."""
        if self._needle is None or (b" " in self._needle and b"\t" in data):
            return True
        if data.translate(None, _HARMLESS):
            data = _COLOUR.sub(b"", data).replace(b"\r", b"")
            if data.translate(None, _HARMLESS):
                return True
        return self._needle in (data.lower() if self._ignores_case else data)

    def scan(self, text: str) -> Iterator[tuple[int, int] | None]:
        """Yield where it is found in a line, and None whenever a part of it is done."""
        size = len(text) if self._window is None else self._window
        done, half = 0, max(1, size // 2)
        for begin in range(0, max(1, len(text) - half), half) if size < len(text) else (0,):
            stop = begin + size
            for found in self._regex.finditer(text, max(done, begin), stop):
                start, end = found.span()
                if end > start:
                    yield start, end
                    done = end
            yield None


def _window_of(pattern: str) -> int:
    """Return how much of a line a pattern may see, so that it answers soon.

    Raises:
        InputError: It repeats a group that repeats, or repeats too often.
    """
    bare = re.sub(r"\\.", "_", pattern, flags=re.DOTALL)
    bare = re.sub(r"\[\^?\]?[^\]]*\]", "_", bare)
    repeats = _REPEATS.findall(bare)
    if len(repeats) >= len(_WINDOWS):
        raise InputError(f"a search may have {len(_WINDOWS) - 1} repeats (* + {{n,m}}) at most")
    while (inner := re.search(r"\([^()]*\)", bare)) is not None:
        behind = bare[inner.end() : inner.end() + 1]
        if behind and behind in "*+{" and re.search(r"[*+?{|]", inner[0].replace("(?", "(")):
            raise InputError("a repeated group that repeats or branches could search for ever")
        bare = (
            bare[: inner.start()]
            + ("_*" if _REPEATS.search(inner[0]) else "_")
            + (bare[inner.end() :])
        )
    return _WINDOWS[len(repeats)]
