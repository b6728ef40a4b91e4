"""What becomes of an operation that is only pretended to run, or where a test has put it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aisquad_core.model import WorkStatus

if TYPE_CHECKING:
    from aisquad_core.model import Operation

_DURATION_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedOutcome:
    """How one attempt goes."""

    duration_s: float = _DURATION_S
    exit_code: int | None = 0
    """None: lost."""
    lines: tuple[str, ...] = ()
    """Its output, there from its start on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedItem:
    """Where a work item stands when its convoy is added."""

    status: WorkStatus = WorkStatus.PENDING
    """Pending becomes blocked while what it needs has not completed."""
    attempt: int = 1
    started_s: float | None = None
    """Seconds ago; None: when its convoy was created, if its status says that it began."""
    finished_s: float | None = None
    """Seconds ago; None: now, if its status is final."""
    exit_code: int | None = None
    """None: as the status says."""
    error: str | None = None
    """None: as the status says."""
    reason: str | None = None
    """Why it does not run; a pending item with a reason does not start by itself."""
    lines: tuple[str, ...] = ()
    """Its output so far."""
    runs_for_s: float | None = None
    """Seconds after which a running item completes; None: it runs for ever."""
    cpu_percent: float = 0.0
    """Of its processes while it runs."""
    rss_bytes: int = 0
    """Of its processes while it runs."""


def run_as_shell(operation: Operation, attempt: int) -> ScriptedOutcome:
    """Do what a shell would do with a few commands, `;` between them.

    Knows `false`, `exit N`, `sleep N`, `echo …`, `test N -ge M` and $AISQUAD_ATTEMPT; any other
    command succeeds.
    """
    argv = operation.argv
    line = argv[2] if len(argv) > 2 and argv[1] == "-c" else " ".join(argv)
    duration_s, exit_code = _DURATION_S, 0
    lines: list[str] = []
    for command in line.replace("$AISQUAD_ATTEMPT", str(attempt)).split(";"):
        exit_code = 0
        match command.split():
            case ["false"]:
                exit_code = 1
            case ["exit", code]:
                exit_code = int(code)
                break
            case ["sleep", seconds]:
                duration_s += float(seconds)
            case ["echo", *words]:
                lines.append(" ".join(words))
            case ["test", number, "-ge", least]:
                exit_code = int(int(number) < int(least))
    return ScriptedOutcome(duration_s=duration_s, exit_code=exit_code, lines=tuple(lines))
