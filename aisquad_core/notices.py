"""Calls the operator's `on_finish` command when a convoy first fails and when it ends.

The command gets the convoy's facts in its environment. One runs at a time, none longer than its
time, and nothing of the engine waits for it. Each convoy's first failure is told at most once and
its end at least once: what an engine could not tell before it died, the next one tells.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aisquad_core.errors import NotFoundError, PoolError, StateError
from aisquad_core.execution.environment import scrub
from aisquad_core.execution.evidence import open_regular
from aisquad_core.execution.hook import Hook, HookEnd
from aisquad_core.execution.launcher import convoy_folder, folder_name
from aisquad_core.execution.views import view_convoy, view_record
from aisquad_core.model import FAILURE_STATUSES
from aisquad_core.sanitise import escape_controls, one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aisquad_core.api import ConvoyView
    from aisquad_core.clock import Clock
    from aisquad_core.execution.ledger import Observer
    from aisquad_core.execution.scheduler import ConvoyState, Task
    from aisquad_core.model import RunUpdate
    from aisquad_core.settings import Settings
    from aisquad_core.state.reader import Reader

TIMEOUT_S = 30.0
"""Seconds that one run of the command may take."""
OWED_FOLDER: Final = "notices"
"""Below the state folder: a file for each convoy whose end has not been told, which holds its id.

It is there before the end is committed. That something was told stands in the convoy's own folder,
and goes with it.
"""
_MOST_WAITING: Final = 1_000
_MOST_LINES: Final = 20
"""Of the command's output that go to the log."""
_LONGEST_ID: Final = 10_000
_FAILED, _ENDED = "failed", "ended"
_SERVICE_VARIABLES: Final = frozenset({"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"})
"""By which a service speaks with systemd: not the command's to use."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something to tell."""

    event: str
    """`failed` (for the first time) or `ended`."""
    convoy: ConvoyView
    failed_item: str | None = None
    """The first operation that failed, for `failed`."""


