"""Roles to looks, for each depth of colour, dark and light: the one place that names colours."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rich.style import Style
from textual.theme import BUILTIN_THEMES, Theme

from aisquad_tui.ink import Ground, Role
from aisquad_tui.surroundings import ColorDepth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aisquad_tui.surroundings import Terminal

_BOLD = frozenset({Role.STRONG, Role.KEY})
_PAINTED = (ColorDepth.TRUE, ColorDepth.INDEXED)
"""Depths whose colours, grounds too, are chosen here; below them the terminal's own are used."""

TEXTS: Mapping[tuple[ColorDepth, bool], Mapping[Role, str]] = {
    (ColorDepth.TRUE, True): {
        Role.TEXT: "#c0caf5",
        Role.STRONG: "#e0e6ff",
        Role.QUIET: "#727a9c",
        Role.ACCENT: "#7aa2f7",
        Role.GOOD: "#9ece6a",
        Role.WARN: "#e0af68",
        Role.BAD: "#f7768e",
        Role.KEY: "#7aa2f7",
        Role.MATCH: "#e0af68",
    },
    (ColorDepth.TRUE, False): {
        Role.TEXT: "#343b58",
        Role.STRONG: "#16192b",
        Role.QUIET: "#757a92",
        Role.ACCENT: "#2a58c4",
        Role.GOOD: "#356b1a",
        Role.WARN: "#835512",
        Role.BAD: "#b52a46",
        Role.KEY: "#2a58c4",
        Role.MATCH: "#835512",
    },
    (ColorDepth.INDEXED, True): {
        Role.TEXT: "#d7d7ff",
        Role.STRONG: "#ffffff",
        Role.QUIET: "#8787af",
        Role.ACCENT: "#87afff",
        Role.GOOD: "#afd75f",
        Role.WARN: "#d7af5f",
        Role.BAD: "#ff87af",
        Role.KEY: "#87afff",
        Role.MATCH: "#d7af5f",
    },
    (ColorDepth.INDEXED, False): {
        Role.TEXT: "#444444",
        Role.STRONG: "#000000",
        Role.QUIET: "#767676",
        Role.ACCENT: "#005faf",
        Role.GOOD: "#005f00",
        Role.WARN: "#5f5f00",
        Role.BAD: "#af0000",
        Role.KEY: "#005faf",
        Role.MATCH: "#5f5f00",
    },
    (ColorDepth.ANSI, True): {
        Role.TEXT: "default",
        Role.STRONG: "default",
        Role.QUIET: "bright_black",
        Role.ACCENT: "bright_blue",
        Role.GOOD: "green",
        Role.WARN: "yellow",
        Role.BAD: "bright_red",
        Role.KEY: "bright_blue",
        Role.MATCH: "yellow",
    },
    (ColorDepth.ANSI, False): {
        Role.TEXT: "default",
        Role.STRONG: "default",
        Role.QUIET: "bright_black",
        Role.ACCENT: "blue",
        Role.GOOD: "green",
        Role.WARN: "magenta",
        Role.BAD: "red",
        Role.KEY: "blue",
        Role.MATCH: "magenta",
    },
}
"""Colours by depth and darkness; those of 256 are exact, so that no terminal has to guess."""
GROUNDS: Mapping[tuple[ColorDepth, bool], Mapping[Ground, str]] = {
    (ColorDepth.TRUE, True): {
        Ground.PLAIN: "#13141f",
        Ground.CURSOR: "#2a2e45",
        Ground.REST: "#1c1f30",
    },
    (ColorDepth.TRUE, False): {
        Ground.PLAIN: "#f7f8fb",
        Ground.CURSOR: "#d9def2",
        Ground.REST: "#e9ebf4",
    },
    (ColorDepth.INDEXED, True): {
        Ground.PLAIN: "#1c1c1c",
        Ground.CURSOR: "#3a3a3a",
        Ground.REST: "#262626",
    },
    (ColorDepth.INDEXED, False): {
        Ground.PLAIN: "#ffffff",
        Ground.CURSOR: "#d7d7ff",
        Ground.REST: "#d7ffff",
    },
}


class Look:
    """How roles look on this terminal; one object that all widgets share.

    Args:
        terminal: Its depth of colour and whether it is dark.
    """

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.is_dark = terminal.is_dark
        self._styles: dict[tuple[Role, Ground], Style] = {}

    def switch(self) -> None:
        """Go from dark to light or back."""
        self.is_dark = not self.is_dark
        self._styles.clear()

    def style(self, role: Role, ground: Ground = Ground.PLAIN) -> Style:
        """Return the style of a role on a ground."""
        found = self._styles.get((role, ground))
        if found is None:
            found = self._styles[role, ground] = self._make(role, ground)
        return found

    def theme(self) -> Theme:
        """Return the same colours as Textual's theme, for dialogs and fields."""
        name = f"squad-{'dark' if self.is_dark else 'light'}"
        if self.terminal.depth not in _PAINTED:
            native = BUILTIN_THEMES["ansi-dark" if self.is_dark else "ansi-light"]
            return replace(native, name=name)
        key = self.terminal.depth, self.is_dark
        colors, grounds = TEXTS[key], GROUNDS[key]
        return Theme(
            name=name,
            dark=self.is_dark,
            primary=colors[Role.ACCENT],
            accent=colors[Role.ACCENT],
            success=colors[Role.GOOD],
            warning=colors[Role.WARN],
            error=colors[Role.BAD],
            foreground=colors[Role.TEXT],
            background=grounds[Ground.PLAIN],
            surface=grounds[Ground.PLAIN],
            panel=grounds[Ground.REST],
        )

    def _make(self, role: Role, ground: Ground) -> Style:
        depth = self.terminal.depth
        key = depth, self.is_dark
        is_marked = role is Role.MATCH
        if depth in _PAINTED:
            return Style(
                color=TEXTS[key][role],
                bgcolor=GROUNDS[key][ground],
                bold=role in _BOLD,
                reverse=is_marked,
            )
        is_cursor, is_rest = ground is Ground.CURSOR, ground is Ground.REST
        if depth is ColorDepth.ANSI:
            return Style(
                color="default" if is_cursor and not is_marked else TEXTS[key][role],
                bgcolor="default",
                bold=role in _BOLD,
                reverse=is_cursor or is_marked,
                underline=is_rest,
            )
        return Style(
            bold=role in _BOLD or role is Role.BAD,
            dim=role is Role.QUIET and not is_cursor,
            reverse=is_cursor is not is_marked,
            underline=is_rest,
        )
