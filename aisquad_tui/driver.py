"""The terminal as it is over SSH: forgiving input, few mouse reports, an end when it is gone.

It touches names that Textual keeps to itself; `test_driver` says when they change.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import sys
import threading
from codecs import getincrementaldecoder
from typing import TYPE_CHECKING

from textual import events, on
from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO


_TICK_S = 0.05
"""Longest wait for input before a lone Esc is looked at."""
_KEY_S = 0.2
"""Longest wait for a key to be dealt with."""
_READ_BYTES = 65_536
_X10_MOUSE = re.compile(rb"\x1b\[M[\x20-\xff]{3}", re.DOTALL)
"""A mouse report in the old form, which was never asked for; its bytes are no text."""
_MOUSE_ON = "\x1b[?1000h\x1b[?1002h\x1b[?1006h"
_MOUSE_OFF = "\x1b[?1006l\x1b[?1003l\x1b[?1002l\x1b[?1000l"


class TerminalGone(Message):
    """The terminal has hung up: nobody sees the screen any more, and no key will come."""

    STATUS = 128 + signal.SIGHUP
    """The exit status, as if the signal had come, too."""


class KeyDone(Message):
    """Follows a key through the same queues: what the key led to has begun."""


class Outlet:
    """Writes to the terminal; what is written after it has gone is dropped.

    Args:
        file: The standard stream that is the terminal.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._is_gone = False

    def write(self, text: str) -> int:
        """Write, or drop it."""
        self._try(lambda: self._file.write(text))
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        self._try(self._file.flush)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._file.fileno()

    def isatty(self) -> bool:
        """Tell that it is a terminal."""
        return True

    def _try(self, write: Callable[[], object]) -> None:
        if self._is_gone:
            return
        try:
            write()
        except OSError:  # the input's end says so to the app
            self._is_gone = True


class InputDecoder:
    """Bytes of a terminal to text; what is no text is left out."""

    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-8")(errors="ignore")

    def decode(self, data: bytes) -> str:
        """Return the text of some bytes; the begin of a character waits for its end."""
        return self._decoder.decode(_X10_MOUSE.sub(b"", data))


class SquadDriver(LinuxDriver):
    """Textual's driver for a terminal that may be far away.

    It draws on standard output, so that standard error can go to a file.
    """

    def __init__(
        self,
        app: App[None],
        *,
        debug: bool = False,
        mouse: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        if sys.__stdout__ is not None:
            self._file = Outlet(sys.__stdout__)  # type: ignore[assignment]  # it asks for less
        self.key_done = threading.Event()
        """Set by the app when it has dealt with a key."""

    def process_message(self, message: Message) -> None:
        """Hand a message to the app; the next key waits until this one is dealt with.

        Textual sends each key to the widget that has the focus when the key is read. Keys that
        come in one packet, as they do on a slow link, would miss the field that the first opens.
        """
        self.key_done.clear()
        super().process_message(message)
        if isinstance(message, events.Key):
            self.key_done.wait(_KEY_S)

    def run_input_thread(self) -> None:
        """Read until the app leaves or the terminal is gone."""
        decoder, parser = InputDecoder(), XTermParser(self._debug)
        for data in self._reads():
            if data is None:
                self._app.post_message(TerminalGone())
                return
            text = decoder.decode(data)
            try:
                for event in parser.feed(text) if text else parser.tick():
                    self.process_message(event)
            except (ArithmeticError, LookupError, ValueError, ParseError):
                parser = XTermParser(self._debug)  # after a sequence that nobody can mean

    def _reads(self) -> Iterator[bytes | None]:
        """Yield what came, no bytes when it is time for a tick, and None at the end of input."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                if not selector.select(_TICK_S):
                    yield b""
                    continue
                try:
                    data = os.read(self.fileno, _READ_BYTES)
                except OSError:
                    data = b""
                yield data or None

    def _enable_mouse_support(self) -> None:
        if self._mouse:
            self.write(_MOUSE_ON)

    def _disable_mouse_support(self) -> None:
        if self._mouse:
            self.write(_MOUSE_OFF)


class PacedApp(App[None]):
    """Tells its driver when a key is dealt with."""

    async def on_event(self, event: events.Event) -> None:
        """Send a mark behind each key, so that the driver knows when it is dealt with."""
        target = self.focused or self.screen if isinstance(event, events.Key) else None
        is_new = target is not None and not event.is_forwarded
        await super().on_event(event)
        if is_new and target is not None:
            target.post_message(KeyDone())

    @on(KeyDone)
    def _ask_for_next_key(self) -> None:
        if isinstance(self._driver, SquadDriver):
            self._driver.key_done.set()
