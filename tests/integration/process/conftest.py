"""Real processes in a folder of their own; afterwards none may be left."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from blockbuster import blockbuster_ctx

from aisquad_core.clock import SystemClock
from aisquad_core.execution.process import LocalRunner
from aisquad_core.execution.runner import Exit, StartRef, StartRequest
from aisquad_core.execution.tree import read_row, read_token
from aisquad_core.model import Operation, OutputMode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from blockbuster import BlockBuster

BOUND_S = 15.0
BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _processes_of(token: str) -> list[int]:
    """Return the living processes that carry a token."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and read_token(int(name)) == token.encode():
            row = read_row(int(name))
            if row is not None and not row.is_dead:
                found.append(int(name))
    return found


@dataclass
class Harness:
    """Makes requests, runs runners and keeps their exits by token."""

    runs_dir: Path
    cwd: Path
    boot_id: str = BOOT_ID
    tokens: list[str] = field(default_factory=list)
    exits: dict[str, list[Exit]] = field(default_factory=dict)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def request(
        self,
        *argv: str,
        item: str = "item",
        convoy: str = "convoy",
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        stdin: str | None = None,
        stdin_file: str | None = None,
        stdout: OutputMode = OutputMode.LOG,
    ) -> StartRequest:
        token = secrets.token_hex(8)
        self.tokens.append(token)
        operation = Operation(id=item, argv=argv, stdin=stdin, stdin_file=stdin_file, stdout=stdout)
        return StartRequest(
            ref=StartRef(convoy, item, 1, token),
            operation=operation,
            cwd=cwd or str(self.cwd),
            env={"PATH": os.environ["PATH"]} if env is None else env,
        )

    def shell(self, line: str, **options: str) -> StartRequest:
        return self.request("/bin/sh", "-c", line, **options)  # type: ignore[arg-type] # strings

    def late_shell(self, seconds: float) -> str:
        """Return a shell that sleeps before it does what it is told."""
        path = self.cwd.parent / f"late-{seconds}"
        path.write_text(f'#!/bin/sh\nsleep {seconds}\nexec /bin/sh "$@"\n')
        path.chmod(0o755)
        return str(path)

    def replace_argv(self, request: StartRequest, *argv: str) -> StartRequest:
        return replace(request, operation=replace(request.operation, argv=argv))

    async def processes_of(self, token: str) -> list[int]:
        return await asyncio.to_thread(_processes_of, token)

    def look_for(self, token: str) -> list[int]:
        return _processes_of(token)

    def python(self, code: str) -> StartRequest:
        return self.request(sys.executable, "-c", code)

    @asynccontextmanager
    async def runner(self, *, shell: str = "/bin/sh") -> AsyncIterator[LocalRunner]:
        """Run a runner; its exits are kept as they come."""
        local = LocalRunner(self.runs_dir, clock=SystemClock(), shell=shell)
        async with asyncio.TaskGroup() as tasks, local as runner:
            tasks.create_task(self._keep(runner))
            yield runner

    async def _keep(self, runner: LocalRunner) -> None:
        async for end in runner.exits():
            self.exits.setdefault(end.token, []).append(end)
            self.arrived.set()

    async def start(self, runner: LocalRunner, request: StartRequest) -> StartRef:
        await runner.prepare(request)
        await runner.start(request)
        return request.ref

    async def end_of(self, ref: StartRef) -> Exit:
        async with asyncio.timeout(BOUND_S):
            while ref.token not in self.exits:
                self.arrived.clear()
                await self.arrived.wait()
        (end,) = self.exits[ref.token]
        return end

    async def run(self, runner: LocalRunner, request: StartRequest) -> Exit:
        return await self.end_of(await self.start(runner, request))

    def folder(self, ref: StartRef) -> Path:
        (folder,) = self.runs_dir.glob(f"*/*/{ref.attempt}-{ref.token}")
        return folder

    def log(self, ref: StartRef) -> str:
        return (self.folder(ref) / "output.log").read_text()

    async def until(self, is_true: Callable[[], bool]) -> None:
        """Wait for something in the world of files and processes, with a bound."""
        async with asyncio.timeout(BOUND_S):
            while not await asyncio.to_thread(is_true):  # noqa: ASYNC110 # nobody signals these
                await asyncio.sleep(0.02)

    async def until_says(self, ref: StartRef, text: str) -> None:
        await self.until(lambda: text in self.log(ref))

    async def until_gone(self, token: str) -> None:
        await self.until(lambda: not self.look_for(token))

    async def until_claimed(self, ref: StartRef) -> int:
        """Wait until the launcher has claimed; return its pid."""
        claim = self.folder(ref) / "claim"
        await self.until(lambda: claim.exists() and claim.read_bytes().count(b"\n") == 2)
        return int(claim.read_text().split()[1])


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    cwd = tmp_path / "work"
    cwd.mkdir()
    harness = Harness(tmp_path / "state" / "runs", cwd)
    yield harness
    left = {token: _processes_of(token) for token in harness.tokens}
    for pids in left.values():
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    assert {token: pids for token, pids in left.items() if pids} == {}


@pytest.fixture(autouse=True)
def _no_blocking(request: pytest.FixtureRequest) -> Iterator[BlockBuster | None]:
    """Let no call of the runner block the loop."""
    if request.node.get_closest_marker("asyncio") is None:
        yield None
        return
    with blockbuster_ctx("aisquad_core") as detector:
        yield detector
