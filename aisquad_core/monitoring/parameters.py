"""The part of a request behind its `?`: whole numbers within bounds, each at most once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from aisquad_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NUMBER = re.compile("[0-9]{1,9}", re.ASCII)
_MOST_SHOWN = 40
_MOST_FIELDS = 16


class ParameterError(InputError):
    """A parameter cannot be used."""

    def __init__(self, parameter: str, message: str) -> None:
        self.parameter = parameter[:_MOST_SHOWN]
        super().__init__(f"{self.parameter}: {message}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A whole number that a request may name."""

    name: str
    default: int
    lowest: int = 1
    highest: int


def read(query: str, known: Sequence[Parameter]) -> Mapping[str, int]:
    """Return the value of every parameter that an endpoint knows.

    Args:
        query: What stands behind the `?`, as it was sent.
        known: What the endpoint takes.

    Raises:
        ParameterError: One is unknown, named twice, or no number within its bounds.
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise ParameterError("?", f"more than {_MOST_FIELDS} parameters") from error
    by_name = {parameter.name: parameter for parameter in known}
    values: dict[str, int] = {}
    for name, text in pairs:
        parameter = by_name.get(name)
        if parameter is None:
            expected = ", ".join(by_name) or "no parameters"
            raise ParameterError(name, f"unknown here; expected {expected}")
        if name in values:
            raise ParameterError(name, "named twice")
        values[name] = _number(parameter, text)
    return {parameter.name: parameter.default for parameter in known} | values


def _number(parameter: Parameter, text: str) -> int:
    number = int(text) if _NUMBER.fullmatch(text) else None
    if number is None or not parameter.lowest <= number <= parameter.highest:
        found = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
        bounds = f"{parameter.lowest} to {parameter.highest}"
        raise ParameterError(
            parameter.name, f"expected a whole number from {bounds}, not {found!r}"
        )
    return number
