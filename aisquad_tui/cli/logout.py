"""What would end a daemon when its user logs out, or with the service that it was started from.

Reads files, asks and changes nothing.
"""

from __future__ import annotations

import os
import pwd
import re
from pathlib import Path

from aisquad_core.sanitise import one_line

_LOGIND_PLACES = ("usr/lib/systemd", "usr/local/lib/systemd", "run/systemd", "etc/systemd")
"""The later wins, each with its folder of additions behind its own file."""
_UNIT_PLACES = (
    "usr/lib/systemd",
    "usr/local/lib/systemd",
    "run/systemd/transient",
    "run/user/{uid}/systemd/transient",
    "run/systemd",
    "etc/systemd",
    "{home}/.config/systemd",
)
"""Where units lie, directly or below `system` and `user`; the later wins."""
_SPARING = frozenset({"process", "none"})
"""Values of KillMode that leave an engine alone when the service that started it stops."""
_ASSIGNMENT = re.compile(r"\s*(#?)\s*(\w+)\s*=\s*(.*?)\s*")


def logout_warning(
    *,
    root: Path = Path("/"),
    uid: int | None = None,
    user: str | None = None,
    home: str | None = None,
) -> str | None:
    """Say what would kill an engine that is started here after logout, and the remedy (blocking).

    Args:
        root: Where the system's files are.
        uid: Whose processes; None: this user's.
        user: Its name; None: as the system says.
        home: Its folder; None: as the system says.

    Returns:
        One sentence; None when nothing is known that would.
    """
    if not (root / "run/systemd/seats").is_dir():
        return None  # no logind, nobody who logs anybody out
    uid = os.getuid() if uid is None else uid
    user = _name_of(uid) if user is None else user
    cgroup = _read(root / "proc/self/cgroup")
    has_linger = _has_linger(root, user)
    if f"/user@{uid}.service/" in cgroup and not has_linger:
        return (
            "this engine ends with your last session, and its work with it; "
            "`loginctl enable-linger` before the next `aisquad up` keeps both"
        )
    if re.search(r"/session-[^/]+\.scope", cgroup) and _is_killing(root, uid, user):
        linger = "" if has_linger else "loginctl enable-linger && "
        return (
            "this system kills what a session leaves (KillUserProcesses=yes); "
            f"`aisquad down`, then `{linger}systemd-run --user --scope aisquad up` keeps the work"
        )
    services = re.findall(r"/([^/\n]+\.service)(?=/|$)", cgroup, re.MULTILINE)
    if services and not services[-1].startswith("user@"):
        place = os.path.expanduser("~") if home is None else home
        mode = _kill_mode(root, services[-1], uid=uid, home=place)
        if mode is not None and mode not in _SPARING:
            why = f"{one_line(services[-1])} stops (KillMode={one_line(mode)})"
            return (
                f"this engine ends when {why}, and its work with it; "
                "`aisquad down`, then `aisquad up --systemd` keeps both"
            )
    return None


def _kill_mode(root: Path, unit: str, *, uid: int, home: str) -> str | None:
    """Return the KillMode of a service; None if its unit is not found."""
    template = re.sub(r"@[^@]*\.service$", "@.service", unit)
    folders = [
        root / place.format(uid=uid, home=home.strip("/")) / kind
        for place in _UNIT_PLACES
        for kind in ("", "system", "user")
    ]
    files = [
        folder / name
        for name in (template, unit)
        for folder in folders
        if (folder / name).is_file()
    ]
    if not files:
        return None
    additions = {
        file.name: file
        for folder in folders
        for name in ("service.d", f"{template}.d", f"{unit}.d")
        for file in sorted((folder / name).glob("*.conf"))
    }
    found = _assignments(files[-1], has_defaults=False)
    for name in sorted(additions):
        found |= _assignments(additions[name], has_defaults=False)
    return found.get("KillMode", "") or "control-group"


def linger_warning(*, root: Path = Path("/"), user: str | None = None) -> str | None:
    """Say that the user's systemd ends with the last session, and the remedy; None: it does not."""
    if _has_linger(root, _name_of(os.getuid()) if user is None else user):
        return None
    return (
        "your systemd, this engine and its work end with your last session; "
        "`loginctl enable-linger` keeps them"
    )


def _has_linger(root: Path, user: str) -> bool:
    return (root / "var/lib/systemd/linger" / user).exists()


def _is_killing(root: Path, uid: int, user: str) -> bool:
    """Tell whether logind kills what is left of a session of this user."""
    found: dict[str, str] = {}
    for place in _LOGIND_PLACES:
        found |= _assignments(root / place / "logind.conf", has_defaults=True)
    additions = {
        file.name: file
        for place in _LOGIND_PLACES
        for file in sorted((root / place / "logind.conf.d").glob("*.conf"))
    }
    for name in sorted(additions):
        found |= _assignments(additions[name], has_defaults=False)
    if found.get("KillUserProcesses", "").lower() not in {"yes", "true", "on", "1"}:
        return False
    only = found.get("KillOnlyUsers", "").split()
    excluded = found.get("KillExcludeUsers", "root").split()
    names = {user, str(uid)}
    return not (names & set(excluded)) and (not only or bool(names & set(only)))


def _assignments(file: Path, *, has_defaults: bool) -> dict[str, str]:
    """Return what a file sets; its commented lines are the system's defaults."""
    defaults: dict[str, str] = {}
    given: dict[str, str] = {}
    for line in _read(file).splitlines():
        if match := _ASSIGNMENT.fullmatch(line):
            (defaults if match[1] else given)[match[2]] = match[3]
    return {**(defaults if has_defaults else {}), **given}


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8", "replace")
    except OSError:
        return ""


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
