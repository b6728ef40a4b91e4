"""Operation templates: what one table of a convoy file says, and the operations it makes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import TYPE_CHECKING

from aisquad_core.model import Operation, OutputMode
from aisquad_core.sanitise import escape_controls
from aisquad_core.spec.template import Text, fill, show_command, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aisquad_core.spec.template import Command

PROMPT = "prompt"
"""Name of the placeholder for an operation's prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where relative paths begin."""

    base_dir: str
    """Absolute folder of the convoy file."""
    launch_dir: str
    """Absolute folder where the convoy is launched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One name of a `for_each` with its values."""

    name: str
    values: tuple[str, ...]
    is_path: bool = False
    """The values are files, relative to the convoy file or absolute."""

    def given(self, value: str, run_dir: str, folders: Folders) -> str:
        """Return a value as a command that runs in a folder can use it."""
        if not self.is_path:
            return value
        if run_dir != folders.base_dir:
            return os.path.join(folders.base_dir, value)
        return f"./{value}" if value.startswith("-") else value

    def longest_bytes(self, folders: Folders) -> int:
        """Return the bytes of its longest value as a command would get it, or a few more."""
        prefix = len(os.fsencode(folders.base_dir)) + 2 if self.is_path else 0
        return prefix + max(len(os.fsencode(value)) for value in self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationTemplate:
    """One table of `operations`, checked: it makes an operation for each set of values."""

    index: int = 0
    """Its place among the `operations` of the file."""
    id_text: Text
    agent_id: str
    argv: Command
    shown: str | tuple[str, ...]
    """The command as it was written, with the prompt in its place."""
    variables: tuple[Variable, ...] = ()
    ids: tuple[str, ...] | None = None
    """The ids of its operations, where `id_text` does not make them (ad-hoc commands)."""
    needs_text: tuple[str, ...] = ()
    """As written."""
    prompt: Text | None = None
    cwd_text: Text | None = None
    """Relative to the convoy file; None: `agent_cwd`."""
    agent_cwd: str | None = None
    """Absolute folder that the agent wants; None: where the convoy is launched."""
    stdin: Text | None = field(default=None, repr=False)
    stdin_file: Text | None = None
    is_stdin_file_of_agent: bool = False
    """Whether `stdin_file` is relative to the folder to run in, not to the convoy file."""
    stdout: OutputMode = OutputMode.LOG
    priority: int = 0
    timeout_s: float | None = None
    retries: int = 0
    retry_delay_s: float = 1.0
    context: Mapping[str, object] | None = None
    metadata: Mapping[str, object] | None = None

    @property
    def count(self) -> int:
        """How many operations it makes."""
        return prod(len(variable.values) for variable in self.variables)

    @property
    def id(self) -> str:
        """The id with its placeholders, printable."""
        return escape_controls(written(self.id_text))

    @property
    def command(self) -> str:
        """The command with its placeholders as a person would type it, on one printable line."""
        return show_command(self.shown)

    @property
    def needs(self) -> tuple[str, ...]:
        """What it needs, as written, printable."""
        return tuple(escape_controls(entry) for entry in self.needs_text)

    @property
    def cwd(self) -> str | None:
        """The folder to run in, with its placeholders; None: where the convoy is launched."""
        if self.cwd_text is None:
            return self.agent_cwd
        return escape_controls(written(self.cwd_text))

    def values(self) -> Iterator[dict[str, str]]:
        """Yield the values of each operation; the last name changes fastest."""
        names = [variable.name for variable in self.variables]
        for combination in product(*(variable.values for variable in self.variables)):
            yield dict(zip(names, combination, strict=True))

    def all_ids(self) -> Iterator[str]:
        """Yield the ids of its operations, in order."""
        if self.ids is not None:
            yield from self.ids
        else:
            yield from (escape_controls(fill(self.id_text, values)) for values in self.values())

    def expand(self, folders: Folders) -> Iterator[tuple[Operation, dict[str, str]]]:
        """Yield its operations, without `needs`, each with its values."""
        for id, values in zip(self.all_ids(), self.values(), strict=True):
            yield self._operation(id, values, folders), values

    def _operation(self, id: str, values: dict[str, str], folders: Folders) -> Operation:
        cwd = self.agent_cwd
        if self.cwd_text is not None:
            cwd = os.path.normpath(os.path.join(folders.base_dir, fill(self.cwd_text, values)))
        run_dir = cwd or folders.launch_dir
        given = {
            variable.name: variable.given(values[variable.name], run_dir, folders)
            for variable in self.variables
        }
        context = {
            **(self.context or {}),
            **{name or "input": value for name, value in given.items()},
        }
        if self.prompt is not None:
            given[PROMPT] = context[PROMPT] = fill(self.prompt, given)
        stdin_file = None
        if self.stdin_file is not None:
            start = run_dir if self.is_stdin_file_of_agent else folders.base_dir
            stdin_file = os.path.normpath(os.path.join(start, fill(self.stdin_file, values)))
        return Operation(
            id=id,
            argv=tuple([fill(argument, given) for argument in self.argv]),
            agent_id=self.agent_id,
            cwd=cwd,
            stdin=None if self.stdin is None else fill(self.stdin, given),
            stdin_file=stdin_file,
            stdout=self.stdout,
            priority=self.priority,
            timeout_s=self.timeout_s,
            retries=self.retries,
            retry_delay_s=self.retry_delay_s,
            context={key: _as_utf8(value) for key, value in context.items()},
            metadata=self.metadata or {},
        )


def _as_utf8(value: object) -> object:
    """Escape a text that is not UTF-8, since context goes into JSON and onto screens."""
    if not isinstance(value, str) or value.isascii():
        return value
    return escape_controls(value) if any("\ud800" <= char <= "\udfff" for char in value) else value
