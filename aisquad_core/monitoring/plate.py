"""What the monitoring API of an engine tells other processes: where it is, or why it is not there.

A small file in the state folder. It counts only together with the engine that wrote it: after a
crash it is still there, with the pid of an engine that is not.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from aisquad_core.monitoring.token import Token

if TYPE_CHECKING:
    from pathlib import Path

PLATE_NAME = "monitoring.json"
_MOST_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Plate:
    """Where the monitoring API of an engine is."""

    url: str | None = None
    """Its root, such as `http://127.0.0.1:8080`; None: it is not there."""
    needs_token: bool = False
    """Whether it is on another address than loopback, where only the token lets in."""
    problem: str | None = None
    """Why it is not there, in words."""


class Dashboard(NamedTuple):
    """Where an engine's dashboard is, for its owner."""

    link: str | None
    """None: there is none."""
    problem: str | None = None
    """Why there is none, in words; None: nobody wanted one, or it is just coming."""


def write(state_dir: Path, plate: Plate) -> None:
    """Let other processes know (blocking); only for the engine that holds the folder."""
    draft = state_dir / f"{PLATE_NAME}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    said = {
        "pid": os.getpid(),
        "url": plate.url,
        "needs_token": plate.needs_token,
        "problem": plate.problem,
    }
    with os.fdopen(os.open(draft, flags, 0o600), "w", encoding="ascii") as file:
        json.dump(said, file)
    draft.replace(state_dir / PLATE_NAME)


def remove(state_dir: Path) -> None:
    """Take it away (blocking); only for the engine that holds the folder."""
    (state_dir / PLATE_NAME).unlink(missing_ok=True)


def read(state_dir: Path, pid: int) -> Plate | None:
    """Return what the engine with that pid said; None if it said nothing (blocking)."""
    try:
        descriptor = os.open(state_dir / PLATE_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            said = json.loads(file.read(_MOST_BYTES))
        if said["pid"] != pid:
            return None
        return Plate(
            url=said["url"], needs_token=bool(said["needs_token"]), problem=said["problem"]
        )
    except (OSError, ValueError, KeyError, TypeError):  # none, or of another version
        return None


def find_dashboard(state_dir: Path, pid: int | None) -> Dashboard:
    """Return where the engine with that pid (None: none runs) has its dashboard (blocking)."""
    said = None if pid is None else read(state_dir, pid)
    return Dashboard(None) if said is None else Dashboard(link(state_dir, said), said.problem)


def link(state_dir: Path, plate: Plate) -> str | None:
    """Return the dashboard's address for its owner's browser; None if it has none (blocking).

    The token, where one is needed, stands behind the `#`: a browser sends that part to nobody, and
    the page takes it from there.
    """
    if plate.url is None:
        return None
    page = f"{plate.url}/dashboard"
    if plate.needs_token:
        with suppress(OSError):
            return f"{page}#{Token(state_dir).obtain()}"
    return page
