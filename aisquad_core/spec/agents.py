"""Finds agents and reads the templates in their profiles, each once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from aisquad_core.sanitise import escape_controls
from aisquad_core.settings import AgentProfile
from aisquad_core.spec.operation import PROMPT
from aisquad_core.spec.report import show_text
from aisquad_core.spec.template import compile_command, compile_text, try_compile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aisquad_core.spec.report import Report
    from aisquad_core.spec.table import Table
    from aisquad_core.spec.template import Command, Text

SHELL_AGENT = "shell"
"""Runs what has no agent; it exists even if no settings say so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentParts:
    """The templates of one agent, where only the prompt is filled in."""

    command: Command
    stdin: Text | None
    stdin_file: Text | None
    stdout: Literal["log", "result"]


class Agents:
    """The agents that operations may name.

    Args:
        profiles: By name.
        report: Gets what is wrong with them.
    """

    def __init__(self, profiles: Mapping[str, AgentProfile], report: Report) -> None:
        self._profiles = profiles
        self._report = report
        self._parts: dict[str, AgentParts | None] = {}

    def find(self, name: str, table: Table | None) -> AgentProfile | None:
        """Return a profile; if there is none, report it at the key `agent` of the table."""
        profile = self._profiles.get(name)
        if profile is None and name == SHELL_AGENT:
            return AgentProfile(name=SHELL_AGENT)
        if profile is None and table is not None:
            hint = self._report.suggest(name, self._profiles)
            known = ", ".join(sorted(self._profiles)) or "none"
            table.problem(
                "agent",
                f"no agent is called {show_text(name)}{hint or f' (known: {known})'}; "
                f"agents are defined in aisquad.toml: [agents.{escape_controls(name)}]",
            )
        return profile

    def parts(self, profile: AgentProfile) -> AgentParts | None:
        """Return the templates of an agent with a command; None if reported as wrong."""
        if profile.name not in self._parts:
            self._parts[profile.name] = self._read(profile)
        return self._parts[profile.name]

    def _read(self, profile: AgentProfile) -> AgentParts | None:
        problems = self._report.count

        def text(key: str, value: str | None, *known: str) -> Text | None:
            if value is None:
                return None
            return try_compile(
                compile_text, value, known, lambda why: self._wrong(profile, key, why)
            )

        command = try_compile(
            compile_command,
            profile.command or "",
            (PROMPT,),
            lambda why: self._wrong(profile, "command", why),
        )
        stdin = text("stdin", profile.stdin, PROMPT)
        stdin_file = text("stdin_file", profile.stdin_file)
        if command is None or self._report.count > problems:
            return None
        return AgentParts(
            command=command, stdin=stdin, stdin_file=stdin_file, stdout=profile.stdout
        )

    def _wrong(self, profile: AgentProfile, key: str, why: str) -> None:
        self._report.add(("agents", profile.name, key), why, file=profile.source)
