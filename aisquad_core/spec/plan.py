"""Plans a convoy: checks all of it before anything is built, then builds operations on demand."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from aisquad_core.sanitise import escape_controls
from aisquad_core.spec.agents import Agents
from aisquad_core.spec.decode import decode, report_for
from aisquad_core.spec.graph import All, check_graph, need_id
from aisquad_core.spec.operation import Folders, OperationTemplate, Variable
from aisquad_core.spec.reader import MAX_RETRIES, Reader, check_size
from aisquad_core.spec.report import Report, show_text
from aisquad_core.spec.source import COMMAND_LINE, MAX_ID_LENGTH, MAX_OPERATIONS, AdHocSource
from aisquad_core.spec.table import Table
from aisquad_core.spec.template import INPUT, TemplateError, compile_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aisquad_core.model import Operation
    from aisquad_core.settings import AgentProfile
    from aisquad_core.spec.graph import Need
    from aisquad_core.spec.report import KeyPath
    from aisquad_core.spec.source import ConvoySource, SpecSource
    from aisquad_core.spec.template import Command

_MAX_NAME_LENGTH = 200
_MAX_STEM_LENGTH = MAX_ID_LENGTH - 7
"""Leaves room for a number behind it."""
_NOT_BEFORE_INPUT = (";", "&", "|", "(", ")", "<", ">", "{", "}", "\\")
"""What a shell line must not end in for an input to be its last argument."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvoyPlan:
    """A convoy that can be run: no operation of it is wrong."""

    name: str
    total: int
    """Number of operations."""
    stop_on_first_failure: bool
    timeout_s: float | None
    """Seconds for the whole convoy; None: no limit."""
    agents: Mapping[str, int]
    """Operations by agent, most first."""
    templates: tuple[OperationTemplate, ...]
    """What the operations are made from, in the order of the file."""
    folders: Folders
    needs: Mapping[int, tuple[Need, ...]] = field(default_factory=dict, repr=False)
    """Checked needs of the templates, by place."""

    def operations(self) -> Iterator[Operation]:
        """Yield the operations in the order of the file, each built when it is asked for."""
        whole: dict[int, tuple[str, ...]] = {}
        for index, template in enumerate(self.templates):
            entries = self.needs.get(index, ())
            for need in entries:
                if isinstance(need, All) and need.index not in whole:
                    whole[need.index] = tuple(self.templates[need.index].all_ids())
            for operation, values in template.expand(self.folders):
                if not entries:
                    yield operation
                    continue
                ids: dict[str, None] = {}
                for need in entries:
                    if isinstance(need, All):
                        ids |= dict.fromkeys(whole[need.index])
                    else:
                        ids[need_id(need, values)] = None
                yield replace(operation, needs=tuple(ids))


def plan(source: ConvoySource, *, agents: Mapping[str, AgentProfile], cwd: str) -> ConvoyPlan:
    """Check a convoy file or an ad-hoc command (blocking: patterns are looked up).

    Args:
        source: What to run.
        agents: Profiles by name; `shell` exists always.
        cwd: Absolute folder where the convoy is launched.

    Raises:
        SpecError: With every problem found.
    """
    if isinstance(source, AdHocSource):
        return _plan_ad_hoc(source, agents, cwd)
    return _plan_file(source, agents, cwd)


def _plan_file(source: SpecSource, agents: Mapping[str, AgentProfile], cwd: str) -> ConvoyPlan:
    document = decode(source)
    report = report_for(source)
    folders = Folders(base_dir=os.path.normpath(source.base_dir), launch_dir=os.path.normpath(cwd))
    reader = Reader(report, agents, folders)
    table = reader.convoy(document)
    name = table.text("name")
    if name is not None and len(name) > _MAX_NAME_LENGTH:
        table.problem("name", f"{len(name)} characters; at most {_MAX_NAME_LENGTH} are allowed")
    stop_on_first_failure = table.flag("stop_on_first_failure") or False
    timeout_s = table.duration("timeout")
    templates = tuple(reader.templates(document))
    needs = check_graph(templates, reader.broken_ids, report)
    report.raise_if_any()
    stem = os.path.splitext(os.path.basename(source.origin))[0].strip("<>")
    return ConvoyPlan(
        name=escape_controls(name or stem[:_MAX_NAME_LENGTH] or "convoy"),
        total=sum(template.count for template in templates),
        stop_on_first_failure=stop_on_first_failure,
        timeout_s=timeout_s,
        agents=_agent_counts(templates),
        templates=templates,
        folders=folders,
        needs=needs,
    )


