"""One work item in full: its first line, what it is, its tries, and what is said of its log."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from aisquad_core.model import FAILURE_STATUSES, Try, WorkStatus
from aisquad_core.sanitise import one_line, sanitise
from aisquad_core.spec import display_command
from aisquad_tui.formatting import (
    GLYPHS,
    age,
    between,
    cell_width,
    count,
    cut,
    data_size,
    duration,
    moment,
    pad,
    plural,
)
from aisquad_tui.ink import Role, fit, line, plain, width
from aisquad_tui.views.layout import Piece, dimmed, fitted, joined
from aisquad_tui.views.work import ROLES, status_word, time_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aisquad_core.api import ItemDetail, ItemView, RelatedItem
    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line, Span

_INTO = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
_LABEL_CELLS = 11
_MOST_ROWS = 6
"""Rows that one fact takes at most."""
_FEW_ROWS = 2
_MOST_RELATED = 12
_MOST_VALUES = 20
_LONGEST = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LogState:
    """What the edge of the log's box tells."""

    size: int | None
    """Bytes; None: not known yet."""
    lines: int | None
    """None: not counted."""
    is_following: bool
    is_final: bool
    percent: int
    """How far down the view is."""
    attempt: int | None = None
    """Named only if it is not the present one."""
    is_result: bool = False
    is_wrapped: bool = True
    query: str = ""
    """What was searched."""
    search: str = ""
    """How the search goes, in words."""


class _Fact(NamedTuple):
    label: str
    spans: Line


def header(
    detail: ItemDetail | None,
    now: datetime,
    cells: int,
    glyphs: Glyphs,
    *,
    item_id: str,
    convoy_name: str,
    lost_at: datetime | None = None,
) -> Line:
    """Return the first line: where this is at the left, how it goes at the right.

    Args:
        detail: None before the first answer.
        now: The time, aware, in UTC.
        cells: How many the line takes.
        glyphs: The signs of the terminal.
        item_id: The item's id.
        convoy_name: Of its convoy.
        lost_at: Since when the engine cannot be reached.
    """
    sign = _INTO if glyphs is GLYPHS else ">"
    right: list[Piece] = []
    if lost_at is not None:
        since = f"{glyphs.waiting} engine away since {lost_at.astimezone():%H:%M:%S}"
        right.append(Piece(line((since, Role.WARN)), 95))
    if detail is not None:
        view = detail.view
        word, role = status_word(view)
        state = f"{glyphs.item[view.status]} {word} {time_of(view, now)}".rstrip()
        right.append(Piece(line((state, role)), 90, gap=3))
        if view.max_attempts > 1 or view.attempt > 1:
            right.append(Piece(line(f"try {view.attempt}", _of(view)), 30, gap=3))
        if detail.pid is not None:
            right.append(Piece(line((f"pid {detail.pid}", Role.QUIET)), 10, gap=3))
    name, where = one_line(item_id), one_line(convoy_name)
    tail = joined(right, max(0, cells - cell_width(name) - 5))
    room = max(0, cells - width(tail) - 4)
    if cell_width(where) + cell_width(name) + 3 > room:
        where = cut(where, max(0, room - cell_width(name) - 3), glyphs.ellipsis)
    head = line(" ", (where, Role.TEXT), (f" {sign} " if where else "", Role.QUIET))
    head = (*head, (cut(name, max(1, room - width(head) + 1), glyphs.ellipsis), Role.STRONG))
    gap = max(2, cells - width(head) - width(tail) - 1)
    whole = line(*head, " " * gap, *tail)
    return fitted(dimmed(whole) if lost_at else whole, cells, glyphs)


def facts(
    detail: ItemDetail, now: datetime, cells: int, glyphs: Glyphs, *, is_brief: bool = False
) -> list[Line]:
    """Return what the item is and why it stands where it stands; rows of a box."""
    rows: list[Line] = []
    most = _FEW_ROWS if is_brief else _MOST_ROWS
    for label, spans in _facts(detail, now, glyphs):
        wrapped = _wrapped(spans, max(8, cells - _LABEL_CELLS), most, glyphs)
        for place, row in enumerate(wrapped):
            head = pad(label if place == 0 else "", _LABEL_CELLS)
            rows.append(fitted(line((head, Role.QUIET), *row), cells, glyphs))
    return rows


