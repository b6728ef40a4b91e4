"""The filter line: text that operators type to the conditions that the engine knows. Pure.

Words must all hold. `!word` must not; `field:value` looks at one field; `/expression/` is a regular
expression; quotes keep spaces. `status:failed,lost` lets several statuses through.
"""

from __future__ import annotations

import difflib
import re
import warnings
from typing import TYPE_CHECKING

from aisquad_core.api import ItemField, ItemFilter, ItemTerm
from aisquad_core.model import WorkStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FIELDS = tuple(field.value for field in ItemField if field is not ItemField.ANY)
_STATUSES = {
    **{status.word: status for status in WorkStatus},
    WorkStatus.IN_PROGRESS.value: WorkStatus.IN_PROGRESS,
}
_PIECE = re.compile(
    r"""(?P<negation>!?)
        (?:(?P<field>[A-Za-z]+):)?
        (?:"(?P<quoted>[^"]*)(?P<quote>"?)
          |/(?P<expression>(?:[^/\\]|\\.)*)(?P<slash>/?)
          |(?P<word>\S*))""",
    re.VERBOSE | re.DOTALL,
)


class FilterError(ValueError):
    """A filter line that says nothing that can be looked for."""

    def __init__(self, column: int, message: str) -> None:
        self.column = column
        """Where, counted from 0."""
        super().__init__(message)


def parse(text: str) -> ItemFilter:
    """Return the filter that a line means.

    Raises:
        FilterError: At which column something else was expected.
    """
    statuses: list[WorkStatus] = []
    terms: list[ItemTerm] = []
    for piece in _pieces(text):
        term = _term(piece)
        if term.field is not ItemField.STATUS or term.is_regex:
            terms.append(term)
        elif term.is_negated:
            terms += [
                ItemTerm(text=status.word, field=ItemField.STATUS, is_negated=True)
                for status in _statuses(term.text, _value_at(piece))
            ]
        else:
            statuses += _statuses(term.text, _value_at(piece))
    return ItemFilter(statuses=tuple(dict.fromkeys(statuses)), terms=tuple(dict.fromkeys(terms)))


def written(wanted: ItemFilter) -> str:
    """Return a line that means the statuses and terms of a filter that `parse` returned."""
    words = [_written(term) for term in wanted.terms]
    if wanted.statuses:
        words.insert(0, f"status:{','.join(status.word for status in wanted.statuses)}")
    return " ".join(words)


def _pieces(text: str) -> Iterator[re.Match[str]]:
    column = 0
    while column < len(text):
        if text[column].isspace():
            column += 1
            continue
        piece = _PIECE.match(text, column)
        if piece is None:
            raise FilterError(column, "expected a word, field:value or /expression/")
        column = piece.end()
        yield piece
        if column < len(text) and not text[column].isspace():
            sign = '"' if piece["quoted"] is not None else "/"
            hint = "" if sign == '"' else '; quote text that begins with "/"'
            raise FilterError(column, f"expected a space after the closing {sign}{hint}")


def _term(piece: re.Match[str]) -> ItemTerm:
    name, expression, quoted = piece["field"], piece["expression"], piece["quoted"]
    if name is not None and name.lower() not in FIELDS:
        raise FilterError(
            piece.start("field"),
            f"no field {name!r}{_like(name, FIELDS)}: expected {', '.join(FIELDS)},"
            " or quotes around text with a colon",
        )
    if expression is not None and not piece["slash"]:
        raise FilterError(piece.end(), "expected / at the end of the expression")
    if quoted is not None and not piece["quote"]:
        raise FilterError(piece.end(), 'expected " at the end of the words')
    text = expression or quoted or piece["word"] or ""
    if not text:
        raise FilterError(piece.end(), f"expected {f'a value after {name}:' if name else 'text'}")
    if expression is not None:
        _check_expression(expression, _value_at(piece))
    return ItemTerm(
        text=text,
        field=ItemField(name.lower()) if name else ItemField.ANY,
        is_negated=bool(piece["negation"]),
        is_regex=expression is not None,
    )


def _value_at(piece: re.Match[str]) -> int:
    """Return the column at which a piece's text begins."""
    return max(piece.start("quoted"), piece.start("expression"), piece.start("word"))


def _statuses(words: str, column: int) -> list[WorkStatus]:
    statuses: list[WorkStatus] = []
    for word in words.split(","):
        name = word.strip().lower()
        if name not in _STATUSES:
            near = _like(name, _STATUSES)
            known = near or f": expected {', '.join(status.word for status in WorkStatus)}"
            raise FilterError(column, f"no status {word!r}{known}")
        statuses.append(_STATUSES[name])
        column += len(word) + 1
    return statuses


def _check_expression(expression: str, column: int) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an expression that may change its meaning some day
            re.compile(expression)
    except re.error as error:
        raise FilterError(
            column + (error.pos or 0), f"not a regular expression: {error.msg}"
        ) from error
    except (RecursionError, OverflowError) as error:
        raise FilterError(column, f"not a regular expression: {error}") from error


def _written(term: ItemTerm) -> str:
    field = "" if term.field is ItemField.ANY else f"{term.field.value}:"
    sign = "/" if term.is_regex else "" if _is_word(term) else '"'
    return f"{'!' if term.is_negated else ''}{field}{sign}{term.text}{sign}"


def _is_word(term: ItemTerm) -> bool:
    """Whether a term's text means itself without quotes."""
    piece = _PIECE.fullmatch(f"{'!' if term.is_negated else ''}{term.text}")
    if term.field is not ItemField.ANY:
        return not re.search(r'\s|^["/]', term.text)
    return piece is not None and piece["field"] is None and piece["word"] == term.text


def _like(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
