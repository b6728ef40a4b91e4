"""What becomes of an operation that is only pretended to run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
