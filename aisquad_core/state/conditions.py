"""What a filter of work items means in SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aisquad_core.api import ItemField
from aisquad_core.model import WorkStatus
from aisquad_core.state import pattern
from aisquad_core.state.operation_text import encode_json
from aisquad_core.state.rows import PLACE_BITS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from aisquad_core.api import ItemFilter, ItemTerm
    from aisquad_core.state.bulk import SQLValue

_REASON = "CASE WHEN w.status NOT IN ('in_progress', 'completed') THEN w.reason END"
_TEXTS = {
    ItemField.ANY: ("w.id", "w.agent_id", "w.error", _REASON),
    ItemField.ID: ("w.id",),
    ItemField.AGENT: ("w.agent_id",),
    ItemField.ERROR: ("w.error",),
    ItemField.REASON: (_REASON,),
    ItemField.EXIT: ("CAST(w.exit_code AS TEXT)",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A part of a WHERE clause with its parameters."""

    sql: str
    parameters: tuple[SQLValue, ...] = ()


def place_range(number: int) -> tuple[int, int]:
    """Return the first and last place of the convoy of that number."""
    first = -(number << PLACE_BITS)
    return first, first + (1 << PLACE_BITS) - 1


def filter_conditions(
    connection: sqlite3.Connection, item_filter: ItemFilter, *, hidden: Sequence[int]
) -> list[Condition]:
    """Return the conditions of a filter.

    Args:
        connection: To look up the convoys' numbers.
        item_filter: What to let through.
        hidden: Numbers of the convoys whose items are not all in yet.
    """
    conditions = [
        Condition(sql="w.place NOT BETWEEN ? AND ?", parameters=place_range(number))
        for number in hidden
    ]
    if item_filter.convoy_ids:
        numbers = connection.execute(
            "SELECT number FROM launches WHERE convoy_id IN (SELECT value FROM json_each(?))",
            (encode_json(item_filter.convoy_ids),),
        ).fetchall()
        ranges = [place_range(number) for (number,) in numbers]
        conditions.append(
            Condition(
                sql=" OR ".join(["w.place BETWEEN ? AND ?"] * len(ranges)) or "FALSE",
                parameters=tuple(bound for bounds in ranges for bound in bounds),
            )
        )
    if item_filter.statuses:
        conditions.append(is_among("w.status", [s.value for s in item_filter.statuses]))
    if item_filter.agent_ids:
        conditions.append(is_among("w.agent_id", item_filter.agent_ids))
    if item_filter.keys:
        conditions.append(
            Condition(
                sql="(w.convoy_id, w.id) IN (SELECT value->>0, value->>1 FROM json_each(?))",
                parameters=(encode_json(item_filter.keys),),
            )
        )
    if item_filter.text:
        conditions.append(
            Condition(
                sql=" OR ".join(f"w.{c} LIKE ? ESCAPE '\\'" for c in ("id", "error", "reason")),
                parameters=(like(item_filter.text),) * 3,
            )
        )
    return [*conditions, *term_conditions(connection, item_filter.terms)]


def term_conditions(connection: sqlite3.Connection, terms: Sequence[ItemTerm]) -> list[Condition]:
    """Return the conditions of terms, and give the connection the functions that they call."""
    if not terms:
        return []
    connection.create_function("has_pattern", 2, pattern.is_found, deterministic=True)
    connection.create_function("has_part", 2, pattern.contains, deterministic=True)
    return [_term_condition(connection, term) for term in terms]


def _term_condition(connection: sqlite3.Connection, term: ItemTerm) -> Condition:
    if term.field is ItemField.STATUS:
        fitting = [s.value for s in WorkStatus if pattern.holds(term, s.word)]
        return is_among("w.status", fitting)
    if term.field is ItemField.CONVOY:
        rows = connection.execute(
            "SELECT l.convoy_id, c.name FROM launches AS l LEFT JOIN convoys AS c"
            " ON c.number = l.number"
        ).fetchall()
        ids = [convoy_id for convoy_id, name in rows if pattern.holds(term, convoy_id, name)]
        return Condition(
            sql="w.convoy_id IN (SELECT value FROM json_each(?))", parameters=(encode_json(ids),)
        )
    columns = _TEXTS[term.field]
    if term.is_regex:
        tests = [f"has_pattern(?, {column})" for column in columns]
        text = term.text
    elif term.field is ItemField.EXIT:
        tests, text = [f"coalesce({column} = ?, FALSE)" for column in columns], term.text
    elif term.text.isascii():
        tests = [f"coalesce({column}, '') LIKE ? ESCAPE '\\'" for column in columns]
        text = like(term.text)
    else:
        tests, text = [f"has_part(?, {column})" for column in columns], term.text
    either = " OR ".join(tests)
    return Condition(
        sql=f"NOT ({either})" if term.is_negated else either, parameters=(text,) * len(tests)
    )


def like(part: str) -> str:
    """Return the pattern of LIKE for texts that have this part."""
    escaped = part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def where(conditions: Iterable[Condition]) -> tuple[str, list[SQLValue]]:
    """Return a WHERE clause of all conditions, and its parameters."""
    clauses: list[str] = []
    parameters: list[SQLValue] = []
    for condition in conditions:
        clauses.append(f"({condition.sql})")
        parameters += condition.parameters
    return (f"WHERE {' AND '.join(clauses)}" if clauses else ""), parameters


def is_among(column: str, values: Sequence[str]) -> Condition:
    """Return the condition that a column has one of the values."""
    return Condition(sql=f"{column} IN ({','.join('?' * len(values))})", parameters=tuple(values))
