"""The environment of a convoy's operations: that of the command that launched it.

It is kept in the convoy's folder until the convoy ends, never in the database, an event or a log,
and no error or `repr` shows a value.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from typing import TYPE_CHECKING

from aisquad_core.errors import RunnerError
from aisquad_core.execution.evidence import open_regular
from aisquad_core.execution.launcher import convoy_folder, runner_error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SURROUNDINGS = re.compile(
    r"""
    CLAUDECODE | CLAUDE_CODE_(?!OAUTH_|USE_|SKIP_|CLIENT_|API_KEY_|MAX_|DISABLE_)\w+
    | CLAUDE_AGENT_SDK_VERSION | CLAUDE_PID | CLAUDE_EFFORT | AI_AGENT
    | GEMINI_CLI(_\w+)? | CODEX_(SANDBOX\w*|THREAD_ID|CI|MANAGED_BY_\w+)
    | OPENCODE(_(BIN_PATH|PID|RUN_ID|PROCESS_ROLE|CALLER))? | COPILOT_CLI
    | CURSOR_(AGENT|TRACE_ID) | CLINE_ACTIVE | AUGMENT_AGENT | REPLIT_AGENT
    | NODE_OPTIONS | NODE_INSPECT_RESUME_ON_START | NODE_CHANNEL_(FD|SERIALIZATION_MODE)
    | ELECTRON_RUN_AS_NODE
    | VSCODE_\w+ | BUNDLED_DEBUGPY_PATH
    | PYDEVD_\w+ | PYTHONBREAKPOINT | DEBUGPY_\w+ | PYCHARM_\w+
    | AISQUAD_(ITEM|CONVOY|ATTEMPT|TOKEN|EVENT|NAME|STATUS|TOTAL|COMPLETED|FAILED|FAILED_ITEM)
    | AISQUAD_(LOST|CANCELLED|SKIPPED|SECONDS|STATE_DIR) | _AISQUAD_\w*
    """,
    re.VERBOSE | re.ASCII,
)
r"""Variables by which an agent or debugger around us marks, steers or traces what it starts.

An agent CLI that finds them believes itself nested, joins the wrong session, or waits for a
debugger. Keys, logins and the choice of a provider (`ANTHROPIC_API_KEY`,
`CLAUDE_CODE_OAUTH_TOKEN`, `CLAUDE_CODE_USE_BEDROCK`, ...) stay.
"""

_FILE = "environment~.json"
"""No start's folder has this name: `~` is followed by a hash there."""


def scrub(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what an agent or debugger around us put there."""
    return {name: value for name, value in env.items() if not SURROUNDINGS.fullmatch(name)}


class EnvironmentStore:
    """Keeps the environments of the convoys that have not ended.

    Args:
        runs_dir: Parent of the convoys' folders.
    """

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        self._loaded: dict[str, tuple[dict[str, str], dict[str, dict[str, str]]]] = {}

    def __repr__(self) -> str:
        return f"EnvironmentStore({str(self._runs_dir)!r})"

    async def save(
        self, convoy_id: str, env: Mapping[str, str], agent_env: Mapping[str, Mapping[str, str]]
    ) -> None:
        """Keep a convoy's environment, in place of an earlier one.

        Args:
            convoy_id: The convoy.
            env: Environment of the command that launched it; it is scrubbed.
            agent_env: What the settings of each agent add, by agent id.

        Raises:
            RunnerError: It cannot be written.
        """
        base = scrub(env)
        added = {agent_id: dict(extra) for agent_id, extra in agent_env.items()}
        text = json.dumps({"env": base, "agents": added})
        try:
            await asyncio.to_thread(self._write, convoy_id, text)
        except OSError as error:
            raise runner_error(f"cannot keep the environment of {convoy_id}", error) from error
        self._loaded[convoy_id] = (base, added)

    async def load(self, convoy_id: str, agent_id: str) -> dict[str, str] | None:
        """Return the environment for an agent's operations, None if none is kept.

        Raises:
            RunnerError: It is there but cannot be read.
        """
        if convoy_id not in self._loaded:
            try:
                text = await asyncio.to_thread(self._read, convoy_id)
            except FileNotFoundError:
                return None
            except OSError as error:
                raise runner_error(f"cannot read the environment of {convoy_id}", error) from error
            self._loaded[convoy_id] = _parse(convoy_id, text)
        base, added = self._loaded[convoy_id]
        return base | added.get(agent_id, {})

    async def forget(self, convoy_id: str) -> None:
        """Delete a convoy's environment, if one is kept.

        Raises:
            RunnerError: It cannot be deleted.
        """
        self._loaded.pop(convoy_id, None)
        path = convoy_folder(self._runs_dir, convoy_id) / _FILE
        try:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        except OSError as error:
            raise runner_error(f"cannot forget the environment of {convoy_id}", error) from error

    def _write(self, convoy_id: str, text: str) -> None:
        folder = convoy_folder(self._runs_dir, convoy_id)
        self._runs_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        fresh = folder / f"{_FILE}.new"
        fresh.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(fresh, flags, 0o600), "w", encoding="ascii") as file:
            file.write(text)
        fresh.replace(folder / _FILE)

    def _read(self, convoy_id: str) -> bytes:
        path = convoy_folder(self._runs_dir, convoy_id) / _FILE
        with open(open_regular(str(path)), "rb") as file:
            return file.read()


def _parse(convoy_id: str, text: bytes) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    problem = RunnerError(
        f"the kept environment of {convoy_id} is damaged; retry it from a terminal, "
        "which brings its own",
        is_transient=False,
    )
    try:
        kept = json.loads(text)
        base, added = kept["env"], kept["agents"]
    except (ValueError, KeyError, TypeError):
        raise problem from None  # the cause would show what was read
    if not (_is_env(base) and isinstance(added, dict) and all(map(_is_env, added.values()))):
        raise problem
    return base, added


def _is_env(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(text, str) for name, text in value.items()
    )
