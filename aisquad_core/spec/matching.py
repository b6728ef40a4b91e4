"""Finds the files that a `for_each` pattern means, as a shell would with `**`.

`*` and `?` match no dot at the beginning of a name, `**` matches any number of folders and follows
no link to one, so that a loop of links ends. A pattern that ends in `/` means folders, any other
means files. The order is that of the names.
"""

from __future__ import annotations

import fnmatch
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC = re.compile(r"[*?\[]")


class TooManyMatchesError(ValueError):
    """The pattern matches more than the limit."""


def match_files(pattern: str, base_dir: str, limit: int) -> tuple[str, ...]:
    """Return the paths that match, sorted, relative to `base_dir` unless the pattern is absolute.

    Args:
        pattern: With `/` between its parts.
        base_dir: Absolute folder where a relative pattern begins.
        limit: Most matches.

    Raises:
        TooManyMatchesError: There are more.
        OSError: A folder cannot be read.
    """
    parts = [part for part in pattern.split("/") if part not in {"", "."}]
    compact = [part for i, part in enumerate(parts) if part != "**" or parts[i - 1 : i] != ["**"]]
    walk = _Walk(base_dir, compact, want_folders=pattern.endswith("/"))
    matches: set[str] = set()
    for path in walk.matches("/" if pattern.startswith("/") else "", 0):
        matches.add(path)
        if len(matches) > limit:
            raise TooManyMatchesError
    return tuple(sorted(matches))


class _Walk:
    def __init__(self, base_dir: str, parts: list[str], *, want_folders: bool) -> None:
        self._base_dir = base_dir
        self._parts = parts
        self._matchers = [re.compile(fnmatch.translate(part)).match for part in parts]
        self._want_folders = want_folders
        self._seen: set[tuple[str, int]] = set()

    def matches(self, folder: str, index: int) -> Iterator[str]:
        """Yield what the parts from `index` on match below `folder` (which ends in / or is "")."""
        waiting = [(folder, index)]
        while waiting:
            place = waiting.pop()
            if place in self._seen:
                continue
            self._seen.add(place)
            folder, index = place
            part = self._parts[index] if index < len(self._parts) else ""
            is_last = index == len(self._parts) - 1
            if not part:
                continue
            if part == "**":
                yield from self._everywhere(folder, index, is_last, waiting)
            elif not _MAGIC.search(part):
                path = os.path.join(self._base_dir, folder + part)
                if not is_last:
                    waiting.append((f"{folder}{part}/", index + 1))
                elif os.path.isdir(path) if self._want_folders else os.path.isfile(path):
                    yield folder + part
            else:
                yield from self._here(folder, index, is_last, waiting)

    def _everywhere(
        self, folder: str, index: int, is_last: bool, waiting: list[tuple[str, int]]
    ) -> Iterator[str]:
        if not is_last:
            waiting.append((folder, index + 1))
        for entry in self._entries(folder):
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append((f"{folder}{entry.name}/", index))
            if is_last and self._is_wanted(entry):
                yield folder + entry.name

    def _here(
        self, folder: str, index: int, is_last: bool, waiting: list[tuple[str, int]]
    ) -> Iterator[str]:
        part = self._parts[index]
        is_match = self._matchers[index]
        for entry in self._entries(folder):
            if entry.name.startswith(".") and not part.startswith("."):
                continue
            if not is_match(entry.name):
                continue
            if is_last:
                if self._is_wanted(entry):
                    yield folder + entry.name
            elif entry.is_dir():
                waiting.append((f"{folder}{entry.name}/", index + 1))

    def _is_wanted(self, entry: os.DirEntry[str]) -> bool:
        return entry.is_dir() if self._want_folders else entry.is_file()

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(os.path.join(self._base_dir, folder)) as entries:
                yield from entries
        except (FileNotFoundError, NotADirectoryError):
            return  # the pattern names a folder that is not there: it matches nothing
