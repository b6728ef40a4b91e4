"""An engine in a process of its own, as `aisquad up` has it, to be killed and started again.

`python served_engine.py STATE` is that process; the functions are for those who start it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import select
import signal
import sys
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aisquad_core import service
from aisquad_core.errors import AISquadError
from aisquad_core.execution import evidence, launcher, process
from aisquad_core.execution.tree import read_token
from aisquad_core.settings import Settings
from aisquad_core.state.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Mapping

ENOUGH_S = 60
PARALLELISM = 8
TICK_S = 0.2
"""Short, so that what a tick notices is noticed soon."""


class When(Enum):
    """Where in a call the engine dies."""

    BEFORE = auto()
    AFTER = auto()
    INSIDE_SQLITE = auto()
    """While SQLite carries out a statement; the call's second argument is the connection."""


POINTS: Mapping[str, tuple[Any, str, When]] = {
    "after the folder": (launcher, "make_folder", When.AFTER),
    "after the intent": (process, "spawn_watched", When.BEFORE),
    "after the fork": (process, "spawn_watched", When.AFTER),
    "before a commit": (Batch, "commit", When.BEFORE),
    "inside a commit": (Batch, "commit", When.INSIDE_SQLITE),
    "after a commit": (Batch, "settle", When.BEFORE),
    "before a contest": (process, "examine", When.BEFORE),
    "after the engine's claim": (evidence, "claim_for_engine", When.AFTER),
    "after a contest": (process, "examine", When.AFTER),
}
"""Where an engine can be told to die: a function, and when in its call."""


def command(
    state_dir: Path,
    *,
    grace_s: float = 10.0,
    die: tuple[str, int] | None = None,
    monitoring_port: int = 0,
    log_limit_bytes: int = 64_000_000,
) -> list[str]:
    """Return the command of an engine whose parallelism does not follow the load.

    Args:
        state_dir: Its state folder.
        grace_s: Seconds between TERM and KILL.
        die: One of `POINTS`, and at the how many-th time there it kills itself.
        monitoring_port: Where it serves its monitoring; 0: nowhere.
        log_limit_bytes: Most bytes of an operation's log.
    """
    flags = [str(state_dir), "--grace", str(grace_s), "--log-limit", str(log_limit_bytes)]
    flags += ["--monitoring-port", str(monitoring_port)]
    if die is not None:
        flags += ["--die", die[0], "--time", str(die[1])]
    return [sys.executable, str(Path(__file__).absolute()), *flags]


def start(
    state_dir: Path,
    *,
    grace_s: float = 10.0,
    die: tuple[str, int] | None = None,
    monitoring_port: int = 0,
    log_limit_bytes: int = 64_000_000,
) -> int:
    """Start an engine and return its pid when it answers (blocking); see `command`."""
    line = command(
        state_dir,
        grace_s=grace_s,
        die=die,
        monitoring_port=monitoring_port,
        log_limit_bytes=log_limit_bytes,
    )
    return service.start(line, state_dir, cwd=state_dir)


def end(pid: int, number: signal.Signals) -> int:
    """Signal an engine that this process started, wait for its end, return how it ended.

    Returns:
        Its exit status; less than 0: the signal that ended it.
    """
    pidfd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(pidfd, number)
        if not select.select([pidfd], [], [], ENOUGH_S)[0]:
            raise TimeoutError(f"the engine with pid {pid} does not end by {number.name}")
    finally:
        os.close(pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def processes_of(state_dir: Path) -> list[int]:
    """Return the pids of all processes that carry the token of a start in that folder."""
    tokens = {folder.name.partition("-")[2] for folder in (state_dir / "runs").glob("*/*/*")}
    pids = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    return [pid for pid in pids if read_token(pid).decode(errors="replace") in tokens]


def kill_processes_of(state_dir: Path) -> None:
    """End what the engines of that folder started and left running."""
    for pid in processes_of(state_dir):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def die_at(name: str, time: int) -> None:
    """Let this process kill itself at a point, at the how many-th time there."""
    owner, attribute, when = POINTS[name]
    call = getattr(owner, attribute)
    passes = count(1)

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def call_or_die(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the call takes
        is_due = next(passes) == time
        if is_due and when is When.BEFORE:
            die()
        if is_due and when is When.INSIDE_SQLITE:
            args[1].set_progress_handler(die, 20)
        result = call(*args, **kwargs)
        if is_due and when is When.AFTER:
            die()
        return result

    setattr(owner, attribute, call_or_die)


def main() -> int:
    """Serve until somebody stops it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("state", type=Path)
    parser.add_argument("--grace", type=float, required=True)
    parser.add_argument("--log-limit", type=int, required=True)
    parser.add_argument("--die", choices=POINTS)
    parser.add_argument("--time", type=int, default=1)
    parser.add_argument("--monitoring-port", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.die is not None:
        die_at(arguments.die, arguments.time)
    settings = Settings(
        workstate_db=arguments.state / "workstate.db",
        baseline_parallelism=PARALLELISM,
        max_parallelism=PARALLELISM,
        enable_auto_tuning=False,
        grace_s=arguments.grace,
        monitoring_port=arguments.monitoring_port,
        tick_s=TICK_S,
        log_limit_bytes=arguments.log_limit,
    )
    try:
        asyncio.run(
            service.serve(settings, on_ready=partial(service.report, None), is_logging=True)
        )
    except AISquadError as error:
        logging.exception("the engine ended")
        service.report(error)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
