"""Measuring and removing a folder of runs in slices, as if an enemy had filled it.

Blocking, for threads. Nothing here follows a link or leaves the file system on which it began, and
neither needs more than a few descriptors or any recursion, however deep the folders lie.
"""

from __future__ import annotations

import errno
import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEPTH = 4
"""Folders below a convoy's that are measured: item, start, and what an operation may have made."""


class Sizing:
    """Adds up what a folder takes on the disk, without what lies deeper than anything of ours.

    Args:
        path: The folder.
    """

    def __init__(self, path: str) -> None:
        self.size_bytes = 0
        """So far; what cannot be read does not count."""
        self._steps = self._measure([(path, 0)])

    def advance(self, entries: int) -> bool:
        """Look at that many entries; return whether that was the last."""
        return _advance(self._steps, entries)

    def _measure(self, folders: list[tuple[str, int]]) -> Iterator[None]:
        while folders:
            path, depth = folders.pop()
            for name, is_folder in _list(path):
                try:
                    self.size_bytes += os.lstat(f"{path}/{name}").st_blocks * 512
                except FileNotFoundError:
                    continue
                if is_folder and depth < _DEPTH:
                    folders.append((f"{path}/{name}", depth + 1))
                yield


def _list(path: str) -> list[tuple[str, bool]]:
    try:
        descriptor = os.open(path, _FOLDER)
    except OSError:  # gone, or not ours to read: not counted
        return []
    try:
        with os.scandir(descriptor) as entries:
            return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    finally:
        os.close(descriptor)


class Removal:
    """Removes a folder with everything in it.

    Folders within are moved up into it before they are emptied, so that none is ever deeper than
    one below it. Nothing stays open between two slices: they may end with the last one.

    Args:
        parent: The folder that holds it.
        name: Its name there.
    """

    def __init__(self, parent: str, name: str) -> None:
        self.problems: list[str] = []
        """In words, what could not be removed."""
        self._parent = parent
        self._name = name
        self._stuck: set[str] = set()

    def advance(self, entries: int) -> bool:
        """Remove about that many entries; return whether there is nothing left to do.

        Raises:
            OSError: One of the two is no real folder, or cannot be opened.
        """
        parent = os.open(self._parent, _FOLDER)
        try:
            root = os.open(self._name, _FOLDER, dir_fd=parent)
            try:
                steps = self._empty(root)
                try:
                    is_done = _advance(steps, entries)
                finally:
                    steps.close()
            finally:
                os.close(root)
            if is_done and not self._stuck:
                os.rmdir(self._name, dir_fd=parent)
            return is_done
        finally:
            os.close(parent)

    def _empty(self, root: int) -> Generator[None]:
        while names := [name for name in os.listdir(root) if name not in self._stuck]:
            for name in names:
                try:
                    yield from self._remove_entry(name, root)
                except OSError as error:
                    self._stuck.add(name)
                    self.problems.append(f"{self._name}/{name}: {error.strerror}")
                yield

    def _remove_entry(self, name: str, root: int) -> Generator[None]:
        """Remove an entry; of a folder its files, while its own folders are moved up."""
        try:
            folder = os.open(name, _FOLDER, dir_fd=root)
        except OSError:  # a file, a link, a pipe; or a folder that cannot be read
            _unlink(name, root)
            return
        try:
            if os.fstat(folder).st_dev != os.fstat(root).st_dev:
                raise OSError(errno.EXDEV, "another file system is mounted there")
            for inner in os.listdir(folder):
                try:
                    _unlink(inner, folder)
                except OSError as error:
                    if error.errno != errno.ENOTEMPTY:
                        raise
                    fresh = f"~{secrets.token_hex(8)}"
                    os.rename(inner, fresh, src_dir_fd=folder, dst_dir_fd=root)
                yield
        finally:
            os.close(folder)
        os.rmdir(name, dir_fd=root)


def _unlink(name: str, folder: int) -> None:
    """Remove a file, or a folder that is empty."""
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        os.rmdir(name, dir_fd=folder)


def _advance(steps: Iterator[None], entries: int) -> bool:
    for _ in range(entries):
        try:
            next(steps)
        except StopIteration:
            return True
    return False
