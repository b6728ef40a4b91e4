"""`aisquad status`: the engine, how much it runs at once and why."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from aisquad_core.api import EngineView
from aisquad_core.errors import AISquadError, EngineSilentError, NoEngineError
from aisquad_core.sanitise import one_line
from aisquad_tui.cli import options, session
from aisquad_tui.cli.boundary import Status, conclude
from aisquad_tui.cli.shapes import document, dump, record
from aisquad_tui.cli.table import facts
from aisquad_tui.cli.terminal import ColorChoice, Ink, open_terminal
from aisquad_tui.cli.watch import show
from aisquad_tui.formatting import count, data_size, duration, moment, plural

if TYPE_CHECKING:
    from aisquad_core.connect import EngineStatus
    from aisquad_core.monitoring.plate import Dashboard
    from aisquad_core.settings import Settings
    from aisquad_tui.cli.terminal import Terminal


_ANSWER_S = 5.0
"""An engine that is well answers in milliseconds; one on a machine that swaps, later."""


def status(
    *,
    is_check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Only look whether an engine answers within a few seconds: exit status 0, else 3.",
        ),
    ] = False,
    as_json: options.AsJson = False,
    is_watched: options.Watch = False,
    state: options.State = None,
    color: options.Color = ColorChoice.AUTO,
    utc: options.Utc = False,
) -> None:
    """Show the engine, how much it runs, and why."""
    if is_check and (is_watched or as_json):
        raise typer.BadParameter("goes without --watch and --json", param_hint="'--check'")
    terminal = open_terminal(color=color, is_utc=utc)

    async def show_status() -> int:
        settings = session.load_settings(state)
        if is_check:
            pid = await _answering_pid(settings)
            terminal.out.line(f"engine {pid} answers")
            return Status.OK
        async with session.open_reader(settings) as reader:

            async def read() -> list[str]:
                engine: EngineView | EngineStatus
                try:
                    engine = await session.view_engine(settings) or await reader.status()
                except EngineSilentError as error:
                    engine = replace(await reader.status(), trouble=str(error))
                dashboard = await session.view_dashboard(settings, engine.pid)
                if as_json:
                    shape = record(engine) | {
                        "dashboard": dashboard.link,
                        "dashboard_problem": dashboard.problem,
                    }
                    return [(dump if is_watched else document)(shape)]
                return _lines(engine, dashboard, terminal)

            await show(terminal, read, is_watched=is_watched)
        return Status.OK

    conclude(show_status)


async def _answering_pid(settings: Settings) -> int:
    """Return the pid of the engine.

    Raises:
        NoEngineError: None answers, for whatever reason.
    """
    try:
        async with (
            asyncio.timeout(_ANSWER_S),
            session.open_client(settings, patience_s=0) as reached,
        ):
            return (await reached.api.snapshot()).engine.pid
    except TimeoutError:
        raise NoEngineError(f"the engine did not answer within {_ANSWER_S:g} s") from None
    except AISquadError as error:
        raise NoEngineError(str(error)) from error


def _troubles(engine: EngineStatus | EngineView) -> list[tuple[str, str]]:
    """Return what keeps the engine from its work; most of that only it knows itself."""
    pairs: list[tuple[str, str]] = []
    if isinstance(engine, EngineView) and engine.phase != "running":
        pairs.append(("phase", engine.phase))
    if engine.trouble is not None:
        pairs.append(("trouble", one_line(engine.trouble)))
    if isinstance(engine, EngineView) and engine.waiting is not None:
        pairs.append(("waiting", one_line(engine.waiting)))
    return pairs


def _wal(engine: EngineStatus | EngineView) -> str:
    """Return the size of the write-ahead log, and how old the read is that keeps it from shrinking.

    Only the engine knows of its readers.
    """
    size = data_size(engine.wal_bytes)
    if engine.oldest_reader_s is None:
        return size
    if engine.oldest_reader_s == 0:
        return f"{size}, nothing reads"
    return f"{size}, oldest reader {duration(engine.oldest_reader_s)}"


def _writes(engine: EngineStatus | EngineView) -> list[tuple[str, str]]:
    """Return how many writes wait for the disk, and what that means for launches."""
    if not isinstance(engine, EngineView):
        return []
    said = f"{count(engine.writes_pending)} of {count(engine.writes_capacity)} wait for the disk"
    if engine.is_crowded:
        said += f", over {100 * engine.writes_threshold:.0f} %: launches are refused, or wait"
    if engine.launches_waiting:
        said += f"; {plural(engine.launches_waiting, 'launch', 'launches')} waiting"
    if engine.launches_refused:
        said += f"; {count(engine.launches_refused)} refused so far"
    return [("writes", said)]


def _lines(
    engine: EngineStatus | EngineView, dashboard: Dashboard, terminal: Terminal
) -> list[str]:
    out = terminal.out
    if engine.pid is None:
        head = out.ink("no engine runs", Ink.DIM)
        pairs = [("at once", f"{engine.baseline} to {engine.max} when one does")]
    else:
        head = out.ink(f"engine {engine.pid}", Ink.STRONG)
        if engine.started_at is not None:
            up_s = (datetime.now(UTC) - engine.started_at).total_seconds()
            started = moment(engine.started_at, is_utc=terminal.is_utc)
            head += f" since {started} ({duration(up_s)})"
        how = f"auto, {engine.baseline} to {engine.max}" if engine.auto else "pinned"
        load = f"CPU {engine.cpu_percent:.0f} %, memory {engine.memory_percent:.0f} %"
        pairs = [
            ("at once", f"{engine.parallelism} ({how}): {one_line(engine.reason)}"),
            ("load", load),
        ]
        if engine.throttle > 0:
            pairs.append(("throttle", f"{engine.throttle:.2f}"))
        pairs += _troubles(engine)
    pairs.append(("work", f"{count(engine.running)} running, {count(engine.queued)} queued"))
    pairs += _writes(engine)
    if dashboard.link is not None:
        pairs.append(("dashboard", one_line(dashboard.link)))
    elif dashboard.problem is not None:
        pairs.append(("dashboard", f"none: {one_line(dashboard.problem)}"))
    pairs += [
        ("state", one_line(engine.state_dir)),
        ("wal", out.ink(_wal(engine), Ink.DIM)),
        ("version", f"aisquad {engine.version}, SQLite {engine.sqlite_version}"),
    ]
    return [head, *facts(pairs)]
