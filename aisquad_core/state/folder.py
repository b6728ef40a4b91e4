"""The state folder: made or refused, and held by one engine at a time.

The hold is a `flock` on its file `lock`, which ends with the process, however it ends. What the
file says (JSON: pid, version, started) is for people; only the lock itself decides.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import time
from datetime import UTC, datetime
from pathlib import Path

from aisquad_core.errors import EngineRunningError, StateFolderError
from aisquad_core.version import __version__

LOCK_WAIT_S = 0.2
"""How long an engine tries to lock: readers hold a shared lock for a moment to see if one runs."""
_LOCK_RETRY_S = 0.01
_LOCK_SIZE_LIMIT = 4096

_NETWORK_FILE_SYSTEMS = frozenset(
    {
        "afs", "beegfs", "ceph", "cifs", "coda", "fuse.gcsfuse", "fuse.glusterfs", "fuse.rclone",
        "fuse.s3fs", "fuse.sshfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
        "ocfs2", "smb3", "smbfs",
    }
)  # fmt: skip
"""As /proc/self/mountinfo names them: WAL needs memory that all processes share."""


class StateFolder:
    """Where an engine keeps everything; all calls block.

    Args:
        path: The folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def prepare(self) -> None:
        """Make the folder if it does not exist; refuse one that is not safe.

        Raises:
            StateFolderError: It is a link, of another owner, writable by others, or on a network.
        """
        try:
            self._make()
        except OSError as error:
            raise StateFolderError(self.path, f"cannot be used: {error.strerror}") from error

    def acquire(self) -> None:
        """Prepare the folder and hold it for this process until `release`.

        Raises:
            EngineRunningError: Another engine holds it.
            StateFolderError: It must not be used.
        """
        self.prepare()
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self.path / "lock", flags, 0o600)
        except OSError as error:
            raise StateFolderError(self.path, f"lock: {error.strerror}") from error
        try:
            self._lock(descriptor)
            holder = {
                "pid": os.getpid(),
                "version": __version__,
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            text = json.dumps(holder).encode() + b"\n"
            os.pwrite(descriptor, text, 0)
            os.ftruncate(descriptor, len(text))
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, OSError):
                raise StateFolderError(self.path, f"lock: {error.strerror}") from error
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go of the folder; without a hold nothing happens."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        deadline_s = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline_s:
                    raise EngineRunningError(self.path, _read_pid(descriptor)) from None
                time.sleep(_LOCK_RETRY_S)
            else:
                return

    def _make(self) -> None:
        is_new = False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir(mode=0o700)
            is_new = True
        except FileExistsError:
            pass
        status = self.path.lstat()
        if problem := _find_problem(self.path, status):
            raise StateFolderError(self.path, problem)
        if is_new or not any(
            self.path.iterdir()
        ):  # a folder with other things in it stays as it is
            (self.path / ".gitignore").write_text("*\n", "utf-8")


def engine_pid(path: Path) -> int | None:
    """Return the pid of the engine that holds a state folder (blocking).

    Returns:
        None if no engine does; 0 if one does and its pid cannot be read.
    """
    try:
        descriptor = os.open(path / "lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # no folder, no lock, or none of ours to read: no engine to talk of
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_pid(descriptor) or 0
    else:
        return None
    finally:
        os.close(descriptor)


def boot_id() -> str:
    """Return the kernel's id of this boot (blocking, but not on a disk)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def _read_pid(descriptor: int) -> int | None:
    """Return the pid in an open lock file; None if it says none (it is just being written)."""
    try:
        pid = json.loads(os.pread(descriptor, _LOCK_SIZE_LIMIT, 0))["pid"]
    except (ValueError, KeyError, TypeError):
        return None
    return pid if isinstance(pid, int) else None


def _find_problem(path: Path, status: os.stat_result) -> str | None:
    """Return why the folder must not be used, or None."""
    if stat.S_ISLNK(status.st_mode):
        return "it is a symbolic link; name the folder itself"
    if not stat.S_ISDIR(status.st_mode):
        return "it is not a folder"
    if status.st_uid != os.geteuid():
        return f"it belongs to user {status.st_uid}, not to you ({os.geteuid()})"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others may write to it; `chmod go-w {path}` ends that"
    mounts = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    kind = find_file_system(mounts, path.resolve())
    if kind in _NETWORK_FILE_SYSTEMS:
        return f"it is on a network file system ({kind}); SQLite needs a local one"
    return None


def find_file_system(mountinfo: str, path: Path) -> str | None:
    """Return the type of the file system that holds a path.

    Args:
        mountinfo: The text of /proc/self/mountinfo.
        path: Absolute, without links.
    """
    best: tuple[int, str] | None = None
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        mount = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), left.split()[4]))
        depth = len(mount.parts)
        if path.is_relative_to(mount) and (best is None or depth >= best[0]):
            best = depth, right.split()[0]
    return None if best is None else best[1]
