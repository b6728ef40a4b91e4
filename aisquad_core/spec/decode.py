"""Turns the text of a convoy file into plain tables, lists, texts and numbers, within limits."""

from __future__ import annotations

import json
import math
import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml

from aisquad_core.spec.report import KeyPath, Report, describe, show_text
from aisquad_core.spec.source import MAX_DEPTH, MAX_OPERATIONS, MAX_VALUES, SpecFormat

if TYPE_CHECKING:
    from collections.abc import Container
    from typing import NoReturn

    from aisquad_core.spec.source import SpecSource

_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_YAML_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_YAML_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?")
_YAML_WORDS: dict[str, bool | None] = dict.fromkeys(("", "~", "null", "Null", "NULL"))
_YAML_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True)
_YAML_WORDS |= dict.fromkeys(("false", "False", "FALSE"), False)

_TOML_PLACE = re.compile(r" \((?:at line (\d+), column \d+|at end of document)\)$")
# tomllib takes quadratic time over the parts of a dotted key.
_TOML_DOTS = re.compile(rf"(?<![\w\"'-])(?:[\w\"'-]++[ \t]*+\.[ \t]*+){{{MAX_DEPTH}}}")

_TOO_DEEP = f"more than {MAX_DEPTH} tables and lists in one another"
_LARGEST_INT = 2**63 - 1


