"""Between work items and rows of `work_items`: which column holds what, and how.

Times are ISO 8601 text in UTC of fixed width, so that their order as text is their order in time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from aisquad_core.api import ItemView
from aisquad_core.model import (
    TRANSITIONS,
    StopReason,
    Try,
    WorkItem,
    WorkStatus,
)
from aisquad_core.state.bulk import BulkUpdate
from aisquad_core.state.operation_text import (
    decode_json,
    decode_operation,
    encode_json,
    encode_operation,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aisquad_core.model import RunUpdate
    from aisquad_core.state.bulk import Row, SQLValue

PLACE_BITS = 24
"""Bits of a place that hold the position within the convoy."""

RUN_UPDATE = BulkUpdate(
    columns=(
        "attempt",
        "token",
        "boot_id",
        "stopping",
        "exit_code",
        "error",
        "reason",
        "started_at",
        "finished_at",
        "tries+",
        "updated_at",
    )
)
"""What running an item changes; a `Try` is appended."""

ITEM_UPDATE = BulkUpdate(
    columns=(
        "agent_id",
        "priority",
        "attempt",
        "node",
        "token",
        "boot_id",
        "stopping",
        "exit_code",
        "error",
        "reason",
        "started_at",
        "finished_at",
        "context",
        "metadata",
        "artifacts",
        "dependencies",
        "tries",
        "updated_at",
    )
)
"""All of an item but its name, place, time of creation and operation."""

ITEM_TOUCH = replace(
    ITEM_UPDATE, assumed=frozenset({"status", "agent_id", "started_at", "finished_at"})
)
"""The same for an item whose indexed columns have not changed: in less than half the time."""

PREDECESSORS: Mapping[str, str] = {
    wanted.value: " ".join(
        current.value
        for current in WorkStatus
        if current is wanted or wanted in TRANSITIONS[current]
    )
    for wanted in WorkStatus
}
"""Each status to all that it may follow, in one text."""

ITEM_COLUMNS = (
    "id, status, agent_id, convoy_id, version, created_at, updated_at, context, metadata,"
    " artifacts, dependencies, operation, position, priority, attempt, node, token, boot_id,"
    " stopping, exit_code, error, reason, started_at, finished_at, tries"
)
VIEW_COLUMNS = (
    "id, convoy_id, status, agent_id, attempt, retries, priority, position, version, created_at,"
    " updated_at, started_at, finished_at, exit_code, error, reason"
)
RUN_COLUMNS = (
    "id, status, version, agent_id, priority, position, attempt, token, boot_id, stopping,"
    " started_at, dependencies, operation, retries, reason"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """What a scheduler needs to know of an item."""

    id: str
    status: WorkStatus
    version: int
    agent_id: str
    priority: int
    position: int
    attempt: int
    token: str | None
    boot_id: str | None
    stopping: StopReason | None
    started_at: datetime | None
    dependencies: tuple[str, ...]
    operation: str | None
    """For `decode_operation`; None if nobody wrote it down."""
    retries: int
    reason: str | None


def stamp(at: datetime) -> str:
    """Return a time as text.

    Raises:
        ValueError: It is naive.
    """
    if at.tzinfo is not UTC:
        if at.tzinfo is None:
            raise ValueError(f"{at} has no time zone")
        at = at.astimezone(UTC)
    if not at.microsecond:
        return at.isoformat(timespec="microseconds")
    return f"{_encode_stamp(at)[1:27].decode()}+00:00"  # in a fifth of the time of `isoformat`


_encode_stamp = msgspec.json.Encoder().encode


def stamp_or_none(at: datetime | None) -> str | None:
    """Return a time as text, None as None."""
    return None if at is None else stamp(at)


def parse_stamp(text: str | None) -> datetime | None:
    """Return the time that the text says."""
    return None if text is None else datetime.fromisoformat(text)


def words(text: str) -> str:
    """Return text for people as SQLite can hold it: what is not Unicode is shown escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def words_or_none(text: str | None) -> str | None:
    """Return text for people as SQLite can hold it, None as None."""
    return None if text is None else words(text)


def encode_try(ended: Try) -> str:
    """Return an ended attempt as JSON text."""
    return encode_json(_try_values(ended))


def _try_values(ended: Try) -> dict[str, SQLValue]:
    return {
        "attempt": ended.attempt,
        "status": ended.status.value,
        "exit_code": ended.exit_code,
        "error": ended.error,
        "started_at": stamp_or_none(ended.started_at),
        "finished_at": stamp_or_none(ended.finished_at),
        "token": ended.token,
    }


def _try(values: dict[str, Any]) -> Try:
    return Try(
        attempt=values["attempt"],
        status=WorkStatus(values["status"]),
        exit_code=values["exit_code"],
        error=values["error"],
        started_at=parse_stamp(values["started_at"]),
        finished_at=parse_stamp(values["finished_at"]),
        token=values["token"],
    )


