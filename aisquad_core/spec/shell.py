r"""Finds out where in a shell line a value may stand as a positional parameter.

`"$1"` in place of a placeholder is exactly the value, as one word, only where the shell reads
plain words: not inside quotes, here-documents, comments, arithmetic. This scanner follows the
quoting of POSIX sh; where it could lose its way it says so rather than guess, so that what it
lets pass is right. No value is ever part of the line, so that even a mistake runs no value.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

DOUBLE_QUOTES = "inside double quotes"
SINGLE_QUOTES = "inside single quotes"
SHELL_VARIABLE = "after a $, as the name of a shell variable"

_BLANK = " \t"
_OPERATORS = ";&|<>()\n"
_PLAIN = re.compile(r"[^\\'\"$`#{(<>;&|)\s]+")
_WORD = re.compile(r"[^\\'\"$`#(<>;&|)\s]*")
_SIMPLE_PARAMETER = re.compile(r"\$\{[^{}'\"`\\$]*\}")
_BACKQUOTED = re.compile(r"`(?:[^`\\]|\\.)*+`", re.DOTALL)
_HERE_MARK = re.compile(r"<<(-?)[ \t]*((?:[^\s;&|()<>'\"\\$`]|'[^']*'|\"[^\"\\$`]*\"|\\.)+)")
_UNQUOTE = re.compile(r"['\"\\]")
_EMPTY_PARENTHESES = re.compile(r"\([ \t]*\)")
_SET_VALUES = re.compile(
    r"set(?>(?:[ \t]+(?:[-+][A-Za-z]*o[ \t]+\w+|[-+][A-Za-z]+))*)[ \t]+(?:--|[^\s;&|<>#])"
)
_BEFORE_COMMAND = frozenset(
    {"then", "do", "else", "elif", "if", "while", "until", "!", "{", "eval", "command", "time"}
)
_TOP, _PARENTHESES, _SUBSTITUTION, _QUOTED = range(4)


def misplaced(line: str, spans: Sequence[tuple[int, int]]) -> dict[int, str]:
    """Say which placeholders of a shell line stand where no value can go.

    Args:
        line: As `sh -c` would get it.
        spans: Start and end of each placeholder, in order.

    Returns:
        The start of each misplaced one, with where it stands, in words.
    """
    return _Scanner(line, spans).scan()


class _LostError(Exception):
    """From here on the scanner cannot tell how the shell reads the line."""


class _Scanner:
    def __init__(self, line: str, spans: Sequence[tuple[int, int]]) -> None:
        self._line = line
        self._ends = dict(spans)
        self._starts = [start for start, _ in spans]
        self._found: dict[int, str] = {}
        self._at = 0
        self._stack = [_TOP]
        self._is_word_start = True
        self._is_command_start = True
        self._here_documents: list[tuple[str, bool, bool]] = []
        """End mark, whether tabs before it count not, whether it is quoted."""

    def scan(self) -> dict[int, str]:
        try:
            while self._at < len(self._line):
                if self._at in self._ends:
                    self._placeholder()
                elif self._stack[-1] == _QUOTED:
                    self._quoted()
                else:
                    self._unquoted()
        except _LostError as lost:
            self._opaque(len(self._line), str(lost))
        return self._found

    def _placeholder(self) -> None:
        if self._stack[-1] == _QUOTED:
            self._found[self._at] = DOUBLE_QUOTES
        self._at = self._ends[self._at]
        self._is_word_start = self._is_command_start = False

    def _opaque(self, end: int, where: str) -> None:
        """Go on at `end`; no placeholder before that is in place."""
        end = min(end, len(self._line))
        for index in range(bisect_left(self._starts, self._at), bisect_left(self._starts, end)):
            self._found[self._starts[index]] = where
        self._at = end

    def _quoted(self) -> None:
        match self._line[self._at]:
            case '"':
                self._stack.pop()
                self._at += 1
            case "\\":
                self._backslash()
            case "$":
                self._dollar()
            case "`":
                self._backquote()
            case _:
                self._at += 1

    def _unquoted(self) -> None:
        char = self._line[self._at]
        if char in _BLANK:
            self._at += 1
            self._is_word_start = True
            return
        if char in _OPERATORS:
            self._operator(char)
            return
        if self._is_word_start:
            if char == "#":
                end = self._line.find("\n", self._at)
                self._opaque(len(self._line) if end < 0 else end, "in a comment")
                return
            self._word()
        is_continuation = self._line.startswith("\\\n", self._at)
        self._is_word_start = self._is_word_start and is_continuation
        match char:
            case "'":
                self._single_quotes(self._at + 1)
            case '"':
                self._stack.append(_QUOTED)
                self._at += 1
            case "\\":
                self._backslash()
            case "$":
                self._dollar()
            case "`":
                self._backquote()
            case _:
                plain = _PLAIN.match(self._line, self._at)
                self._at = plain.end() if plain else self._at + 1

    def _word(self) -> None:
        """Look at the first word of a command: some change what `$1` is, or how `)` is read."""
        if not self._is_command_start:
            return
        found = _WORD.match(self._line, self._at)
        word = found[0] if found else ""
        if word in {"shift", "function"} or _SET_VALUES.match(self._line, self._at):
            raise _LostError(f"after `{word}`, which changes the positional parameters")
        if word == "case" and _SUBSTITUTION in self._stack:
            raise _LostError("after `case` inside $(…)")
        is_continuation = self._line.startswith("\\\n", self._at)
        self._is_command_start = word in _BEFORE_COMMAND or is_continuation

    def _operator(self, char: str) -> None:
        if char == "<" and self._line.startswith("<<", self._at):
            self._here_operator()
            return
        self._is_word_start = True
        if char not in "<>":
            self._is_command_start = True
        if char == "(":
            if _EMPTY_PARENTHESES.match(self._line, self._at):
                raise _LostError("after a function, which has positional parameters of its own")
            if self._line.startswith("((", self._at):
                raise _LostError("after ((")
            self._stack.append(_PARENTHESES)
        elif char == ")" and len(self._stack) > 1 and self._stack.pop() == _SUBSTITUTION:
            self._refuse_open_here_document()
            self._is_word_start = self._is_command_start = False
        self._at += 1
        if char == "\n":
            self._here_bodies()

    def _backslash(self) -> None:
        if self._at + 1 in self._ends:
            self._at += 1
            self._opaque(self._ends[self._at], "after a backslash")
        else:
            self._at += 2

    def _single_quotes(self, begin: int) -> None:
        end = self._line.find("'", begin)
        self._opaque(len(self._line) if end < 0 else end + 1, SINGLE_QUOTES)

    def _backquote(self) -> None:
        found = _BACKQUOTED.match(self._line, self._at)
        self._opaque(found.end() if found else len(self._line), "inside `…`")

    def _dollar(self) -> None:
        line, at = self._line, self._at
        if line.startswith("$((", at):
            self._arithmetic()
        elif line.startswith("$(", at):
            self._refuse_open_here_document()
            self._stack.append(_SUBSTITUTION)
            self._is_word_start = self._is_command_start = True
            self._at += 2
        elif at + 1 in self._ends:
            self._opaque(self._ends[at + 1], SHELL_VARIABLE)
        elif line.startswith("${", at):
            found = _SIMPLE_PARAMETER.match(line, at)
            if not found:
                raise _LostError("inside or after ${…} with quotes or expansions in it")
            self._opaque(found.end(), "inside ${…}")
        elif line.startswith("$'", at) and self._stack[-1] != _QUOTED:
            end = line.find("'", at + 2)
            if "\\" in line[at : end if end >= 0 else None]:
                raise _LostError("inside or after $'…', which not every sh knows")
            self._single_quotes(at + 2)
        elif line.startswith(("$$", "$#"), at):
            self._at += 2
        else:
            self._at += 1

    def _arithmetic(self) -> None:
        depth = 2
        for at in range(self._at + 3, len(self._line)):
            char = self._line[at]
            if char in "'\"`\\":
                break
            depth += (char == "(") - (char == ")")
            if depth == 0 and self._line[at - 1] == ")":
                self._opaque(at + 1, "inside $((…))")
                return
            if depth == 0:
                break
        raise _LostError("inside or after $((…)) that is not plain arithmetic")

    def _here_operator(self) -> None:
        if self._line.startswith("<<<", self._at):
            self._at += 3
            return
        found = _HERE_MARK.match(self._line, self._at)
        if not found or self._line.startswith(("$", "`", '"'), found.end()):
            raise _LostError("after << with an end mark that is not plain")
        mark = _UNQUOTE.sub("", found[2])
        self._here_documents.append((mark, bool(found[1]), mark != found[2]))
        self._opaque(found.end(), "in the end mark of a here-document")
        self._is_word_start = False

    def _refuse_open_here_document(self) -> None:
        if self._here_documents:
            raise _LostError("after << together with $(…)")

    def _here_bodies(self) -> None:
        for mark, is_stripped, is_quoted in self._here_documents:
            self._opaque(self._after_body(mark, is_stripped, is_quoted), "in a here-document")
        self._here_documents.clear()

    def _after_body(self, mark: str, is_stripped: bool, is_quoted: bool) -> int:
        at = self._at
        is_continued = False
        while at < len(self._line):
            end = self._line.find("\n", at)
            end = len(self._line) if end < 0 else end
            text = self._line[at:end]
            at = end + 1
            if not is_continued and (text.lstrip("\t") if is_stripped else text) == mark:
                return at
            backslashes = len(text) - len(text.rstrip("\\"))
            is_continued = not is_quoted and backslashes % 2 == 1
        return at
