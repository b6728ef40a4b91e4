"""Every public exception of aisquad, one tree.

::

    AISquadError
    ├── InputError                  what the caller gave cannot be used (exit status 2)
    │   ├── SpecError               a convoy file, with every problem found in it
    │   ├── SettingsError           a setting: its source, value and what is allowed
    │   │   └── SettingsFileError   a settings file that cannot be read at all
    │   ├── UntrustedError          a settings file that the operator has not said yes to
    │   └── StateFolderError        a state folder that must not be used
    ├── NotFoundError               a convoy or work item that does not exist (exit status 4)
    ├── StateError                  the durable state refuses
    │   ├── ConcurrentUpdateError   the caller's copy is stale
    │   ├── IllegalTransitionError  that status does not follow from this one
    │   ├── DuplicateItemError      that id exists
    │   ├── NewerSchemaError        the database is from a newer aisquad
    │   └── StorageError            SQLite could not commit or read (disk full, I/O error)
    ├── PoolError                   no reader can be had
    │   ├── PoolTimeoutError
    │   └── PoolClosedError
    ├── EngineError
    │   ├── EngineRunningError      another engine holds the state folder
    │   ├── EngineStoppedError      this engine takes no more commands
    │   │   └── EngineSilentError   its process is there and does not answer
    │   ├── BackpressureError       too many writes wait for the disk to take new work now
    │   ├── NoEngineError           a command needs an engine and none runs (exit status 3)
    │   ├── EngineStartError        an engine in a process of its own could not be had
    │   └── ProtocolError           the other side of the socket says what cannot be understood
    └── RunnerError                 a process could not be prepared, started or inspected
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MOST_HELD_BACK = 5
"""Keys that an error names."""


class AISquadError(Exception):
    """Root of everything that aisquad raises on purpose."""


class InputError(AISquadError):
    """What the caller gave cannot be used; nothing was started or written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a convoy file, at its place."""

    file: str
    """The file as the operator named it, or `<command line>`."""
    key: str
    """Key path such as `operations[3].needs`; empty for the file as a whole."""
    message: str
    """What was found and what was expected, in one sentence."""
    line: int | None = None
    """Line, counted from 1, where the parser gives it."""
    operation: str | None = None
    """Id (template) of the operation concerned, where there is one."""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        key = f" {self.key}" if self.key else ""
        operation = f' (operation "{self.operation}")' if self.operation else ""
        where = f":{key}{operation}" if key or operation else ""
        return f"{place}{where}: {self.message}"


class SpecError(InputError):
    """A convoy file cannot be run; carries every problem found, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SettingsError(InputError):
    """A setting has a value that is not allowed."""

    def __init__(self, name: str, value: object, expected: str, *, source: str) -> None:
        self.name = name
        self.value = value
        self.expected = expected
        self.source = source
        super().__init__(f"{source}: {name} = {value!r}: expected {expected}")


class SettingsFileError(SettingsError):
    """A settings file cannot be read, or is no TOML."""

    def __init__(self, file: Path, problem: str, *, line: int | None = None) -> None:
        self.line = line
        """Line, counted from 1, where the parser gives it."""
        place = str(file) if line is None else f"{file}:{line}"
        super().__init__("", None, problem, source=place)
        self.args = (f"{place}: {problem}",)


class UntrustedError(InputError):
    """A settings file found in a folder sets what only a trusted one may; nothing runs before."""

    def __init__(self, path: Path, held_back: Sequence[str], *, remark: str | None = None) -> None:
        self.path = path
        self.held_back = tuple(held_back)
        """Keys of the file that do not hold, such as `agents.engineer.command`."""
        self.remark = remark
        """What is wrong with the list of trusted files; None: nothing is."""
        count = len(self.held_back) - _MOST_HELD_BACK
        shown = ", ".join(self.held_back[:_MOST_HELD_BACK])
        more = f" and {count} more" if count > 0 else ""
        super().__init__(
            f"{path} is not trusted and sets {shown}{more}; "
            f"`aisquad trust {shlex.quote(str(path.parent))}` shows what it would run and asks"
            + (f"\n{remark}" if remark else "")
        )


class StateFolderError(InputError):
    """A state folder is refused: a link, another owner's, open to others, on a network."""

    def __init__(self, folder: Path, problem: str) -> None:
        self.folder = folder
        super().__init__(f"state folder {folder}: {problem}")


class NotFoundError(AISquadError):
    """No convoy or work item has that id, or a prefix fits more than one."""


class StateError(AISquadError):
    """The durable state refuses; it is unchanged."""


