from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from aisquad_tui.survey import NAMES, ask_versions, look

if TYPE_CHECKING:
    from pathlib import Path

    from aisquad_tui.views.empty import AgentFound

_BOUND_S = 15.0
"""Longer than any machine needs to start a shell; shorter than the test's own bound."""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"PATH": f"{tmp_path}:/usr/bin:/bin"}


def _install(folder: Path, name: str, script: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


async def _ask(
    found: tuple[AgentFound, ...], env: dict[str, str], bound_s: float = _BOUND_S
) -> dict[str, str | None]:
    written = [agent for agent in found if agent.name in {"claude", "codex"}]
    answers = ask_versions(written, env, bound_s=bound_s)
    return {agent.name: agent.version async for agent in answers}


def test_programs_are_found_on_the_path_and_missing_ones_are_named(tmp_path: Path) -> None:
    _install(tmp_path, "claude", "exit 1")
    found = look({"PATH": str(tmp_path)})
    assert [agent.name for agent in found] == list(NAMES)
    assert [agent.path for agent in found if agent.path] == [str(tmp_path / "claude")]


async def test_each_program_is_asked_for_its_version(tmp_path: Path, env: dict[str, str]) -> None:
    _install(tmp_path, "claude", 'test "$1" = --version && echo "2.1.0 (Claude Code)"')
    _install(tmp_path, "codex", 'echo "a warning" >&2; echo "codex-cli v0.145.0-beta"')
    assert await _ask(look(env), env) == {"claude": "2.1.0", "codex": "0.145.0"}


async def test_a_program_that_says_nothing_of_use_has_no_version(
    tmp_path: Path, env: dict[str, str]
) -> None:
    _install(tmp_path, "claude", "echo no idea; exit 3")
    (tmp_path / "codex").write_bytes(b"\x7fELF rubbish")
    (tmp_path / "codex").chmod(0o755)
    assert await _ask(look(env), env) == {}


async def test_a_program_that_hangs_is_killed_with_what_it_started(
    tmp_path: Path, env: dict[str, str]
) -> None:
    pid_file = tmp_path / "pid"
    _install(tmp_path, "claude", f"sleep 600 & echo $! > {pid_file}; wait")
    asked = asyncio.create_task(_ask(look(env), env, bound_s=600))
    async with asyncio.timeout(_BOUND_S):
        while not pid_file.exists() or not pid_file.read_text().endswith("\n"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    sleeper = int(pid_file.read_text())
    async with asyncio.timeout(_BOUND_S):
        while _is_running(sleeper):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_endless_output_ends_the_question(tmp_path: Path, env: dict[str, str]) -> None:
    _install(tmp_path, "claude", "echo 3.2.1; exec yes")
    assert await _ask(look(env), env) == {"claude": "3.2.1"}


async def test_a_program_that_does_not_answer_in_time_is_passed_over(
    tmp_path: Path, env: dict[str, str]
) -> None:
    _install(tmp_path, "claude", "exec sleep 600")
    assert await _ask(look(env), env, bound_s=0.2) == {}


def _is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
