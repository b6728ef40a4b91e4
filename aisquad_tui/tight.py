"""Sends a change of the screen in as few bytes as it takes.

Textual 8.2.8 sends a widget's row from its left edge up to the changed cells, and sets and resets
the style for every piece of text. Here only the changed cells go out, and a style is named when it
changes. It touches names that Textual keeps to itself; `test_tight` says when they change.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from rich.color import ColorSystem
from rich.control import Control
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.strip import Strip

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console
    from rich.style import Style

_RESET = "\x1b[0m"


class TightUpdate(ChopsUpdate):
    """Changed parts of the screen, without the cells to the left of them."""

    def pieces(self) -> Iterator[tuple[int, int, Strip]]:
        """Yield what is to be sent: column, row and strip."""
        for y, start, end in self.spans:
            chops = zip(self.chop_ends[y], self.chops[y].items(), strict=False)
            for chop_end, (x, strip) in chops:
                first, last = max(x, start), min(chop_end, end)
                if strip is not None and first < last:
                    yield first, y, strip.crop(first - x, last - x)

    def render_segments(self, console: Console) -> str:
        """Return what is to be written to the terminal."""
        return _written(self.pieces(), console)


class TightLayout(LayoutUpdate):
    """A region of the screen as a whole."""

    def pieces(self) -> Iterator[tuple[int, int, Strip]]:
        """Yield what is to be sent: column, row and strip."""
        for y, strips in enumerate(self.strips, self.region.y):
            x = self.region.x
            for strip in strips:
                yield x, y, strip
                x += strip.cell_length

    def render_segments(self, console: Console) -> str:
        """Return what is to be written to the terminal."""
        return _written(self.pieces(), console)


def tightened(update: CompositorUpdate) -> CompositorUpdate:
    """Return an update of the screen in its tight form; one that Textual has not got, as it is."""
    if type(update) is ChopsUpdate:
        return TightUpdate(update.chops, update.spans, update.chop_ends)
    if type(update) is LayoutUpdate:
        return TightLayout(update.strips, update.region)
    return update


class _Look(NamedTuple):
    """The numbers that make a style."""

    attributes: frozenset[str] = frozenset()
    """Bold, dim, underline, reverse and the like."""
    color: str = ""
    ground: str = ""


_NONE = _Look()


def _written(pieces: Iterable[tuple[int, int, Strip]], console: Console) -> str:
    """Return the pieces with the moves and the changes of style between them."""
    depth = console._color_system or ColorSystem.TRUECOLOR
    written: list[str] = []
    now, at = _NONE, (-1, -1)
    for x, y, strip in pieces:
        if at != (x, y):
            written.append(Control.move_to(x, y).segment.text)
        for text, style, _ in strip:
            wanted = _look(style, depth) if style is not None else _NONE
            if wanted.color and not wanted.attributes and text.isspace():
                wanted = wanted._replace(color=now.color)  # nobody sees the colour of a space
            if wanted != now:
                written.append(_change(now, wanted))
                now = wanted
            written.append(_linked(text, style))
        at = (x + strip.cell_length, y)
    if now != _NONE:
        written.append(_RESET)
    return "".join(written)


def _change(now: _Look, wanted: _Look) -> str:
    """Return what turns one style into another: only what differs, where that can be said."""
    is_less = now.attributes - wanted.attributes
    if is_less or (now.color and not wanted.color) or (now.ground and not wanted.ground):
        numbers, now = ["0"], _NONE
    else:
        numbers = []
    numbers += sorted(wanted.attributes - now.attributes)
    numbers += [wanted.color] if wanted.color != now.color else []
    numbers += [wanted.ground] if wanted.ground != now.ground else []
    return f"\x1b[{';'.join(numbers)}m"


@lru_cache(maxsize=1024)
def _look(style: Style, depth: ColorSystem) -> _Look:
    attributes = Strip.render_ansi(style.without_color, depth)
    color, ground = style.color, style.bgcolor
    return _Look(
        frozenset(attributes.split(";")) if attributes else frozenset(),
        ";".join(color.downgrade(depth).get_ansi_codes()) if color else "",
        ";".join(ground.downgrade(depth).get_ansi_codes(foreground=False)) if ground else "",
    )


def _linked(text: str, style: Style | None) -> str:
    if style is None or style.link is None:
        return text
    return f"\x1b]8;id={style.link_id};{style.link}\x1b\\{text}\x1b]8;;\x1b\\"
