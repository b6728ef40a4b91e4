"""Texts and commands with placeholders, read once and filled in many times.

A placeholder is `{name}` of a name that is known in that place; `{{name}}` stands for a literal
`{name}`; every other brace is itself, so that JSON, awk and `docker --format` stay as written.
What is filled in is never looked at again.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
from enum import Enum, auto
from typing import TYPE_CHECKING, TypeVar

from aisquad_core.sanitise import escape_controls
from aisquad_core.spec import shell

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from aisquad_core.model import Operation

Source = TypeVar("Source")
Result = TypeVar("Result")

Text = tuple[str, ...]
"""A text with placeholders: literal, name, literal, …, literal."""
Command = tuple[Text, ...]
"""Program and arguments."""

INPUT = ""
"""Name of the placeholder `{}`, which only ad-hoc commands know."""

_NAME = r"[A-Za-z_][A-Za-z0-9_]*|"
_PLACEHOLDER = re.compile(rf"\{{\{{({_NAME})\}}\}}|\{{({_NAME})\}}")
_SHELL = (("/bin/sh",), ("-c",))
_SHELL_NAME = ("sh",)
_UNQUOTED = re.compile(r"[A-Za-z0-9@%+=:,./_{}-]+")


class Unknown(Enum):
    """What to do about `{name}` where no such name is known."""

    REFUSE = auto()
    REFUSE_MISSPELT = auto()
    """Only if a known name is so near that it must be meant: commands have braces of their own."""
    KEEP = auto()


class TemplateError(ValueError):
    """A placeholder is unknown or stands where it cannot be."""


def compile_text(text: str, known: Collection[str], unknown: Unknown = Unknown.REFUSE) -> Text:
    """Read a text with placeholders.

    Args:
        text: As written.
        known: Names that can be filled in.
        unknown: What to do about other names.

    Raises:
        TemplateError: A name is not known.
    """
    if "{" not in text:
        return (text,)
    parts: list[str] = []
    literal, end = "", 0
    for found in _PLACEHOLDER.finditer(text):
        literal += text[end : found.start()]
        end = found.end()
        escaped, name = found[1], found[2]
        if name is not None and name in known:
            parts += (literal, name)
            literal = ""
        elif escaped in known or (escaped and unknown is not Unknown.REFUSE_MISSPELT):
            literal += found[0][1:-1]
        else:
            if name and text[found.start() - 1 : found.start()] != "$":
                _check_unknown(name, known, unknown)
            literal += found[0]
    return (*parts, literal + text[end:])


def _check_unknown(name: str, known: Collection[str], unknown: Unknown) -> None:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    if unknown is Unknown.KEEP or (unknown is Unknown.REFUSE_MISSPELT and not near):
        return
    names = ", ".join(f"{{{each}}}" for each in known) or "none here"
    hint = f"did you mean {{{near[0]}}}?" if near else f"known: {names}"
    raise TemplateError(
        f"{{{name}}} is no placeholder ({hint}); write {{{{{name}}}}} for the literal {{{name}}}"
    )


def compile_command(command: str | tuple[str, ...], known: Collection[str]) -> Command:
    """Read a shell line or a list of arguments.

    In a list a placeholder is part of one argument. In a shell line it becomes a positional
    parameter: `sh -c LINE sh VALUE…`.

    Raises:
        TemplateError: A name is misspelt, or stands where the shell would not take it as a word.
    """
    if isinstance(command, tuple):
        return tuple(compile_text(part, known, Unknown.REFUSE_MISSPELT) for part in command)
    text = compile_text(command, known, Unknown.REFUSE_MISSPELT)
    _check_places(text)
    names = list(dict.fromkeys(text[1::2]))
    numbers = {name: number for number, name in enumerate(names, start=1)}
    line = fill(text, {name: f'"${{{n}}}"' if n > 9 else f'"${n}"' for name, n in numbers.items()})
    if line.startswith(("-", "+")):
        line = f" {line}"  # sh would take it for an option
    values = tuple(("", name, "") for name in names)
    return (*_SHELL, (line,), _SHELL_NAME, *values) if values else (*_SHELL, (line,))


def _check_places(text: Text) -> None:
    spans: list[tuple[int, int]] = []
    line = ""
    for index, part in enumerate(text):
        start = len(line)
        line += part if index % 2 == 0 else f"{{{part}}}"
        if index % 2 == 1:
            spans.append((start, len(line)))
    where = shell.misplaced(line, spans)
    for start, end in spans:
        if start in where:
            raise TemplateError(_misplaced(line[start:end], where[start]))


def _misplaced(placeholder: str, where: str) -> str:
    message = f"{placeholder} stands {where}: "
    if where in {shell.SINGLE_QUOTES, shell.DOUBLE_QUOTES}:
        return f"{message}remove the quotes; a value is one word by itself, whatever it holds"
    if where == shell.SHELL_VARIABLE:
        return f"{message}write {placeholder} without the $"
    return f"{message}put it where a plain word stands, such as value={placeholder} before that"


def fill(text: Text, values: Mapping[str, str]) -> str:
    """Return the text with its placeholders filled in."""
    if len(text) == 1:
        return text[0]
    return "".join(values[part] if index % 2 else part for index, part in enumerate(text))


def try_compile(
    compile: Callable[[Source, Collection[str]], Result],
    source: Source,
    known: Collection[str],
    refuse: Callable[[str], None],
) -> Result | None:
    """Return what a compile function makes of a source; None after telling why it cannot."""
    try:
        return compile(source, known)
    except TemplateError as error:
        refuse(str(error))
        return None


def longest_bytes(text: Text, sizes: Mapping[str, int]) -> int:
    """Return how many bytes the text can have, given those of the longest value of each name."""
    return sum(
        sizes[part] if index % 2 else len(os.fsencode(part)) for index, part in enumerate(text)
    )


def written(text: Text) -> str:
    """Return the text as it was written, but for `{{name}}`."""
    return "".join(f"{{{part}}}" if index % 2 else part for index, part in enumerate(text))


def show_command(command: str | tuple[str, ...]) -> str:
    """Return a command with placeholders as a person would type it, on one printable line."""
    if isinstance(command, str):
        return escape_controls(command)
    return escape_controls(
        " ".join(arg if _UNQUOTED.fullmatch(arg) else shlex.quote(arg) for arg in command)
    )


def display_command(operation: Operation) -> str:
    """Return an operation's command as a person would type it, on one printable line.

    A shell line without values is shown as it was written; what is not printable is escaped.
    """
    match operation.argv:
        case ("/bin/sh", "-c", line):
            return escape_controls(line.strip())
        case argv:
            return escape_controls(shlex.join(argv))
