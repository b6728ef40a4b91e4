"""Reads the tables of a convoy file into operation templates, reporting everything wrong."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aisquad_core.model import OutputMode
from aisquad_core.sanitise import escape_controls
from aisquad_core.spec.for_each import ForEach
from aisquad_core.spec.operation import PROMPT, OperationTemplate
from aisquad_core.spec.report import describe, show_text
from aisquad_core.spec.source import MAX_OPERATIONS
from aisquad_core.spec.table import Table
from aisquad_core.spec.template import TemplateError, compile_command, compile_text, longest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from aisquad_core.settings import AgentProfile
    from aisquad_core.spec.operation import Folders, Variable
    from aisquad_core.spec.report import KeyPath, Report
    from aisquad_core.spec.template import Command, Text

SHELL_AGENT = "shell"
_COMMON_KEYS = frozenset({"agent", "timeout", "retries", "retry_delay", "priority", "cwd"})
_OPERATION_KEYS = _COMMON_KEYS | {
    *("id", "run", "prompt", "for_each", "needs", "stdin", "stdin_file", "stdout"),
    *("context", "metadata"),
}
_CONVOY_KEYS = frozenset(
    {"name", "stop_on_first_failure", "timeout", "priority", "defaults", "operations"}
)
_MAX_PRIORITY = 1_000_000
_MAX_RETRIES = 1_000
_MAX_ARGUMENT_BYTES = 131_071
"""What Linux lets one argument have."""
_MAX_COMMAND_BYTES = 1_000_000
"""All arguments; with the environment it must stay below a quarter of the stack's limit."""


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
            retries=table.whole("retries", 0, _MAX_RETRIES),
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
class _What:
    """What an operation runs."""

    command: Command
    shown: str | tuple[str, ...]
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
        self._agents = agents
        self._folders = folders
        self._for_each = ForEach(folders.base_dir)
        self._agent_commands: dict[str, Command | None] = {}
        self._is_default_reported = False
        self._defaults = _Common()
        self._total = 0
        self.broken_ids: list[str | None] = []
        """Ids, as written, of the tables that have problems; None: not even an id."""

    def convoy(self, document: dict[str, object]) -> Table:
        """Check the table of the convoy itself and take its defaults."""
        table = Table(document, (), self._report, _CONVOY_KEYS)
        priority = table.whole("priority", -_MAX_PRIORITY, _MAX_PRIORITY)
        raw = table.table("defaults") or {}
        defaults = _Common.of(Table(raw, ("defaults",), self._report, _COMMON_KEYS))
        self._defaults = defaults.over(_Common(priority=priority))
        if defaults.agent_id is not None:
            self._profile(_Common(agent_id=None), defaults.agent_id, table)
        return table

    def templates(self, document: dict[str, object]) -> Iterator[OperationTemplate]:
        """Yield the operations that have no problem, taking them out of the document."""
        tables = document.get("operations")
        if not isinstance(tables, list) or not tables:
            found = describe(tables) if "operations" in document else "nothing"
            message = f"found {found}, expected a list of tables, one for each operation"
            self._report.add(("operations",), message)
            return
        for index, raw in enumerate(tables):
            tables[index] = None  # a long file is not held twice
            path = ("operations", index)
            problems = self._report.count
            if not isinstance(raw, dict):
                self._report.add(path, f"found {describe(raw)}, expected a table")
                self.broken_ids.append(None)
                continue
            id = raw.get("id")
            id = id if isinstance(id, str) else None
            table = Table(raw, path, self._report, _OPERATION_KEYS, operation=id)
            template = self._operation(table, path)
            if template is None or self._report.count > problems:
                self.broken_ids.append(id)
                continue
            self._total += template.count
            if self._total > MAX_OPERATIONS:
                message = f"{template.count:,} operations, {self._total:,} with those before"
                table.problem("for_each", f"{message}; at most {MAX_OPERATIONS:,} are allowed")
                return
            yield template

    def _operation(self, table: Table, path: KeyPath) -> OperationTemplate | None:
        id = table.text("id")
        if "id" not in table:
            table.problem("id", "missing; expected a text that no other operation has")
        own = _Common.of(table)
        common = own.over(self._defaults)
        variables = self._for_each.variables(table)
        names = [variable.name for variable in variables]
        problems = self._report.count
        needs = table.texts("needs", "a list of ids") or ()
        id_text = self._text(table, "id", id, names)
        cwd = self._text(table, "cwd", common.cwd, names)
        what = self._what(table, own, common.agent_id or SHELL_AGENT, names)
        if what is None or id_text is None or self._report.count > problems:
            return None
        profile = what.profile
        template = OperationTemplate(
            path=path,
            id=id_text,
            agent_id=common.agent_id or SHELL_AGENT,
            command=what.command,
            shown=what.shown,
            variables=variables,
            needs=needs,
            prompt=what.prompt,
            cwd=cwd,
            agent_cwd=self._agent_cwd(profile) if cwd is None else None,
            timeout_s=(
                profile.timeout_s if profile and common.timeout_s is None else common.timeout_s
            ),
            retries=common.retries or 0,
            retry_delay_s=1.0 if common.retry_delay_s is None else common.retry_delay_s,
            priority=common.priority or 0,
            context=self._context(table, what, names),
            metadata=_plain(table.table("metadata") or {}),
        )
        template = self._with_streams(table, template, what, names)
        self._check_size(table, template)
        return template

    def _what(
        self, table: Table, own: _Common, agent_id: str, names: Collection[str]
    ) -> _What | None:
        """Return what runs: the operation's own command, or the agent's with its prompt."""
        run = table.command("run")
        prompt = table.text("prompt")
        profile = self._profile(own, agent_id, table)
        if "run" in table and "prompt" in table:
            table.problem("prompt", "both run and prompt; expected one of them")
        if "run" in table:
            command = None if run is None else self._command(table, run, names)
            return command and _What(command=command, shown=run or "")
        if profile is None:
            return None
        if profile.command is None:
            hint = "" if agent_id == SHELL_AGENT else f", or a command of [agents.{agent_id}]"
            table.problem(
                "run",
                f"missing; agent {show_text(agent_id)} has no command of its own: expected "
                f"a shell line or a list of arguments{hint}",
            )
            return None
        command = self._agent_command(profile)
        prompt_text = self._text(table, "prompt", prompt, names)
        stdin = table.text("stdin") if "stdin" in table else profile.stdin
        uses_prompt = "{prompt}" in (stdin or "") or any(
            PROMPT in part[1::2] for part in command or ()
        )
        if command and prompt is None and "prompt" not in table and uses_prompt:
            table.problem("prompt", f"missing; the command of agent {agent_id} needs it")
        if command and prompt is not None and not uses_prompt:
            where = "{prompt} is in neither its command nor its stdin"
            table.problem("prompt", f"agent {agent_id} does not take it: {where}")
        if command is None:
            return None
        return _What(
            command=command,
            shown=_with_prompt(profile.command, prompt or ""),
            prompt=prompt_text,
            profile=profile,
        )

    def _profile(self, own: _Common, agent_id: str, table: Table) -> AgentProfile | None:
        """Return the profile of an agent; an unknown default is reported once."""
        if agent_id in self._agents:
            return self._agents[agent_id]
        is_own = own.agent_id is not None
        if is_own or not self._is_default_reported:
            hint = self._report.suggest(agent_id, self._agents)
            known = ", ".join(sorted(self._agents)) or "none"
            message = (
                f"no agent is called {show_text(agent_id)}{hint or f' (known: {known})'}; "
                f"agents are defined in aisquad.toml: [agents.{escape_controls(agent_id)}]"
            )
            if is_own:
                table.problem("agent", message)
            else:
                self._report.add(("defaults", "agent"), message)
                self._is_default_reported = True
        return None

    def _agent_command(self, profile: AgentProfile) -> Command | None:
        """Return an agent's command, read once; a problem in it is reported at the agent."""
        if profile.name not in self._agent_commands:
            command = None
            try:
                command = compile_command(profile.command or "", (PROMPT,))
            except TemplateError as error:
                place = ("agents", profile.name, "command")
                self._report.add(place, str(error), file=profile.source)
            self._agent_commands[profile.name] = command
        return self._agent_commands[profile.name]

    def _agent_cwd(self, profile: AgentProfile | None) -> str | None:
        if profile is None or profile.cwd is None:
            return None
        return os.path.normpath(os.path.join(self._folders.launch_dir, profile.cwd))

    def _with_streams(
        self, table: Table, template: OperationTemplate, what: _What, names: Collection[str]
    ) -> OperationTemplate:
        """Add where input comes from and output goes: as the operation says, else its agent."""
        stdin = table.text("stdin") if "stdin" in table else None
        stdin_file = table.text("stdin_file", "a file, relative to the convoy file")
        stdout = table.choice("stdout", tuple(OutputMode))
        if "stdin" in table and "stdin_file" in table:
            table.problem("stdin_file", "both stdin and stdin_file; expected one of them")
        of_agent = False
        if what.profile is not None:
            stdout = stdout or what.profile.stdout
            if "stdin" not in table and "stdin_file" not in table:
                stdin, stdin_file = what.profile.stdin, what.profile.stdin_file
                of_agent = True
        known = (*names, PROMPT) if what.prompt is not None else tuple(names)
        return replace(
            template,
            stdin=self._text(table, "stdin", stdin, known),
            stdin_file=self._text(table, "stdin_file", stdin_file, names),
            stdin_file_of_agent=of_agent,
            stdout=OutputMode(stdout or OutputMode.LOG),
        )

    def _context(self, table: Table, what: _What, names: Collection[str]) -> dict[str, object]:
        context = _plain(table.table("context") or {})
        filled = {*names, PROMPT} if what.prompt is not None else set(names)
        for key in sorted(filled & context.keys()):
            table.problem("context", "this key is filled in by aisquad: take another name", key)
        return context

    def _text(
        self, table: Table, key: str, text: str | None, known: Collection[str]
    ) -> Text | None:
        if text is None:
            return None
        try:
            return compile_text(text, known)
        except TemplateError as error:
            table.problem(key, str(error))
            return None

    def _command(
        self, table: Table, command: str | tuple[str, ...], known: Collection[str]
    ) -> Command | None:
        try:
            return compile_command(command, known)
        except TemplateError as error:
            table.problem("run", str(error))
            return None

    def _check_size(self, table: Table, template: OperationTemplate) -> None:
        """Refuse a command that the system would not start."""
        sizes = {variable.name: _longest_value(variable, self._folders) for variable in template.variables}
        if template.prompt is not None:
            sizes[PROMPT] = longest(template.prompt, sizes.__getitem__)
        arguments = [longest(argument, sizes.__getitem__) for argument in template.command]
        key = "run" if template.prompt is None else "prompt"
        if max(arguments) > _MAX_ARGUMENT_BYTES:
            message = f"an argument of up to {max(arguments):,} bytes; the system takes "
            message += f"{_MAX_ARGUMENT_BYTES:,}"
        elif sum(arguments) > _MAX_COMMAND_BYTES:
            message = f"arguments of up to {sum(arguments):,} bytes in all; at most "
            message += f"{_MAX_COMMAND_BYTES:,} are allowed"
        else:
            return
        table.problem(key, f"{message}: give it by stdin or stdin_file")