class WrittenFloat(float):
    """A number with a fraction that remembers how it was written: 3.10 is not 3.1."""

    def __new__(cls, text: str) -> WrittenFloat:
        """Read the text of a number."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    text: str


class _DecodeError(Exception):
    """The text is not what its format says, or over a limit."""

    def __init__(self, message: str, line: int | None = None, path: KeyPath = ()) -> None:
        super().__init__(message)
        self.line = line
        self.path = path


def plain(value: object) -> object:
    """Return a decoded value with ordinary numbers."""
    match value:
        case dict():
            return {key: plain(inner) for key, inner in value.items()}
        case list():
            return [plain(inner) for inner in value]
        case WrittenFloat():
            return float(value)
    return value


def report_for(source: SpecSource) -> Report:
    """Return an empty report that knows the lines of the source, where its format gives them."""

    def locate(paths: set[KeyPath]) -> dict[KeyPath, int]:
        return _load_yaml(source.text, paths).lines

    return Report(source.origin, locate if source.format is SpecFormat.YAML else None)


def decode(source: SpecSource) -> dict[str, object]:
    """Return the table that a convoy file is.

    Raises:
        SpecError: Not that format, over a limit, or it holds what no convoy can: a key twice, a
            date, NUL, half a surrogate pair.
    """
    try:
        match source.format:
            case SpecFormat.TOML:
                document = _load_toml(source.text)
            case SpecFormat.YAML:
                document = _load_yaml(source.text).root
            case SpecFormat.JSON:
                document = _load_json(source.text)
    except _DecodeError as error:
        report = Report(source.origin)
        report.add(error.path, str(error), line=error.line)
        report.raise_if_any()
    report = report_for(source)
    if not isinstance(document, dict):
        report.add((), f"found {describe(document)}, expected a table with operations")
        document = {}
    operations = document.get("operations")
    if isinstance(operations, list) and len(operations) > MAX_OPERATIONS:
        message = f"{len(operations):,} operations; at most {MAX_OPERATIONS:,} are allowed"
        report.add(("operations",), message)
        report.raise_if_any()
    _check_values(document, (), report)
    report.raise_if_any()
    return document


def _load_toml(text: str) -> object:
    if _TOML_DOTS.search(text):
        raise _DecodeError(_TOO_DEEP)
    try:
        return tomllib.loads(text, parse_float=WrittenFloat)
    except RecursionError:
        raise _DecodeError(_TOO_DEEP) from None
    except ValueError as error:
        place = _TOML_PLACE.search(str(error))
        line = None
        if place:
            line = int(place[1]) if place[1] else text.count("\n") + 1
        raise _DecodeError(f"not TOML: {_TOML_PLACE.sub('', str(error))}", line) from error


def _load_json(text: str) -> object:
    def table(pairs: list[tuple[str, object]]) -> dict[str, object]:
        content: dict[str, object] = {}
        for key, value in pairs:
            if key in content:
                raise _DecodeError(f"the key {show_text(key)} appears twice in one table")
            content[key] = value
        return content

    def refuse(word: str) -> NoReturn:
        raise _DecodeError(f"{word} is not a number that can be used")

    try:
        return json.loads(
            text, object_pairs_hook=table, parse_float=WrittenFloat, parse_constant=refuse
        )
    except RecursionError:
        raise _DecodeError(_TOO_DEEP) from None
    except json.JSONDecodeError as error:
        raise _DecodeError(f"not JSON: {error.msg}", error.lineno) from error
    except ValueError as error:
        raise _DecodeError(f"not JSON: {error}") from error


@dataclass(slots=True)
class _Yaml:
    """Builds the value of a YAML document from its events."""

    wanted: Container[KeyPath]
    root: object = None
    open: list[list[object] | dict[str, object]] = field(default_factory=list)
    path: list[str | int | None] = field(default_factory=list)
    """For each open container the key or index at which it stands; None: a key comes next."""
    count: int = 0
    documents: int = 0
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def take(self, event: yaml.Event, line: int) -> None:
        """Go on by one event."""
        match event:
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    raise _DecodeError("a second document; expected one", line)
            case yaml.AliasEvent():
                raise _DecodeError(f"the alias *{event.anchor}: aliases are refused", line)
            case yaml.NodeEvent(anchor=str(anchor)):
                raise _DecodeError(f"the anchor &{anchor}: anchors are refused", line)
            case yaml.ScalarEvent() | yaml.CollectionStartEvent() if event.tag is not None:
                raise _DecodeError(f"the tag {show_text(event.tag)}: tags are refused", line)
            case yaml.ScalarEvent() if self.is_at_key():
                self.set_key(event.value, line)
            case yaml.ScalarEvent():
                is_plain = event.implicit[0]
                self.add(_resolve(event.value) if is_plain else event.value, line)
                self.next()
            case yaml.SequenceStartEvent():
                self.begin([], line)
            case yaml.MappingStartEvent():
                self.begin({}, line)
            case yaml.CollectionEndEvent():
                self.end()

    def add(self, value: object, line: int) -> None:
        """Put a value where the document has come to."""
        self.count += 1
        if self.count > MAX_VALUES:
            raise _DecodeError(f"more than {MAX_VALUES:,} values", line)
        if not self.open:
            self.root = value
            return
        match self.open[-1]:
            case list() as items:
                items.append(value)
                self._note(line)
            case dict() as table:
                key = self.path[-1]
                if key is None:
                    raise _DecodeError("a list or table as a key; expected a text", line)
                table[str(key)] = value

    def begin(self, container: list[object] | dict[str, object], line: int) -> None:
        """Open a list or table."""
        self.add(container, line)
        if len(self.open) == MAX_DEPTH:
            raise _DecodeError(_TOO_DEEP, line)
        self.open.append(container)
        self.path.append(0 if isinstance(container, list) else None)

    def end(self) -> None:
        """Close the innermost list or table."""
        self.open.pop()
        self.path.pop()
        self.next()

    def next(self) -> None:
        """Go on after a value."""
        if self.path:
            index = self.path[-1]
            self.path[-1] = index + 1 if isinstance(index, int) else None

    def is_at_key(self) -> bool:
        """Whether the next scalar is a key."""
        return bool(self.path) and self.path[-1] is None

    def set_key(self, key: str, line: int) -> None:
        """Take the key of the next value."""
        table = self.open[-1]
        self.path[-1] = key
        if key in table:
            message = f"the key {show_text(key)} appears twice in one table"
            raise _DecodeError(message, line, self._here())
        self._note(line)

    def _here(self) -> KeyPath:
        return tuple(key for key in self.path if key is not None)

    def _note(self, line: int) -> None:
        if self.wanted and (here := self._here()) in self.wanted:
            self.lines.setdefault(here, line)


def _load_yaml(text: str, wanted: Container[KeyPath] = ()) -> _Yaml:
    """Read YAML 1.2 core without aliases, anchors, tags and duplicate keys.

    Args:
        text: One document.
        wanted: Key paths whose lines are to be found.
    """
    result = _Yaml(wanted)
    try:
        for event in yaml.parse(text, Loader=_YAML_LOADER):
            result.take(event, event.start_mark.line + 1 if event.start_mark else 0)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        why = ", ".join(part for part in (error.context, error.problem) if part)
        raise _DecodeError(f"not YAML: {why}", mark.line + 1 if mark else None) from error
    except (yaml.YAMLError, ValueError) as error:
        raise _DecodeError(f"not YAML: {show_text(str(error))}") from error
    return result


def _resolve(plain: str) -> object:
    if plain in _YAML_WORDS:
        return _YAML_WORDS[plain]
    if _YAML_INT.fullmatch(plain):
        return int(plain)
    return WrittenFloat(plain) if _YAML_FLOAT.fullmatch(plain) else plain


def _check_values(value: object, path: KeyPath, report: Report) -> None:
    if isinstance(value, dict | list) and len(path) >= MAX_DEPTH:
        report.add(path[:3], _TOO_DEEP)
        return
    match value:
        case dict():
            for key, inner in value.items():
                _check_text(key, (*path, key), report)
                _check_values(inner, (*path, key), report)
        case list():
            for index, inner in enumerate(value):
                _check_values(inner, (*path, index), report)
        case str():
            _check_text(value, path, report)
        case None | bool():
            pass
        case int() if abs(value) <= _LARGEST_INT:
            pass
        case float() if math.isfinite(value):
            pass
        case int() | float():
            report.add(path, f"found {describe(value)}, which is too large or not a number")
        case _:
            report.add(path, f"found {describe(value)}; write it as a text, in quotes")


def _check_text(text: str, path: KeyPath, report: Report) -> None:
    if "\0" in text:
        report.add(path, "the text holds a NUL character, which no program can be given")
    elif not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        report.add(path, "the text holds half of a surrogate pair, which is not Unicode")
