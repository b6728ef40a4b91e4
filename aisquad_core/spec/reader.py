"""Reads the tables of a convoy file into operation templates, reporting everything wrong."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aisquad_core.model import OutputMode
from aisquad_core.spec.agents import SHELL_AGENT, AgentParts, Agents
from aisquad_core.spec.decode import plain
from aisquad_core.spec.for_each import ForEach
from aisquad_core.spec.operation import PROMPT, OperationTemplate
from aisquad_core.spec.report import describe, show_text
from aisquad_core.spec.source import MAX_OPERATIONS
from aisquad_core.spec.table import Table
from aisquad_core.spec.template import (
    Command,
    Text,
    compile_command,
    compile_text,
    longest_bytes,
    show_command,
    try_compile,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from aisquad_core.settings import AgentProfile
    from aisquad_core.spec.operation import Folders
    from aisquad_core.spec.report import Report

_COMMON_KEYS = frozenset({"agent", "timeout", "retries", "retry_delay", "priority", "cwd"})
_OPERATION_KEYS = _COMMON_KEYS | {
    *("id", "run", "prompt", "for_each", "needs", "stdin", "stdin_file", "stdout"),
    *("context", "metadata"),
}
_CONVOY_KEYS = frozenset(
    {"name", "stop_on_first_failure", "timeout", "priority", "defaults", "operations"}
)
_MAX_PRIORITY = 1_000_000
MAX_RETRIES = 1_000
_MAX_ARGUMENT_BYTES = 131_071
"""What Linux lets one argument have."""
_MAX_COMMAND_BYTES = 1_000_000
"""All arguments; Linux lets them have, with the environment, a quarter of the stack's limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Common:
    """What an operation and `defaults` can both say; None: not said."""

    agent_id: str | None = None
    timeout_s: float | None = None
    retries: int | None = None
    retry_delay_s: float | None = None
    priority: int | None = None
    cwd: str | None = None

    @classmethod
    def of(cls, table: Table) -> _Common:
        return cls(
            agent_id=table.text("agent", "the name of an agent"),
            timeout_s=table.duration("timeout"),
            retries=table.whole("retries", 0, MAX_RETRIES),
            retry_delay_s=table.duration("retry_delay", may_be_zero=True),
            priority=table.whole("priority", -_MAX_PRIORITY, _MAX_PRIORITY),
            cwd=table.text("cwd", "a folder, relative to the convoy file"),
        )

    def over(self, other: _Common) -> _Common:
        """Return what this says, and what the other says where this says nothing."""
        return _Common(
            agent_id=other.agent_id if self.agent_id is None else self.agent_id,
            timeout_s=other.timeout_s if self.timeout_s is None else self.timeout_s,
            retries=other.retries if self.retries is None else self.retries,
            retry_delay_s=(
                other.retry_delay_s if self.retry_delay_s is None else self.retry_delay_s
            ),
            priority=other.priority if self.priority is None else self.priority,
            cwd=other.cwd if self.cwd is None else self.cwd,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Streams:
    """Where an operation's input comes from and its output goes."""

    stdin: Text | None = None
    stdin_file: Text | None = None
    is_of_agent: bool = False
    """The input is the agent's, so that a relative file counts from the folder to run in."""
    stdout: OutputMode = OutputMode.LOG


@dataclass(frozen=True, slots=True, kw_only=True)
class _What:
    """What an operation runs."""

    command: Command
    shown: str | tuple[str, ...]
    streams: _Streams
    prompt: Text | None = None
    profile: AgentProfile | None = None
    """The agent whose command it is; None: the operation brings its own."""


class Reader:
    """Reads one document.

    Args:
        report: Gets every problem.
        agents: Profiles by name.
        folders: Where relative paths begin.
    """

    def __init__(
        self, report: Report, agents: Mapping[str, AgentProfile], folders: Folders
    ) -> None:
        self._report = report
        self._agents = Agents(agents, report)
        self._folders = folders
        self._for_each = ForEach(folders.base_dir)
        self._defaults = _Common()
        self._total = 0
        self.broken_ids: list[str] = []
        """Ids, as written, of the tables that have problems."""

    def convoy(self, document: dict[str, object]) -> Table:
        """Check the table of the convoy itself and take its defaults."""
        table = Table(document, (), self._report, _CONVOY_KEYS)
        priority = table.whole("priority", -_MAX_PRIORITY, _MAX_PRIORITY)
        raw = table.table("defaults") or {}
        defaults = Table(raw, ("defaults",), self._report, _COMMON_KEYS)
        self._defaults = _Common.of(defaults).over(_Common(priority=priority))
        if self._defaults.agent_id is not None:
            self._agents.find(self._defaults.agent_id, defaults)
        return table

    def templates(self, document: dict[str, object]) -> Iterator[OperationTemplate]:
        """Yield the operations that have no problem, taking them out of the document.

        Raises:
            SpecError: They are too many; nothing more is read.
        """
        tables = document.get("operations")
        if not isinstance(tables, list) or not tables:
            found = describe(tables) if "operations" in document else "nothing"
            message = f"found {found}, expected a list of tables, one for each operation"
            self._report.add(("operations",), message)
            return
        for index, raw in enumerate(tables):
            tables[index] = None  # so that a long file is not held twice
            path = ("operations", index)
            problems = self._report.count
            if not isinstance(raw, dict):
                self._report.add(path, f"found {describe(raw)}, expected a table")
                continue
            id = raw["id"] if isinstance(raw.get("id"), str) else None
            table = Table(raw, path, self._report, _OPERATION_KEYS, operation=id)
            template = self._operation(table, index)
            if template is None or self._report.count > problems:
                self.broken_ids += [] if id is None else [id]
                continue
            self._total += template.count
            if self._total > MAX_OPERATIONS:
                message = f"{template.count:,} operations, {self._total:,} with those before"
                table.problem("for_each", f"{message}; at most {MAX_OPERATIONS:,} are allowed")
                self._report.raise_if_any()
            yield template

    def _operation(self, table: Table, index: int) -> OperationTemplate | None:
        if "id" not in table:
            table.problem("id", "missing; expected a text that no other operation has")
        own = _Common.of(table)
        common = own.over(self._defaults)
        variables = self._for_each.variables(table)
        if variables is None:
            return None  # what uses the missing names would look wrong, too
        names = [variable.name for variable in variables]
        id = _text(table, "id", table.text("id"), names)
        cwd = _text(table, "cwd", common.cwd, names)
        needs = table.texts("needs", "a list of ids") or ()
        agent_id = common.agent_id or SHELL_AGENT
        profile = self._agents.find(agent_id, table if own.agent_id else None)
        what = self._what(table, profile, names)
        if what is None or id is None:
            return None
        timeout_s = common.timeout_s
        if what.profile is not None and timeout_s is None:
            timeout_s = what.profile.timeout_s
        template = OperationTemplate(
            index=index,
            id_text=id,
            agent_id=agent_id,
            argv=what.command,
            shown=what.shown,
            variables=variables,
            needs_text=needs,
            prompt=what.prompt,
            cwd_text=cwd,
            agent_cwd=self._agent_cwd(what.profile) if cwd is None else None,
            stdin=what.streams.stdin,
            stdin_file=what.streams.stdin_file,
            is_stdin_file_of_agent=what.streams.is_of_agent,
            stdout=what.streams.stdout,
            timeout_s=timeout_s,
            retries=common.retries or 0,
            retry_delay_s=1.0 if common.retry_delay_s is None else common.retry_delay_s,
            priority=common.priority or 0,
            context=_context(table, {*names, PROMPT} if what.prompt else names),
            metadata=_plain_table(table, "metadata"),
        )
        key = "run" if template.prompt is None else "prompt"
        check_size(template, self._folders, lambda problem: table.problem(key, problem))
        return template

    def _what(self, table: Table, profile: AgentProfile | None, names: list[str]) -> _What | None:
        """Return what runs: the operation's own command, or the agent's with its prompt."""
        prompt = _text(table, "prompt", table.text("prompt"), names)
        if "run" in table:
            return _own_command(table, names)
        if profile is None:
            return None
        if profile.command is None:
            table.problem("run", f"missing; {_no_command(profile.name)}")
            return None
        parts = self._agents.parts(profile)
        if parts is None:
            return None
        streams = _streams(table, [*names, PROMPT] if prompt else names, parts)
        texts = (*parts.command, streams.stdin or ("",))
        takes_prompt = any(PROMPT in text[1::2] for text in texts)
        agent = f"agent {show_text(profile.name)}"
        if takes_prompt and "prompt" not in table:
            table.problem("prompt", f"missing; {agent} needs it")
        if "prompt" in table and not takes_prompt:
            where = "{prompt} is neither in its command nor in stdin"
            table.problem("prompt", f"{agent} does not take a prompt: {where}")
        if takes_prompt and prompt is None:
            return None
        return _What(
            command=parts.command,
            shown=_with_prompt(profile.command, prompt),
            streams=streams,
            prompt=prompt,
            profile=profile,
        )

    def _agent_cwd(self, profile: AgentProfile | None) -> str | None:
        if profile is None or profile.cwd is None:
            return None
        return os.path.normpath(os.path.join(self._folders.launch_dir, profile.cwd))


def check_size(
    template: OperationTemplate, folders: Folders, refuse: Callable[[str], None]
) -> None:
    """Refuse a command that the system would not start."""
    sizes = {each.name: each.longest_bytes(folders) for each in template.variables}
    if template.prompt is not None:
        sizes[PROMPT] = longest_bytes(template.prompt, sizes)
    arguments = [longest_bytes(argument, sizes) for argument in template.argv]
    if max(arguments) > _MAX_ARGUMENT_BYTES:
        found, limit = f"an argument of {max(arguments):,} bytes", _MAX_ARGUMENT_BYTES
    elif sum(arguments) > _MAX_COMMAND_BYTES:
        found, limit = f"arguments of {sum(arguments):,} bytes in all", _MAX_COMMAND_BYTES
    else:
        return
    refuse(f"{found}; at most {limit:,} can be: use stdin or stdin_file")


def _text(table: Table, key: str, text: str | None, known: Collection[str]) -> Text | None:
    if text is None:
        return None
    return try_compile(compile_text, text, known, lambda why: table.problem(key, why))


def _command(
    table: Table, command: str | tuple[str, ...], known: Collection[str]
) -> Command | None:
    return try_compile(compile_command, command, known, lambda why: table.problem("run", why))


def _own_command(table: Table, names: list[str]) -> _What | None:
    if "prompt" in table:
        table.problem("prompt", "both run and prompt; expected one of them")
    streams = _streams(table, names, None)
    run = table.command("run")
    command = None if run is None else _command(table, run, names)
    if run is None or command is None:
        return None
    return _What(command=command, shown=run, streams=streams)


def _streams(table: Table, known: list[str], agent: AgentParts | None) -> _Streams:
    """Read the streams: as the operation says, else as its agent does."""
    stdin = _text(table, "stdin", table.text("stdin"), known)
    file = table.text("stdin_file", "a file, relative to the convoy file")
    stdin_file = _text(table, "stdin_file", file, [name for name in known if name != PROMPT])
    stdout = table.choice("stdout", tuple(OutputMode))
    if "stdin" in table and "stdin_file" in table:
        table.problem("stdin_file", "both stdin and stdin_file; expected one of them")
    is_of_agent = agent is not None and "stdin" not in table and "stdin_file" not in table
    if agent is not None and stdout is None:
        stdout = agent.stdout
    if agent is not None and is_of_agent:
        stdin, stdin_file = agent.stdin, agent.stdin_file
    return _Streams(
        stdin=stdin,
        stdin_file=stdin_file,
        is_of_agent=is_of_agent,
        stdout=OutputMode(stdout or OutputMode.LOG),
    )


def _context(table: Table, filled_in: Collection[str]) -> dict[str, object] | None:
    context = _plain_table(table, "context")
    for key in context or ():
        if key in filled_in:
            table.problem("context", "aisquad fills this key in: take another name", key)
    return context


def _plain_table(table: Table, key: str) -> dict[str, object] | None:
    raw = table.table(key)
    return {name: plain(value) for name, value in raw.items()} if raw else None


def _no_command(agent: str) -> str:
    expected = "expected a shell line or a list of arguments"
    if agent == SHELL_AGENT:
        return f"{expected}, or prompt and the agent that gets it"
    return f"agent {show_text(agent)} has no command of its own: {expected}"


def _with_prompt(command: str | tuple[str, ...], prompt: Text | None) -> str | tuple[str, ...]:
    text = "" if prompt is None else written(prompt)
    if isinstance(command, str):
        return command.replace("{prompt}", show_command((text,)))
    return tuple(part.replace("{prompt}", text) for part in command)
