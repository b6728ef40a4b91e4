"""What the dashboard shows before there is a convoy: the way on."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aisquad_core.sanitise import one_line
from aisquad_tui.formatting import cut_words
from aisquad_tui.ink import Role, line
from aisquad_tui.views.layout import fitted
from aisquad_tui.views.meters import gibibytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line
    from aisquad_tui.store import Picture

_KEYS = (
    ("n", "new convoy: a command over many inputs, or a file"),
    ("?", "every key"),
    ("q", "leave"),
)
_OFFERS = (
    "aisquad demo   a lively convoy of harmless commands",
    "aisquad init   a first convoy file, to begin with",
)
_LABEL_CELLS = 15
_FIRM = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFound:
    """An agent's command-line program, looked for on the PATH."""

    name: str
    path: str | None
    """Absolute path; None: it is not there."""
    version: str | None = None
    """As it says itself; None: not asked yet, or it did not answer in time."""


def empty(
    picture: Picture,
    agents: Sequence[AgentFound],
    cells: int,
    rows: int,
    glyphs: Glyphs,
    *,
    is_demo: bool = False,
) -> list[Line]:
    """Return how to go on: keys, the demo, agents found, what this machine can bear.

    Args:
        picture: What is known of the engine.
        agents: Programs that were looked for; empty: not yet.
        cells: How many each line takes.
        rows: Most lines; empty ones are left out first.
        glyphs: The signs of the terminal.
        is_demo: Whether this is the demo, which then is not offered.
    """
    blank: Line = ()
    shown: list[Line] = [blank, line(("No convoys yet.", Role.STRONG)), blank]
    shown += [
        line((key.ljust(4), Role.KEY), cut_words(text, cells - 7, glyphs.ellipsis))
        for key, text in _KEYS
    ]
    facts: list[Line] = []
    if not is_demo:
        facts += _fact("In a shell", _OFFERS[0], cells) + _fact("", _OFFERS[1], cells)
    facts += _agents(agents, cells)
    machine = _machine(picture, glyphs)
    if machine:
        facts += _fact("This machine", machine, cells)
    shown += [blank, *facts] if facts else []
    if len(shown) > rows:
        shown = [each for each in shown if each]
    return [fitted((("  ", Role.TEXT), *each), cells, glyphs) for each in shown[:rows]]


def _agents(agents: Sequence[AgentFound], cells: int) -> list[Line]:
    found = [agent for agent in agents if agent.path is not None]
    missing = [agent.name for agent in agents if agent.path is None]
    facts: list[Line] = []
    if found:
        named = ", ".join(" ".join(filter(None, (each.name, each.version))) for each in found)
        facts += _fact("Agents found", one_line(named), cells)
    if missing:
        named = ", ".join(missing)
        facts += _fact("Not found", named if found else f"{named}; any command runs", cells)
    return facts


def _machine(picture: Picture, glyphs: Glyphs) -> str:
    """Say how much may run now and why; empty before the first sample."""
    engine = picture.engine
    if engine is None or not picture.history:
        return ""
    load, parts = picture.history[-1], []
    if load.cpu_count:
        parts.append(f"{load.cpu_count:g} core{'' if load.cpu_count == 1 else 's'}")
    if load.memory_bytes:
        free = load.memory_bytes * (100 - load.memory_percent) / 100
        parts.append(f"{gibibytes(free)} GiB free")
    said = f"{', '.join(parts)} {glyphs.arrow} " if parts else ""
    said += f"up to {engine.parallelism} at once"
    said += f" (CPU {load.cpu_percent:.0f} %, memory {load.memory_percent:.0f} %)"
    return f"{said}, starting with {engine.baseline}" if engine.auto else f"{said}, pinned by hand"


def _bound(text: str) -> str:
    """Return the text with what must not be torn apart by a line's end bound together."""
    return text.replace(" %", f"{_FIRM}%").replace("   ", _FIRM * 3)


def _fact(label: str, text: str, cells: int) -> list[Line]:
    """Return a labelled text, wrapped between words under its beginning."""
    room = max(12, cells - 3 - _LABEL_CELLS)
    pieces = textwrap.wrap(_bound(text), room)
    heads = [label, *[""] * (len(pieces) - 1)]
    return [
        line((head.ljust(_LABEL_CELLS), Role.QUIET), piece.replace(_FIRM, " "))
        for head, piece in zip(heads, pieces, strict=True)
    ]
