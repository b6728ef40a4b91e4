"""The command's way to the core: its settings, sources of convoys, the reader, the engine.

These modules are imported when a command needs them, so that `--help` and completion answer at
once; everything else of the command imports at its top.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from aisquad_core.api import EngineAPI, Preview
    from aisquad_core.connect import WorkReader
    from aisquad_core.embedded import EmbeddedEngine
    from aisquad_core.settings import SettingRow, Settings
    from aisquad_core.spec import ConvoySource


def load_settings(state: Path | None, flags: Mapping[str, object] | None = None) -> Settings:
    """Gather the settings that hold here.

    Args:
        state: The folder that `--state` names.
        flags: Settings by name that the command line sets; None: it does not.
    """
    from aisquad_core import settings

    return settings.load_settings(
        cwd=Path.cwd(), environ=os.environ, flags=flags or {}, state_dir=state
    )


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


def open_engine(settings: Settings) -> AbstractAsyncContextManager[EngineAPI]:
    """Open the engine on this loop; convoys interrupted earlier stay as they are."""
    from aisquad_core import connect

    return connect.open_engine(settings)


def embed_engine(settings: Settings) -> EmbeddedEngine:
    """Return an engine on a thread and loop of its own, to be entered."""
    from aisquad_core import embedded

    return embedded.EmbeddedEngine(lambda: open_engine(settings))
