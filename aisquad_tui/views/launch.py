"""What a launch would run, as lines: templates, or what is wrong and where."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from aisquad_core.model import WorkStatus
from aisquad_core.sanitise import one_line
from aisquad_tui.draft import FILE, FOR_EACH, RUN
from aisquad_tui.formatting import cell_width, count, cut, pad, plural
from aisquad_tui.ink import Role, line, width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_core.api import Preview, PreviewOperation
    from aisquad_core.errors import Problem
    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line, Span

_COMMAND_LINE = "<command line>"
_ID_CELLS, _AGENT_CELLS, _NEEDS_CELLS = 20, 10, 22
_LABEL_CELLS = 9


def field_of(problem: Problem) -> str:
    """Return the name of the field in which a problem is."""
    if problem.file != _COMMAND_LINE:
        return problem.file if problem.file in {FOR_EACH, "name", "agent"} else FILE
    return FOR_EACH if problem.key.startswith("inputs") else RUN


def summary(preview: Preview, glyphs: Glyphs) -> Line:
    """Return the head of the preview: name, number of operations, agents."""
    agents = ", ".join(f"{one_line(name, 40)} {count(n)}" for name, n in preview.agents.items())
    gap = f" {glyphs.separator} "
    noun = "agent" if len(preview.agents) == 1 else "agents"
    return line(
        (one_line(preview.name, 60), Role.STRONG),
        (gap, Role.QUIET),
        plural(preview.total, "operation"),
        (f"{gap}{noun}: ", Role.QUIET),
        agents,
    )


def templates(preview: Preview, cells: int, rows: int, glyphs: Glyphs) -> list[Line]:
    """Return the templates, and for a single one the names of what it makes."""
    lines = [_template(each, cells, glyphs) for each in preview.templates]
    if len(lines) > rows:
        hidden = len(lines) - rows + 1
        lines = [*lines[: max(0, rows - 1)], line((f"  and {count(hidden)} more", Role.QUIET))]
    if len(preview.templates) == 1 and preview.total > 1:
        lines += _names(preview, cells, rows - len(lines), glyphs)
    return lines[:rows]


def problems(found: Sequence[Problem], cells: int, rows: int, glyphs: Glyphs) -> list[Line]:
    """Return what is wrong, each at its place; what has no room is counted."""
    sign = f"{glyphs.item[WorkStatus.FAILED]} "
    lines: list[Line] = []
    for place, problem in enumerate(found):
        where, what = _told(problem)
        pieces = textwrap.wrap(f"{where}: {what}", max(10, cells - 2), max_lines=3) or [""]
        more = len(found) - place
        if len(lines) + len(pieces) > rows - (1 if more > 1 else 0) and lines:
            lines.append(line((f"  and {count(more)} more", Role.BAD)))
            break
        for number, piece in enumerate(pieces):
            head = sign if not number else "  "
            at = min(len(piece), len(where)) if not number else 0
            lines.append(line((head + piece[:at], Role.BAD), piece[at:]))
    return lines[:rows]


def choices(label: str, names: Sequence[str], cells: int, glyphs: Glyphs) -> Line:
    """Return names beside each other, as many as there is room for."""
    gap, shown = f" {glyphs.separator} ", list[str]()
    room = cells - cell_width(label) - cell_width(gap) - 2
    for name in names:
        clean = one_line(name, 60)
        room -= cell_width(clean) + cell_width(gap)
        if room < 0 and shown:
            shown.append(glyphs.ellipsis)
            break
        shown.append(clean)
    return line((label, Role.QUIET), (gap.join(shown), Role.QUIET))


def label(text: str, *, is_focused: bool, is_bad: bool) -> Span:
    """Return the name of a field."""
    role = Role.BAD if is_bad else Role.KEY if is_focused else Role.QUIET
    return (pad(text, _LABEL_CELLS), role)


def _told(problem: Problem) -> tuple[str, str]:
    """Return where a problem is and what it is."""
    if problem.file == _COMMAND_LINE:
        return field_of(problem), one_line(problem.message, 500)
    where = one_line(problem.file, 80)
    if problem.line is not None:
        where += f":{problem.line}"
    if problem.key:
        where += f" {one_line(problem.key, 80)}"
    return where, one_line(problem.message, 500)


def _template(template: PreviewOperation, cells: int, glyphs: Glyphs) -> Line:
    needs = f"needs {', '.join(template.needs)}" if template.needs else ""
    times = f"{count(template.count)} {glyphs.times}" if template.count > 1 else ""
    tail = line(
        (f"  {times:>7}" if times else "", Role.STRONG),
        (f"  {cut(one_line(needs), _NEEDS_CELLS, glyphs.ellipsis)}" if needs else "", Role.QUIET),
    )
    room = max(8, cells - _ID_CELLS - _AGENT_CELLS - 6 - width(tail))
    ellipsis = glyphs.ellipsis
    return line(
        "  ",
        (pad(cut(one_line(template.id), _ID_CELLS, ellipsis), _ID_CELLS), Role.STRONG),
        (f"  {pad(cut(one_line(template.agent_id), _AGENT_CELLS, ellipsis), _AGENT_CELLS)}  "),
        pad(cut(one_line(template.command, 500), room, ellipsis), room),
        *tail,
    )


def _names(preview: Preview, cells: int, rows: int, glyphs: Glyphs) -> list[Line]:
    """Return the ids of the operations that a single template makes, as far as there is room."""
    names = [one_line(each.id, 40) for each in preview.operations]
    more = preview.total - len(names)
    said = f" {glyphs.separator} ".join(names) + (f" and {count(more)} more" if more else "")
    pieces = textwrap.wrap(said, max(10, cells - 4), max_lines=max(1, rows), placeholder=" ...")
    return [line((f"    {piece}", Role.QUIET)) for piece in pieces] if rows > 0 else []
