"""Completion of paths to convoy files, and of names out of a list."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SUFFIXES = (".toml", ".yaml", ".yml", ".json")
_MOST_ENTRIES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """How a text can go on."""

    text: str
    """As far as it is certain; never shorter than what was typed."""
    choices: tuple[str, ...] = ()
    """What it can become, the last part alone; folders end in `/`."""


def complete_path(typed: str, cwd: str) -> Completion:
    """Say how a path can go on: folders and convoy files (blocking).

    Args:
        typed: The beginning, relative to `cwd` or absolute; `~` is the home folder.
        cwd: Absolute folder.
    """
    folder, start = os.path.split(typed)
    if typed == "~":
        return Completion(text="~/")
    where = os.path.join(cwd, os.path.expanduser(folder))
    names = sorted(_names(where, start), key=lambda name: (name.endswith("/"), name))
    common = _common(names) if names else start
    return Completion(text=typed[: len(typed) - len(start)] + common, choices=tuple(names))


def complete_word(typed: str, options: Iterable[str]) -> Completion:
    """Say how a word can go on to be one of the options."""
    names = [option for option in options if option.startswith(typed)]
    return Completion(text=_common(names) if names else typed, choices=tuple(sorted(names)))


def short_path(path: str, cwd: str) -> str:
    """Return an absolute path as one would type it in a folder."""
    return path.removeprefix(f"{cwd.rstrip('/')}/")


def _names(where: str, start: str) -> list[str]:
    """Return what is in a folder and begins so; hidden names only if a dot was typed."""
    names: list[str] = []
    try:
        with os.scandir(where) as entries:
            for _, entry in zip(range(_MOST_ENTRIES), entries, strict=False):
                name = entry.name
                if not name.startswith(start) or (name.startswith(".") and not start):
                    continue
                if not name.isprintable():
                    continue
                if entry.is_dir():
                    names.append(f"{name}/")
                elif name.endswith(SUFFIXES):
                    names.append(name)
    except (OSError, ValueError):  # a folder that cannot be read completes nothing
        return []
    return names


def _common(names: Sequence[str]) -> str:
    """Return what all of these begin with; there is at least one."""
    least, most = min(names), max(names)
    same = 0
    while same < len(least) and least[same] == most[same]:
        same += 1
    return least[:same]