def run_update_row(update: RunUpdate) -> Row:
    """Return the row of `RUN_UPDATE`, but for `updated_at`."""
    stopping, started_at, finished_at = update.stopping, update.started_at, update.finished_at
    error, reason, ended_try = update.error, update.reason, update.ended_try
    return (
        update.convoy_id,
        update.item_id,
        update.expected_version,
        update.previous._value_,
        update.status._value_,
        update.attempt,
        update.token,
        update.boot_id,
        None if stopping is None else stopping._value_,
        update.exit_code,
        None if error is None else words(error),
        None if reason is None else words(reason),
        None if started_at is None else stamp(started_at),
        None if finished_at is None else stamp(finished_at),
        None if ended_try is None else encode_try(ended_try),
    )


def item_update_row(item: WorkItem) -> Row:
    """Return the row of `ITEM_UPDATE`, but for `updated_at`."""
    status = item.status._value_
    return (
        item.convoy_id,
        item.id,
        item.version,
        PREDECESSORS[status],
        status,
        *_mutable_values(item),
    )


def _mutable_values(item: WorkItem) -> Row:
    return (
        item.agent_id,
        item.priority,
        item.attempt,
        item.node,
        item.token,
        item.boot_id,
        None if item.stopping is None else item.stopping._value_,
        item.exit_code,
        words_or_none(item.error),
        words_or_none(item.reason),
        stamp_or_none(item.started_at),
        stamp_or_none(item.finished_at),
        encode_json(item.context) if item.context else "{}",
        encode_json(item.metadata) if item.metadata else "{}",
        encode_json(item.artifacts) if item.artifacts else "{}",
        encode_json(item.dependencies) if item.dependencies else "[]",
        encode_json([_try_values(ended) for ended in item.tries]) if item.tries else "[]",
    )


INSERTED_COLUMNS = (
    "convoy_id",
    "id",
    "status",
    "version",
    "created_at",
    "updated_at",
    "position",
    "retries",
    "operation",
    *ITEM_UPDATE.columns[:-1],
)
"""Of a new item, after its place."""


def inserted_row(item: WorkItem, created_at: str) -> Row:
    """Return a new item's values for `INSERTED_COLUMNS`."""
    operation = item.operation
    return (
        item.convoy_id,
        item.id,
        item.status._value_,
        item.version,
        created_at,
        stamp(item.updated_at),
        item.position,
        0 if operation is None else operation.retries,
        None if operation is None else encode_operation(operation),
        *_mutable_values(item),
    )


def item_from_row(row: Sequence[Any]) -> WorkItem:
    """Return the item of a row of `ITEM_COLUMNS`."""
    return WorkItem(
        id=row[0],
        status=WorkStatus(row[1]),
        agent_id=row[2],
        convoy_id=row[3],
        version=row[4],
        created_at=datetime.fromisoformat(row[5]),
        updated_at=datetime.fromisoformat(row[6]),
        context=decode_json(row[7]),
        metadata=decode_json(row[8]),
        artifacts=decode_json(row[9]),
        dependencies=tuple(decode_json(row[10])),
        operation=None if row[11] is None else decode_operation(row[11]),
        position=row[12],
        priority=row[13],
        attempt=row[14],
        node=row[15],
        token=row[16],
        boot_id=row[17],
        stopping=None if row[18] is None else StopReason(row[18]),
        exit_code=row[19],
        error=row[20],
        reason=row[21],
        started_at=parse_stamp(row[22]),
        finished_at=parse_stamp(row[23]),
        tries=tuple(_try(values) for values in decode_json(row[24])),
    )


def view_from_row(row: Sequence[Any]) -> ItemView:
    """Return the view of a row of `VIEW_COLUMNS`."""
    status = WorkStatus(row[2])
    is_silent = status in {WorkStatus.IN_PROGRESS, WorkStatus.COMPLETED}
    return ItemView(
        id=row[0],
        convoy_id=row[1],
        status=status,
        agent_id=row[3],
        attempt=row[4],
        max_attempts=max(row[5] + 1, row[4]),
        priority=row[6],
        position=row[7],
        version=row[8],
        created_at=datetime.fromisoformat(row[9]),
        updated_at=datetime.fromisoformat(row[10]),
        started_at=parse_stamp(row[11]),
        finished_at=parse_stamp(row[12]),
        exit_code=row[13],
        error=row[14],
        reason=None if is_silent else row[15],
    )


def run_row_from_row(row: Sequence[Any]) -> RunRow:
    """Return the scheduler's view of a row of `RUN_COLUMNS`."""
    return RunRow(
        id=row[0],
        status=WorkStatus(row[1]),
        version=row[2],
        agent_id=row[3],
        priority=row[4],
        position=row[5],
        attempt=row[6],
        token=row[7],
        boot_id=row[8],
        stopping=None if row[9] is None else StopReason(row[9]),
        started_at=parse_stamp(row[10]),
        dependencies=() if row[11] == "[]" else tuple(decode_json(row[11])),
        operation=row[12],
        retries=row[13],
        reason=row[14],
    )
