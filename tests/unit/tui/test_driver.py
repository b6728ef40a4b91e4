"""Input and output of a terminal that may be far away, and the names of Textual's that it needs.

The driver overrides what Textual keeps to itself. When one of these tests fails after an update of
Textual, compare `aisquad_tui/driver.py` with `textual/drivers/linux_driver.py`.
"""

from __future__ import annotations

import inspect
import io
import os
import pty
import signal
import threading
import time
import tty
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver

from aisquad_tui.driver import InputDecoder, Outlet, SquadDriver, TerminalGone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from textual.message import Message

_BOUND_S = 15.0


class Inbox(App[None]):
    """An app that is never run, and keeps what the driver posts to it."""

    def __init__(self) -> None:
        super().__init__()
        self.posted: list[Message] = []

    def post_message(self, message: Message) -> bool:
        self.posted.append(message)
        return True


class Typing(SquadDriver):
    """The driver on a pseudo-terminal, without the thread of its own."""

    def __init__(self, app: App[None], fileno: int) -> None:
        super().__init__(app)
        self.fileno = fileno
        self.seen: list[Message] = []
        self.written: list[str] = []
        self.came = threading.Condition()

    def process_message(self, message: Message) -> None:
        with self.came:
            self.seen.append(message)
            self.came.notify_all()

    def write(self, data: str) -> None:
        self.written.append(data)

    def key_names(self) -> list[str]:
        return [event.key for event in self.seen if isinstance(event, events.Key)]

    def wait_for_more(self) -> None:
        with self.came:
            self.came.wait(0.05)

    def wait_for_key(self, key: str) -> None:
        with self.came:
            assert self.came.wait_for(lambda: key in self.key_names(), _BOUND_S), self.seen


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    """The outer and the inner end of a terminal; the inner one is raw."""
    outer, inner = pty.openpty()
    tty.setraw(inner)
    yield outer, inner
    for end in (outer, inner):
        try:
            os.close(end)
        except OSError:
            continue


@pytest.fixture
async def typing(ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Typing]:
    kept = {signum: signal.getsignal(signum) for signum in (signal.SIGTSTP, signal.SIGCONT)}
    with os.fdopen(ends[1], closefd=False) as stdin:
        monkeypatch.setattr("sys.__stdin__", stdin)
        yield Typing(Inbox(), ends[1])
    for signum, handler in kept.items():
        signal.signal(signum, handler)


@pytest.fixture
def reading(typing: Typing) -> Iterator[Typing]:
    thread = threading.Thread(target=typing.run_input_thread)
    thread.start()
    yield typing
    typing.exit_event.set()
    thread.join(_BOUND_S)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    "noise",
    [
        b"\xff\xfe\x80",
        b"\x1b[M\x20\xa0\x30",
        b"\x1b[M\x20\xc3\xa0",
        b"\x1b[99999999999999;5u",
        b"\x1b[<0;99999;99999M",
        b"\x1b[48;0;0;0;0t",
    ],
)
def test_after_any_noise_keys_are_keys_again(
    reading: Typing, ends: tuple[int, int], noise: bytes
) -> None:
    os.write(ends[0], noise)
    until_s = time.monotonic() + _BOUND_S
    while "a" not in reading.key_names() and time.monotonic() < until_s:
        os.write(ends[0], b"a")  # the noise may swallow what comes with it
        reading.wait_for_more()
    assert "a" in reading.key_names()


def test_a_lone_escape_is_a_key_and_a_torn_sequence_is_put_together(
    reading: Typing, ends: tuple[int, int]
) -> None:
    os.write(ends[0], b"\x1b")
    reading.wait_for_key("escape")
    os.write(ends[0], b"\x1b")
    os.write(ends[0], b"[A")
    reading.wait_for_key("up")


def test_a_terminal_that_is_gone_is_told_once_and_ends_the_reading(
    typing: Typing, ends: tuple[int, int]
) -> None:
    os.close(ends[0])
    typing.run_input_thread()
    assert isinstance(typing._app, Inbox)
    assert [type(message) for message in typing._app.posted] == [TerminalGone]


def test_the_mouse_is_asked_for_clicks_and_drags_not_for_every_movement(typing: Typing) -> None:
    typing._enable_mouse_support()
    assert typing.written == ["\x1b[?1000h\x1b[?1002h\x1b[?1006h"]
    typing._disable_mouse_support()
    assert "\x1b[?1000l" in typing.written[-1]


def test_the_next_key_waits_until_the_one_before_is_dealt_with(
    typing: Typing, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Message] = []
    monkeypatch.setattr(LinuxDriver, "process_message", lambda driver, each: sent.append(each))
    monkeypatch.setattr("aisquad_tui.driver._KEY_S", _BOUND_S)
    keys = [events.Key("slash", "/"), events.Key("x", "x")]

    def send() -> None:
        for key in keys:
            SquadDriver.process_message(typing, key)

    thread = threading.Thread(target=send)
    thread.start()
    until_s = time.monotonic() + _BOUND_S
    while not sent and time.monotonic() < until_s:
        time.sleep(0)
    assert sent == keys[:1]
    while thread.is_alive() and time.monotonic() < until_s:
        typing.key_done.set()
        thread.join(0.01)
    assert sent == keys


class Gone(io.StringIO):
    """A terminal that has hung up."""

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


def test_what_is_written_to_a_terminal_that_is_gone_is_dropped() -> None:
    outlet = Outlet(Gone())
    assert outlet.write("abc") == 3
    outlet.flush()


def test_what_is_written_to_a_terminal_arrives() -> None:
    file = io.StringIO()
    Outlet(file).write("abc")
    assert file.getvalue() == "abc"


@given(st.text(), st.integers(min_value=1, max_value=4))
def test_text_comes_through_whole_however_it_is_torn(text: str, size: int) -> None:
    if "\x1b[M" in text:
        return
    data, decoder = text.encode("utf-8", "ignore"), InputDecoder()
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert "".join(map(decoder.decode, pieces)) == data.decode()


@given(st.binary())
def test_no_bytes_are_too_strange(data: bytes) -> None:
    InputDecoder().decode(data)


@pytest.mark.parametrize(
    "name",
    ["run_input_thread", "_enable_mouse_support", "_disable_mouse_support", "process_message"],
)
def test_textual_still_has_what_is_overridden(name: str) -> None:
    assert list(inspect.signature(getattr(LinuxDriver, name)).parameters) == list(
        inspect.signature(getattr(SquadDriver, name)).parameters
    )


def test_textual_still_uses_what_the_driver_sets() -> None:
    source = inspect.getsource(LinuxDriver)
    for used in ("WriterThread(self._file)", "target=self._run_input_thread", "self.exit_event"):
        assert used in source
