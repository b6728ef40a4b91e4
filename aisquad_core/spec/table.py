"""Reads one table of a convoy file key by key, reporting what is not as expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from aisquad_core.settings import parse_duration
from aisquad_core.spec.report import describe, show_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from aisquad_core.spec.report import KeyPath, Report


class Table:
    """A table of which every getter returns None for a key that is absent or wrong.

    Args:
        raw: The decoded table.
        path: Where it stands.
        report: Gets every problem.
        known: The keys that it may have; any other is reported at once.
        operation: Id, as written, of the operation that the table is.
    """

    def __init__(
        self,
        raw: Mapping[str, object],
        path: KeyPath,
        report: Report,
        known: Collection[str],
        *,
        operation: str | None = None,
    ) -> None:
        self._raw = raw
        self._path = path
        self._report = report
        self._operation = operation
        for key in raw:
            if key not in known:
                hint = report.suggest(key, known)
                options = ", ".join(sorted(known))
                self.problem(key, f"unknown key{hint or f'; expected one of {options}'}")

    def __contains__(self, key: str) -> bool:
        return key in self._raw

    def problem(self, key: str | int | None, message: str, *more: str | int) -> None:
        """Report a problem with a key, or below it, or (None) with the table itself."""
        path = self._path if key is None else (*self._path, key, *more)
        self._report.add(path, message, operation=self._operation)

    def unexpected(self, key: str, expected: str, *more: str | int) -> None:
        """Report that a key's value is not what was expected."""
        value = self._raw[key]
        self.problem(key, f"found {describe(value)}, expected {expected}", *more)

    def text(self, key: str, expected: str = "a text that is not empty") -> str | None:
        """Return a text that is not blank."""
        if key not in self._raw:
            return None
        value = self._raw[key]
        if isinstance(value, str) and value.strip():
            return value
        self.unexpected(key, expected)
        return None

    def flag(self, key: str) -> bool | None:
        """Return true or false."""
        value = self._raw.get(key)
        if isinstance(value, bool):
            return value
        if key in self._raw:
            self.unexpected(key, "true or false")
        return None

    def whole(self, key: str, lowest: int, highest: int) -> int | None:
        """Return a whole number within bounds."""
        value = self._raw.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest:
            return value
        if key in self._raw:
            self.unexpected(key, f"a whole number from {lowest} to {highest}")
        return None

    def duration(self, key: str, *, may_be_zero: bool = False) -> float | None:
        """Return seconds."""
        if key not in self._raw:
            return None
        value = self._raw[key]
        try:
            if not isinstance(value, str | int | float):
                value = ""
            seconds = parse_duration(value)
        except ValueError as error:
            self.unexpected(key, str(error).removeprefix("expected "))
            return None
        if seconds == 0 and not may_be_zero:
            self.unexpected(key, "more than 0 seconds")
            return None
        return seconds

    def choice(self, key: str, options: Collection[str]) -> str | None:
        """Return one of some words."""
        value = self._raw.get(key)
        if isinstance(value, str) and value in options:
            return value
        if key in self._raw:
            self.unexpected(key, " or ".join(show_text(option) for option in options))
        return None

    def texts(self, key: str, expected: str) -> tuple[str, ...] | None:
        """Return a list of texts, none of them empty."""
        value = self._raw.get(key)
        if not isinstance(value, list):
            if key in self._raw:
                self.unexpected(key, expected)
            return None
        if is_texts(value):
            return tuple(value)
        for index, entry in enumerate(value):
            if not isinstance(entry, str) or not entry:
                message = f"found {describe(entry)}, expected a text that is not empty"
                self.problem(key, message, index)
        return None

    def command(self, key: str) -> str | tuple[str, ...] | None:
        """Return a shell line, or a list of arguments of which the first is not empty."""
        expected = 'a shell line, or a list of arguments such as ["make", "all"]'
        value = self._raw.get(key)
        if not isinstance(value, list):
            return self.text(key, expected)
        if not value or not all(isinstance(argument, str) for argument in value) or not value[0]:
            self.unexpected(key, expected)
            return None
        return tuple(value)

    def table(self, key: str) -> dict[str, object] | None:
        """Return a table."""
        value = self._raw.get(key)
        if isinstance(value, dict):
            return value
        if key in self._raw:
            self.unexpected(key, "a table")
        return None


def is_texts(entries: list[object]) -> TypeGuard[list[str]]:
    """Return whether all entries are texts and none is empty."""
    return all(isinstance(entry, str) and entry for entry in entries)