class Notices:
    """Tells what was committed to the operator's command; an observer of the ledger.

    Args:
        settings: The command, and where the state is; without a command nothing happens.
        reader: The work state, for what earlier engines have not told.
        clock: Time.
        is_foreign: Whether a convoy came from elsewhere and waits for a yes: nothing is told of it.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        reader: Reader,
        clock: Clock,
        is_foreign: Callable[[str], bool],
    ) -> None:
        self._command = settings.on_finish
        self._state_dir = settings.state_dir.absolute()
        self._reader = reader
        self._clock = clock
        self._is_foreign = is_foreign
        self._waiting: dict[str, Notice] = {}
        """By convoy, in order: of its failure and its end only the latter, if both wait."""
        self._has_some = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    @property
    def observers(self) -> list[Observer]:
        """Who is to be told of what is committed."""
        return [self] if self._command else []

    def item_changed(self, task: Task, update: RunUpdate | None) -> None:
        """Tell of a convoy's first failure, unless its end follows at once."""
        convoy = task.convoy
        if task.status not in FAILURE_STATUSES or not convoy.unfinished:
            return
        if sum(convoy.counts[status] for status in FAILURE_STATUSES) == 1:
            view = view_convoy(convoy, self._clock.monotonic())
            self._put(Notice(event=_FAILED, convoy=view, failed_item=task.item_id))

    def convoy_changed(self, convoy: ConvoyState) -> None:
        """Nothing is told of changes on the way."""

    def convoy_ended(self, convoy: ConvoyState) -> None:
        """Tell of a convoy's end."""
        view = view_convoy(convoy, self._clock.monotonic())
        self._put(Notice(event=_ENDED, convoy=view))

    async def owe(self, convoy_id: str) -> None:
        """Note that an end will have to be told, before it is committed."""
        if not self._command:
            return
        try:
            await asyncio.to_thread(self._write_owed, convoy_id)
        except OSError as error:  # the end itself is worth more
            logger.warning("the notice of %s may be lost: %s", convoy_id, error.strerror)

    def disown(self) -> None:
        """Forget what is owed by a work state that came from elsewhere (blocking)."""
        folder = self._state_dir / OWED_FOLDER
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to tell, with what earlier engines have not told."""
        if self._command:
            self._serving = tasks.create_task(self._serve())

    async def close(self, within_s: float) -> None:
        """Tell what waits within that many seconds; the ends of the rest the next engine tells."""
        if self._serving is None:
            return
        if not (self._is_idle.is_set() or self._serving.done()):
            async with asyncio.TaskGroup() as tasks:
                waits = [
                    tasks.create_task(self._until_idle()),
                    tasks.create_task(self._clock.sleep(within_s)),
                ]
                await asyncio.wait([*waits, self._serving], return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()
        self._serving.cancel()
        await asyncio.wait((self._serving,))

    async def _until_idle(self) -> None:
        await self._is_idle.wait()

    def _put(self, notice: Notice) -> None:
        convoy_id = notice.convoy.id
        if self._is_foreign(convoy_id):
            return
        if len(self._waiting) >= _MOST_WAITING and convoy_id not in self._waiting:
            logger.warning(
                "on_finish: %d notices wait already; %s of %s is not told now",
                _MOST_WAITING,
                notice.event,
                convoy_id,
            )
            return
        self._waiting[convoy_id] = notice
        self._is_idle.clear()
        self._has_some.set()

    async def _serve(self) -> None:
        try:
            await self._find_owed()
        except (StateError, PoolError, OSError) as error:
            logger.warning("on_finish: cannot tell what earlier engines have not told: %s", error)
        while True:
            while self._waiting:
                await self._tell(self._waiting.pop(next(iter(self._waiting))))
            self._has_some.clear()
            self._is_idle.set()
            await self._has_some.wait()

    async def _find_owed(self) -> None:
        for convoy_id in await asyncio.to_thread(self._read_owed):
            try:
                record = await self._reader.convoy(convoy_id)
            except NotFoundError:
                await asyncio.to_thread(self._owed(convoy_id).unlink, missing_ok=True)
                continue
            if record.status.is_final:
                view = view_record(record, await self._reader.counts(convoy_id))
                self._put(Notice(event=_ENDED, convoy=view))

    async def _tell(self, notice: Notice) -> None:
        """Run the command, unless this was told before."""
        is_end = notice.event == _ENDED
        try:
            if await asyncio.to_thread(self._was_told, notice):
                return
            if not is_end:
                await asyncio.to_thread(self._note_told, notice)
        except OSError as error:
            logger.warning("on_finish: told once more, perhaps: %s", error)
        what = f"on_finish, {notice.event}, {notice.convoy.id}"
        _log(what, await self._run(notice))
        if is_end:
            try:
                await asyncio.to_thread(self._note_told, notice)
            except OSError as error:
                logger.warning("%s: the next engine may tell it again: %s", what, error)

    async def _run(self, notice: Notice) -> HookEnd:
        env = {name: it for name, it in os.environ.items() if name not in _SERVICE_VARIABLES}
        hook = Hook(
            self._command,
            env=scrub(env) | facts(notice, self._state_dir),
            cwd=self._state_dir.parent,
            timeout_s=TIMEOUT_S,
        )
        try:
            with hook:
                running = asyncio.get_running_loop().run_in_executor(None, hook.run)
                try:
                    return await asyncio.shield(running)
                except asyncio.CancelledError:
                    hook.cut()
                    await asyncio.wait((running,))
                    running.exception()  # looked at: asyncio must not report it as forgotten
                    raise
        except OSError as error:
            return HookEnd(problem=f"cannot be started: {error.strerror}")

    # Files; blocking

    def _owed(self, convoy_id: str) -> Path:
        return self._state_dir / OWED_FOLDER / folder_name(convoy_id)

    def _told(self, notice: Notice) -> Path:
        """Return the file that says so; no start's folder has this name."""
        folder = convoy_folder(self._state_dir / "runs", notice.convoy.id)
        return folder / f"told~{notice.event}"

    def _write_owed(self, convoy_id: str) -> None:
        path = self._owed(convoy_id)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _write(path, convoy_id)

    def _read_owed(self) -> list[str]:
        folder = self._state_dir / OWED_FOLDER
        try:
            names = sorted(os.listdir(folder))
        except FileNotFoundError:
            return []
        found = []
        for name in names:
            try:
                with open(open_regular(str(folder / name)), "rb") as file:
                    convoy_id = file.read(_LONGEST_ID).decode("utf-8", "surrogateescape")
            except OSError as error:
                logger.warning("on_finish: not told by an earlier engine: %s", error)
                continue
            if folder_name(convoy_id) == name:
                found.append(convoy_id)
        return found

    def _was_told(self, notice: Notice) -> bool:
        if not self._told(notice).exists():
            return False
        self._owed(notice.convoy.id).unlink(missing_ok=True)
        return True

    def _note_told(self, notice: Notice) -> None:
        path = self._told(notice)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(path, "")
        if notice.event == _ENDED:
            self._owed(notice.convoy.id).unlink(missing_ok=True)


def facts(notice: Notice, state_dir: Path) -> dict[str, str]:
    """Return what the command is told, as variables."""
    convoy, counts = notice.convoy, notice.convoy.counts
    told = {
        "EVENT": notice.event,
        "CONVOY": convoy.id,
        "NAME": one_line(convoy.name),
        "STATUS": convoy.status.value,
        "TOTAL": str(counts.total),
        "COMPLETED": str(counts.completed),
        "FAILED": str(counts.failed),
        "LOST": str(counts.lost),
        "CANCELLED": str(counts.cancelled),
        "SKIPPED": str(counts.skipped),
        "STATE_DIR": str(state_dir),
    }
    if convoy.started_at is not None and convoy.finished_at is not None:
        told["SECONDS"] = f"{(convoy.finished_at - convoy.started_at).total_seconds():.3f}"
    if notice.failed_item is not None:
        told["FAILED_ITEM"] = escape_controls(notice.failed_item)
    return {f"AISQUAD_{name}": text for name, text in told.items()}


def _write(path: Path, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with open(os.open(path, flags, 0o600), "wb") as file:
        file.write(text.encode("utf-8", "surrogateescape"))


def _log(what: str, end: HookEnd) -> None:
    """Log how the command ended, and the end of what it said."""
    level = logging.INFO if end.problem is None else logging.WARNING
    logger.log(level, "%s: %s", what, end.problem or "done")
    lines = [line for line in map(one_line, end.output.splitlines()) if line]
    for line in lines[-_MOST_LINES:]:
        logger.log(level, "%s: | %s", what, line)
