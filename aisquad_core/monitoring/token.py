"""The token that lets in who is not the same user on this machine: a file of the state folder."""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TOKEN_NAME = "monitoring.token"
_MODE = 0o600
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MOST_BYTES = 256
_FEWEST_CHARACTERS = 32


class Token:
    """A secret in a file of mode 0600, made when the API begins; all calls block.

    It is read anew each time: to take it back, remove the file.

    Args:
        state_dir: The folder that holds it.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / TOKEN_NAME

    def obtain(self) -> str:
        """Return the token; make one if there is none.

        Raises:
            OSError: It cannot be made or read, or somebody else could know it.
        """
        with suppress(FileNotFoundError):
            return self.read()
        draft = self._path.with_name(f"{TOKEN_NAME}.{secrets.token_hex(8)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(draft, flags, _MODE)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(32) + "\n")
            with suppress(FileExistsError):  # somebody was faster: theirs holds
                os.link(draft, self._path)
        finally:
            draft.unlink()
        return self.read()

    def read(self) -> str:
        """Return the token.

        Raises:
            FileNotFoundError: There is none.
            OSError: It cannot be read, or somebody else could know it.
        """
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if (
                not stat.S_ISREG(status.st_mode)
                or status.st_uid != os.geteuid()
                or status.st_mode & _OTHERS
            ):
                raise PermissionError(f"{self._path}: others could have read or written it")
            token = file.read(_MOST_BYTES).decode("ascii", "replace").strip()
        if len(token) < _FEWEST_CHARACTERS:
            raise PermissionError(f"{self._path}: too short to be a secret")
        return token

    def is_shown(self, shown: str) -> bool:
        """Tell whether that is the token, in a time that says nothing about it."""
        try:
            token = self.read()
        except OSError:  # none, or one that must not be trusted: nobody can show it
            return False
        return hmac.compare_digest(token.encode(), shown.encode("utf-8", "replace"))
