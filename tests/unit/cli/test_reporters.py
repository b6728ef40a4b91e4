"""What stands on a screen, or in a file, while a run goes on."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest

from aisquad_core.api import ConvoyChanged, ConvoyView, ItemView, StatusCounts
from aisquad_core.model import WorkStatus
from aisquad_core.testing import FakeClock
from aisquad_tui.cli.progress import Progress
from aisquad_tui.cli.reporters import (
    JsonReporter,
    LiveReporter,
    PlainReporter,
    QuietReporter,
    make_reporter,
)
from aisquad_tui.cli.terminal import Stream, Terminal
from aisquad_tui.formatting import GLYPHS, cell_width

if TYPE_CHECKING:
    from collections.abc import Callable

_PIECES = re.compile(r"\x1b\[(\d*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


class SizedStream(Stream):
    """A terminal of 80 columns and 24 lines."""

    __slots__ = ()

    def size(self) -> tuple[int, int]:
        return 80, 24


def screen(written: str) -> list[str]:
    """Return what a terminal shows after these bytes; knows what `Block` uses."""
    lines, row, column = [""], 0, 0
    for found in _PIECES.finditer(written):
        number, command, control, text = found.groups()
        if control == "\r":
            column = 0
        elif control == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif command == "A":
            row = max(0, row - int(number or 1))
        elif command == "K":
            lines[row] = lines[row][:column]
        elif command == "J":
            lines[row:] = [lines[row][:column]]
        elif text:
            lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
            column += len(text)
    return [line.rstrip() for line in lines if line.strip()]


@pytest.fixture
def terminal() -> Terminal:
    streams = [SizedStream(io.StringIO(), True, True, GLYPHS) for _ in range(2)]
    return Terminal(out=streams[0], err=streams[1], is_utc=False)


def shown(stream: Stream) -> str:
    assert isinstance(stream.file, io.StringIO)
    return stream.file.getvalue()


@pytest.fixture
def progress(convoy: Callable[..., ConvoyView]) -> Progress:
    from tests.unit.cli.test_progress import snapshot

    followed = Progress()
    followed.begin(["nightly-k3f9"], snapshot(convoy()))
    return followed


def advance(progress: Progress, convoy: ConvoyView, seq: int) -> ConvoyChanged:
    event = ConvoyChanged(seq=seq, convoy=convoy)
    progress.apply(event)
    return event


def test_failures_scroll_by_above_a_picture_that_stays_whole(
    terminal: Terminal,
    progress: Progress,
    convoy: Callable[..., ConvoyView],
    item: Callable[..., ItemView],
) -> None:
    reporter = LiveReporter(terminal)
    reporter.begin(progress)
    reporter.tick(progress)
    for n in range(3):
        reporter.failure(item(f"op-{n}", status=WorkStatus.FAILED, exit_code=1), "x" * 200)
        counts = StatusCounts(pending=7 - n, failed=n + 1, completed=2)
        advance(progress, convoy(counts=counts), 20 + n)
        reporter.tick(progress)
    reporter.say("interrupted: wait")
    reporter.end(progress)
    *above, bar, below = screen(shown(terminal.err))
    assert [line.split()[1] for line in above] == ["op-0", "op-1", "op-2", "wait"]
    assert bar.startswith("▶ nightly-k3f9 ")
    assert bar.endswith("2 done  3 failed  0 running  5 queued")
    assert below.startswith("  5 at once")
    assert max(map(cell_width, [*above, bar, below])) < 80
    assert shown(terminal.err).endswith("\n\x1b[J")


def test_a_tick_without_news_writes_nothing(terminal: Terminal, progress: Progress) -> None:
    reporter = LiveReporter(terminal)
    reporter.tick(progress)
    before = shown(terminal.err)
    reporter.tick(progress)
    assert shown(terminal.err) == before


async def test_plain_lines_come_every_few_seconds_and_only_with_news(
    terminal: Terminal, progress: Progress, convoy: Callable[..., ConvoyView]
) -> None:
    clock = FakeClock()
    reporter = PlainReporter(terminal, clock)
    reporter.begin(progress)
    for seq in range(20, 120):
        counts = StatusCounts(pending=120 - seq, completed=seq)
        advance(progress, convoy(counts=counts), seq)
        reporter.tick(progress)
        await clock.advance(0.125)
    reporter.end(progress)
    reporter.end(progress)
    lines = shown(terminal.err).splitlines()
    assert lines[0] == "nightly-k3f9: 10 operations"
    assert len(lines) == 1 + 2 + 1  # 12.5 s: two on the way, and the end
    assert lines[-1].startswith("nightly-k3f9: 99 %, 119 done")
    assert "\x1b" not in shown(terminal.err)


def test_a_quiet_run_says_only_what_must_be_known(
    terminal: Terminal, progress: Progress, item: Callable[..., ItemView]
) -> None:
    reporter = QuietReporter(terminal)
    reporter.begin(progress)
    reporter.tick(progress)
    reporter.failure(item(status=WorkStatus.FAILED), None)
    reporter.end(progress)
    assert shown(terminal.err) == ""
    reporter.say("interrupted")
    assert shown(terminal.err) == "interrupted\n"


def test_json_is_one_event_a_line_with_flat_counts(
    terminal: Terminal, progress: Progress, convoy: Callable[..., ConvoyView]
) -> None:
    import json

    reporter = JsonReporter(terminal)
    reporter.event(advance(progress, convoy(), 20))
    [line] = shown(terminal.out).splitlines()
    shape = json.loads(line)
    assert (shape["type"], shape["seq"], shape["convoy"]["total"]) == ("convoy", 20, 10)
    assert shown(terminal.err) == ""


def test_the_way_of_showing_follows_flags_and_terminal(terminal: Terminal) -> None:
    piped = Terminal(
        out=terminal.out, err=Stream(io.StringIO(), False, False, GLYPHS), is_utc=False
    )
    kinds = [
        type(make_reporter(to, FakeClock(), is_quiet=quiet, is_json=as_json))
        for to, quiet, as_json in [
            (terminal, False, False),
            (piped, False, False),
            (terminal, True, False),
            (terminal, False, True),
        ]
    ]
    assert kinds == [LiveReporter, PlainReporter, QuietReporter, JsonReporter]
