"""Operations as processes of this machine: start, watch, stop the whole tree, adopt.

Children are watched by pidfd on the event loop; files, signals and scans of /proc happen on
threads. What a start's files mean is in `evidence`, how one is made in `launcher`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeVar

from aisquad_core.errors import RunnerError
from aisquad_core.execution import launcher
from aisquad_core.execution.ending import Ending, TreeEnder
from aisquad_core.execution.evidence import Evidence, Sight, examine, find_locked, has_ended
from aisquad_core.execution.output import read_last_line, read_range
from aisquad_core.execution.runner import Contest, Exit, Finding
from aisquad_core.execution.tree import Tree
from aisquad_core.execution.usage import UsageMeter
from aisquad_core.execution.watched import (
    DeathWatch,
    Start,
    exit_of,
    killed_exit,
    lost_exit,
    lost_reason,
    settle_dead,
    settle_left,
    spawn_watched,
    try_open,
    watch_child,
)
from aisquad_core.execution.work_thread import WorkThread, steady_pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from concurrent.futures import ThreadPoolExecutor
    from types import TracebackType
    from typing import Self

    from aisquad_core.api import LogChunk
    from aisquad_core.clock import Clock
    from aisquad_core.execution.runner import StartRef, StartRequest
    from aisquad_core.execution.usage import Usage

_P = ParamSpec("_P")
_T = TypeVar("_T")

POLL_S = 0.1
"""Seconds between looks at a launcher that cannot be watched by pidfd (yet)."""
ASK_AGAIN_S = 1.0
"""Seconds until evidence that could not be read is looked at again."""

_THREADS = 2


class LocalRunner:
    """Runs operations as processes of this machine.

    Args:
        runs_dir: Parent of the folders of all starts, absolute.
        clock: Paces grace periods and sweeps.
        shell: The launcher's shell.
        orphan_grace_s: Seconds from TERM to KILL for a tree whose launcher was killed.
    """

    def __init__(
        self,
        runs_dir: Path,
        *,
        clock: Clock,
        shell: str = "/bin/sh",
        orphan_grace_s: float = 1.0,
    ) -> None:
        if not runs_dir.is_absolute():
            raise ValueError(f"runs_dir must be absolute: {runs_dir}")
        self._runs_dir = str(runs_dir)
        self._clock = clock
        self._shell = shell
        self._orphan_grace_s = orphan_grace_s
        self._starts: dict[str, Start] = {}
        self._exits: asyncio.Queue[Exit | None] = asyncio.Queue()
        self._ended: list[Start] = []
        self._has_ended = asyncio.Event()
        self._deaths = DeathWatch()
        self._usage = UsageMeter()
        self._pool: ThreadPoolExecutor | None = None
        """None: looked into without having been entered; the loop's own threads do."""
        self._is_closed = False

    async def __aenter__(self) -> Self:
        """Begin to watch."""
        self._pool = await asyncio.to_thread(steady_pool, _THREADS, "aisquad-run")
        self._ender = await asyncio.to_thread(TreeEnder, self._clock)
        self._starter = WorkThread("aisquad-start")
        self._settler = WorkThread("aisquad-settle")
        self._boot_id = await self._hop(_read_boot_id)
        self._inherited = await self._hop(launcher.inheritable_descriptors)
        async with contextlib.AsyncExitStack() as stack:
            group = await stack.enter_async_context(asyncio.TaskGroup())
            is_ready = asyncio.Event()
            self._main = group.create_task(self._serve(is_ready))
            await is_ready.wait()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Stop watching; what still runs, runs on."""
        self._is_closed = True
        self._main.cancel()
        try:
            await self._stack.aclose()
        finally:
            await self._close()

    async def prepare(self, request: StartRequest) -> None:
        """Make the start's folder, before the intent to start is committed.

        Raises:
            RunnerError: The folder cannot be made.
        """
        await self._settler.submit(launcher.make_folder, self._folder(request.ref), request)

    async def start(self, request: StartRequest) -> None:
        """Start the operation, after its intent is committed; return once it was forked.

        A call that was cancelled may have started it all the same: its end then comes on the
        stream of exits.

        Raises:
            RunnerError: Nothing was started, and that token never will.
        """
        if self._is_closed:
            raise RunnerError("the runner is closed", is_transient=False)
        if request.ref.token in self._starts:
            return
        start = Start(ref=request.ref, folder=self._folder(request.ref), is_child=True)
        self._starts[request.ref.token] = start
        spawn = partial(spawn_watched, shell=self._shell, inherited=self._inherited)
        spawning = self._starter.submit(spawn, start, request, self._deaths)
        spawning.add_done_callback(partial(self._note_spawned, start))
        await asyncio.shield(spawning)

    async def stop(self, ref: StartRef, *, grace_s: float) -> None:
        """End the whole tree: TERM, grace, stopped sweep, KILL; return when it is gone.

        Its end comes on the stream of exits, too, when the tree is gone. A second call with less
        grace hastens the first. Unknown or ended starts are no error. A cancelled call stops on.
        """
        start = self._starts.get(ref.token)
        if start is None:
            return
        await start.spawned.wait()
        kill_at = self._clock.monotonic() + grace_s
        if start.ending is not None:
            start.ending.hasten(kill_at)
        elif not (start.is_dead or start.finished.is_set() or self._is_closed):
            start.ending = Ending(kill_at)
            self._tasks.create_task(self._stop(start, start.ending))
        await start.finished.wait()

    async def contest(self, ref: StartRef, *, boot_id: str | None) -> Contest:
        """Find out what became of a start that another engine left `in_progress`."""
        if ref.token in self._starts:
            return Contest(finding=Finding.ALIVE)
        folder = self._folder(ref)
        if boot_id != self._boot_id:
            return _lost(ref, "the machine was restarted while it ran")
        found = await self._hop(examine, folder, ref.token)
        match found.sight:
            case Sight.NEVER_RAN | Sight.UNKNOWN:
                return Contest(finding=Finding(found.sight.value), reason=found.reason)
            case Sight.RUNNING | Sight.HELD:
                running_for_s = found.launcher.age_s() if found.launcher else 0.0
                await self._adopt(Start(ref=ref, folder=folder, is_child=False), found)
                return Contest(finding=Finding.ALIVE, running_for_s=running_for_s)
            case Sight.ENDED:
                end = await self._hop(settle_left, ref.token, folder, found)
                return Contest(finding=Finding.ENDED, exit=end)
        ending = Ending(self._clock.monotonic() + self._orphan_grace_s, is_launcher_dead=True)
        tree = Tree(token=ref.token, launcher=found.launcher, is_launcher_certain=False)
        left = await self._end(tree, ending)
        return _lost(ref, lost_reason(found, left))

    async def exits(self) -> AsyncIterator[Exit]:
        """Yield every end until the runner is closed; for one consumer."""
        while (end := await self._exits.get()) is not None:
            yield end

    def pid(self, token: str) -> int | None:
        """Return the launcher's pid while it runs, for people to see."""
        start = self._starts.get(token)
        return None if start is None or start.is_dead else start.pid

    async def log_range(
        self,
        ref: StartRef,
        *,
        offset: int,
        length: int,
        stream: Literal["log", "result"] = "log",
    ) -> LogChunk:
        """Return bytes of the start's output; a negative offset counts from the end.

        Raises:
            RunnerError: There is something else in place of the file, or it cannot be read.
        """
        folder = self._folder(ref)
        name = launcher.LOG if stream == "log" else launcher.RESULT
        is_watched = ref.token in self._starts

        def read() -> LogChunk:
            is_final = False
            with contextlib.suppress(OSError):  # cannot tell whether more will come
                is_final = not is_watched and has_ended(folder)  # asked before the size is
            return read_range(f"{folder}/{name}", offset=offset, length=length, is_final=is_final)

        return await self._hop(read)

    async def last_lines(self, refs: list[StartRef]) -> dict[str, str]:
        """Return token to newest non-empty output line, sanitised, at most 200 characters."""
        paths = {ref.token: f"{self._folder(ref)}/{launcher.LOG}" for ref in refs}
        return await self._hop(lambda: {t: read_last_line(path) for t, path in paths.items()})

    async def usage(self, ref: StartRef) -> Usage | None:
        """Return what the processes of a start use; None unless it runs here."""
        start = self._starts.get(ref.token)
        if start is None or start.is_dead:
            return None
        return await self._hop(lambda: self._usage.read(start.tree()))

    async def inventory(self) -> dict[str, str]:
        """Return the tokens of all starts whose launcher lives, each with its folder."""
        return await self._hop(find_locked, self._runs_dir)

    async def _serve(self, is_ready: asyncio.Event) -> None:
        """Turn the ends of launchers into exits, many in one hop, until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            asyncio.get_running_loop().add_reader(self._deaths, self._note_deaths)
            is_ready.set()
            while True:
                await self._has_ended.wait()
                self._has_ended.clear()
                batch, self._ended = self._ended, []
                for start, end in await self._settler.submit(settle_dead, batch):
                    if end is not None:
                        self._finish(start, end)
                    else:
                        self._tasks.create_task(self._bury(start))

    def _note_spawned(self, start: Start, spawning: asyncio.Future[None]) -> None:
        start.spawned.set()
        if spawning.cancelled() or spawning.exception() is not None:
            del self._starts[start.ref.token]
            start.finished.set()
        elif start.pidfd is None and not (start.is_dead or self._is_closed):
            self._tasks.create_task(self._watch_later(start))

    async def _watch_later(self, start: Start) -> None:
        """Watch a child for which no descriptor was left as soon as there is one."""
        while start.pidfd is None and not start.finished.is_set():
            await self._clock.sleep(POLL_S)
            await self._hop(watch_child, start, self._deaths)

    async def _adopt(self, start: Start, found: Evidence) -> None:
        start.spawned.set()
        self._starts[start.ref.token] = start
        if not await self._identify(start, found):
            self._tasks.create_task(self._find(start))

    async def _identify(self, start: Start, found: Evidence) -> bool:
        """Note whom the evidence names; watch it by pidfd if it can be found."""
        if found.launcher is None:
            return False
        start.claimed = found.launcher
        if found.sight is not Sight.RUNNING:
            return False
        pidfd = await self._hop(try_open, found.launcher)
        if pidfd is None:
            return False
        if self._is_closed or start.finished.is_set():
            os.close(pidfd)
            return True
        try:
            self._deaths.add(start, pidfd)
        except OSError:  # want of memory; it is asked for again
            return False
        start.launcher, start.pid = found.launcher, found.launcher.pid
        return True

    async def _find(self, start: Start) -> None:
        """Watch a launcher that holds its lock by the lock, until its claim says who it is."""
        while not start.finished.is_set():
            await self._clock.sleep(POLL_S)
            found = await self._hop(examine, start.folder, start.ref.token)
            if await self._identify(start, found):
                return
            if found.sight not in {Sight.RUNNING, Sight.HELD, Sight.UNKNOWN}:
                self._note_death(start)
                return

    def _note_deaths(self) -> None:
        for start in self._deaths.take():
            self._note_death(start)

    def _note_death(self, start: Start) -> None:
        """Take note that the launcher ended."""
        start.is_dead = True
        if start.ending is not None:
            start.ending.note_death()
        else:
            self._ended.append(start)
            self._has_ended.set()

    async def _bury(self, start: Start) -> None:
        """Settle a launcher that died without a word, after ending what it left behind."""
        kill_at = self._clock.monotonic() + self._orphan_grace_s
        start.ending = Ending(kill_at, is_launcher_dead=True)
        found = await self._judge(start)
        end = await self._hop(exit_of, start.ref.token, start.folder, found)
        if end is None:
            left = await self._end(await self._hop(start.tree), start.ending)
            end = lost_exit(start.ref.token, lost_reason(found, left))
        await self._finish_dead(start, end)

    async def _stop(self, start: Start, ending: Ending) -> None:
        """End a start's tree, then settle it."""
        left = await self._end(await self._hop(start.tree), ending)
        found = await self._judge(start)
        end = await self._hop(exit_of, start.ref.token, start.folder, found)
        end = end or killed_exit(start.ref.token, left)
        await self._finish_dead(start, end)

    async def _end(self, tree: Tree, ending: Ending) -> int:
        left = await self._ender.end(tree, ending)
        self._tasks.create_task(self._ender.sweep_late(tree))
        return left

    async def _judge(self, start: Start) -> Evidence:
        """Return what became of a start whose launcher ended, when that can be told."""
        is_launcher_dead = start.is_child or start.launcher is not None
        while True:
            found = await self._hop(
                examine, start.folder, start.ref.token, is_launcher_dead=is_launcher_dead
            )
            if found.sight not in {Sight.UNKNOWN, Sight.RUNNING, Sight.HELD}:
                return found
            await self._clock.sleep(ASK_AGAIN_S)

    async def _finish_dead(self, start: Start, end: Exit) -> None:
        self._deaths.discard(start)
        await self._hop(start.release)
        self._finish(start, end)

    def _finish(self, start: Start, end: Exit) -> None:
        del self._starts[start.ref.token]
        self._usage.forget(start.ref.token)
        self._exits.put_nowait(end)
        start.finished.set()

    async def _close(self) -> None:
        """Let go of everything, after one more look at the trees that were just ended."""
        try:
            await self._ender.close()
            await self._starter.close()
            await self._settler.close()
            if self._pool is not None:
                await asyncio.to_thread(self._pool.shutdown)
        finally:
            asyncio.get_running_loop().remove_reader(self._deaths)
            self._deaths.close()
            for start in self._starts.values():
                start.release()
                start.finished.set()
            self._exits.put_nowait(None)

    def _folder(self, ref: StartRef) -> str:
        return launcher.start_folder(self._runs_dir, ref)

    async def _hop(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Make a blocking call on one of the runner's threads."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(call, *args, **kwargs))


def _read_boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _lost(ref: StartRef, reason: str) -> Contest:
    return Contest(finding=Finding.LOST, exit=lost_exit(ref.token, reason), reason=reason)