class ConcurrentUpdateError(StateError):
    """Somebody else changed the work item since it was read."""

    def __init__(self, item_id: str, expected_version: int, actual_version: int | None) -> None:
        self.item_id = item_id
        self.expected_version = expected_version
        self.actual_version = actual_version
        """The version in the database; None if the item is gone."""
        found = "it is gone" if actual_version is None else f"it is at version {actual_version}"
        super().__init__(
            f"work item {item_id} was changed meanwhile: expected version {expected_version}, "
            f"{found}; read it again and repeat the change"
        )


class IllegalTransitionError(StateError):
    """A work item cannot go from its status to the wanted one."""

    def __init__(self, item_id: str, current: str, wanted: str) -> None:
        self.item_id = item_id
        self.current = current
        self.wanted = wanted
        super().__init__(f"work item {item_id} is {current} and cannot become {wanted}")


class DuplicateItemError(StateError):
    """A convoy or work item of that id exists already."""

    def __init__(self, item_id: str) -> None:
        self.item_id = item_id
        super().__init__(f"{item_id} exists already")


class NewerSchemaError(StateError):
    """The database was written by a newer aisquad."""

    def __init__(self, path: Path, found: int, supported: int) -> None:
        self.path = path
        self.found = found
        self.supported = supported
        super().__init__(
            f"{path} has schema version {found}; this aisquad knows up to {supported}: "
            "use the newer aisquad that wrote it, or another state folder (--state DIR)"
        )


class StorageError(StateError):
    """SQLite could not commit or read; the transaction is rolled back and nothing was changed."""


class PoolError(AISquadError):
    """No reader can be had from the pool."""


class PoolTimeoutError(PoolError):
    """Every reader stayed in use for the whole wait."""

    def __init__(self, size: int, waited_s: float) -> None:
        self.size = size
        self.waited_s = waited_s
        super().__init__(
            f"all {size} database readers were in use for {waited_s:g} s; "
            "raise AI_SQUAD_POOL_SIZE or read less at once"
        )


class PoolClosedError(PoolError):
    """The pool was closed."""


class EngineError(AISquadError):
    """The engine cannot do that now."""


class EngineRunningError(EngineError):
    """Another engine holds the state folder."""

    def __init__(
        self,
        folder: Path,
        pid: int | None,
        *,
        takes_no_commands: bool = False,
        remedy: str = "wait for it, or use another state folder: --state DIR",
    ) -> None:
        self.folder = folder
        self.pid = pid
        who = "another engine" if pid is None else f"the engine with pid {pid}"
        alone = " and takes no commands from elsewhere: it lives in a script, or is just starting"
        super().__init__(
            f"{who} is already running on {folder}{alone if takes_no_commands else ''}; {remedy}"
        )


class EngineStoppedError(EngineError):
    """The engine is stopping or has stopped and takes no more commands."""


class BackpressureError(EngineError):
    """Too many writes wait for the disk: new work is refused for now, and nothing of it is kept."""

    def __init__(self, *, pending: int, capacity: int, retry_after_s: float) -> None:
        self.pending = pending
        """Writes that have not been acknowledged."""
        self.capacity = capacity
        """How many of them there may be."""
        self.retry_after_s = retry_after_s
        """Seconds after which it should go, by the rate at which the disk takes writes."""
        super().__init__(
            f"{pending:,} of {capacity:,} writes wait for the disk, and nothing new is taken; "
            f"try again in {retry_after_s:.1f} s"
        )


class EngineSilentError(EngineStoppedError):
    """The engine's process is there and gives no answer: stopped, stuck, or starved."""

    def __init__(self, pid: int | None) -> None:
        self.pid = pid
        """None: not known."""
        who, it = ("the engine", "it") if pid is None else (f"the engine with pid {pid}", str(pid))
        super().__init__(
            f"{who} does not answer: stopped, stuck, or starved of the machine; "
            f"after `kill -9 {it}` the next engine takes its work over"
        )


class NoEngineError(EngineError):
    """A command that changes something found no running engine."""


class EngineStartError(EngineError):
    """An engine in a process of its own ended before it answered, or did not answer."""


class ProtocolError(EngineError):
    """Engine and client do not understand each other: another version, or a broken message."""


class RunnerError(AISquadError):
    """A process could not be prepared, started or inspected; says whether it may be tried again."""

    def __init__(self, message: str, *, is_transient: bool) -> None:
        self.is_transient = is_transient
        """True for want of space, memory, descriptors or processes: the same start may succeed."""
        super().__init__(message)
