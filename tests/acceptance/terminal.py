"""A real pseudo-terminal around a command, and tmux: keys in, screen out.

Waits are on conditions and have generous bounds: a loaded machine is slow, not wrong.
"""

from __future__ import annotations

import codecs
import fcntl
import os
import re
import select
import shlex
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pyte

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

AISQUAD = (sys.executable, "-m", "aisquad_tui.cli")
BOUND_S = 60.0
"""Longest wait for anything that should come."""
_LOOK_S = 0.05
"""Between looks at a condition that no output announces."""
_AGAIN_S = 1.5
"""Between keys that are typed until they have an effect."""
_PRIVATE = re.compile(r"\x1b\[[<=>][0-?]*[ -/]*[@-~]")
"""Keyboard protocols, which pyte would print."""
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*)?\Z")


def minimal_env(home: Path, **more: str) -> dict[str, str]:
    """Return an environment that owes nothing to the one of the tests."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": str(Path(__file__).parents[2]),  # what is tested, wherever it is checked out
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "SHELL": "/bin/sh",
        "AI_SQUAD_MONITORING_PORT": "0",
        **more,
    }


def until(condition: Callable[[], object], *, what: str, bound_s: float = BOUND_S) -> None:
    """Wait for a condition that no output announces."""
    end = time.monotonic() + bound_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {bound_s:.0f} s: {what}")
        time.sleep(_LOOK_S)


class Terminal:
    """A command with a pseudo-terminal of its own, and the screen that it draws.

    Args:
        command: What to run.
        cwd: Where.
        env: All of its environment.
        size: Columns and rows.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        size: tuple[int, int] = (120, 40),
    ) -> None:
        self.output = b""
        """All that it has written."""
        self._picture = Picture(*size)
        self._news = threading.Condition(threading.RLock())
        self._master, self._slave = os.openpty()
        self._wake, self._waker = os.pipe()
        self._set_size(*size)
        self._cooked = termios.tcgetattr(self._slave)
        # setsid opens no second process: its pid is the command's.
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            cwd=cwd,
            env=dict(env),
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
        )
        self._is_hung_up = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        """Nothing more: it runs."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End the command, whatever became of it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self.hang_up()
        os.close(self._slave)
        os.close(self._wake)
        os.close(self._waker)

    @property
    def pid(self) -> int:
        """The command's process."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the command runs."""
        return self._process.poll() is None

    @property
    def is_cooked(self) -> bool:
        """Whether the terminal's settings are those of before, as `stty -a` shows them."""
        return termios.tcgetattr(self._slave) == self._cooked

    def left_on(self) -> set[str]:
        """Return what it has switched on and not off again, as the modes' names."""
        latest = dict(re.findall(rb"\x1b\[\?(\d+)([hl])", self.output))
        usual = {b"25": b"h", b"7": b"h"}
        left = {mode.decode() for mode, state in latest.items() if state != usual.get(mode, b"l")}
        pushed = len(re.findall(rb"\x1b\[>\d*u", self.output))
        return left | ({"kitty"} if pushed > self.output.count(b"\x1b[<u") else set())

    def rows(self) -> list[str]:
        """Return the screen's rows."""
        with self._news:
            return self._picture.rows()

    def picture(self) -> str:
        """Return the screen as one text."""
        with self._news:
            return self._picture.text()

    def shows(self, pattern: str) -> bool:
        """Tell whether a row has it, a regular expression."""
        with self._news:
            return self._picture.has(pattern)

    def wait_for(
        self, wanted: str | Callable[[], bool], *, bound_s: float = BOUND_S, what: str = ""
    ) -> None:
        """Wait until a row has the regular expression, or the condition holds.

        Raises:
            AssertionError: Not in time, or the command ended before; it holds the screen.
        """
        condition = wanted if callable(wanted) else lambda: self.shows(str(wanted))
        end = time.monotonic() + bound_s
        while True:
            with self._news:
                seen = len(self.output)
            was_alive = self.is_alive
            if condition():
                return
            with self._news:
                if len(self.output) == seen:
                    if not was_alive:
                        self._fail(what or wanted, f"it ended, status {self._process.returncode}")
                    self._news.wait(0.2)
            if time.monotonic() > end:
                self._fail(what or wanted, f"not within {bound_s:.0f} s")

    def wait_gone(self, wanted: str, *, bound_s: float = BOUND_S) -> None:
        """Wait until no row has the regular expression."""
        self.wait_for(lambda: not self.shows(wanted), bound_s=bound_s, what=f"no {wanted!r}")

    def wait_written(self, data: bytes, *, after: int = 0) -> None:
        """Wait until it has written these bytes."""
        self.wait_for(lambda: data in self.output[after:], what=f"{data!r} written")

    def paste(self, text: str) -> None:
        """Paste, bracketed as terminals do."""
        self.send(f"\x1b[200~{text}\x1b[201~")

    def send(self, keys: str | bytes) -> None:
        """Type."""
        data = keys.encode() if isinstance(keys, str) else keys
        while data:
            data = data[os.write(self._master, data[:4096]) :]

    def insist(
        self, keys: str, wanted: str | Callable[[], bool], *, again_s: float = _AGAIN_S
    ) -> None:
        """Type until it has the effect: a dialog is deaf for its first moment."""
        condition = wanted if callable(wanted) else lambda: self.shows(str(wanted))
        end = time.monotonic() + BOUND_S
        while not condition() and time.monotonic() < end:
            self.send(keys)
            pause = min(end, time.monotonic() + again_s)
            while not condition() and self.is_alive and time.monotonic() < pause:
                with self._news:
                    self._news.wait(0.1)
        self.wait_for(condition, bound_s=0, what=f"{keys!r} -> {wanted!r}")

    def resize(self, columns: int, rows: int) -> None:
        """Change the size; the command is told by the kernel."""
        with self._news:
            self._picture.resize(columns, rows)
        self._set_size(columns, rows)

    def signal(self, number: int) -> None:
        """Send a signal to the command alone."""
        self._process.send_signal(number)

    def wait(self, *, bound_s: float = BOUND_S) -> int:
        """Wait for the end and return the exit status as a shell would tell it."""
        try:
            code = self._process.wait(bound_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still there:\n{self.picture()}") from None
        self._drain()
        return code if code >= 0 else 128 - code

    def hang_up(self) -> None:
        """Take the terminal away, as a lost connection does."""
        if not self._is_hung_up:
            self._is_hung_up = True
            os.write(self._waker, b".")
            self._reader.join()
            os.close(self._master)

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self) -> None:
        while True:
            ready, _, _ = select.select([self._master, self._wake], [], [])
            if self._wake in ready:
                return
            data = os.read(self._master, 65_536)
            with self._news:
                self.output += data
                self._picture.feed(data)
                self._news.notify_all()

    def _drain(self) -> None:
        """Wait until the reader has what was written to the end."""
        seen = -1
        while seen != len(self.output):
            seen = len(self.output)
            time.sleep(_LOOK_S)

    def _fail(self, wanted: object, why: str) -> None:
        raise AssertionError(f"{why}: {wanted!r}; the screen:\n{self.picture()}")