def _plan_ad_hoc(source: AdHocSource, agents: Mapping[str, AgentProfile], cwd: str) -> ConvoyPlan:
    report = Report(COMMAND_LINE)
    _check_ad_hoc(source, report)
    Agents(agents, report).find(source.agent, Table({}, (), report, ()))
    command, shown = _ad_hoc_command(source.command, report)
    report.raise_if_any()
    template = OperationTemplate(
        id_text=("", INPUT, ""),
        agent_id=source.agent,
        argv=command,
        shown=shown,
        variables=(Variable(name=INPUT, values=source.inputs),),
        ids=tuple(_input_ids(source.inputs)),
        priority=source.priority,
        timeout_s=source.timeout_s,
        retries=source.retries,
        retry_delay_s=source.retry_delay_s,
    )
    folders = Folders(base_dir=os.path.normpath(cwd), launch_dir=os.path.normpath(cwd))
    check_size(template, folders, lambda problem: report.add(("inputs",), problem))
    report.raise_if_any()
    words = source.command.split() if isinstance(source.command, str) else source.command
    return ConvoyPlan(
        name=escape_controls(source.name or os.path.basename(words[0]) or "convoy"),
        total=template.count,
        stop_on_first_failure=source.stop_on_first_failure,
        timeout_s=None,
        agents={template.agent_id: template.count},
        templates=(template,),
        folders=folders,
    )


def _check_ad_hoc(source: AdHocSource, report: Report) -> None:
    words = source.command.split() if isinstance(source.command, str) else source.command
    if not words or not words[0]:
        report.add(("command",), "empty; expected a shell line or a list of arguments")
    if not source.inputs:
        report.add(
            ("inputs",),
            "there are none; expected them as arguments (--each 'CMD {}' INPUT…) or on standard "
            "input, one a line",
        )
    if len(source.inputs) > MAX_OPERATIONS:
        message = f"{len(source.inputs):,} of them; at most {MAX_OPERATIONS:,} are allowed"
        report.add(("inputs",), message)
    for text in (source.command,) if isinstance(source.command, str) else source.command:
        _check_argument(text, ("command",), report)
    for index, text in enumerate(source.inputs):
        _check_argument(text, ("inputs", index), report)
    if source.timeout_s is not None and source.timeout_s <= 0:
        report.add(("timeout",), f"found {source.timeout_s:g} s, expected more than 0 seconds")
    if not 0 <= source.retries <= MAX_RETRIES:
        message = f"found {source.retries}, expected a whole number from 0 to {MAX_RETRIES}"
        report.add(("retries",), message)


def _check_argument(text: str, path: KeyPath, report: Report) -> None:
    if "\0" in text:
        problem = "holds a NUL character, which no program can be given"
        report.add(path, f"{show_text(text)} {problem}")
    elif not text.isascii():
        try:
            text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            report.add(path, f"{show_text(text)} is no text that a program can be given")


def _ad_hoc_command(
    command: str | tuple[str, ...], report: Report
) -> tuple[Command, str | tuple[str, ...]]:
    """Read the command, with the input at its end if it does not say where it goes."""
    try:
        found = compile_command(command, (INPUT,))
        if any(INPUT in text[1::2] for text in found):
            return found, command
        if isinstance(command, tuple):
            return (*found, ("", INPUT, "")), (*command, "{}")
        line = command.rstrip()
        if line.endswith(_NOT_BEFORE_INPUT):
            message = f"nothing says where the input goes, and no argument can follow {line[-1]}"
            raise TemplateError(f"{message} at the end: put {{}} there")
        return compile_command(f"{line} {{}}", (INPUT,)), f"{line} {{}}"
    except TemplateError as error:
        report.add(("command",), str(error))
        return (), command


def _input_ids(inputs: tuple[str, ...]) -> Iterator[str]:
    """Yield an id for each input: the input itself, `-2` behind the second one like it."""
    used: set[str] = set()
    numbers: Counter[str] = Counter()
    for text in inputs:
        id = stem = _input_id(text)
        while id in used:
            numbers[stem] += 1
            id = f"{stem}-{numbers[stem] + 1}"
        used.add(id)
        yield id


def _input_id(text: str) -> str:
    id = escape_controls(text)
    if not id.strip():
        return "(blank)"
    if len(id) <= _MAX_STEM_LENGTH:
        return id
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{id[: _MAX_STEM_LENGTH - 13]}-{digest}"


def _agent_counts(templates: tuple[OperationTemplate, ...]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for template in templates:
        counts[template.agent_id] += template.count
    return dict(counts.most_common())
