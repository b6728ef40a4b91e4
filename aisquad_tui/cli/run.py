"""`aisquad run`: a convoy in the foreground, from a file or ad hoc, or resumed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aisquad_tui.cli import options, session
from aisquad_tui.cli.attend import attend
from aisquad_tui.cli.boundary import conclude
from aisquad_tui.cli.completion import complete_convoys
from aisquad_tui.cli.dry_run import show_plan
from aisquad_tui.cli.launching import hand_over
from aisquad_tui.cli.request import AdHoc, Request
from aisquad_tui.cli.terminal import ColorChoice, open_terminal

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from aisquad_core.api import EngineAPI
    from aisquad_core.settings import Settings
    from aisquad_core.spec import ConvoySource
    from aisquad_tui.cli.attend import Begin
    from aisquad_tui.cli.terminal import Terminal


def run(
    targets: options.Targets = None,
    *,
    each: options.Each = None,
    is_nul: options.IsNul = False,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="CONVOY",
            help="Go on with a convoy that was interrupted; what completed is not repeated.",
            autocompletion=complete_convoys,
        ),
    ] = None,
    name: options.Name = None,
    agent: options.Agent = None,
    retries: options.Retries = None,
    timeout: options.Timeout = None,
    is_first_failure_last: options.IsFirstFailureLast = False,
    parallelism: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Run N at once, whatever the machine's load."),
    ] = None,
    maximum: Annotated[
        int | None,
        typer.Option("--max", "--max-parallelism", metavar="N", help="Most at once."),
    ] = None,
    baseline: Annotated[
        int | None,
        typer.Option(
            "--baseline", "--baseline-parallelism", metavar="N", help="At once under load."
        ),
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option(
            "--grace",
            "--grace-seconds",
            metavar="TIME",
            help="Time to end after Ctrl-C. [default: 10s]",
        ),
    ] = None,
    format: options.Format = None,
    is_dry: options.IsDry = False,
    is_quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: options.AsJson = False,
    state: options.State = None,
    color: options.Color = ColorChoice.AUTO,
) -> None:
    """Run a convoy to its end and show its progress.

    Ctrl-C ends what runs and keeps the rest for --resume; once more kills. When the terminal goes
    away, what runs goes on, and the next engine takes it over. Beside an engine that runs (`aisquad
    up`) the convoy is the engine's, and Ctrl-C ends the watching alone. While too many writes wait
    for the disk, it waits for room and says so.
    """
    terminal = open_terminal(color=color)
    request = Request(
        targets=tuple(targets or ()),
        resume=resume,
        is_dry=is_dry,
        format=format,
        ad_hoc=AdHoc(
            command=each,
            is_nul=is_nul,
            name=name,
            agent=agent,
            retries=retries,
            timeout=timeout,
            is_first_failure_last=is_first_failure_last,
        ),
    )
    request.check()

    def prepare() -> Coroutine[object, object, int]:
        flags = {
            "max_parallelism": maximum,
            "baseline_parallelism": baseline,
            "grace_seconds": grace,
        }
        settings = session.load_settings(state, flags, needs_trust=True)
        source = None if resume is not None else request.source()
        if source is not None and is_dry:
            return show_plan(source, settings, terminal, parallelism=parallelism, is_json=as_json)

        if source is not None:
            session.check(source, settings, str(Path.cwd()))

        async def run_convoy() -> int:
            return await attend(
                settings,
                await _resume(settings, resume or "")
                if source is None
                else _launch(source, terminal),
                terminal=terminal,
                parallelism=parallelism,
                own_flags=[
                    f"--{flag.partition('_')[0]}"
                    for flag, value in flags.items()
                    if value is not None
                ],
                is_quiet=is_quiet,
                is_json=as_json,
            )

        return run_convoy()

    conclude(prepare)


def _launch(source: ConvoySource, terminal: Terminal) -> Begin:
    async def begin(api: EngineAPI) -> Sequence[str]:
        return [await hand_over(api, source, terminal, is_patient=True)]

    return begin


async def _resume(settings: Settings, prefix: str) -> Begin:
    """Find the convoy before an engine is opened for it."""
    async with session.open_reader(settings) as reader:
        convoy_id = await reader.resolve_convoy(prefix)

    async def begin(api: EngineAPI) -> Sequence[str]:
        await api.resume(convoy_id)
        return [convoy_id]

    return begin
