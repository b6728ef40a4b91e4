"""Collects everything that is wrong with a convoy file, each thing at its place."""

from __future__ import annotations

import difflib
import re
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from aisquad_core.errors import Problem, SpecError
from aisquad_core.sanitise import escape_controls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

KeyPath = tuple[str | int, ...]
"""Way to a value: `("operations", 3, "needs")`."""

_MAX_PROBLEMS = 20
_MAX_OPTIONS = 2_000
_MAX_SHOWN = 60
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class Report:
    """The problems of one source; the first 20 are kept, the rest counted.

    Args:
        file: What the operator calls the source.
        locate: Finds the line, from 1, of each of some key paths; None where there are no lines.
    """

    def __init__(
        self, file: str, locate: Callable[[set[KeyPath]], Mapping[KeyPath, int]] | None = None
    ) -> None:
        self._file = escape_controls(file)
        self._locate = locate
        self._problems: list[tuple[KeyPath, Problem]] = []
        self.count = 0
        """All problems so far."""

    def add(
        self,
        path: KeyPath,
        message: str,
        *,
        operation: str | None = None,
        line: int | None = None,
        file: str | None = None,
    ) -> None:
        """Note a problem; `file` is where it stands if not in this source."""
        self.count += 1
        if len(self._problems) < _MAX_PROBLEMS:
            problem = Problem(
                file=self._file if file is None else escape_controls(file),
                key=show_key(path),
                message=message,
                line=line,
                operation=None if operation is None else escape_controls(operation),
            )
            self._problems.append((path if file is None else (), problem))

    def suggest(self, word: str, options: Iterable[str]) -> str:
        """Return `; did you mean "x"?` for the option that is nearest, or nothing."""
        if self.count >= _MAX_PROBLEMS:
            return ""
        near = difflib.get_close_matches(word, islice(options, _MAX_OPTIONS), n=1, cutoff=0.7)
        return f"; did you mean {show_text(near[0])}?" if near else ""

    def raise_if_any(self) -> None:
        """Raise what was found.

        Raises:
            SpecError: There was a problem.
        """
        if not self._problems:
            return
        lines: Mapping[KeyPath, int] = {}
        if self._locate:
            lines = self._locate({p[:n] for p, _ in self._problems for n in range(1, len(p) + 1)})
        problems = [
            problem if problem.line else replace(problem, line=_line_of(path, lines))
            for path, problem in sorted(self._problems, key=lambda entry: _order(entry[0]))
        ]
        if more := self.count - len(problems):
            problems.append(Problem(file=self._file, key="", message=f"and {more:,} more problems"))
        raise SpecError(problems)


def _order(path: KeyPath) -> int:
    match path:
        case ("operations", int(index), *_):
            return index
    return -1


def _line_of(path: KeyPath, lines: Mapping[KeyPath, int]) -> int | None:
    prefixes = (path[:length] for length in range(len(path), 0, -1))
    return next((lines[prefix] for prefix in prefixes if prefix in lines), None)


def show_key(path: KeyPath) -> str:
    """Return a key path as people write it: `operations[3].needs`."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += ("." if text else "") + (key if _BARE_KEY.fullmatch(key) else show_text(key))
    return text


def show_text(text: str) -> str:
    """Return a text in quotes, printable, and cut when long."""
    shown = escape_controls(text[: _MAX_SHOWN + 1])
    return f'"{shown[:_MAX_SHOWN]}…"' if len(shown) > _MAX_SHOWN else f'"{shown}"'


def describe(value: object) -> str:
    """Say what a decoded value is: `the number 3`, `a list`."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f"the text {show_text(value)}" if value else "an empty text"
        case int() | float():
            return f"the number {value!s:.30}"
        case None:
            return "nothing (null)"
    if isinstance(value, dict | list):
        kind = "table" if isinstance(value, dict) else "list"
        return f"a {kind}" if value else f"an empty {kind}"
    return f"a {type(value).__name__}"
