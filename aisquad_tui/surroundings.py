"""What the screen is told when it starts: the engine, the clock, the terminal, where it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aisquad_core.api import EngineAPI
    from aisquad_core.clock import Clock
    from aisquad_core.spec import ConvoySource


class ColorDepth(IntEnum):
    """How many colours a terminal shows."""

    NONE = 0
    ANSI = 16
    INDEXED = 256
    TRUE = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """What is known of the terminal from its environment."""

    depth: ColorDepth = ColorDepth.TRUE
    is_dark: bool = True
    is_ascii: bool = False
    """Draw with ASCII signs only."""
    has_mouse: bool = True
    is_remote: bool = False
    """Reached over SSH."""
    multiplexer: str | None = None
    """`tmux`, `screen`, or None."""
    has_bell: bool = True
    """Ring, and notify the desktop if the terminal can, when a convoy ends or first fails."""
    shows_cursor: bool = False
    """Keep the real cursor visible, on the selected row, for braille displays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where the screen runs and what it drives."""

    engine: EngineAPI
    clock: Clock
    cwd: str
    """Absolute folder where convoys are launched and relative paths begin."""
    env: Mapping[str, str] = field(repr=False)
    """The operator's environment, for the operations that are launched here."""
    place: str
    """The project's folder for people: `~/src/shop`."""
    host: str
    terminal: Terminal = field(default_factory=Terminal)
    is_embedded: bool = True
    """Whether the engine lives in this process, so that leaving concerns the work."""
    is_demo: bool = False
    state_dir: str = ""
    """Absolute state folder; recent convoy files are remembered in it."""
    agents: Sequence[str] = ()
    """Names of the agents that can be chosen."""
    first: Sequence[ConvoySource] = ()
    """What to launch at once."""
