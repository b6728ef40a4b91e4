"""Which convoys wait for the operator's yes: those of a work state that is not to be believed.

Who began it is asked first: this user on this machine, or somebody whose repository was cloned.

A work state says what to run, so one that came from elsewhere starts nothing by itself: the
convoys that were unfinished in it wait until the operator lets each go on. What is launched here
afterwards does not wait. So it is with what is unfinished in a work state that went back in time,
since it may have run already. The file beside the database says no more than it must; one that is
missing, forged or rubbish means elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_MACHINE_IDS: Final = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_LARGEST_BYTES: Final = 10_000_000

logger = logging.getLogger(__name__)


class Origin:
    """The origin of a work state whose folder this process holds.

    All calls but `waits` and `is_doubted` block.

    Args:
        database: The work state; the file stands beside it.
        machine: This machine's id; None: as the system has it.
    """

    def __init__(self, database: Path, *, machine: str | None = None) -> None:
        self._database = database
        self._file = database.with_name(f"{database.name}-origin")
        self._machine = machine
        self._waiting: set[str] | None = None
        self._doubted: set[str] = set()
        """Those of them that may have run already, in a time that the work state forgot."""
        self._releasing = threading.Lock()

    def began_elsewhere(self) -> bool:
        """Tell whether there is a work state, and it did not begin here; changes nothing."""
        return os.path.lexists(self._database) and self._read() is None

    def look(self) -> None:
        """See who began the work state; to be called before the database is made."""
        is_new = not os.path.lexists(self._database)
        self._waiting = set() if is_new else self._read()
        if is_new:
            self._write()

    @property
    def is_foreign(self) -> bool:
        """Whether the work state came from elsewhere, until `hold` has noted what waits."""
        return self._waiting is None

    def hold(self, unfinished: Iterable[str]) -> None:
        """Let what is unfinished in a work state from elsewhere wait for a yes."""
        if self.is_foreign:
            self._waiting = set(unfinished)
            self._write()

    def doubt(self, unfinished: Iterable[str]) -> None:
        """Let what is unfinished in a work state that went back wait for a yes; after `hold`."""
        self._doubted |= set(unfinished)
        self._waiting = (self._waiting or set()) | self._doubted
        self._write()

    def is_doubted(self, convoy_id: str) -> bool:
        """Tell whether a convoy waits because the work state went back."""
        return convoy_id in self._doubted

    def waits(self, convoy_id: str) -> bool:
        """Tell whether a convoy came from elsewhere and nobody has let it go on."""
        return self._waiting is None or convoy_id in self._waiting

    def release(self, convoy_ids: Iterable[str]) -> None:
        """Remember that the operator let convoys go on."""
        with self._releasing:
            waiting = self._waiting or set()
            if released := waiting & set(convoy_ids):
                waiting -= released
                self._doubted -= released
                self._write()

    def _read(self) -> set[str] | None:
        """Return the convoys that wait; None: the work state is from elsewhere."""
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(self._file, flags), "rb") as file:
                said = json.loads(file.read(_LARGEST_BYTES))
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(said, dict) or said.get("origin") != self._here():
            return None
        waiting, doubted = said.get("waiting"), said.get("doubted", [])
        if not isinstance(waiting, list) or not isinstance(doubted, list):
            return None
        self._doubted = set(map(str, doubted))
        return set(map(str, waiting))

    def _write(self) -> None:
        """Put the file in place as a whole; without it everything waits once more."""
        said = {
            "origin": self._here(),
            "waiting": sorted(self._waiting or ()),
            "doubted": sorted(self._doubted),
        }
        try:
            descriptor, name = tempfile.mkstemp(prefix=".origin-", dir=self._file.parent)
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(json.dumps(said) + "\n")
                    file.flush()
                    os.fsync(descriptor)
                os.replace(name, self._file)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(name)
                raise
        except OSError as error:
            logger.warning("%s cannot be written: %s", self._file, error.strerror)

    def _here(self) -> str:
        """Return what nobody elsewhere can write: this machine's id and user, hashed.

        Without an id (a container) it is the folder itself, as this file system numbers it.
        """
        machine = _machine_id() if self._machine is None else self._machine
        place = machine or f"folder {os.stat(self._file.parent).st_ino}"
        return hashlib.sha256(f"aisquad\0{place}\0{os.geteuid()}".encode()).hexdigest()


def _machine_id() -> str:
    for path in _MACHINE_IDS:
        try:
            with open(path, encoding="ascii") as file:
                text = file.read(100).strip()
        except (OSError, ValueError):
            continue
        if re.fullmatch("[0-9a-f]{32}", text):
            return text
    return ""
