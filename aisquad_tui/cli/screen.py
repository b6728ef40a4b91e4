"""`aisquad`, `aisquad FILE` and `aisquad demo`: the screen.

It attaches to the engine that serves the state folder; without one it starts one and attaches, as
tmux does. Only `--embedded`, the demo, and a project that may not start anything yet have an engine
in the screen's own process.
"""

from __future__ import annotations

import asyncio
import gc
import io
import os
import socket
import sys
import tempfile
import traceback
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aisquad_core.api import StopMode
from aisquad_core.clock import SystemClock
from aisquad_core.errors import (
    EngineRunningError,
    EngineStartError,
    NoEngineError,
    StateFolderError,
)
from aisquad_core.sanitise import one_line
from aisquad_core.version import __version__
from aisquad_tui.cli import session, tty
from aisquad_tui.cli.boundary import Status, carry_out, leaf
from aisquad_tui.cli.demo import FILES, throw_away_project
from aisquad_tui.cli.leaving import Leaving, tell_detached
from aisquad_tui.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Mapping, Sequence

    from aisquad_core.api import EngineAPI
    from aisquad_core.settings import Settings
    from aisquad_core.spec import ConvoySource
    from aisquad_tui.app import SquadApp
    from aisquad_tui.surroundings import Terminal

_CRASH_LOG = "crash.log"
_REMEDY = "`aisquad --embedded` opens the screen with an engine in its own process"
_LOOK_AGAIN_S = 0.05
"""Between two looks for an engine that has just begun."""
_SETTLED_S = 1.5
"""Seconds after which the screen is made of what it will be made of."""


def open_screen(
    file: str | None = None,
    *,
    state: Path | None = None,
    has_color: bool = True,
    is_demo: bool = False,
    is_embedded: bool = False,
) -> int:
    """Show the screen until the operator leaves.

    Args:
        file: A convoy file that is launched at once; None: nothing.
        state: The folder that `--state` names.
        has_color: False: draw without colours, whatever the terminal can show.
        is_demo: Work in a throw-away folder, on the demo's convoys.
        is_embedded: Have an engine in this process, which ends with it.

    Returns:
        The exit status.
    """
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    problem = tty.refusal(os.environ, is_terminal=is_terminal)
    if problem is not None:
        print(f"error: {one_line(problem)}; see `aisquad status` instead", file=sys.stderr)
        return Status.BAD_INPUT
    with ExitStack() as stack:

        def prepare() -> Coroutine[object, object, int]:
            cwd = stack.enter_context(throw_away_project()) if is_demo else Path.cwd()
            files = [str(cwd / name) for name in FILES] if is_demo else [file] if file else []
            settings = session.load_settings(
                cwd / ".ai_squad" if is_demo else state, cwd=cwd, needs_trust=bool(files)
            )
            sources = [session.read_source(name) for name in files]
            for source in sources:
                session.check(source, settings, str(cwd))
            env = dict(os.environ)
            terminal = tty.look_at(env, encoding=sys.stdout.encoding or "ascii")
            if not has_color:
                terminal = tty.without_color(terminal)
            tty.prepare(os.environ, terminal)
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(errors="replace")  # a cell for a character
            is_own = is_embedded or is_demo
            return _show(_Start(settings, state, terminal, env, cwd, sources, is_demo, is_own))

        return carry_out(prepare)


@dataclass(frozen=True, slots=True)
class _Start:
    """All that was looked at before the screen opens."""

    settings: Settings
    state: Path | None
    """The state folder that `--state` names."""
    terminal: Terminal
    env: Mapping[str, str]
    cwd: Path
    sources: Sequence[ConvoySource]
    is_demo: bool
    is_own: bool
    """Whether the engine must be in the screen's process."""

    def surroundings(self, engine: EngineAPI, *, is_embedded: bool) -> Surroundings:
        """Return what the app is told."""
        home = self.env.get("HOME", "")
        place = str(self.cwd)
        if home and (place == home or place.startswith(f"{home}/")):
            place = f"~{place[len(home) :]}"
        return Surroundings(
            engine=engine,
            clock=SystemClock(),
            cwd=str(self.cwd),
            env=self.env,
            place=one_line(place),
            host=one_line(socket.gethostname().partition(".")[0]),
            terminal=self.terminal,
            is_embedded=is_embedded,
            is_demo=self.is_demo,
            state_dir=str(self.settings.state_dir),
            agents=tuple(self.settings.agents),
            first=self.sources,
        )


@dataclass(frozen=True, slots=True)
class _Opened:
    """The engine that the screen has."""

    engine: EngineAPI
    is_embedded: bool = False
    is_new: bool = False
    """Whether the screen started it, in a process of its own."""


