"""`aisquad launch`: a convoy for the engine that runs, without waiting for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aisquad_core.sanitise import one_line
from aisquad_tui.cli import options, session
from aisquad_tui.cli.boundary import Status, conclude
from aisquad_tui.cli.dry_run import show_plan
from aisquad_tui.cli.launching import hand_over
from aisquad_tui.cli.request import AdHoc, Request
from aisquad_tui.cli.shapes import convoy_shapes, document
from aisquad_tui.cli.terminal import ColorChoice, open_terminal

if TYPE_CHECKING:
    from collections.abc import Coroutine


def launch(
    targets: options.Targets = None,
    *,
    each: options.Each = None,
    is_nul: options.IsNul = False,
    name: options.Name = None,
    agent: options.Agent = None,
    retries: options.Retries = None,
    timeout: options.Timeout = None,
    is_first_failure_last: options.IsFirstFailureLast = False,
    format: options.Format = None,
    is_patient: Annotated[
        bool,
        typer.Option(
            "--wait-for-room",
            help="While too many writes wait for the disk, wait instead of failing.",
        ),
    ] = False,
    is_dry: options.IsDry = False,
    as_json: options.AsJson = False,
    state: options.State = None,
    color: options.Color = ColorChoice.AUTO,
) -> None:
    """Give a convoy to the running engine; print its id.

    The convoy is durable once its id is printed, and goes on without this terminal.
    """
    terminal = open_terminal(color=color)
    request = Request(
        targets=tuple(targets or ()),
        is_dry=is_dry,
        can_resume=False,
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
        settings = session.load_settings(state, needs_trust=True)
        source = request.source()
        if is_dry:
            return show_plan(source, settings, terminal, parallelism=None, is_json=as_json)
        session.check(source, settings, str(Path.cwd()))

        async def launch_convoy() -> int:
            async with session.open_client(settings) as engine:
                id = await hand_over(engine.api, source, terminal, is_patient=is_patient)
                convoys = (await engine.api.snapshot()).convoys if as_json else ()
            if as_json:
                [shape] = convoy_shapes(each for each in convoys if each.id == id) or [{"id": id}]
                terminal.out.line(document(shape))
            else:
                terminal.out.line(one_line(id))
            return Status.OK

        return launch_convoy()

    conclude(prepare)
