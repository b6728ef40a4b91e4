"""What a convoy is made from: a convoy file's text, or a command with inputs; and its limits."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from aisquad_core.errors import Problem, SpecError
from aisquad_core.sanitise import escape_controls

if TYPE_CHECKING:
    from typing import BinaryIO

MAX_FILE_BYTES = 10_000_000
MAX_OPERATIONS = 100_000
MAX_EDGES = 1_000_000
"""Dependencies of a convoy, all operations together."""
MAX_DEPTH = 50
"""Tables and lists in one another, the file itself being the first."""
MAX_VALUES = 1_000_000
"""Values, tables and lists of a YAML file."""
MAX_ID_LENGTH = 200
COMMAND_LINE = "<command line>"


class SpecFormat(StrEnum):
    """How a convoy file is written."""

    TOML = "toml"
    YAML = "yaml"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecSource:
    """The text of a convoy file."""

    text: str
    format: SpecFormat
    origin: str
    """The file as the operator named it, for errors."""
    base_dir: str
    """Absolute folder to which the paths in the file are relative."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdHocSource:
    """A command to be run once for each input."""

    command: str | tuple[str, ...]
    """A shell line or arguments, with `{}` where the input goes; without it, it goes last."""
    inputs: tuple[str, ...]
    """As `os.fsdecode` gives them."""
    name: str | None = None
    """None: called after the program."""
    agent: str = "shell"
    """Name for limits."""
    retries: int = 0
    retry_delay_s: float = 1.0
    timeout_s: float | None = None
    """Seconds of one attempt; None: no limit."""
    priority: int = 0
    stop_on_first_failure: bool = False


ConvoySource = SpecSource | AdHocSource

_SUFFIXES = {
    ".toml": SpecFormat.TOML,
    ".yaml": SpecFormat.YAML,
    ".yml": SpecFormat.YAML,
    ".json": SpecFormat.JSON,
}


def read_source(
    path: Path | str, *, format: SpecFormat | None = None, stdin: BinaryIO | None = None
) -> SpecSource:
    """Read a convoy file (blocking).

    Args:
        path: The file; `-` is standard input, whose paths are relative to the current folder.
        format: How it is written; None: the suffix tells.
        stdin: What to read for `-`; None: this process's standard input.

    Raises:
        SpecError: It cannot be read, is too long, is not UTF-8, or its format is not known.
    """
    origin = str(path)
    if format is None:
        format = _SUFFIXES.get(Path(path).suffix.lower())
    if format is None:
        raise _unusable(
            origin,
            "the name does not tell the format: expected .toml, .yaml, .yml or .json, "
            "or --format toml, yaml or json",
        )
    if origin == "-":
        origin, base_dir = "<stdin>", os.getcwd()
        data = (stdin or sys.stdin.buffer).read(MAX_FILE_BYTES + 1)
    else:
        base_dir = os.path.dirname(os.path.abspath(path))
        try:
            with open(path, "rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise _unusable(origin, f"cannot be read: {reason or error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise _unusable(origin, f"longer than {MAX_FILE_BYTES // 1_000_000} MB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{data[error.start]:02x}"
        raise _unusable(origin, f"found {found}, expected UTF-8 text", line) from error
    return SpecSource(text=text, format=format, origin=origin, base_dir=base_dir)


def _unusable(origin: str, message: str, line: int | None = None) -> SpecError:
    return SpecError([Problem(file=escape_controls(origin), key="", message=message, line=line)])
