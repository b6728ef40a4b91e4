"""Frozen data as JSON, whole for its owner, without what could name anything for others.

Names and errors come from outside: they are made harmless for whoever prints them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from aisquad_core.monitoring.sight import Sight
from aisquad_core.sanitise import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aisquad_core.api import AgentFigures, ConvoyView, ResizeNote
    from aisquad_core.monitoring.live import EngineNote, Picture
    from aisquad_core.monitoring.sources import Part, PartHealth
    from aisquad_core.state.metrics.figures import ConvoyMetrics, OperationFailure

Shape = dict[str, Any]


def health(parts: Mapping[Part, PartHealth], *, uptime_s: float, sight: Sight) -> Shape:
    """Return whether all is well, and what is not; why, for its owner."""
    is_ill = any(part.condition == "ill" for part in parts.values())
    shape: Shape = {
        "status": "ill" if is_ill else "ok",
        "uptime_seconds": round(uptime_s, 1),
        "parts": {name: part.condition for name, part in parts.items()},
    }
    if sight is Sight.ALL:
        shape["details"] = {name: part.detail for name, part in parts.items() if part.detail}
    return shape


def convoy_metrics(convoys: Iterable[ConvoyMetrics], sight: Sight) -> list[Shape]:
    """Return convoys as the metrics know them."""
    return [_hide(_plain(convoy), ("convoy_id", "name"), sight) for convoy in convoys]


def system(picture: Picture, sight: Sight) -> Shape:
    """Return the machine and how much runs on it."""
    shape: Shape = _plain(picture.load)
    if sight is Sight.ALL:
        shape["engine"] = engine(picture.engine)
    return shape


def engine(note: EngineNote | None) -> Shape | None:
    """Return the engine; None if none runs."""
    return None if note is None else _plain(note)


def live_convoy(convoy: ConvoyView, sight: Sight) -> Shape:
    """Return a convoy as it is now."""
    counts = convoy.counts
    shape: Shape = {
        "id": convoy.id,
        "name": one_line(convoy.name),
        "status": convoy.status.value,
        "is_final": convoy.status.is_final,
        "total": counts.total,
        "completed": counts.completed,
        "failed": counts.failed + counts.lost,
        "running": counts.running,
        "queued": counts.queued,
        "ended": counts.ended,
        "created_at": convoy.created_at,
        "finished_at": convoy.finished_at,
        "rate_per_s": convoy.rate_per_s,
        "eta_s": convoy.eta_s,
        "reason": convoy.reason and one_line(convoy.reason),
    }
    return _hide(shape, ("id", "name", "reason"), sight)


def failure(it: OperationFailure) -> Shape:
    """Return an operation that failed."""
    shape = _plain(it)
    del shape["key"]
    return {"convoy_id": it.key.convoy_id, "item_id": it.key.item_id, **shape}


def agent(figures: AgentFigures) -> Shape:
    """Return what an agent's operations came to."""
    return _plain(figures)


def resize(note: ResizeNote, sight: Sight) -> Shape:
    """Return a change of the parallelism."""
    return _hide(_plain(note), ("reason",), sight)


def _plain(value: object) -> Shape:
    shape: Shape = msgspec.to_builtins(value)
    return {
        key: one_line(entry, limit=500) if isinstance(entry, str) else entry
        for key, entry in shape.items()
    }


def _hide(shape: Shape, names: Iterable[str], sight: Sight) -> Shape:
    if sight is not Sight.ALL:
        for name in names:
            del shape[name]
    return shape
