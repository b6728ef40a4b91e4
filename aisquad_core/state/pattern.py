"""Matching the text of items: parts of it, and regular expressions that cannot run away.

Python's `re` holds the interpreter while it backtracks, so an expression whose worst case is long
would stop the whole engine. Such expressions are refused before any text is looked at, and what is
matched is cut to a length.
"""

from __future__ import annotations

import math
import re
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING

from aisquad_core.api import ItemField
from aisquad_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aisquad_core.api import ItemTerm

MOST_TEXT = 256
"""Characters of a text in which an expression is looked for."""
_MOST_EXPRESSION = 256
_MOST_STEPS = 10_000_000
"""Steps of the worst text; some tenths of a second."""
_REPEAT = re.compile(r"\*|\+|\?|\{(\d*)(?:(,)(\d*))?\}")
_GROUP = re.compile(r"\((?:\?(?::|>|=|!|<=|<!|P<\w+>))?")
_ATOM = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)


@lru_cache(maxsize=64)
def compile_pattern(expression: str) -> re.Pattern[str]:
    """Return a regular expression that is found without regard to case.

    Raises:
        InputError: It is none, or could take very long on some text.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # a set in a set, some day
            compiled = re.compile(expression, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(f"{expression!r} is not a regular expression: {error}") from error
    if problem := _danger(expression):
        raise InputError(f"the regular expression {expression!r} {problem}")
    return compiled


def check(terms: Iterable[ItemTerm]) -> None:
    """Refuse terms whose expression is none, or could take very long.

    Raises:
        InputError: Names the expression.
    """
    for term in terms:
        if term.is_regex:
            compile_pattern(term.text)


def is_found(expression: str, text: str | None) -> bool:
    """Whether the expression is found in the beginning of the text; None is an empty text."""
    return compile_pattern(expression).search((text or "")[:MOST_TEXT]) is not None


def contains(part: str, text: str | None) -> bool:
    """Whether the text has that part, without regard to case; None is an empty text."""
    return part.lower() in (text or "").lower()


def holds(term: ItemTerm, *texts: str | None) -> bool:
    """Whether a term, negated or not, holds for an item whose field has these texts."""
    if term.is_regex:
        has_one = any(is_found(term.text, text) for text in texts)
    elif term.field is ItemField.EXIT:
        has_one = term.text in texts
    else:
        has_one = any(contains(term.text, text) for text in texts)
    return has_one is not term.is_negated


class _Group:
    """What has been read of a group, or of the whole expression."""

    def __init__(self) -> None:
        self.is_varied = False
        """Whether its content can match in more than one way."""
        self.repeats = 0
        """Repeats of this branch that only the text bounds."""
        self.ways = 1
        """In how many ways the rest of this branch can match."""
        self._most_repeats = 0
        self._all_ways = 0

    def end_branch(self) -> None:
        """Begin the next alternative."""
        self._most_repeats = max(self._most_repeats, self.repeats)
        self._all_ways += self.ways
        self.repeats, self.ways = 0, 1

    def end(self) -> tuple[int, int]:
        """Return the unbounded repeats and the ways of all alternatives together."""
        self.end_branch()
        return self._most_repeats, self._all_ways


def _danger(expression: str) -> str | None:
    """Say why an expression that compiles may take very long; None if it cannot.

    The steps are at most the ways to lay its repeats into the text, one after the other.
    """
    if len(expression) > _MOST_EXPRESSION:
        return f"is longer than {_MOST_EXPRESSION} characters"
    groups = [_Group()]
    at = 0
    while at < len(expression):
        closed: _Group | None = None
        match expression[at]:
            case "(":
                opening = _GROUP.match(expression, at)
                at = at + 1 if opening is None else opening.end()
                if expression[at : at + 1] == "?":
                    return "has a kind of group that is not supported here"
                groups.append(_Group())
                continue
            case "|":
                groups[-1].end_branch()
                groups[-1].is_varied = True
                at += 1
                continue
            case ")":
                closed = groups.pop()
                repeats, ways = closed.end()
                groups[-1].repeats += repeats
                groups[-1].ways *= ways
                groups[-1].is_varied |= closed.is_varied
                at += 1
            case _:
                atom = _ATOM.match(expression, at)
                at = at + 1 if atom is None else atom.end()
                if re.fullmatch(r"\\[1-9]", expression[at - 2 : at]):
                    return "refers back to a group, which is not supported here"
        repeat = _REPEAT.match(expression, at)
        if repeat is None or repeat[0] == "{}":
            continue
        at = repeat.end()
        at += expression[at : at + 1] in ("?", "+")
        if repeat[0] != "?" and closed is not None and closed.is_varied:
            return "repeats something that repeats or has alternatives"
        extra = _extra_ways(repeat)
        groups[-1].repeats += extra is None
        groups[-1].ways *= extra or 1
        groups[-1].is_varied |= extra != 1
    repeats, ways = groups[0].end()
    steps = ways * math.comb(MOST_TEXT + repeats, repeats + 1)
    return "could take too long: it repeats too much" if steps > _MOST_STEPS else None


def _extra_ways(repeat: re.Match[str]) -> int | None:
    """Return in how many ways a repeat can match; None if only the text bounds it."""
    if repeat[0] == "?":
        return 2
    least, comma, most = repeat.groups()
    if repeat[0] in "*+" or (comma and not most):
        return None
    if not comma:
        return 1
    return int(most) - int(least or 0) + 1
