"""Checks how operations depend on each other: ids are unique, needs exist, nothing goes round.

An entry of `needs` with names of the operation's own `for_each` means the one operation that these
values make; any other entry is the id of an operation, or the id of a template as it is written,
which means all operations that it makes.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import accumulate
from typing import TYPE_CHECKING

from aisquad_core.sanitise import escape_controls
from aisquad_core.spec.report import show_text
from aisquad_core.spec.source import MAX_EDGES, MAX_ID_LENGTH
from aisquad_core.spec.template import Text, Unknown, compile_text, fill, written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from aisquad_core.spec.operation import OperationTemplate
    from aisquad_core.spec.report import Report

_SHOWN_IN_CYCLE = 10


@dataclass(frozen=True, slots=True)
class All:
    """Every operation of one template."""

    index: int
    """Place of the template."""


Need = str | Text | All
"""An id, or the text that makes one from the values of `for_each`, or a template."""


def check_graph(
    templates: Sequence[OperationTemplate], broken_ids: Iterable[str], report: Report
) -> Mapping[int, tuple[Need, ...]]:
    """Check ids and needs of all operations.

    Args:
        templates: Those without problems of their own.
        broken_ids: Ids, as written, of those with problems.
        report: Gets every problem.

    Returns:
        The needs of each template that has some, by its place.
    """
    positions = _positions(templates, report)
    broken = set(broken_ids)
    is_complete = not any("{" in id for id in broken)
    checker = _Checker(templates, positions, broken if is_complete else None, report)
    needs = {
        index: checker.needs(template)
        for index, template in enumerate(templates)
        if template.needs_text
    }
    if report.count == 0 and needs:
        _check_edges(templates, needs, report)
    if report.count == 0 and needs:
        _check_cycles(templates, needs, positions, report)
    return needs


def _positions(templates: Sequence[OperationTemplate], report: Report) -> dict[str, int]:
    """Return the place of each operation by its id."""
    positions: dict[str, int] = {}
    start = 0
    for template in templates:
        for position, id in enumerate(template.all_ids(), start):
            problem = None
            if not id.strip():
                problem = "the id is blank"
            elif len(id) > MAX_ID_LENGTH:
                problem = f"the id {show_text(id)} has {len(id)} characters; at most "
                problem += f"{MAX_ID_LENGTH} are allowed"
            elif id in positions:
                problem = _twice(template, id, is_own=positions[id] >= start)
            if problem:
                key = ("operations", template.index, "id")
                report.add(key, problem, operation=template.id)
                break
            positions[id] = position
        start += template.count
    return positions


def _twice(template: OperationTemplate, id: str, *, is_own: bool) -> str:
    unused = [each.name for each in template.variables if each.name not in template.id_text[1::2]]
    if not is_own:
        return f"an operation before has the id {show_text(id)}, too"
    if unused:
        names = ", ".join(f"{{{name}}}" for name in unused)
        return f"two of its operations have the id {show_text(id)}; put {names} into it"
    return f"two of its operations have the id {show_text(id)}: a value is there twice"


class _Checker:
    def __init__(
        self,
        templates: Sequence[OperationTemplate],
        positions: Mapping[str, int],
        broken: set[str] | None,
        report: Report,
    ) -> None:
        self._positions = positions
        self._broken = broken
        """None: some ids are not known, so that none can be called unknown."""
        self._report = report
        self._templates: dict[str, list[int]] = {}
        for index, template in enumerate(templates):
            if template.variables:
                self._templates.setdefault(written(template.id_text), []).append(index)

    def needs(self, template: OperationTemplate) -> tuple[Need, ...]:
        """Return the needs of one template that have no problem."""
        found: dict[Need, None] = {}
        for place, entry in enumerate(template.needs_text):
            found |= dict.fromkeys(self._entry(template, entry, place))
        return tuple(found)

    def _entry(self, template: OperationTemplate, entry: str, place: int) -> list[Need]:
        own = [variable.name for variable in template.variables]
        text = compile_text(entry, own, Unknown.KEEP)
        if len(text) > 1:
            return self._of_values(template, text, entry, place)
        if text[0] in self._templates:
            return [All(index) for index in self._templates[text[0]]]
        id = escape_controls(text[0])
        if id in self._positions:
            return [id]
        self._unknown(template, entry, id, place)
        return []

    def _of_values(
        self, template: OperationTemplate, text: Text, entry: str, place: int
    ) -> list[Need]:
        for values in template.values():
            id = escape_controls(fill(text, values))
            if id not in self._positions:
                self._unknown(template, entry, id, place)
                return []
        return [text]

    def _unknown(self, template: OperationTemplate, entry: str, id: str, place: int) -> None:
        if self._broken is None or entry in self._broken or id in self._broken:
            return
        hint = self._report.suggest(entry, self._templates) or self._report.suggest(
            id, self._positions
        )
        self._report.add(
            ("operations", template.index, "needs", place),
            f"no operation has the id {show_text(id)}{hint}",
            operation=template.id,
        )


def _check_edges(
    templates: Sequence[OperationTemplate], needs: Mapping[int, tuple[Need, ...]], report: Report
) -> None:
    total = 0
    for index, entries in needs.items():
        template = templates[index]
        each = sum(templates[need.index].count if isinstance(need, All) else 1 for need in entries)
        total += template.count * each
        if total > MAX_EDGES:
            message = f"{template.count:,} operations need {each:,} each, {total:,} with those "
            message += f"before; at most {MAX_EDGES:,} are allowed: put one operation in between"
            report.add(("operations", template.index, "needs"), message, operation=template.id)
            return


def _check_cycles(
    templates: Sequence[OperationTemplate],
    needs: Mapping[int, tuple[Need, ...]],
    positions: Mapping[str, int],
    report: Report,
) -> None:
    """Look for operations that wait for each other."""
    starts = [0, *accumulate(template.count for template in templates)]
    if all(
        starts[need.index + 1] <= position if isinstance(need, All) else need < position
        for position, entries in _edges(templates, needs, positions, starts)
        for need in entries
    ):
        return  # who needs only what stands before it waits for nobody behind it
    total = len(positions)
    graph: dict[int, Iterable[int]] = {}
    for position, entries in _edges(templates, needs, positions, starts):
        graph[position] = [
            total + need.index if isinstance(need, All) else need for need in entries
        ]
        for need in entries:
            if isinstance(need, All):  # one node between both sides, not an edge for each pair
                graph[total + need.index] = range(starts[need.index], starts[need.index + 1])
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        nodes = {node for node in error.args[1] if node < total}
        names = {position: id for id, position in positions.items() if position in nodes}
        cycle = [node for node in reversed(error.args[1]) if node in nodes]
        if len(cycle) == 1 or cycle[0] != cycle[-1]:
            cycle.append(cycle[0])
        template = templates[bisect_right(starts, cycle[0]) - 1]
        _report_cycle(template, [names[node] for node in cycle], report)


def _edges(
    templates: Sequence[OperationTemplate],
    needs: Mapping[int, tuple[Need, ...]],
    positions: Mapping[str, int],
    starts: Sequence[int],
) -> Iterator[tuple[int, list[int | All]]]:
    """Yield the place of each operation that needs some, with their places."""
    for index, entries in needs.items():
        for position, values in enumerate(templates[index].values(), starts[index]):
            yield (
                position,
                [
                    need if isinstance(need, All) else positions[need_id(need, values)]
                    for need in entries
                ],
            )


def need_id(need: str | Text, values: Mapping[str, str]) -> str:
    """Return the id that a need means for one operation."""
    return need if isinstance(need, str) else escape_controls(fill(need, values))


def _report_cycle(template: OperationTemplate, cycle: list[str], report: Report) -> None:
    if len(cycle) > _SHOWN_IN_CYCLE:
        more = f"… {len(cycle) - _SHOWN_IN_CYCLE} more"
        cycle = [*cycle[: _SHOWN_IN_CYCLE - 1], more, cycle[-1]]
    message = "operations that wait for each other: " + " needs ".join(cycle)
    report.add(("operations", template.index, "needs"), message, operation=template.id)
