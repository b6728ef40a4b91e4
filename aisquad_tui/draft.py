"""What was typed into the launch dialog, and the convoy that it means."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from aisquad_core.errors import Problem, SpecError
from aisquad_core.sanitise import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aisquad_core.spec import ConvoySource

FILE, RUN, FOR_EACH, NAME, AGENT = "File", "or run", "for each", "name", "agent"
"""How the fields are called, in problems too."""
_COMMAND_LINE = "<command line>"
_PLACEHOLDER = "{}"
_MAGIC = "*?["
_MOST_NAMES = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The fields of the launch dialog as they were typed."""

    path: str = ""
    """The convoy file, relative to where convoys are launched; `~` is the home folder."""
    command: str = ""
    """A shell line, with `{}` where an input goes."""
    inputs: str = ""
    """Words and patterns, quoted as in a shell."""
    name: str = ""
    agent: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that could be launched."""
        return not self.path.strip() and not self.command.strip()

    def source(self, cwd: str) -> ConvoySource:
        """Read the file, or expand the inputs (blocking).

        Args:
            cwd: Absolute folder where relative paths begin.

        Raises:
            SpecError: The file cannot be read, a quote does not end, or a pattern fits nothing.
        """
        path, command = self.path.strip(), self.command.strip()
        if path and command:
            raise _problem(FILE, "give a file or a command, not both")
        if path:
            for field, text in ((FOR_EACH, self.inputs), (NAME, self.name), (AGENT, self.agent)):
                if text.strip():
                    raise _problem(field, "goes with a command; a convoy file says its own")
            return _file_source(path, cwd)
        return self._command_source(command, cwd)

    def _command_source(self, command: str, cwd: str) -> ConvoySource:
        from aisquad_core.spec import AdHocSource, SpecFormat, SpecSource  # noqa: PLC0415

        inputs = tuple(expand(self.inputs, cwd))
        name, agent = self.name.strip() or None, self.agent.strip() or "shell"
        if not inputs and command and _PLACEHOLDER not in command:
            return SpecSource(
                text=_single(command, name, self.agent.strip()),
                format=SpecFormat.JSON,
                origin=_COMMAND_LINE,
                base_dir=cwd,
            )
        if not inputs:
            raise _problem(FOR_EACH, "no inputs; expected words or patterns such as src/*.py")
        return AdHocSource(command=command, inputs=inputs, name=name, agent=agent)


class Word(NamedTuple):
    """A word of the inputs."""

    text: str
    is_pattern: bool


def expand(text: str, cwd: str) -> Iterator[str]:
    """Yield the inputs that words and patterns mean (blocking); at most one more than may be.

    Raises:
        SpecError: A quote does not end, or a pattern fits nothing.
    """
    from aisquad_core.spec import MAX_OPERATIONS  # noqa: PLC0415  # only who launches needs it

    number = 0
    for word in words(text):
        found = (
            sorted(islice(_matches(word.text, cwd), MAX_OPERATIONS + 1))
            if word.is_pattern
            else [word.text]
        )
        if not found:
            shown = one_line(word.text)
            raise _problem(FOR_EACH, f'no file fits "{shown}"; quote it to mean itself')
        for each in found:
            yield each
            number += 1
            if number > MAX_OPERATIONS:
                return


def words(text: str) -> Iterator[Word]:
    """Split a line into words as a shell does: quotes and backslashes keep characters together.

    Raises:
        SpecError: A quote does not end.
    """
    word: list[str] | None = None
    is_pattern, quote = False, ""
    chars = iter(text)
    for char in chars:
        if quote:
            if char == quote:
                quote = ""
            else:
                word = _extended(word, _in_quotes(char, quote, chars))
        elif char in "'\"":
            quote, word = char, word or []
        elif char == "\\":
            word = _extended(word, next(chars, "\\"))
        elif char.isspace():
            if word is not None:
                yield Word("".join(word), is_pattern)
            word, is_pattern = None, False
        else:
            is_pattern = is_pattern or char in _MAGIC
            word = _extended(word, char)
    if quote:
        raise _problem(FOR_EACH, f"the quote {quote} does not end")
    if word is not None:
        yield Word("".join(word), is_pattern)


def pasted_inputs(text: str) -> str:
    """Return pasted text as words: several lines are an input each, one line stays as it is."""
    lines = [each for each in text.splitlines() if each.strip()]
    if len(lines) <= 1:
        return "".join(lines).strip()
    return "".join(f"{_quoted(each.strip())} " for each in lines)


def file_of(source: ConvoySource) -> str | None:
    """Return the absolute path of the convoy file, or None if it is not from one."""
    from aisquad_core.spec import SpecSource  # noqa: PLC0415  # only who launches needs it

    if not isinstance(source, SpecSource) or source.origin.startswith("<"):
        return None
    return os.path.join(source.base_dir, os.path.basename(source.origin))


def _file_source(path: str, cwd: str) -> ConvoySource:
    from aisquad_core.spec import read_source  # noqa: PLC0415  # only who launches needs it

    absolute = os.path.join(cwd, os.path.expanduser(path))
    try:
        return replace(read_source(absolute), origin=path)
    except SpecError as error:
        shown, hint = one_line(path), _hint(absolute)
        raise SpecError(
            [
                replace(problem, file=shown, message=problem.message + hint)
                for problem in error.problems
            ]
        ) from error


def _hint(path: str) -> str:
    """Return `; did you mean "x"?` for a file that is not there but one with a like name is."""
    import difflib  # noqa: PLC0415  # only who mistypes needs it

    folder, name = os.path.split(path)
    if os.path.lexists(path):
        return ""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for _, entry in zip(range(_MOST_NAMES), entries, strict=False)]
    except (OSError, ValueError):  # then the folder is what is wrong
        return ""
    near = difflib.get_close_matches(name, names, n=1)
    return f'; did you mean "{one_line(near[0])}"?' if near else ""


def _single(command: str, name: str | None, agent: str) -> str:
    """Return a convoy file of one operation."""
    import json  # noqa: PLC0415  # only who launches needs it

    program = os.path.basename(command.split(maxsplit=1)[0])
    operation = {"id": "".join(c if c.isalnum() else "-" for c in program) or "run"}
    operation["run"] = command
    if agent:
        operation["agent"] = agent
    return json.dumps({"name": name or program or "command", "operations": [operation]})


def _matches(pattern: str, cwd: str) -> Iterator[str]:
    if pattern.startswith("~"):
        pattern = os.path.expanduser(pattern)
    return glob.iglob(pattern, root_dir=cwd, recursive=True)


def _quoted(text: str) -> str:
    """Return a word that means exactly this text."""
    if text and all(char.isalnum() or char in "_-./:,=+%@" for char in text):
        return text
    return "'" + text.replace("'", "'\\''") + "'"


def _in_quotes(char: str, quote: str, chars: Iterator[str]) -> str:
    """Return the character that is meant: a backslash escapes in double quotes alone."""
    if char != "\\" or quote == "'":
        return char
    following = next(chars, "")
    return following if following in {'"', "\\"} else char + following


def _extended(word: list[str] | None, char: str) -> list[str]:
    word = [] if word is None else word
    word.append(char)
    return word


def _problem(field: str, message: str) -> SpecError:
    return SpecError([Problem(file=field, key="", message=message)])
