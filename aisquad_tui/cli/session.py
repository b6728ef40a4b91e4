"""The command's way to the core: its settings, sources of convoys, the reader, the engine.

These modules are imported when a command needs them, so that `--help` and completion answer at
once; everything else of the command imports at its top.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from aisquad_core.api import EngineView, Preview, StopMode
    from aisquad_core.attached import AttachedEngine
    from aisquad_core.connect import Reached, WorkReader
    from aisquad_core.embedded import EmbeddedEngine
    from aisquad_core.monitoring.plate import Dashboard
    from aisquad_core.settings import Review, SettingRow, Settings
    from aisquad_core.spec import ConvoySource
    from aisquad_core.upkeep import UpkeepPlan, UpkeepReport

START_PATIENCE_S = 15.0
"""For an engine that somebody else is just starting."""


def load_settings(
    state: Path | None,
    flags: Mapping[str, object] | None = None,
    *,
    cwd: Path | None = None,
    needs_trust: bool = False,
    is_silent: bool = False,
) -> Settings:
    """Gather the settings that hold here.

    Args:
        state: The folder that `--state` names.
        flags: Settings by name that the command line sets; None: it does not.
        cwd: Where they hold; None: here.
        needs_trust: Whether the command runs or starts something.
        is_silent: False: say on standard error if this is not the work state that the project's
            file names, since nobody has said yes to that file.

    Raises:
        UntrustedError: It does, and the operator has not said yes to the project's file.
    """
    from aisquad_core import settings

    found = settings.load_settings(
        cwd=cwd or Path.cwd(), environ=os.environ, flags=flags or {}, state_dir=state
    )
    if needs_trust:
        found.require_trust()
    if not is_silent:
        _tell_other_database(found)
    return found


def _tell_other_database(found: Settings) -> None:
    untrusted = found.untrusted
    if untrusted is None or found.sources["workstate_db"] in {"--state", "AI_SQUAD_WORKSTATE_DB"}:
        return
    if "workstate_db" in untrusted.held_back:
        from aisquad_core.sanitise import one_line

        path, folder = one_line(str(untrusted.path)), one_line(str(found.state_dir))
        print(
            f"{path} is not trusted, so its workstate_db does not hold: this is {folder}; "
            "`aisquad trust` shows what it would run and asks",
            file=sys.stderr,
        )


def review_project(folder: Path) -> Review | None:
    """Read what the project's file of a folder would set; None if there is no such file."""
    from aisquad_core import settings

    return settings.review_project(cwd=folder, environ=os.environ)


def trust(path: Path, content: bytes) -> None:
    """Remember the operator's yes to a settings file with this content.

    Raises:
        InputError: It cannot be kept.
    """
    from aisquad_core import trust

    trust.trust(os.environ, path, content)


def default_settings() -> Settings:
    """Return the settings of a folder where nobody has set anything."""
    from aisquad_core import settings

    return settings.Settings(workstate_db=Path(settings.STATE_FOLDER, "workstate.db"))


def describe(settings: Settings) -> tuple[SettingRow, ...]:
    """Return every setting for people."""
    from aisquad_core import settings as module

    return module.describe(settings)


def parse_duration(text: str) -> float:
    """Return the seconds of a duration such as `90s` or `2h`.

    Raises:
        ValueError: It is none.
    """
    from aisquad_core import settings

    return settings.parse_duration(text)


def read_source(path: str) -> ConvoySource:
    """Read a convoy file whose name tells its format (blocking).

    Raises:
        SpecError: It cannot be read.
    """
    from aisquad_core import spec

    return spec.read_source(path)


def check(source: ConvoySource, settings: Settings, cwd: str) -> None:
    """Refuse what cannot be launched from a folder, before anything is written (blocking).

    Raises:
        SpecError: The source has problems.
    """
    from aisquad_core import spec

    spec.plan(source, agents=settings.agents, cwd=cwd)


def preview(source: ConvoySource, settings: Settings, cwd: str) -> Preview:
    """Say everything that a launch from a folder would run (blocking)."""
    from aisquad_core import connect, spec

    return connect.preview(source, settings, cwd=cwd, limit=spec.MAX_OPERATIONS)


def open_reader(settings: Settings) -> AbstractAsyncContextManager[WorkReader]:
    """Open the work state for looking at it, whether an engine runs or not."""
    from aisquad_core import connect

    return connect.open_reader(settings)


def open_engine(settings: Settings) -> AbstractAsyncContextManager[Reached]:
    """Reach the engine that runs, or run one here; what was interrupted earlier stays so."""
    from aisquad_core import connect

    _keep_hook_log(settings)
    return connect.reach_engine(settings)


def open_client(
    settings: Settings, *, patience_s: float | None = None
) -> AbstractAsyncContextManager[Reached]:
    """Reach the engine that runs.

    Args:
        settings: Where it is.
        patience_s: How long one that is just starting may take; None: as long as is usual.

    Raises:
        NoEngineError: None does.
    """
    from aisquad_core import connect

    return connect.open_client(settings, patience_s=patience_s)


