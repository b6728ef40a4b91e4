"""Puts a batch of records into the database, and removes old ones, on the connection's thread.

Few statements for many records: each call into SQLite gives up the interpreter lock and may wait a
millisecond to have it back while the loop is busy. Where there is time, the thread rests between
them, or for its 15 ms it would be a third that wants one of two processors, and commits of the
work state that fell into them took three times as long. Where there is so much to save that the
processors are busy anyway, that would cost more than it helps.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from aisquad_core.model import WorkStatus
from aisquad_core.sanitise import escape_controls, one_line
from aisquad_core.state.metrics.bins import LOWER_US
from aisquad_core.state.metrics.spans import DAY_S, DAY_US, HOUR_S, HOUR_US, MINUTE_S, MINUTE_US
from aisquad_core.state.metrics.sums import Sums

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence


Value = str | int | float | datetime | None
Row = tuple[Value, ...]


class End(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The end of an attempt."""

    convoy_id: str
    item_id: str
    agent_id: str
    status: WorkStatus
    is_final: bool
    attempt: int
    started_at: datetime | None
    finished_at: datetime
    exit_code: int | None
    error: str | None


SLICE_ROWS = 250
"""Ends that one statement adds, 1.5 ms of work, if it rests after each."""
RAW_SAMPLES_US = 2 * DAY_US
"""For how long each sample is kept; after that there are the sums of each minute."""


@dataclass(slots=True)
class ConvoyChange:
    """What was said of one convoy since it was saved last; None: nothing."""

    convoy_id: str
    at: datetime
    """When the first of it was said."""
    name: str | None = None
    start_time: datetime | None = None
    operations: int | None = None
    status: str | None = None
    is_ended: bool | None = None
    end_time: datetime | None = None
    completed: int | None = None
    failed: int | None = None
    cancelled: int | None = None
    skipped: int | None = None

    def followed_by(self, newer: ConvoyChange) -> ConvoyChange:
        """Return what both say together."""
        said = {
            each.name: value
            for each in fields(newer)
            if (value := getattr(newer, each.name)) is not None
        }
        return replace(self, **said)

    def row(self) -> Row:
        """Return it as values for SQLite."""
        return (
            escape_controls(self.convoy_id),
            None if self.name is None else one_line(self.name),
            self.status,
            self.start_time,
            self.operations,
            self.completed,
            self.failed,
            self.cancelled,
            self.skipped,
            self.at,
            self.is_ended,
            self.end_time,
        )


@dataclass(slots=True)
class Batch:
    """What one transaction saves."""

    ends: Sequence[End] = ()
    samples: Sequence[Row] = ()
    resizes: Sequence[Row] = ()
    convoys: Sequence[ConvoyChange] = ()

    def __len__(self) -> int:
        return len(self.ends) + len(self.samples) + len(self.resizes) + len(self.convoys)

    def split(self) -> tuple[Batch, ...]:
        """Return parts to be saved one after the other: the kinds, or else both halves.

        None where it has but one record.
        """
        kinds = {name: rows for name in _KINDS if (rows := getattr(self, name))}
        if len(kinds) > 1:
            return tuple(Batch(**{name: rows}) for name, rows in kinds.items())
        [(name, rows)] = kinds.items()
        middle = len(rows) // 2
        return (Batch(**{name: rows[:middle]}), Batch(**{name: rows[middle:]})) if middle else ()


_KINDS = ("convoys", "ends", "samples", "resizes")
"""In the order in which they are saved: ends add to their convoys."""


def prepare(connection: sqlite3.Connection) -> None:
    """Give a connection what `save` needs: where each bin begins."""
    connection.execute("CREATE TEMP TABLE bins (lower_us INTEGER PRIMARY KEY, bin INTEGER)")
    connection.execute(
        "INSERT INTO bins SELECT value, key FROM json_each(?)", (_encode(LOWER_US).decode(),)
    )