def tries(detail: ItemDetail, now: datetime, cells: int, glyphs: Glyphs) -> list[Line]:
    """Return each try, the newest first: how it ended, how long it took, what went wrong."""
    view = detail.view
    rows: list[Line] = []
    if view.started_at is not None:
        present = Try(
            attempt=view.attempt,
            status=view.status,
            exit_code=view.exit_code,
            error=view.error,
            started_at=view.started_at,
            finished_at=view.finished_at,
            token=None,
        )
        rows += _try_rows(present, time_of(view, now), _use(detail), cells, glyphs)
    for each in reversed(detail.tries):
        took = between(each.started_at, each.finished_at, now)
        rows += _try_rows(each, took, "", cells, glyphs)
    rows = rows or [line((not_begun(view), Role.QUIET))]
    return [fitted(row, cells, glyphs) for row in rows]


def not_begun(view: ItemView) -> str:
    """Say that an item has not begun, and why."""
    reason = one_line(view.reason or "")
    return f"has not begun: {reason}" if reason else f"has not begun ({view.status.word})"


def no_output(detail: ItemDetail | None, *, attempt: int, is_result: bool, was_lost: bool) -> str:
    """Say why there is nothing of a log to show."""
    if detail is None:
        return ""
    view = detail.view
    what = "result" if is_result else "output"
    if attempt == view.attempt and view.started_at is None:
        return not_begun(view)
    if attempt == view.attempt and view.status is WorkStatus.IN_PROGRESS:
        return f"no {what} yet"
    return f"its {what} is no longer there" if was_lost else f"no {what}, or it was removed since"


def log_info(state: LogState, cells: int, glyphs: Glyphs) -> Line:
    """Return the remark in the upper edge of the log's box, what matters least dropped first."""
    if state.is_following:
        mode = _quiet("ended", 70) if state.is_final else Piece(line(("following", Role.GOOD)), 70)
    elif state.is_final:
        mode = _quiet(f"ended, at {state.percent} %", 70)
    else:
        stands = (f"stands at {state.percent} %", Role.WARN)
        mode = Piece(line(stands, (", f follows", Role.QUIET)), 80)
    parts = [
        Piece(line((f"try {state.attempt}", Role.WARN) if state.attempt else ""), 90),
        Piece(line(("result", Role.WARN) if state.is_result else ""), 85),
        mode,
        Piece(line((state.search, Role.ACCENT)), 95),
        _quiet("" if state.lines is None else plural(state.lines, "line"), 40),
        _quiet("" if state.size is None else data_size(state.size), 30),
        _quiet("" if state.is_wrapped else "cut", 20),
        _quiet("n next" if state.query else "/ search", 10),
    ]
    kept = [part for part in parts if part.spans]
    gap = len(glyphs.separator) + 2
    while len(kept) > 1 and sum(width(part.spans) + gap for part in kept) - gap > cells:
        kept.remove(min(kept, key=lambda part: part.rank))
    whole: list[Span] = []
    for place, part in enumerate(kept):
        whole += [(f" {glyphs.separator} " if place else "", Role.QUIET), *part.spans]
    return line(*whole)


def _quiet(text: str, rank: int) -> Piece:
    return Piece(line((text, Role.QUIET)), rank)


def _of(view: ItemView) -> Span:
    return (f" of {view.max_attempts}" if view.max_attempts >= view.attempt else "", Role.QUIET)


def _facts(detail: ItemDetail, now: datetime, glyphs: Glyphs) -> list[_Fact]:
    view, operation = detail.view, detail.operation
    command = "async callable of a script" if operation is None else display_command(operation)
    found = [
        _Fact("error", line((one_line(view.error or "", _LONGEST), Role.BAD))),
        _Fact("reason", line((one_line(view.reason or "", _LONGEST), Role.WARN))),
        _Fact("agent", line((one_line(view.agent_id), Role.STRONG))),
        _Fact("command", line(sanitise(command))),
        _Fact("cwd", line(one_line(detail.cwd or "", _LONGEST))),
        _Fact("needs", _related(detail.dependencies, glyphs)),
        _Fact("needed by", _related(detail.dependents, glyphs)),
        _Fact("started", _moment(view.started_at, now)),
        _Fact("ended", _moment(view.finished_at, now)),
        _Fact("created", _moment(view.created_at, now)),
    ]
    if operation is not None and operation.timeout_s is not None:
        found.append(_Fact("timeout", line(duration(operation.timeout_s))))
    found += _values("context", detail.context) + _values("artifact", detail.artifacts)
    found += _values("metadata", detail.metadata)
    return [fact for fact in found if fact.spans]


