"""The JSON that scripts rely on: convoys, work items, the engine's status, events.

Everything but ASCII is escaped, so that a name can neither steer a terminal nor break an encoding.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aisquad_core.api import ConvoyView, Event, ItemDetail, Snapshot, StatusCounts

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None


def dump(value: Json) -> str:
    """Return one JSON document on one line."""
    return json.dumps(value)


def document(value: Json) -> str:
    """Return one JSON document for people, too."""
    return json.dumps(value, indent=2)


def plain(value: object) -> Json:
    """Return frozen data as JSON: field names as they are, stamps in ISO 8601 UTC."""
    match value:
        case Enum():
            shape = plain(value.value)
        case None | str() | int() | float():
            shape = value
        case datetime():
            shape = value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case Mapping():
            shape = {str(key): plain(entry) for key, entry in value.items()}
        case list() | tuple():
            shape = [plain(entry) for entry in value]
        case _ if is_dataclass(value):
            shape = {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        case _:
            shape = str(value)
    return shape


def record(value: object) -> dict[str, Json]:
    """Return one frozen object as a JSON object."""
    shape = plain(value)
    if not isinstance(shape, dict):
        raise TypeError(f"{type(value).__name__} is not an object in JSON")
    return shape


def counts_shape(counts: StatusCounts) -> dict[str, Json]:
    """Return `total` and the counts that add up to it."""
    return {"total": counts.total, **record(counts)}


def convoy_shape(convoy: ConvoyView) -> dict[str, Json]:
    """Return a convoy with its counts beside its name, as in `ls --json`."""
    shape = record(convoy)
    del shape["counts"]
    head: dict[str, Json] = {key: shape.pop(key) for key in ("id", "name", "status")}
    return {**head, **counts_shape(convoy.counts), **shape}


def convoy_shapes(convoys: Iterable[ConvoyView]) -> list[Json]:
    """Return the list that `ls --json` prints."""
    return [convoy_shape(convoy) for convoy in convoys]


def detail_shape(detail: ItemDetail) -> dict[str, Json]:
    """Return everything about an item: its fields of `items --json`, then the rest.

    Standard input may hold a private prompt and is left out.
    """
    rest = record(detail)
    view = rest.pop("view")
    operation = rest.get("operation")
    if isinstance(operation, dict):
        del operation["stdin"]
    return {**(view if isinstance(view, dict) else {}), **rest}


def event_shape(event: Snapshot | Event) -> dict[str, Json]:
    """Return one line of `run --json`; the first is the snapshot."""
    shape = record(event)
    for key in ("convoy", "convoys"):
        value = getattr(event, key, None)
        if value is not None:
            shape[key] = convoy_shapes(value) if key == "convoys" else convoy_shape(value)
    kind = shape.pop("type", "snapshot")
    return {"type": kind, **shape}
