"""Looks for the agents' command-line programs, and asks them for their versions."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from aisquad_tui.views.empty import AgentFound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

NAMES = ("claude", "codex", "gemini", "opencode", "copilot")
"""Programs that are looked for."""
_BOUND_S = 2.0
_VERSION = re.compile(r"\d+\.\d+(\.\d+)*")
_LONGEST = 4_096


def look(env: Mapping[str, str]) -> tuple[AgentFound, ...]:
    """Return which programs are on the PATH; starts none of them."""
    path = env.get("PATH", "")
    return tuple(AgentFound(name=name, path=shutil.which(name, path=path)) for name in NAMES)


async def ask_versions(
    agents: Iterable[AgentFound], env: Mapping[str, str], *, bound_s: float = _BOUND_S
) -> AsyncIterator[AgentFound]:
    """Ask one program after the other for its version, each within a bound.

    Args:
        agents: What was found; what is missing is passed over.
        env: The operator's environment, which the programs are started with.
        bound_s: Seconds after which a program that has not answered is killed.

    Yields:
        Each program that told its version.
    """
    for agent in agents:
        version = await _ask(agent.path, env, bound_s) if agent.path else None
        if version is not None:
            yield replace(agent, version=version)


async def _ask(path: str, env: Mapping[str, str], bound_s: float) -> str | None:
    """Return what `PATH --version` says; None when it says nothing of use in time."""
    question = _Question()
    try:
        async with asyncio.timeout(bound_s):
            said = await asyncio.to_thread(question.ask, path, dict(env))
    except OSError:  # it cannot be started here, or the time is over
        return None
    finally:
        question.end()
    found = _VERSION.search(said.decode(errors="replace"))
    return found[0] if found else None


class _Question:
    """One program that is asked on a thread, and can be ended from the loop at any moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_over = False

    def ask(self, path: str, env: dict[str, str]) -> bytes:
        """Return the beginning of the program's output when it has ended."""
        with self._lock:
            if self._is_over:
                return b""
            process = self._process = subprocess.Popen(
                [path, "--version"],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        with process:
            said = process.stdout.read(_LONGEST) if process.stdout else b""
            if len(said) == _LONGEST:
                self.end()
        return said

    def end(self) -> None:
        """Kill the program, with what it started, unless it has ended."""
        with self._lock:
            self._is_over = True
            if self._process is not None and self._process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