class Picture:
    """What a terminal shows that was fed some output.

    Args:
        columns: Its width.
        rows: Its height.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self._screen = _Screen(columns, rows)
        self._stream = pyte.Stream(self._screen)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes) -> None:
        """Draw output; the begin of a sequence waits for its end."""
        text = self._rest + self._decoder.decode(data)
        cut = _UNFINISHED.search(text)
        self._rest = cut.group() if cut else ""
        self._stream.feed(_PRIVATE.sub("", text[: cut.start()] if cut else text))

    def resize(self, columns: int, rows: int) -> None:
        """Change the size."""
        self._screen.resize(rows, columns)

    def rows(self) -> list[str]:
        """Return the rows."""
        return [row.rstrip() for row in self._screen.display]

    def text(self) -> str:
        """Return the rows as one text."""
        return "\n".join(self.rows()).rstrip()

    def has(self, pattern: str) -> bool:
        """Tell whether a row has the regular expression."""
        return any(re.search(pattern, row) for row in self.rows())

    def row_of(self, pattern: str) -> int:
        """Return the number of the first row that has the regular expression.

        Raises:
            AssertionError: None has.
        """
        for number, row in enumerate(self.rows()):
            if re.search(pattern, row):
                return number
        raise AssertionError(f"no row has {pattern!r}:\n{self.text()}")

    def marked_row(self, rows: range) -> int | None:
        """Return the row whose ground differs from the one of most rows; None: not just one."""
        grounds = [self._ground(row) for row in rows]
        usual = max(set(grounds), key=grounds.count)
        marked = [row for row, ground in zip(rows, grounds, strict=True) if ground != usual]
        return marked[0] if len(marked) == 1 else None

    def _ground(self, row: int) -> tuple[str, bool]:
        cell = self._screen.buffer[row][self._screen.columns // 2]
        return cell.bg, cell.reverse


class _Screen(pyte.Screen):
    """A screen that is empty once the alternate one has been left."""

    def reset_mode(self, *modes: int, **kwargs: bool) -> None:
        """Switch modes off."""
        super().reset_mode(*modes, **kwargs)
        if 1049 in modes:
            self.cursor_position()
            self.erase_in_display(2)


class Tmux:
    """A tmux server of its own, with one window of 120x40 and its configuration.

    Args:
        folder: Where its socket goes.
        env: The environment of what runs in it.
        configuration: Lines of tmux.conf.
    """

    def __init__(self, folder: Path, env: Mapping[str, str], configuration: str = "") -> None:
        self._env = {**env, "TMUX_TMPDIR": str(folder)}
        self._folder = folder
        self._file = folder / "tmux.conf"
        self._file.write_text(configuration, encoding="utf-8")

    def __enter__(self) -> Self:
        """Nothing more: the server comes with the first command."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End the server and what runs in it."""
        self._call("kill-server", is_checked=False)

    def run(self, command: Sequence[str], cwd: Path) -> None:
        """Open the window with a command; what is left of it stays on display."""
        size = ("-x", "120", "-y", "40")
        line = shlex.join(command)
        self._call("new-session", "-d", "-s", "it", *size, "-c", str(cwd), line)

    def send(self, *keys: str) -> None:
        """Type keys by their names in tmux."""
        self._call("send-keys", "-t", "it", *keys)

    def picture(self) -> str:
        """Return what the window shows."""
        return self._call("capture-pane", "-p", "-t", "it")

    def buffer(self) -> str:
        """Return the newest paste buffer; empty: there is none."""
        return self._call("show-buffer", is_checked=False)

    def wait_for(self, wanted: str) -> None:
        """Wait until a row of the window has the regular expression."""
        until(lambda: re.search(wanted, self._look()), what=wanted)

    def _look(self) -> str:
        return self._call("capture-pane", "-p", "-t", "it", is_checked=False)

    def _call(self, *arguments: str, is_checked: bool = True) -> str:
        done = subprocess.run(
            ["tmux", "-u", "-L", "aisquad", "-f", str(self._file), *arguments],
            env=self._env,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=BOUND_S,
            check=is_checked,
            text=True,
        )
        return done.stdout
