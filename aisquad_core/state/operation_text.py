"""Operations as JSON text: small, because the engine keeps one for each that waits.

ASCII where it must be: arguments that are not UTF-8 (`os.fsdecode` gives lone surrogates) live on
as escapes, which the fast codec refuses and the standard library's takes.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

import msgspec

from aisquad_core.model import Operation, OutputMode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()

_DEFAULTS = tuple(
    (field.name, field.default_factory() if field.default_factory is not MISSING else field.default)
    for field in fields(Operation)
)


def encode_json(value: Mapping[str, Any] | Sequence[Any] | str) -> str:
    """Return JSON text that SQLite can hold, whatever strings are in it."""
    try:
        return _encoder.encode(value).decode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))


def decode_json(text: str) -> Any:  # noqa: ANN401 - it is whatever was encoded
    """Return the value of JSON text made by `encode_json`."""
    try:
        return _decoder.decode(text)
    except msgspec.DecodeError:
        return json.loads(text)


def encode_operation(operation: Operation) -> str:
    """Return an operation as JSON text, without the fields that have their default."""
    return encode_json(
        {
            name: value
            for name, default in _DEFAULTS
            if (value := getattr(operation, name)) != default
        }
    )


def decode_operation(text: str) -> Operation:
    """Return the operation that `encode_operation` made the text of."""
    values = decode_json(text)
    for name in ("argv", "needs"):
        if name in values:
            values[name] = tuple(values[name])
    if "stdout" in values:
        values["stdout"] = OutputMode(values["stdout"])
    return Operation(**values)
