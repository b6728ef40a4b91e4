r"""How one start comes to be: its folder, the launcher's shell text, the one spawn.

The launcher is `/bin/sh` and runs no external command of its own, since one would cost as much as
the operation. It claims the start exclusively, runs the command and writes down how that ended.
Like every shell, it does not pass on environment variables whose names are not shell names.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from aisquad_core.errors import RunnerError
from aisquad_core.execution.spawn import Close, Duplicate, Open, spawn_session
from aisquad_core.execution.tree import TOKEN_VARIABLE
from aisquad_core.model import OutputMode
from aisquad_core.sanitise import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aisquad_core.execution.runner import StartRef, StartRequest

LOCK, CLAIM, EXIT = "lock", "claim", "exit"
LOG, RESULT, STDIN = "output.log", "result", "stdin"
"""Names of the files in a start's folder."""

CANNOT_CLAIM = 125
"""The launcher's own exit status when it could not claim: the command never ran."""

# Its variables must not be the operation's: what is exported under the same name would change.
# `exec` in a subshell keeps a command named `exit` or `echo` from being the shell's own; a path
# needs neither. A shell that may not fork gives up: it unwrites its claim then, since the command
# never ran. A cgroup of its own is to be entered by a builtin `echo` before the claim.
SCRIPT = r"""trap : TERM INT HUP
set -C
read -r _AISQUAD_STAT </proc/self/stat &&
  printf 'launcher %s\n%s\n' "$$" "$_AISQUAD_STAT" >"$1/claim" || exit 125
echo 500 2>/dev/null >|/proc/self/oom_score_adj
_AISQUAD_START=$1
_AISQUAD_STATUS=
trap '[ "$_AISQUAD_STATUS" ] || : >|"$_AISQUAD_START/claim"' EXIT
_AISQUAD_STDIN=$3
_aisquad_run() {
  cd -P "$2" || return 126
  [ -r "$3" ] || { echo "$0: cannot read its standard input $3" >&2; return 126; }
  shift 3
  case $1 in
    */*) "$@" <"$_AISQUAD_STDIN" ;;
    -*) echo "$0: $1: not found" >&2; return 127 ;;
    *) (exec "$@") <"$_AISQUAD_STDIN" ;;
  esac
}
_aisquad_run "$@"
_AISQUAD_STATUS=$?
printf '%s\n' "$_AISQUAD_STATUS" >|"$_AISQUAD_START/exit"
exit "$_AISQUAD_STATUS"
"""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_NOT_IN_SLUG = re.compile(r"[^A-Za-z0-9._-]+")
TRANSIENT = frozenset(
    {
        errno.EAGAIN,
        errno.EDQUOT,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.EROFS,
    }
)
"""Errors for want of space, memory, descriptors or processes, which may pass."""


def folder_name(identifier: str) -> str:
    """Return an id as the name of one folder, different for different ids.

    What is not plain becomes a slug and a hash around a `~`, which no plain name has.
    """
    if _PLAIN_NAME.fullmatch(identifier) and identifier not in {".", ".."}:
        return identifier
    slug = _NOT_IN_SLUG.sub("-", identifier).strip(".-")[:60]
    digest = hashlib.sha256(identifier.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{slug}~{digest[:24]}"


def convoy_folder(runs_dir: Path, convoy_id: str) -> Path:
    """Return where everything of a convoy lies."""
    return runs_dir / folder_name(convoy_id)


def start_folder(runs_dir: str, ref: StartRef) -> str:
    """Return the folder of one start."""
    convoy, item, token = map(folder_name, (ref.convoy_id, ref.item_id, ref.token))
    return f"{runs_dir}/{convoy}/{item}/{ref.attempt:d}-{token}"


def make_folder(folder: str, request: StartRequest) -> None:
    """Make the folder of a start, and in it the text for standard input.

    Raises:
        RunnerError: It cannot be made, or is there already.
    """
    try:
        item_folder = os.path.dirname(folder)
        try:
            os.mkdir(item_folder, 0o700)
        except FileExistsError:
            pass  # an earlier attempt's
        except FileNotFoundError:
            _make_parents(item_folder)
        os.mkdir(folder, 0o700)
        if request.operation.stdin is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with open(os.open(f"{folder}/{STDIN}", flags, 0o600), "wb") as file:
                file.write(request.operation.stdin.encode("utf-8", "surrogateescape"))
    except (OSError, ValueError) as error:
        raise runner_error(f"cannot prepare {request.ref.item_id}", error) from error


def _make_parents(item_folder: str) -> None:
    place = Path(item_folder)
    for folder in (place.parent.parent, place.parent, place):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def spawn(folder: str, request: StartRequest, *, shell: str, inherited: tuple[int, ...]) -> int:
    """Start the launcher in a new session and return its pid.

    Args:
        folder: The start's folder, prepared.
        request: What to run.
        shell: The launcher's shell.
        inherited: Descriptors of this process that a child would inherit.

    Raises:
        RunnerError: Nothing was started, and the start is claimed so that it never will be.
    """
    operation = request.operation
    stdin = operation.stdin_file or "/dev/null"
    if operation.stdin is not None:
        stdin = f"{folder}/{STDIN}"
    script = (shell, "-c", SCRIPT, "aisquad", folder, request.cwd, stdin)
    log_flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    try:
        lock = os.open(f"{folder}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            out = LOG if operation.stdout is OutputMode.LOG else RESULT
            files = [
                Duplicate(lock, 0),
                Open(2, f"{folder}/{LOG}", log_flags),
                Duplicate(2, 1) if out == LOG else Open(1, f"{folder}/{RESULT}", log_flags),
                *map(Close, inherited),
            ]
            return spawn_session(shell, (*script, *operation.argv), _environment(request), files)
        finally:
            os.close(lock)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError):  # nothing was forked that could claim it
            claim_for_engine(folder)
        raise runner_error(f"cannot start {request.ref.item_id}", error) from error


def inheritable_descriptors() -> tuple[int, ...]:
    """Return what this process inherited itself beyond the standard three; operations do not."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing's own is closed by now
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
    return tuple(found)


def _environment(request: StartRequest) -> Mapping[str, str]:
    ref = request.ref
    return {
        **request.env,
        "AISQUAD_CONVOY": ref.convoy_id,
        "AISQUAD_ITEM": ref.item_id,
        "AISQUAD_ATTEMPT": str(ref.attempt),
        TOKEN_VARIABLE: ref.token,
    }


def claim_for_engine(folder: str) -> bool:
    """Claim a start that nobody may run any more; return whether this was the first claim.

    Raises:
        OSError: Cannot tell whether there is one.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        claim = os.open(f"{folder}/{CLAIM}", flags, 0o600)
    except FileExistsError:
        return False
    try:
        os.write(claim, b"engine %d\n" % os.getpid())
    except OSError as error:
        # The name alone keeps a launcher out, and an empty claim whose lock is free reads the same.
        if error.errno not in TRANSIENT:
            raise
    finally:
        os.close(claim)
    return True


def runner_error(what: str, error: OSError | ValueError) -> RunnerError:
    """Return what went wrong as the runner tells it."""
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.E2BIG:
        why = (
            "its arguments and environment are longer than the system allows; "
            'give long input through stdin ("stdin" or "stdin_file")'
        )
    else:
        why = os.strerror(code) if code else str(error)
    return RunnerError(one_line(f"{what}: {why}"), is_transient=code in TRANSIENT)
