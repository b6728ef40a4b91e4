"""The convoy files that were launched lately, remembered in the state folder."""

from __future__ import annotations

import json
import os

_MOST = 20
_MOST_BYTES = 200_000
_NAME = "recent.json"


class Desk:
    """Reads and writes the list; all of it blocks.

    What is remembered is a convenience: a list that cannot be read counts as empty, and one that
    cannot be written is not kept.

    Args:
        folder: The state folder; empty: nothing is remembered.
    """

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, _NAME) if folder else ""

    def recent(self) -> tuple[str, ...]:
        """Return absolute paths, the newest first, of files that are still there."""
        return tuple(path for path in self._read() if os.path.isfile(path))

    def remember(self, path: str) -> None:
        """Put a file first."""
        if not self._path:
            return
        path = os.path.abspath(path)
        kept = [path, *(each for each in self._read() if each != path)][:_MOST]
        try:
            self._write(json.dumps(kept))
        except OSError:
            return

    def _read(self) -> list[str]:
        if not self._path:
            return []
        try:
            with open(self._path, "rb") as file:
                found = json.loads(file.read(_MOST_BYTES + 1))
        except (OSError, ValueError, RecursionError):
            return []
        if not isinstance(found, list):
            return []
        paths = [path for path in found if isinstance(path, str) and os.path.isabs(path)]
        return [path for path in paths if "\0" not in path][:_MOST]

    def _write(self, text: str) -> None:
        """Replace the list as a whole, readable by its owner alone."""
        import tempfile  # noqa: PLC0415  # start sooner

        descriptor, draft = tempfile.mkstemp(dir=os.path.dirname(self._path), prefix=f".{_NAME}.")
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(draft, self._path)
        except BaseException:
            os.unlink(draft)
            raise