def save(
    connection: sqlite3.Connection, batch: Batch, rest: Callable[[], object] | None = None
) -> None:
    """Save a batch in one transaction.

    Args:
        connection: The writer's.
        batch: What to save.
        rest: Called between steps of the work, if there is much of it; None: there is no time.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        if batch.convoys:
            _save_convoys(connection, batch.convoys)
        if batch.ends:
            _save_ends(connection, batch.ends, rest)
        if batch.samples:
            rows = _json(batch.samples)
            connection.execute(_INSERT_SAMPLES, (rows,))
            connection.execute(_ADD_SAMPLES, (rows,))
        if batch.resizes:
            connection.execute(_INSERT_RESIZES, (_json(batch.resizes),))
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def prune(connection: sqlite3.Connection, before_us: int, now_us: int, limit: int) -> bool:
    """Remove one slice of what is older than `before_us`; return whether there may be more.

    Args:
        connection: The writer's.
        before_us: Everything that ended earlier goes, microseconds since 1970.
        now_us: Now, for the age of single samples.
        limit: Rows of each table that go at most.
    """
    has_more = False
    connection.execute("BEGIN IMMEDIATE")
    try:
        for table, key, column, width_us, condition in _PRUNED:
            last_us = before_us - width_us
            if table == "samples":
                last_us = max(last_us, now_us - RAW_SAMPLES_US)
            gone = connection.execute(
                f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table}"
                f" WHERE {condition} AND {column} < ? ORDER BY {column} LIMIT ?)",
                (last_us, limit),
            ).rowcount
            has_more = has_more or gone == limit
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return has_more


_WIDTHS_US = {HOUR_S: HOUR_US, DAY_S: DAY_US}
_PRUNED = (
    ("operations", "number", "ended_us", 0, "true"),
    ("convoys", "convoy_id", "updated_us", 0, "true"),
    ("samples", "number", "at_us", 0, "true"),
    ("resizes", "number", "at_us", 0, "true"),
    *(
        ("sample_sums", "width_s, at_us", "at_us", width_us, f"width_s = {width_s}")
        for width_s, width_us in ((MINUTE_S, MINUTE_US), (HOUR_S, HOUR_US))
    ),
    *(
        (
            "ends",
            "kind, width_s, start_us, outcome",
            "start_us",
            width_us,
            f"kind = '{kind}' AND width_s = {width_s}",
        )
        for kind in ("convoy", "operation")
        for width_s, width_us in _WIDTHS_US.items()
    ),
    *(
        (
            "agent_ends",
            "width_s, start_us, agent_id, outcome",
            "start_us",
            width_us,
            f"width_s = {width_s}",
        )
        for width_s, width_us in _WIDTHS_US.items()
    ),
)
"""Table, key, the column that says how old a row is, the time that a row sums up, which rows."""


def _save_ends(
    connection: sqlite3.Connection, ends: Sequence[End], rest: Callable[[], object] | None
) -> None:
    [(last,)] = connection.execute("SELECT coalesce(max(number), 0) FROM operations").fetchall()
    if rest is None or len(ends) <= SLICE_ROWS:
        connection.execute(_INSERT_ENDS, (_json(ends),))
        rest = _go_on
    else:
        for start in range(0, len(ends), SLICE_ROWS):
            connection.execute(_INSERT_ENDS, (_json(ends[start : start + SLICE_ROWS]),))
            rest()
    sums = Sums("operation")
    sums.gather(connection, _NEW_ENDS, (last,))
    sums.store(connection)
    rest()
    connection.execute(_ADD_AGENT_ENDS, (last,))
    rest()
    connection.execute(_ADD_ATTEMPTS, (last,))
    rest()


def _go_on() -> None:
    """Do not rest."""


def _save_convoys(connection: sqlite3.Connection, convoys: Sequence[ConvoyChange]) -> None:
    rows = _json([convoy.row() for convoy in convoys])
    sums = Sums("convoy")
    sums.gather(connection, _CONVOY_ENDS, (rows,), sign=-1)
    connection.execute(_UPSERT_CONVOYS, (rows,))
    sums.gather(connection, _CONVOY_ENDS, (rows,))
    sums.store(connection)


def _json(rows: Sequence[Row] | Sequence[End]) -> str:
    try:
        return _encode(rows).decode()
    except UnicodeEncodeError:  # a script's own ids: lone surrogates are no text for SQLite
        escaped = [
            [escape_controls(value) if isinstance(value, str) else value for value in row]
            for row in msgspec.to_builtins(rows)
        ]
        return _encode(escaped).decode()


_encode = msgspec.json.Encoder().encode


def _us(text: str) -> str:
    """Return SQL for the microseconds since 1970 of a time as the encoder writes it."""
    return (
        f"(CAST(strftime('%s', {text}) AS INTEGER) * 1000000"
        f" + CAST(substr({text}, 21, 6) AS INTEGER))"
    )


def _bin_of(duration_us: str) -> str:
    return (
        f"(SELECT bin FROM temp.bins WHERE lower_us <= {duration_us}"
        " ORDER BY lower_us DESC LIMIT 1)"
    )


_INSERT_ENDS = f"""
WITH said AS MATERIALIZED (
    SELECT value, {_us("value->>6")} AS started_us, {_us("value->>7")} AS ended_us
    FROM json_each(?))
INSERT INTO operations (convoy_id, item_id, agent_id, status, is_final, attempt, ended_us,
                        duration_us, bin, exit_code, error)
SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, ended_us,
       max(0, coalesce(ended_us - started_us, 0)),
       CASE WHEN value->>3 IN ('completed', 'failed') AND started_us IS NOT NULL
            THEN {_bin_of("max(0, ended_us - started_us)")} ELSE -1 END,
       value->>8, value->>9
FROM said
"""
_GATHERED = "json_group_array(json_array(hour_us, outcome, bin, count, sum_us))"
_NEW_ENDS = f"""
SELECT {_GATHERED} FROM (
    SELECT ended_us - ended_us % {HOUR_US} AS hour_us,
           CASE WHEN is_final THEN status ELSE 'retried' END AS outcome, bin, count(*) AS count,
           sum(duration_us) AS sum_us
    FROM operations WHERE number > ? GROUP BY hour_us, outcome, bin)