async def _show(start: _Start) -> int:
    """Open the engine while the app is imported, and show the screen; end its own in order."""
    stopped = asyncio.Event()
    with ExitStack() as heeding:
        async with AsyncExitStack() as stack:
            async with asyncio.TaskGroup() as tasks:
                importing = tasks.create_task(asyncio.to_thread(_import_app))
                opened = await _open_engine(start, stack, stopped)
            leaving = Leaving(
                opened.engine,
                grace_s=start.settings.grace_s,
                is_kept=not start.is_demo,
                stopped=stopped,
            )
            heeding.enter_context(leaving.heeding_signals())
            with _rare_collections():
                surroundings = start.surroundings(opened.engine, is_embedded=opened.is_embedded)
                app = importing.result()(surroundings)
                await leaving.show(app, has_mouse=start.terminal.has_mouse)
                if opened.is_embedded:
                    await leaving.stop_engine(app.stop_mode)
    if app.fault is not None:
        _tell_crash(app.fault, None if start.is_demo else start.settings.state_dir)
        return Status.FAILED
    if not opened.is_embedded:
        tell_detached(app.picture, is_new=opened.is_new)
    return leaving.status or app.return_code or Status.OK


async def _open_engine(start: _Start, stack: AsyncExitStack, stopped: asyncio.Event) -> _Opened:
    """Attach to the engine that runs, else start one and attach, or embed one.

    Args:
        start: What was looked at before.
        stack: Where it is entered.
        stopped: Set when somebody else has stopped an embedded one.

    Raises:
        EngineRunningError: One runs that cannot be attached to, or must not be.
        EngineStartError: None could be had in a process of its own.
    """
    if not start.is_own:
        if (running := await _attach(start, stack)) is not None:
            return _Opened(running)
        if await asyncio.to_thread(session.may_start_engine, start.settings):
            return await _start_engine(start, stack)
    loop = asyncio.get_running_loop()

    def tell_stopped() -> None:
        loop.call_soon_threadsafe(stopped.set)

    embedded = session.embed_engine(start.settings, on_stopped=tell_stopped)
    try:
        return _Opened(await stack.enter_async_context(embedded), is_embedded=True)
    except EngineRunningError as error:
        if start.is_own:
            raise
        return _Opened(await _attach_soon(start, stack, error))


async def _start_engine(start: _Start, stack: AsyncExitStack) -> _Opened:
    """Start an engine in a process of its own, unless somebody is faster, and attach to it."""
    begin = partial(
        session.start_engine,
        start.settings,
        state=start.state,
        on_term=StopMode.INTERRUPT,
        env=start.env,
    )
    try:
        await asyncio.to_thread(begin)
    except EngineRunningError as error:
        return _Opened(await _attach_soon(start, stack, error))
    except EngineStartError as error:
        raise EngineStartError(f"{error}\n{_REMEDY}") from error
    gone = EngineStartError(f"the engine has ended as soon as it was there\n{_REMEDY}")
    return _Opened(await _attach_soon(start, stack, gone), is_new=True)


async def _attach_soon(start: _Start, stack: AsyncExitStack, failing: Exception) -> EngineAPI:
    """Attach to an engine that has the state folder and may not listen yet.

    Args:
        start: What was looked at before.
        stack: Where it is entered.
        failing: Raised when that takes too long.
    """
    clock = SystemClock()
    deadline_s = clock.monotonic() + session.START_PATIENCE_S
    while (engine := await _attach(start, stack)) is None:
        if clock.monotonic() >= deadline_s:
            raise failing
        await clock.sleep(_LOOK_AGAIN_S)
    return engine


async def _attach(start: _Start, stack: AsyncExitStack) -> EngineAPI | None:
    """Attach to the engine that serves the state folder; None: none does."""
    engine = await asyncio.to_thread(session.attach_engine, start.settings)
    if engine is None:
        return None
    try:
        return await stack.enter_async_context(engine)
    except (NoEngineError, StateFolderError):  # an engine of one's own says what is wrong with it
        return None


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Keep what was imported and drawn first out of collections, which else take 30 ms a time."""
    gc.freeze()
    timer = asyncio.get_running_loop().call_later(_SETTLED_S, gc.freeze)
    try:
        yield
    finally:
        timer.cancel()
        gc.unfreeze()


def _import_app() -> type[SquadApp]:
    from aisquad_tui.app import SquadApp  # noqa: PLC0415  # it takes long, and Textual with it

    return SquadApp


def _tell_crash(fault: Exception, state_dir: Path | None) -> None:
    """Keep the stack for those who mend it, without values of variables; say where it is.

    Args:
        fault: What ended the app.
        state_dir: Where it is kept; None: in a file of its own, since the folder goes.
    """
    if state_dir is None:
        path = Path(tempfile.mkstemp(prefix="aisquad-", suffix=f"-{_CRASH_LOG}")[1])
    else:
        path = state_dir / _CRASH_LOG
    head = f"{SystemClock().now().isoformat()} aisquad {__version__}\n"
    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.writelines([head, *traceback.format_exception(fault), "\n"])
    cause = leaf(fault)
    said = one_line(f"{type(cause).__name__}: {cause}")
    where = one_line(str(path))
    print(f"error: the screen failed ({said}); {where} holds the details", file=sys.stderr)
