"""How single values are read, and what is said of those that are not allowed."""

from __future__ import annotations

import difflib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

from aisquad_core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")

DURATION_FORM = 'a duration such as 90 (seconds), "90s", "30m", "1.5h" or "2d"'
_UNIT_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
LONGEST_S = 36_500 * 86_400.0  # a century: dates computed from it still exist


def parse_duration(text: str | float) -> float:
    """Return seconds of a number (seconds) or a text such as `90s`, `30m`, `1.5h`, `2d`.

    Raises:
        ValueError: Not a duration, negative, or longer than a century; says what is allowed.
    """
    seconds = math.nan
    if isinstance(text, str):
        found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([smhd]?)\s*", text)
        if found:
            seconds = float(found[1]) * _UNIT_S[found[2]]
    elif not isinstance(text, bool):
        seconds = text
    if not 0 <= seconds <= LONGEST_S:
        raise ValueError(f"expected {DURATION_FORM}")
    return float(seconds)


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """How a value is read: `parse` raises ValueError for what is not `allowed`."""

    allowed: str
    parse: Callable[[object], T]


def whole(lowest: int, highest: int) -> Kind[int]:
    """Return how a whole number within bounds is read."""

    def parse(raw: object) -> int:
        if isinstance(raw, str) and re.fullmatch(r"\s*[0-9]{1,12}\s*", raw):
            raw = int(raw)
        if not isinstance(raw, int) or isinstance(raw, bool) or not lowest <= raw <= highest:
            raise ValueError
        return raw

    return Kind(f"a whole number from {lowest} to {highest}", parse)


def percent() -> Kind[float]:
    """Return how a percentage is read; below 1 it is surely a fraction by mistake."""

    def parse(raw: object) -> float:
        if not isinstance(raw, str | int | float) or isinstance(raw, bool):
            raise ValueError
        number = float(raw) if isinstance(raw, str) else raw
        if not 1 <= number <= 100:
            raise ValueError
        return float(number)

    return Kind("a percentage from 1 to 100", parse)


def fraction() -> Kind[float]:
    """Return how a fraction is read; above 1 it is surely a percentage by mistake."""

    def parse(raw: object) -> float:
        if not isinstance(raw, str | int | float) or isinstance(raw, bool):
            raise ValueError
        number = float(raw)
        if not 0 < number <= 1:
            raise ValueError
        return number

    return Kind("a fraction above 0, up to 1", parse)


def seconds(lowest: float, highest: float) -> Kind[float]:
    """Return how a duration within bounds (in seconds) is read."""

    def parse(raw: object) -> float:
        if not isinstance(raw, str | int | float):
            raise ValueError
        duration_s = parse_duration(raw)
        if not lowest <= duration_s <= highest:
            raise ValueError
        return duration_s

    return Kind(f"{DURATION_FORM}, from {lowest:g} s to {highest:g} s", parse)


def _parse_flag(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    words = {"true": True, "yes": True, "on": True, "1": True}
    words |= {"false": False, "no": False, "off": False, "0": False}
    word = raw.strip().lower() if isinstance(raw, str) else ""
    if word not in words:
        raise ValueError
    return words[word]


def parse_text(raw: object) -> str:
    """Return a text with more than blanks and without NUL; raise ValueError for anything else."""
    if not isinstance(raw, str) or not raw.strip() or "\0" in raw:
        raise ValueError
    return raw


def _parse_path(raw: object) -> Path:
    return raw if isinstance(raw, Path) else Path(parse_text(raw))


FLAG = Kind("true or false", _parse_flag)
PATH = Kind("the path of a file", _parse_path)
TEXT = Kind("a text that is not empty", parse_text)


def _parse_address(raw: object) -> str:
    import ipaddress  # noqa: PLC0415 - few commands pay for it

    return str(ipaddress.ip_address(parse_text(raw).strip()))


ADDRESS = Kind("an IP address of this machine, such as 127.0.0.1 or ::", _parse_address)


def _parse_arguments(raw: object) -> tuple[str, ...]:
    if isinstance(raw, str):
        raw = json.loads(raw)
    if not isinstance(raw, list | tuple):
        raise ValueError
    if not all(isinstance(each, str) and "\0" not in each for each in raw):
        raise ValueError
    if raw:
        parse_text(raw[0])
    return tuple(raw)


ARGUMENTS = Kind('a list of arguments, such as ["notify", "--all"]; [] for none', _parse_arguments)


def refuse_unknown(key: str, raw: object, known: Iterable[str], name: str, source: str) -> NoReturn:
    """Raise the error of a key that nobody knows; a table's content is not shown."""
    known = tuple(known)
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}"
    shown = "{…}" if isinstance(raw, dict | list) else raw
    raise SettingsError(name, shown, f"a known key; {hint}", source=source)
