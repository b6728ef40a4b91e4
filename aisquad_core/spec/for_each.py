"""Reads `for_each`: names with the values that operations are made for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aisquad_core.sanitise import escape_controls
from aisquad_core.spec.decode import WrittenFloat
from aisquad_core.spec.matching import TooManyMatchesError, match_files
from aisquad_core.spec.operation import PROMPT, Variable
from aisquad_core.spec.report import describe, show_text
from aisquad_core.spec.source import MAX_OPERATIONS

if TYPE_CHECKING:
    from aisquad_core.spec.table import Table

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ForEach:
    """Reads the `for_each` of operations; a pattern is looked up once.

    Args:
        base_dir: Absolute folder where relative patterns begin.
    """

    def __init__(self, base_dir: str) -> None:
        self._base_dir = base_dir
        self._matches: dict[str, tuple[str, ...]] = {}

    def variables(self, table: Table) -> tuple[Variable, ...] | None:
        """Return the variables of an operation; None if there was a problem."""
        raw = table.table("for_each")
        if raw is None:
            return None if "for_each" in table else ()
        if not raw:
            table.unexpected("for_each", 'at least one name, such as { file = "src/*.py" }')
        found = [self._variable(table, name, value) for name, value in raw.items()]
        variables = tuple(variable for variable in found if variable is not None)
        return variables if variables and len(variables) == len(found) else None

    def _variable(self, table: Table, name: str, value: object) -> Variable | None:
        if not _IDENTIFIER.fullmatch(name):
            message = "expected a name of letters, digits and _, not beginning with a digit"
            table.problem("for_each", message, name)
            return None
        if name == PROMPT:
            table.problem("for_each", "{prompt} is the operation's prompt: take another name", name)
            return None
        if isinstance(value, str) and value.strip():
            matches = self._find(table, name, value)
            return Variable(name=name, values=matches, is_path=True) if matches else None
        if isinstance(value, list) and value:
            entries = [_entry(entry) for entry in value]
            for index, entry in enumerate(entries):
                if entry is None:
                    found = f"found {describe(value[index])}, expected a text or a number"
                    table.problem("for_each", found, name, index)
            values = tuple(entry for entry in entries if entry is not None)
            return Variable(name=name, values=values) if len(values) == len(value) else None
        expected = "a pattern for files or a list of texts and numbers"
        table.problem("for_each", f"found {describe(value)}, expected {expected}", name)
        return None

    def _find(self, table: Table, name: str, pattern: str) -> tuple[str, ...]:
        if pattern not in self._matches:
            try:
                self._matches[pattern] = match_files(pattern, self._base_dir, MAX_OPERATIONS)
            except TooManyMatchesError:
                message = f"more than {MAX_OPERATIONS:,} files match {show_text(pattern)}"
                table.problem("for_each", message, name)
                return ()
            except OSError as error:
                folder = escape_controls(str(error.filename))
                message = f"the folder {folder} cannot be read: {error.strerror}"
                table.problem("for_each", message, name)
                return ()
        if not self._matches[pattern]:
            kind = "folder" if pattern.endswith("/") else "file"
            place = "" if pattern.startswith("/") else f" in {escape_controls(self._base_dir)}"
            table.problem("for_each", f"no {kind} matches {show_text(pattern)}{place}", name)
        return self._matches[pattern]


def _entry(entry: object) -> str | None:
    match entry:
        case bool():
            return None
        case str():
            return entry or None
        case WrittenFloat():
            return entry.text
        case int():
            return str(entry)
    return None
