"""The engine as a unit of the user's systemd: its name, its text, and the calls of `systemctl`.

Blocking. What the unit says is systemd.service(5); why it says it stands beside each line.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aisquad_core.errors import EngineStartError, InputError
from aisquad_core.sanitise import escape_controls, one_line
from aisquad_tui.cli import session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from aisquad_core.settings import Settings

_KEPT = re.compile(rb"[A-Za-z0-9:_.]")
_LONGEST_NAME = 200
"""Characters of a unit's name before `.service`; systemd takes 255 with it."""
_PLACES = ("PATH", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
"""Variables by which the engine finds its command, its settings and the list of trusted files."""
_PATIENCE_S = 120
"""For systemd to answer; a start waits until the engine has said that it is ready."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit file."""

    name: str
    path: Path
    text: str

    def is_written(self) -> bool:
        """Tell whether the file is there, as it is here."""
        try:
            return self.path.read_bytes() == self.text.encode()
        except FileNotFoundError:
            return False

    def write(self) -> None:
        """Put the file in place as a whole, readable by the user alone."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{self.name}-"[:100], dir=self.path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(self.text.encode())
            os.replace(name, self.path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(name)
            raise


def unit_of(
    settings: Settings, environ: Mapping[str, str], *, cwd: Path, state: Path | None
) -> Unit:
    """Return the unit of the engine of a state folder.

    Args:
        settings: Where the state is.
        environ: Variables; those that decide how the engine works go into the unit.
        cwd: Absolute folder whose settings hold.
        state: Absolute folder of `--state`; None: it is not given.

    Raises:
        InputError: It cannot be written down.
    """
    path = unit_path(settings, environ)
    known = {row.variable for row in session.describe(settings)} | set(_PLACES)
    variables = {variable: environ[variable] for variable in sorted(known & environ.keys())}
    is_usual = settings.sources["workstate_db"] == "default"
    project = settings.state_dir.parent if is_usual else cwd  # the same from all its folders
    if not str(project).isprintable() or str(project).endswith("\\"):
        raise InputError(f"{escape_controls(str(project))}: systemd takes no such name of a folder")
    command = ["-m", "aisquad_tui.cli", "up", "--foreground", "--on-term=detach"]
    command.append(f"--project={project}")
    if state is not None:
        command.append(f"--state={state}")
    text = "\n".join(_lines(project, command, variables)) + "\n"
    return Unit(path.name, path, text)


def unit_path(settings: Settings, environ: Mapping[str, str]) -> Path:
    """Return where the unit of the engine of a state folder is, if there is one."""
    config = environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(config):
        config = os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".config")
    state = settings.state_dir
    is_usual = state.name == session.default_settings().state_dir.name
    return Path(config, "systemd", "user", unit_name(state.parent if is_usual else state))


def unit_name(folder: Path) -> str:
    """Return the name of a folder's unit: `aisquad-` and the folder as systemd-escape(1) has it.

    What would be too long is cut and ends in a hash.
    """
    path = os.fsencode(os.path.normpath(folder)).strip(b"/")
    escaped = "".join(
        "-" if char == b"/" else char.decode() if _is_kept(char, place) else f"\\x{ord(char):02x}"
        for place, char in enumerate(path[i : i + 1] for i in range(len(path)))
    )
    name = f"aisquad-{escaped or '-'}"
    if len(name) > _LONGEST_NAME:
        digest = hashlib.sha256(path).hexdigest()[:16]
        name = f"{name[: _LONGEST_NAME - 17]}-{digest}"
    return f"{name}.service"


def _is_kept(char: bytes, place: int) -> bool:
    return bool(_KEPT.fullmatch(char)) and not (place == 0 and char == b".")


def _lines(project: Path, command: Sequence[str], variables: Mapping[str, str]) -> Iterator[str]:
    yield "# Written by `aisquad up --systemd`; `aisquad down --systemd` removes it."
    yield "[Unit]"
    yield f"Description=aisquad's engine ({_percents(str(project))})"
    yield "# A folder that is gone, or not mounted yet, is not made anew."
    yield f"AssertPathIsDirectory={_percents(str(project))}"
    yield "StartLimitIntervalSec=300"
    yield "StartLimitBurst=5"
    yield ""
    yield "[Service]"
    yield "Type=notify"
    program = _quoted(sys.executable)
    yield " ".join([f"ExecStart={program}", *(_dollars(_quoted(word)) for word in command)])
    yield "# Not the project's folder: Python would look for its own modules there."
    yield "WorkingDirectory=/"
    yield "# The engine's own; an operation gets the environment of whoever launched it."
    for name, value in variables.items():
        yield f"Environment={_quoted(f'{name}={value}')}"
    yield "UMask=0077"
    yield "# What runs outlives the engine, and the next engine takes it over."
    yield "KillMode=process"
    yield "# One operation out of memory is one operation less, not the end of all."
    yield "OOMPolicy=continue"
    yield "ManagedOOMPreference=avoid"
    yield "Delegate=yes"
    yield "# After a crash, not after `aisquad down`, nor where another engine holds the folder (3)"
    yield "# or the settings are refused (2)."
    yield "Restart=on-failure"
    yield "RestartSec=2"
    yield "RestartPreventExitStatus=2 3"
    yield ""
    yield "[Install]"
    yield "WantedBy=default.target"


def _quoted(word: str) -> str:
    r"""Return a word as a unit file has it: in quotes, `\`, `"` and `%` as themselves."""
    for raw, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        word = word.replace(raw, escaped)
    return f'"{_percents(word)}"'


def _percents(text: str) -> str:
    return text.replace("%", "%%")


def _dollars(word: str) -> str:
    return word.replace("$", "$$")


def require_systemd() -> None:
    """Refuse what needs the user's systemd where it does not answer.

    Raises:
        InputError: It does not; says what to do.
    """
    problem = _call("show", "--property=Version")
    if problem is not None:
        raise InputError(
            f"your systemd does not answer here: {problem}\n"
            "`aisquad up` starts the engine without it. Over `su` or `sudo` log in properly "
            "(`ssh`, `machinectl shell`); on a server `loginctl enable-linger` keeps it running"
        )


def install(unit: Unit, *, is_running: bool) -> None:
    """Start a unit that was just written, now and whenever the user's systemd starts.

    Args:
        unit: What to start.
        is_running: Whether its engine runs, with the text of before.

    Raises:
        EngineStartError: systemd refused, or the engine did not come up.
    """
    verb = "restart" if is_running else "start"
    for arguments in (("daemon-reload",), ("enable", unit.name), (verb, unit.name)):
        problem = _call(*arguments)
        if problem is not None:
            raise EngineStartError(
                f"systemctl --user {' '.join(arguments)}: {problem}\n"
                f"`journalctl --user -u {_shell(unit.name)}` says more"
            )


def is_active(unit: Unit) -> bool:
    """Tell whether the unit's engine runs."""
    return _call("is-active", "--quiet", unit.name) is None


def remove(unit: Path) -> None:
    """Take the unit away, so that nothing starts it any more.

    Raises:
        InputError: systemd refused.
    """
    problem = _call("disable", "--now", unit.name)
    if problem is not None:
        raise InputError(f"systemctl --user disable {unit.name}: {problem}")
    unit.unlink(missing_ok=True)
    problem = _call("daemon-reload")
    if problem is not None:
        raise InputError(f"systemctl --user daemon-reload: {problem}")


def log_command(unit: Unit) -> str:
    """Return what shows the engine's log."""
    return f"journalctl --user -u {_shell(unit.name)}"


def _shell(name: str) -> str:
    return f"'{name}'" if "\\" in name else name


def _call(*arguments: str) -> str | None:
    """Call the user's systemd; return what went wrong, None if nothing did."""
    try:
        done = subprocess.run(
            ["systemctl", "--user", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_PATIENCE_S,
            check=False,
        )
    except FileNotFoundError:
        return "there is no `systemctl`"
    except subprocess.TimeoutExpired:
        return f"no answer within {_PATIENCE_S} s"
    if done.returncode == 0:
        return None
    said = one_line(done.stderr.decode(errors="replace"))
    return said or f"exit status {done.returncode}"
