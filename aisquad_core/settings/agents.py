"""Agents: the built-in ones, and what the tables `[agents.NAME]` say."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from aisquad_core.errors import SettingsError
from aisquad_core.settings.kinds import (
    LONGEST_S,
    TEXT,
    Kind,
    parse_text,
    refuse_unknown,
    seconds,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

BUILT_IN_SOURCE = "built in"
_AGENT_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentProfile:
    """A named way to run operations; the key of rate limits and of `max_parallel`.

    Texts may hold placeholders such as `{prompt}`; they are filled in by the convoy file's reader.
    """

    name: str
    command: str | tuple[str, ...] | None = None
    """A shell line or a list of arguments; None: each operation must bring `run`."""
    rate_limit: int | None = None
    """Starts per minute; None: the setting `rate_limit`, and no limit for `shell`."""
    rate_burst: int | None = None
    """Starts at once after a calm; None: the setting `rate_burst`, at most `rate_limit`."""
    max_parallel: int | None = None
    """Most running operations of this agent; None: no limit of its own."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Added to the environment of its operations; may hold secrets."""
    cwd: str | None = None
    """Folder to run in, as written; a relative one counts from where the convoy was launched."""
    timeout_s: float | None = None
    """Seconds for an operation that names no timeout of its own; None: no limit."""
    stdin: str | None = None
    """Text for standard input; None: /dev/null."""
    stdin_file: str | None = None
    """File for standard input, as written; a relative one counts from the folder to run in."""
    stdout: Literal["log", "result"] = "log"
    """Where standard output goes: with standard error into the log, or apart into `result`."""
    source: str = BUILT_IN_SOURCE
    """`built in`, or the newest file that said something about it."""

    @property
    def program(self) -> str | None:
        """The program that it starts; None if operations bring their own."""
        if self.command is None:
            return None
        return "sh" if isinstance(self.command, str) else self.command[0]


# Headless forms that end by themselves: none asks anybody, each may edit files where it runs, and
# what it would have to ask for beyond that (most shell commands, the network) the agent refuses
# itself. Where it would not even begin (codex outside a repository, gemini in a folder that it was
# never told to trust) it exits and says so. Wider permissions are the operator's to give, in
# aisquad.toml. The prompt is bound to its option or follows `--`, so that one that begins with a
# dash is no option.
_BUILT_IN_COMMANDS: Mapping[str, tuple[str, ...] | None] = {
    "shell": None,
    "claude": ("claude", "--print", "--permission-mode", "acceptEdits", "--", "{prompt}"),
    "codex": ("codex", "exec", "--sandbox", "workspace-write", "--", "{prompt}"),
    "gemini": ("gemini", "--approval-mode=auto_edit", "--prompt={prompt}"),
    # opencode allows what none of its rules forbids; `run` refuses what they say to ask for.
    "opencode": ("opencode", "run", "--", "{prompt}"),
    "copilot": ("copilot", "--allow-tool=write", "--no-ask-user", "--prompt={prompt}"),
}
BUILT_IN_AGENTS: Mapping[str, AgentProfile] = MappingProxyType(
    {name: AgentProfile(name=name, command=argv) for name, argv in _BUILT_IN_COMMANDS.items()}
)


def _parse_command(raw: object) -> str | tuple[str, ...]:
    if isinstance(raw, str):
        return parse_text(raw)
    if not isinstance(raw, list) or not raw:
        raise ValueError
    if not all(isinstance(argument, str) and "\0" not in argument for argument in raw):
        raise ValueError
    parse_text(raw[0])
    return tuple(raw)


def _parse_env(raw: object) -> Mapping[str, str]:
    if not isinstance(raw, dict):
        raise ValueError
    for name, text in raw.items():
        if not name or "=" in name or "\0" in name or not isinstance(text, str) or "\0" in text:
            raise ValueError
    return MappingProxyType(dict(raw))


def _parse_stdout(raw: object) -> str:
    if raw not in {"log", "result"}:
        raise ValueError
    return str(raw)


_AGENT_KEYS: Mapping[str, tuple[str, Kind[Any]]] = {
    "command": (
        "command",
        Kind('a list of arguments such as ["tool", "{prompt}"], or a shell line', _parse_command),
    ),
    "rate_limit": ("rate_limit", whole(1, 1_000_000)),
    "rate_burst": ("rate_burst", whole(1, 1_000_000)),
    "max_parallel": ("max_parallel", whole(1, 10_000)),
    "env": ("env", Kind("a table of names and texts (values are not shown)", _parse_env)),
    "cwd": ("cwd", TEXT),
    "timeout": ("timeout_s", seconds(0.001, LONGEST_S)),
    "stdin": ("stdin", TEXT),
    "stdin_file": ("stdin_file", TEXT),
    "stdout": ("stdout", Kind('"log" or "result"', _parse_stdout)),
}
"""Key of an agent's table to its field and how it is read."""
_PLAIN_KEYS = frozenset({"rate_limit", "rate_burst", "max_parallel", "timeout", "stdout"})
"""Keys that hold whoever wrote them; every other one decides what runs, or with what."""


def take_agents(
    agents: dict[str, AgentProfile], tables: object, source: str, *, is_trusted: bool
) -> None:
    """Lay a file's agents over those known so far, key by key.

    Args:
        agents: Those known so far; changed.
        tables: The file's table `agents`.
        source: The file.
        is_trusted: False: its keys that decide what runs are left out.
    """
    if not isinstance(tables, dict):
        raise SettingsError("agents", tables, "tables such as [agents.engineer]", source=source)
    for name, table in tables.items():
        if not _AGENT_NAME.fullmatch(name):
            raise SettingsError(
                "agents", name, "a name of 1 to 100 letters, digits, `.`, `_`, `-`", source=source
            )
        if not isinstance(table, dict):
            raise SettingsError(f"agents.{name}", table, "a table", source=source)
        known = agents.get(name) or AgentProfile(name=name)
        values = _agent_fields(name, table, source)
        if not is_trusted:
            plain = {_AGENT_KEYS[key][0] for key in _PLAIN_KEYS}
            values = {target: value for target, value in values.items() if target in plain}
        agents[name] = replace(known, **values, source=source)


def guarded_agent_keys(tables: object) -> list[str]:
    """Return the keys of a file's agents that only a trusted file may set, as they are written."""
    return [
        f"agents.{name}.{key}"
        for name, table in (tables.items() if isinstance(tables, dict) else ())
        if isinstance(table, dict)
        for key in table
        if key not in _PLAIN_KEYS
    ]


def _agent_fields(name: str, table: Mapping[str, Any], source: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, raw in table.items():
        path = f"agents.{name}.{key}"
        if key not in _AGENT_KEYS:
            refuse_unknown(key, raw, _AGENT_KEYS, path, source)
        target, kind = _AGENT_KEYS[key]
        try:
            values[target] = kind.parse(raw)
        except (ValueError, TypeError) as error:
            shown = "{…}" if key == "env" else raw
            raise SettingsError(path, shown, kind.allowed, source=source) from error
    if name == "shell" and "command" in values:
        expected = "no command: each operation brings its own; give this agent another name"
        raise SettingsError("agents.shell.command", table["command"], expected, source=source)
    if "stdin" in values and "stdin_file" in values:
        expected = "only one of stdin and stdin_file"
        raise SettingsError(
            f"agents.{name}.stdin_file", table["stdin_file"], expected, source=source
        )
    if "stdin" in values or "stdin_file" in values:
        values = {"stdin": None, "stdin_file": None} | values
    return values
