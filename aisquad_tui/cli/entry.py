"""Where the command begins: the screen at once, the verbs by way of Typer, which takes longer."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence

DEMO = "demo"
_FILE_ENDINGS = (".toml", ".yaml", ".yml", ".json")
_STATE = "--state"
_EMBEDDED = "--embedded"
_COMPLETION = "_AISQUAD_COMPLETE"
"""Set by a shell that asks what could be typed next."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Those after the program's name; None: the process's own.

    Returns:
        The exit status.
    """
    if not sys.platform.startswith("linux"):
        print("error: aisquad runs on Linux only.", file=sys.stderr)
        return 2
    for stream in (sys.stdout, sys.stderr):
        _let_everything_through(stream)
    given = sys.argv[1:] if arguments is None else list(arguments)
    split = None if _COMPLETION in os.environ else _split(given)
    if split is not None:
        from aisquad_tui.cli.screen import open_screen  # noqa: PLC0415  # each path has its own

        state, target, is_embedded = split
        return open_screen(
            target if target != DEMO else None,
            state=state,
            is_demo=target == DEMO,
            is_embedded=is_embedded,
        )
    from aisquad_tui.cli.app import run_verbs  # noqa: PLC0415  # imports

    return run_verbs(given)


def is_convoy_file(word: str) -> bool:
    """Tell whether a word in a verb's place means a convoy file."""
    is_flag = word.startswith("-")
    return not is_flag and (os.sep in word or word.lower().endswith(_FILE_ENDINGS))


def _split(given: Sequence[str]) -> tuple[Path | None, str | None, bool] | None:
    """Return state folder and target of a call that opens the screen, and whether it is embedded.

    Returns:
        None: Leave it to Typer.
    """
    state, targets, is_embedded, rest = None, [], False, list(given)
    while rest:
        word = rest.pop(0)
        if word == _STATE and rest:
            state = rest.pop(0)
        elif word.startswith(f"{_STATE}="):
            state = word.partition("=")[2]
        elif word == _EMBEDDED:
            is_embedded = True
        elif word == DEMO or is_convoy_file(word):
            targets.append(word)
        else:
            return None
    if len(targets) > 1 or state == "":
        return None
    return None if state is None else Path(state), targets[0] if targets else None, is_embedded


def _let_everything_through(stream: TextIO) -> None:
    """Show what the locale cannot as escapes instead of failing on it."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