def _related(items: Sequence[RelatedItem], glyphs: Glyphs) -> Line:
    spans: list[Span] = []
    for place, item in enumerate(items[:_MOST_RELATED]):
        name = f"{'  ' if place else ''}{one_line(item.id)} "
        spans += [(name, Role.TEXT), (glyphs.item[item.status], ROLES[item.status])]
    if len(items) > _MOST_RELATED:
        spans.append((f"  and {count(len(items) - _MOST_RELATED)} more", Role.QUIET))
    return line(*spans)


def _moment(when: datetime | None, now: datetime) -> Line:
    if when is None:
        return ()
    return line(moment(when, is_utc=False), (f"  {_ago((now - when).total_seconds())}", Role.QUIET))


def _ago(seconds: float) -> str:
    return "just now" if seconds < 60 else f"{age(seconds)} ago"


def _values(label: str, values: Mapping[str, object]) -> list[_Fact]:
    found = [
        _Fact(
            label if place == 0 else "",
            line((f"{one_line(str(name))} ", Role.QUIET), one_line(_json(value), _LONGEST)),
        )
        for place, (name, value) in enumerate(values.items())
        if place < _MOST_VALUES
    ]
    if len(values) > _MOST_VALUES:
        more = f"and {count(len(values) - _MOST_VALUES)} more"
        found.append(_Fact("", line((more, Role.QUIET))))
    return found


def _json(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _use(detail: ItemDetail) -> str:
    if detail.view.status is not WorkStatus.IN_PROGRESS:
        return ""
    cpu = "" if detail.cpu_percent is None else f"CPU {detail.cpu_percent:.0f} %"
    memory = "" if not detail.rss_bytes else data_size(detail.rss_bytes)
    return "  ".join(part for part in (cpu, memory) if part)


def _try_rows(each: Try, took: str, use: str, cells: int, glyphs: Glyphs) -> list[Line]:
    """Return a try in a row, or in two where there is no room for what is said of it beside it."""
    word = each.status.word if each.exit_code is None else f"exit {each.exit_code}"
    error = one_line(each.error or "").removeprefix(word).removeprefix(": ")
    role = Role.BAD if each.status in FAILURE_STATUSES else Role.QUIET
    said: Span = (use, Role.TEXT) if use else (error, role)
    head = line(
        (pad(str(each.attempt), 3), Role.QUIET),
        (pad(f"{glyphs.item[each.status]} {word}", 11), ROLES[each.status]),
        pad(took, 7, is_right=True),
    )
    beside = line(*head, "   ", said)
    return [beside] if width(beside) <= cells or not said[0] else [head, line("   ", said)]


def _wrapped(spans: Line, cells: int, most: int, glyphs: Glyphs) -> list[Line]:
    """Break a line into rows, the last one cut if there is more."""
    rows: list[Line] = []
    while width(spans) > cells and len(rows) < most - 1:
        head, spans = _split(spans, cells)
        rows.append(head)
    if width(spans) > cells:
        spans = fit(spans, cells, ellipsis=glyphs.ellipsis)
    return [*rows, spans]


def _split(spans: Line, cells: int) -> tuple[Line, Line]:
    """Divide a line that is too long, behind a space if there is one behind its first third."""
    text = plain(spans)
    at = max(1, len(cut(text, cells, "")))
    at = text.rfind(" ", at // 3, at) + 1 or at
    head: list[Span] = []
    tail: list[Span] = []
    for part, role in spans:
        head.append((part[: max(0, at)], role))
        tail.append((part[max(0, at) :], role))
        at -= len(part)
    return line(*head), line(*tail)
