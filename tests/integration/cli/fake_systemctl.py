"""What `systemctl --user` does with a unit, for machines without systemd: it notes each call.

It reads the unit as systemd.service(5) and systemd.syntax(7) say, starts its main process with no
environment but the unit's, waits for its readiness, and ends that process alone (KillMode=process).
`FAKE_SYSTEMD` names its folder: `calls`, `pid`, and `refuses`, a verb that fails.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

BOUND_S = 30
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def words(line: str) -> list[str]:
    """Split a line of a unit into words, without quotes and escapes and with `%%` as `%`."""
    found: list[str] = []
    word: str | None = None
    quote = ""
    characters = iter(line)
    for char in characters:
        if char == "\\":
            following = next(characters)
            word = (word or "") + _ESCAPES.get(following, following)
        elif char == quote:
            quote = ""
        elif not quote and char in "\"'":
            quote, word = char, word or ""
        elif not quote and char == " ":
            found += [] if word is None else [word]
            word = None
        elif char == "%":
            if next(characters) != "%":
                raise ValueError(f"a specifier in {line}")
            word = (word or "") + "%"
        else:
            word = (word or "") + char
    if quote:
        raise ValueError(f"an open quote in {line}")
    return found if word is None else [*found, word]


def read_unit(text: str) -> dict[str, list[str]]:
    """Return each key of a unit with its values."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def _start(unit: dict[str, list[str]], folder: Path) -> None:
    program, *arguments = words(unit["ExecStart"][0])
    variables = [word.split("=", 1) for line in unit["Environment"] for word in words(line)]
    address = folder / "notify"
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.settimeout(BOUND_S)
        with (folder / "journal").open("ab") as journal:
            main = subprocess.Popen(
                [program, *(argument.replace("$$", "$") for argument in arguments)],
                cwd=unit["WorkingDirectory"][0],
                env={"HOME": os.environ["HOME"], "NOTIFY_SOCKET": str(address), **dict(variables)},
                stdin=subprocess.DEVNULL,
                stdout=journal,
                stderr=journal,
                start_new_session=True,
            )
        (folder / "pid").write_text(str(main.pid))
        if "READY=1" not in systemd.recv(4_096).decode().splitlines():
            raise SystemExit("not ready")


def _main_pid(folder: Path) -> int | None:
    try:
        pid = int((folder / "pid").read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return None
    return None if state in "ZX" else pid


def _stop(folder: Path) -> None:
    pid = _main_pid(folder)
    if pid is not None:
        pidfd = os.pidfd_open(pid)
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        if not select.select([pidfd], [], [], BOUND_S)[0]:
            raise SystemExit("it does not end")


def main() -> int:
    """Do what the arguments say."""
    folder = Path(os.environ["FAKE_SYSTEMD"])
    if sys.argv[1] != "--user":
        raise SystemExit("not the user's")
    verb, *names = (word for word in sys.argv[2:] if word != "--quiet")
    with (folder / "calls").open("a") as calls:
        calls.write(" ".join([verb, *(name for name in names if not name.startswith("-"))]) + "\n")
    if (folder / "refuses").exists() and (folder / "refuses").read_text() == verb:
        print("Failed to connect to bus: No medium found", file=sys.stderr)
        return 1
    if verb == "is-active":
        return 0 if _main_pid(folder) is not None else 3
    if verb == "disable" and "--now" in names:
        _stop(folder)
    if verb in {"start", "restart"}:
        path = Path(os.environ["HOME"], ".config", "systemd", "user", names[0])
        if verb == "restart":
            _stop(folder)
        if _main_pid(folder) is None:
            _start(read_unit(path.read_text()), folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
