"""An engine in a process of its own: with its socket, its log and its signals, until it is stopped.

`serve` is what that process does. `start` makes it from another one and returns when it answers.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final

from aisquad_core.api import StopMode
from aisquad_core.errors import EngineRunningError, EngineStartError
from aisquad_core.state.folder import StateFolder
from aisquad_core.state.origin import Origin
from aisquad_core.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from aisquad_core.settings import Settings

LOG_NAME: Final = "engine.log"
_LOG_BYTES: Final = 2_000_000
_LOGS_KEPT: Final = 3
_START_WAIT_S: Final = 60.0
"""An engine that takes over a long night's work first reads it."""
_THREADS: Final = 6
"""For short calls that block; there from the start."""
_MOST_READY_BYTES: Final = 65_536

logger = logging.getLogger(__name__)


async def serve(
    settings: Settings,
    *,
    on_ready: Callable[[], None],
    on_term: StopMode = StopMode.INTERRUPT,
    is_logging: bool = False,
) -> None:
    """Run an engine and serve it until somebody stops it; unfinished convoys go on.

    Args:
        settings: What the operator set.
        on_ready: Called once the engine answers on its socket.
        on_term: What SIGTERM and SIGINT mean for what runs.
        is_logging: Whether the log goes to the state folder.

    Raises:
        EngineRunningError: Another engine holds the state folder.
        StateFolderError: The state folder must not be used.
    """
    # Whoever only starts the process of an engine does not pay for one.
    from aisquad_core.daemon import Server  # noqa: PLC0415
    from aisquad_core.engine import Engine  # noqa: PLC0415
    from aisquad_core.execution.work_thread import steady_pool  # noqa: PLC0415
    from aisquad_core.monitoring.beside import monitored  # noqa: PLC0415

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(steady_pool(_THREADS, "aisquad-io"))
    with ExitStack() as handlers:
        async with (
            Engine(settings, is_resuming=True) as engine,
            Server(engine, settings.state_dir, on_stopped=stopped.set) as server,
        ):
            if is_logging:  # not before: the folder, and so its log, may be another engine's
                keep_log(settings.state_dir)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, server.stop, on_term)
                handlers.callback(loop.remove_signal_handler, number)
            logger.info(
                "aisquad %s, pid %d, serves %s", __version__, os.getpid(), settings.state_dir
            )
            on_ready()
            _notify("READY=1\nSTATUS=runs convoys")
            async with monitored(settings, engine):
                await stopped.wait()
            _notify("STOPPING=1")
            logger.info("stopped")


def keep_log(state_dir: Path) -> None:
    """Let everything that is logged go to the state folder's log, which is kept small."""
    from logging.handlers import RotatingFileHandler  # noqa: PLC0415 - see `serve`

    handler = RotatingFileHandler(
        state_dir / LOG_NAME,
        maxBytes=_LOG_BYTES,
        backupCount=_LOGS_KEPT,
        encoding="utf-8",
        delay=True,
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def may_start(settings: Settings) -> bool:
    """Tell whether an engine may go on with what is there though nobody asked for it (blocking).

    Not where the project's file waits for a yes, and not on a work state that began elsewhere.
    """
    return settings.untrusted is None and not Origin(settings.workstate_db).began_elsewhere()


def start(
    command: Sequence[str], state_dir: Path, *, cwd: Path, env: Mapping[str, str] | None = None
) -> int:
    """Start an engine as a process of its own that outlives this one (blocking).

    The command gets a pipe as standard output, writes one line of JSON to it when the engine
    answers or cannot be had (`report`), and closes it.

    Args:
        command: Program and arguments of the process.
        state_dir: The state folder; what it prints to standard error goes to the log there.
        cwd: Where it runs; kept as long as it lives, so better not on a disk to be removed.
        env: Its environment; None: this process's own.

    Returns:
        Its pid.

    Raises:
        EngineRunningError: Another engine holds the state folder.
        EngineStartError: There is no such process, it ended, or did not answer; says why.
        StateFolderError: The state folder must not be used.
    """
    StateFolder(state_dir).prepare()
    log_file = state_dir / LOG_NAME
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(log_file, flags, 0o600), "ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=cwd,
                env=env,
                start_new_session=True,
            )
    except OSError as error:
        where = error.filename or command[0]
        raise EngineStartError(f"{where}: {error.strerror}") from error
    if process.stdout is None:
        raise AssertionError("a pipe was asked for")
    with process.stdout as said:
        os.set_blocking(said.fileno(), True)
        line = _read_line(said.fileno())
    if line is None:
        process.kill()
        process.wait()
        raise EngineStartError(f"the engine did not answer within {_START_WAIT_S:g} s: {log_file}")
    try:
        report = json.loads(line)
    except ValueError:
        report = {"error": f"it ended at once; {log_file} says more"}
    if "error" in report:
        process.wait()
        if "holder" in report:
            raise EngineRunningError(state_dir, report["holder"])
        raise EngineStartError(str(report["error"]))
    process.returncode = 0  # it lives on by intent: nobody is to warn that it was not waited for
    return process.pid


def report(problem: Exception | None) -> None:
    """Tell whoever started this process that the engine answers, or why it cannot be had."""
    said: dict[str, object] = {"pid": os.getpid()}
    if problem is not None:
        said = {"error": str(problem)}
    if isinstance(problem, EngineRunningError):
        said["holder"] = problem.pid
    with suppress(BrokenPipeError):  # whoever asked is gone; the engine is there for the next one
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _read_line(descriptor: int) -> bytes | None:
    """Return what is said up to the end of the line or of the pipe; None when it takes too long."""
    deadline_s, line = time.monotonic() + _START_WAIT_S, b""
    while not line.endswith(b"\n") and len(line) < _MOST_READY_BYTES:
        remaining_s = deadline_s - time.monotonic()
        if remaining_s <= 0 or not select.select([descriptor], [], [], remaining_s)[0]:
            return None
        part = os.read(descriptor, 4096)
        if not part:
            break
        line += part
    return line


def _notify(state: str) -> None:
    """Tell systemd how the service stands, if it asked; see sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifier:
            notifier.connect(address)
            notifier.sendall(state.encode())
    except OSError as error:
        logger.warning("systemd was not told %r: %s", state, error)