async def view_engine(settings: Settings) -> EngineView | None:
    """Return what the engine says of itself now; None if none can be asked.

    Raises:
        EngineSilentError: One runs and does not answer.
    """
    from dataclasses import replace

    from aisquad_core import connect
    from aisquad_core.errors import AISquadError, EngineSilentError

    try:
        async with connect.open_client(settings, patience_s=0) as engine:
            view = (await engine.api.snapshot()).engine
    except EngineSilentError:
        raise
    except AISquadError:
        return None
    return replace(
        view,
        cpu_percent=round(view.cpu_percent, 1),
        memory_percent=round(view.memory_percent, 1),
    )


async def view_dashboard(settings: Settings, pid: int | None) -> Dashboard:
    """Return where the engine with that pid (None: none runs) serves its dashboard."""
    import asyncio

    from aisquad_core.monitoring import plate

    return await asyncio.to_thread(plate.find_dashboard, settings.state_dir, pid)


async def holder_pid(settings: Settings) -> int | None:
    """Return the process that holds the state folder: None if none does, 0 if it is not known."""
    from aisquad_core import connect

    return await connect.holder_pid(settings)


def attach_engine(settings: Settings) -> AttachedEngine | None:
    """Return the way to the engine that serves the state folder, to be entered (blocking).

    Returns:
        None: None does, as it seems; entering says for certain.
    """
    from aisquad_core import endpoint

    if not os.path.lexists(settings.state_dir / endpoint.SOCKET_NAME):
        return None  # so that whoever starts one first does not wait for the wire's import
    from aisquad_core import attached

    return attached.AttachedEngine(settings.state_dir)


def engine_log(settings: Settings) -> Path:
    """Return where an engine in a process of its own writes what happens."""
    from aisquad_core import service

    return settings.state_dir / service.LOG_NAME


def start_engine(
    settings: Settings,
    *,
    state: Path | None,
    on_term: StopMode,
    env: Mapping[str, str] | None = None,
) -> None:
    """Start an engine of this folder in a process of its own; return when it answers (blocking).

    Args:
        settings: Where its state is.
        state: The folder that `--state` names.
        on_term: What SIGTERM means for what runs.
        env: Its environment; None: this process's own.

    Raises:
        EngineRunningError: Another engine holds the state folder.
        EngineStartError: It could not be had.
    """
    from aisquad_core import service

    command = [sys.executable, "-m", "aisquad_tui.cli.background", str(Path.cwd()), on_term.value]
    if state is not None:
        command.append(str(state.absolute()))
    service.start(command, settings.state_dir, cwd=Path("/"), env=env)


def may_start_engine(settings: Settings) -> bool:
    """Tell whether an engine may go on with what is here though nobody asked for it (blocking)."""
    from aisquad_core import service

    return service.may_start(settings)


def serve(settings: Settings, *, on_term: StopMode, is_reporting: bool) -> int:
    """Be the engine of a state folder until somebody stops it (blocking).

    Args:
        settings: What the operator set.
        on_term: What SIGTERM and SIGINT mean for what runs.
        is_reporting: Whether whoever started this process waits to hear how it went; the log goes
            to the state folder then, else to standard error.
    """
    import asyncio
    import logging

    from aisquad_core import service
    from aisquad_core.errors import AISquadError

    if not is_reporting:
        form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
        logging.basicConfig(level=logging.INFO, format=form, force=True)
    has_reported = False

    def report(problem: Exception | None = None) -> None:
        nonlocal has_reported
        if is_reporting and not has_reported:
            service.report(problem)
        has_reported = True

    try:
        asyncio.run(
            service.serve(settings, on_ready=report, on_term=on_term, is_logging=is_reporting)
        )
    except (AISquadError, OSError) as error:
        report(error)
        raise
    return 0


def embed_engine(settings: Settings, *, on_stopped: Callable[[], None]) -> EmbeddedEngine:
    """Return an engine on a thread and loop of its own, to be entered; others can reach it, too.

    Args:
        settings: What the operator set.
        on_stopped: Called on that thread when one of the others has stopped it.
    """
    from aisquad_core import connect, embedded

    _keep_hook_log(settings)
    return embedded.EmbeddedEngine(lambda: connect.serve_engine(settings, on_stopped=on_stopped))


def _keep_hook_log(settings: Settings) -> None:
    """Let an engine in this process log what its `on_finish` command says, out of the way."""
    if settings.on_finish:
        from aisquad_core import service

        service.keep_log(settings.state_dir)


async def plan_upkeep(settings: Settings) -> UpkeepPlan:
    """Say which runs of ended convoys would go."""
    from aisquad_core import upkeep

    return await upkeep.plan_upkeep(settings)


async def run_upkeep(settings: Settings) -> UpkeepReport:
    """Remove them, where no engine runs."""
    from aisquad_core import upkeep

    return await upkeep.run_upkeep(settings)
