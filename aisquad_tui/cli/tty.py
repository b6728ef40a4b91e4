"""What the environment tells of the terminal, and what Textual must be told before it is imported.

Imports nothing of Textual: its constants are read from the environment at import.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from aisquad_core.errors import SettingsError
from aisquad_tui.surroundings import ColorDepth, Terminal

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

_TRUE_TERMS = re.compile(r"-direct|kitty|alacritty|ghostty|wezterm|^foot|^contour|^rio")
_PLAIN_TERMS = re.compile(r"^(vt\d|ansi-m|.*-(m|mono)$)")
_WORDS = {"1": True, "true": True, "yes": True, "on": True}
_WORDS |= {"0": False, "false": False, "no": False, "off": False}
_LIGHT_GROUNDS = {7, *range(9, 16)}
"""Background colours in COLORFGBG that are bright; 8 is a dark grey."""
_SOURCE = "environment"
_ESCAPE_MS = 100
_REMOTE_ESCAPE_MS = 150
"""A sequence that a slow link tears apart is put together within this time."""


def refusal(environ: Mapping[str, str], *, is_terminal: bool) -> str | None:
    """Say why no screen can be shown; None: one can.

    Args:
        environ: Its variables.
        is_terminal: Whether standard input and output are terminals.
    """
    term = environ.get("TERM", "")
    if not is_terminal:
        return "the screen needs a terminal on standard input and output"
    if term in {"", "dumb", "unknown"}:
        why = f"TERM={term}" if term else "TERM is not set"
        return f"the screen cannot be drawn on this terminal ({why})"
    return None


def look_at(environ: Mapping[str, str], *, encoding: str) -> Terminal:
    """Return what the environment tells of the terminal.

    Args:
        environ: Its variables.
        encoding: The one of standard output.

    Raises:
        SettingsError: A variable of aisquad's own has a value that is not allowed.
    """
    theme = _choice(environ, "AI_SQUAD_THEME", ("dark", "light"))
    is_utf8 = encoding.lower().replace("-", "").replace("_", "") == "utf8"
    is_ascii = _flag(environ, "AI_SQUAD_ASCII")
    return Terminal(
        depth=_depth(environ),
        is_dark=_is_dark(environ) if theme is None else theme == "dark",
        is_ascii=not is_utf8 if is_ascii is None else is_ascii,
        has_mouse=_flag(environ, "AI_SQUAD_MOUSE") is not False,
        is_remote=any(environ.get(name) for name in ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY")),
        multiplexer=_multiplexer(environ),
        has_bell=_flag(environ, "AI_SQUAD_BELL") is not False,
        shows_cursor=_flag(environ, "AI_SQUAD_CURSOR") is True,
    )


def without_color(terminal: Terminal) -> Terminal:
    """Return the same terminal, drawn on without colours."""
    return replace(terminal, depth=ColorDepth.NONE)


def prepare(environ: MutableMapping[str, str], terminal: Terminal) -> None:
    """Tell Textual about the terminal; only of use before it is imported.

    Args:
        environ: The process's own variables, which are changed.
        terminal: What is known of it.
    """
    for name in ("COLUMNS", "LINES", "NO_COLOR", "TEXTUAL_DRIVER", "TEXTUAL_DEBUG", "TEXTUAL"):
        environ.pop(name, None)
    environ["TEXTUAL_FPS"] = "250"
    environ["TEXTUAL_ANIMATIONS"] = "none"
    environ["TEXTUAL_COLOR_SYSTEM"] = {
        ColorDepth.TRUE: "truecolor",
        ColorDepth.INDEXED: "256",
    }.get(terminal.depth, "standard")
    if terminal.depth is ColorDepth.NONE:
        environ["NO_COLOR"] = "1"
    if terminal.multiplexer is not None:
        environ["TEXTUAL_DISABLE_KITTY_KEY"] = "1"
    environ["ESCDELAY"] = str(_escape_ms(environ, terminal))


def _depth(environ: Mapping[str, str]) -> ColorDepth:
    term = environ.get("TERM", "")
    if environ.get("NO_COLOR") or _PLAIN_TERMS.search(term):
        return ColorDepth.NONE
    if environ.get("COLORTERM", "").lower() in {"truecolor", "24bit"} or _TRUE_TERMS.search(term):
        return ColorDepth.TRUE
    return ColorDepth.INDEXED if "256" in term else ColorDepth.ANSI


def _is_dark(environ: Mapping[str, str]) -> bool:
    """Tell by COLORFGBG, such as `15;0`; dark where it says nothing."""
    ground = environ.get("COLORFGBG", "").rpartition(";")[2]
    return not (ground.isdecimal() and int(ground) in _LIGHT_GROUNDS)


def _multiplexer(environ: Mapping[str, str]) -> str | None:
    if environ.get("TMUX"):
        return "tmux"
    return "screen" if environ.get("STY") else None


def _escape_ms(environ: Mapping[str, str], terminal: Terminal) -> int:
    least = _REMOTE_ESCAPE_MS if terminal.is_remote else _ESCAPE_MS
    given = environ.get("ESCDELAY", "")
    return max(least, min(int(given), 1_000)) if re.fullmatch("[0-9]{1,9}", given) else least


def _flag(environ: Mapping[str, str], name: str) -> bool | None:
    word = _choice(environ, name, tuple(_WORDS))
    return None if word is None else _WORDS[word]


def _choice(environ: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str | None:
    """Return a variable's value; None: it is not set, or empty."""
    value = environ.get(name, "").strip().lower()
    if value and value not in allowed:
        raise SettingsError(name, environ[name], f"one of {', '.join(allowed)}", source=_SOURCE)
    return value or None