"""
_ADD_AGENT_ENDS = f"""
WITH new AS MATERIALIZED (
    SELECT ended_us - ended_us % {HOUR_US} AS hour_us, agent_id, status, count(*) AS count,
           sum(duration_us) AS sum_us
    FROM operations WHERE number > ? AND is_final GROUP BY hour_us, agent_id, status)
INSERT INTO agent_ends (width_s, start_us, agent_id, outcome, count, sum_us)
SELECT width_s, hour_us - hour_us % width_us, agent_id, status, count, sum_us
FROM (SELECT {HOUR_S} AS width_s, {HOUR_US} AS width_us UNION ALL SELECT {DAY_S}, {DAY_US}),
     new
WHERE true
ON CONFLICT DO UPDATE SET count = count + excluded.count, sum_us = sum_us + excluded.sum_us
"""
_ADD_ATTEMPTS = """
UPDATE convoys SET attempts = attempts + new.count, attempts_us = attempts_us + new.sum_us
FROM (SELECT convoy_id, count(*) AS count, sum(duration_us) AS sum_us
      FROM operations WHERE number > ? AND bin >= 0 GROUP BY +convoy_id) AS new
WHERE convoys.convoy_id = new.convoy_id
"""
_CONVOY_ENDS = f"""
SELECT {_GATHERED} FROM (
    SELECT end_us - end_us % {HOUR_US} AS hour_us, status AS outcome, bin, count(*) AS count,
           sum(max(0, end_us - start_us)) AS sum_us
    FROM convoys
    WHERE end_us IS NOT NULL AND convoy_id IN (SELECT value->>0 FROM json_each(?))
    GROUP BY hour_us, outcome, bin)
"""
_UPSERT_CONVOYS = f"""
INSERT INTO convoys (convoy_id, name, status, start_us, end_us, bin, operations, completed, failed,
                     cancelled, skipped, updated_us)
SELECT convoy_id, name, status, start_us, end_us,
       CASE WHEN end_us IS NULL THEN NULL WHEN status = 'cancelled' THEN -1
            ELSE {_bin_of("max(0, end_us - start_us)")} END,
       operations, completed, failed, cancelled, skipped, updated_us
FROM (SELECT value->>0 AS convoy_id, coalesce(value->>1, old.name, value->>0) AS name,
             coalesce(value->>2, old.status, 'running') AS status,
             coalesce({_us("value->>3")}, old.start_us, {_us("value->>9")}) AS start_us,
             CASE value->>10 WHEN 1 THEN {_us("value->>11")} WHEN 0 THEN NULL
                  ELSE old.end_us END AS end_us,
             coalesce(value->>4, old.operations, 0) AS operations,
             coalesce(value->>5, old.completed, 0) AS completed,
             coalesce(value->>6, old.failed, 0) AS failed,
             coalesce(value->>7, old.cancelled, 0) AS cancelled,
             coalesce(value->>8, old.skipped, 0) AS skipped, {_us("value->>9")} AS updated_us
      FROM json_each(?) LEFT JOIN convoys AS old ON old.convoy_id = value->>0) WHERE true
ON CONFLICT (convoy_id) DO UPDATE SET
    name = excluded.name, status = excluded.status, start_us = excluded.start_us,
    end_us = excluded.end_us, bin = excluded.bin, operations = excluded.operations,
    completed = excluded.completed, failed = excluded.failed, cancelled = excluded.cancelled,
    skipped = excluded.skipped, updated_us = excluded.updated_us
"""
_SAMPLED = "cpu_percent, memory_percent, active_workers, queue_depth, parallelism, throttle"
_INSERT_SAMPLES = f"""
INSERT INTO samples (at_us, {_SAMPLED})
SELECT {_us("value->>0")}, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6
FROM json_each(?)
"""
_ADD_SAMPLES = f"""
INSERT INTO sample_sums (width_s, at_us, count, {_SAMPLED})
SELECT width_s, at_us - at_us % width_us AS start, count(*), sum(value->>1), sum(value->>2),
       sum(value->>3), sum(value->>4), sum(value->>5), sum(value->>6)
FROM (SELECT value, {_us("value->>0")} AS at_us FROM json_each(?)),
     (SELECT {MINUTE_S} AS width_s, {MINUTE_US} AS width_us UNION ALL SELECT {HOUR_S}, {HOUR_US})
GROUP BY width_s, start
ON CONFLICT DO UPDATE SET count = count + excluded.count,
    {", ".join(f"{name} = {name} + excluded.{name}" for name in _SAMPLED.split(", "))}
"""
_INSERT_RESIZES = f"""
INSERT INTO resizes (at_us, previous, parallelism, is_auto, reason)
SELECT {_us("value->>0")}, value->>1, value->>2, value->>3, value->>4 FROM json_each(?)
"""
