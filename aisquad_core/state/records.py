"""Between the model and the rows of `convoys` and `engine`."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aisquad_core.model import ConvoyRecord, ConvoyStatus, StopReason
from aisquad_core.state.rows import parse_stamp, stamp, stamp_or_none, words, words_or_none

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_core.state.bulk import Row

CONVOY_COLUMNS = ", ".join(field.name for field in fields(ConvoyRecord))


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What an engine tells commands in other processes about itself."""

    pid: int
    boot_id: str
    version: str
    started_at: datetime
    parallelism: int
    baseline: int
    max: int
    auto: bool
    """False while pinned by hand or with auto tuning off."""
    throttle: float
    """0 (none) to 1."""
    reason: str
    """Why the semaphore has its size, in words."""
    updated_at: datetime


ENGINE_COLUMNS = ", ".join(field.name for field in fields(EngineFacts))


def convoy_row(record: ConvoyRecord) -> Row:
    """Return a convoy's values for `CONVOY_COLUMNS`."""
    return (
        record.id,
        words(record.name),
        record.status.value,
        stamp(record.created_at),
        stamp(record.updated_at),
        stamp_or_none(record.started_at),
        stamp_or_none(record.finished_at),
        record.total,
        record.stop_on_first_failure,
        record.timeout_s,
        _path_value(record.source),
        _path_value(record.cwd),
        None if record.stopping is None else record.stopping.value,
        words_or_none(record.reason),
        record.is_local,
    )


def convoy_from_row(row: Sequence[Any]) -> ConvoyRecord:
    """Return the convoy of a row of `CONVOY_COLUMNS`."""
    return ConvoyRecord(
        id=row[0],
        name=row[1],
        status=ConvoyStatus(row[2]),
        created_at=datetime.fromisoformat(row[3]),
        updated_at=datetime.fromisoformat(row[4]),
        started_at=parse_stamp(row[5]),
        finished_at=parse_stamp(row[6]),
        total=row[7],
        stop_on_first_failure=bool(row[8]),
        timeout_s=row[9],
        source=_path(row[10]),
        cwd=_path(row[11]),
        stopping=None if row[12] is None else StopReason(row[12]),
        reason=row[13],
        is_local=bool(row[14]),
    )


def engine_row(facts: EngineFacts) -> Row:
    """Return the engine's values, in the order of its fields."""
    return (
        facts.pid,
        facts.boot_id,
        facts.version,
        stamp(facts.started_at),
        facts.parallelism,
        facts.baseline,
        facts.max,
        facts.auto,
        facts.throttle,
        words(facts.reason),
        stamp(facts.updated_at),
    )


def engine_from_row(row: Sequence[Any]) -> EngineFacts:
    """Return the facts of a row in the order of its fields."""
    return EngineFacts(
        pid=row[0],
        boot_id=row[1],
        version=row[2],
        started_at=datetime.fromisoformat(row[3]),
        parallelism=row[4],
        baseline=row[5],
        max=row[6],
        auto=bool(row[7]),
        throttle=row[8],
        reason=row[9],
        updated_at=datetime.fromisoformat(row[10]),
    )


def _path_value(path: str | None) -> str | bytes | None:
    """Return a path (`os.fsdecode`d) as text, or as its bytes if it is not UTF-8."""
    if path is None:
        return None
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def _path(value: str | bytes | None) -> str | None:
    return os.fsdecode(value) if isinstance(value, bytes) else value
