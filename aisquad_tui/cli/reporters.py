"""How a foreground run shows its progress: repainted, as plain lines, as JSON, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aisquad_core.sanitise import one_line
from aisquad_tui.cli.progress import failure_line
from aisquad_tui.cli.shapes import dump, event_shape
from aisquad_tui.cli.terminal import Block, Ink
from aisquad_tui.formatting import cut, plural

if TYPE_CHECKING:
    from aisquad_core.api import Event, ItemView, Snapshot
    from aisquad_core.clock import Clock
    from aisquad_tui.cli.progress import Progress
    from aisquad_tui.cli.terminal import Terminal

_PLAIN_EVERY_S = 5.0


class Reporter(Protocol):
    """Shows a run; every call returns at once."""

    def begin(self, progress: Progress) -> None:
        """The convoys were launched."""
        ...

    def event(self, event: Snapshot | Event) -> None:
        """Something changed that concerns the run."""
        ...

    def failure(self, item: ItemView, last_line: str | None) -> None:
        """An operation failed; `last_line` is the end of its output, where known."""
        ...

    def tick(self, progress: Progress) -> None:
        """Time to show the newest state; comes several times a second."""
        ...

    def say(self, text: str) -> None:
        """Tell the operator something."""
        ...

    def end(self, progress: Progress) -> None:
        """Nothing more comes."""
        ...


class QuietReporter:
    """Says only what the operator must know."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def begin(self, progress: Progress) -> None:
        """Show nothing."""

    def event(self, event: Snapshot | Event) -> None:
        """Show nothing."""

    def failure(self, item: ItemView, last_line: str | None) -> None:
        """Show nothing."""

    def tick(self, progress: Progress) -> None:
        """Show nothing."""

    def say(self, text: str) -> None:
        """Write the text as a line of talk."""
        self._terminal.say(text)

    def end(self, progress: Progress) -> None:
        """Show nothing."""


class JsonReporter(QuietReporter):
    """Writes each event as one line of JSON to standard output."""

    def event(self, event: Snapshot | Event) -> None:
        """Write the event."""
        out = self._terminal.out
        out.line(dump(event_shape(event)))
        out.file.flush()


class PlainReporter(QuietReporter):
    """Writes lines: the start, each failure, now and then where it stands, the end."""

    def __init__(self, terminal: Terminal, clock: Clock) -> None:
        super().__init__(terminal)
        self._clock = clock
        self._due_s = 0.0
        self._last = ""

    def begin(self, progress: Progress) -> None:
        """Name the convoys."""
        for convoy in progress.convoys:
            self.say(f"{one_line(convoy.id)}: {plural(convoy.counts.total, 'operation')}")
        self._due_s = self._clock.monotonic() + _PLAIN_EVERY_S

    def failure(self, item: ItemView, last_line: str | None) -> None:
        """Write the failure."""
        self.say(failure_line(item, last_line))

    def tick(self, progress: Progress) -> None:
        """Write where it stands, every few seconds and only if that changed."""
        now_s = self._clock.monotonic()
        if now_s >= self._due_s:
            self._due_s = now_s + _PLAIN_EVERY_S
            self._write(progress)

    def end(self, progress: Progress) -> None:
        """Write where it stands at last."""
        self._write(progress)

    def _write(self, progress: Progress) -> None:
        sentence = progress.sentence()
        if sentence != self._last:
            self._last = sentence
            self.say(sentence)


class LiveReporter(QuietReporter):
    """Keeps a picture at the foot of the terminal; what is said scrolls by above it."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(terminal)
        self._block = Block(terminal.err)

    def failure(self, item: ItemView, last_line: str | None) -> None:
        """Write the failure above the picture, cut to the width."""
        err = self._terminal.err
        sign = err.ink(err.glyphs.item[item.status], Ink.BAD)
        width = err.size()[0] - 3
        self.say(f"{sign} {cut(failure_line(item, last_line), width, err.glyphs.ellipsis)}")

    def tick(self, progress: Progress) -> None:
        """Paint the newest state."""
        err = self._terminal.err
        width = err.size()[0] - 1
        self._block.paint([err.fit(line, width) for line in progress.lines(width, err.glyphs)])

    def say(self, text: str) -> None:
        """Write a line above the picture, which the next tick paints again."""
        self._block.clear()
        super().say(text)

    def end(self, progress: Progress) -> None:
        """Leave the last picture standing."""
        self.tick(progress)


def make_reporter(
    terminal: Terminal, clock: Clock, *, is_quiet: bool, is_json: bool
) -> QuietReporter:
    """Choose how to show a run."""
    if is_json:
        return JsonReporter(terminal)
    if is_quiet:
        return QuietReporter(terminal)
    if terminal.err.is_terminal:
        return LiveReporter(terminal)
    return PlainReporter(terminal, clock)
