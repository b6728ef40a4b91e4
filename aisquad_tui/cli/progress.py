"""What a foreground run knows of its convoys, and the lines that show it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_core.api import ConvoyChanged, EngineState, ItemChanged, Resized, Sampled, Snapshot
from aisquad_core.model import FAILURE_STATUSES, ConvoyStatus
from aisquad_core.sanitise import one_line
from aisquad_tui.cli.terminal import CONVOY_INKS, Ink
from aisquad_tui.formatting import (
    Glyphs,
    bar_cells,
    cell_width,
    count,
    cut,
    duration,
    pad,
    percent,
    plural,
    rate,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_core.api import ConvoyView, EngineView, Event, ItemView, StatusCounts

Line = list[tuple[str, Ink]]

_BAR_INKS = (Ink.GOOD, Ink.BAD, Ink.BUSY, Ink.DIM)
_BAR_WIDEST = 40
_BAR_NARROWEST = 8
_NAME_WIDEST = 30


class Progress:
    """The newest state of the convoys that a run waits for, and of its engine."""

    def __init__(self) -> None:
        self.engine: EngineView | None = None
        self._ids: tuple[str, ...] = ()
        self._convoys: dict[str, ConvoyView] = {}
        self._parallelism = 0
        self._reason = ""
        self._seen_failures: set[tuple[str, str, int]] = set()
        self._seq = 0

    @property
    def convoys(self) -> tuple[ConvoyView, ...]:
        """The convoys waited for, in the order in which they were named."""
        return tuple(self._convoys[id] for id in self._ids if id in self._convoys)

    @property
    def others(self) -> tuple[ConvoyView, ...]:
        """Convoys that have not ended and are not waited for."""
        return tuple(
            convoy
            for id, convoy in self._convoys.items()
            if id not in self._ids and not convoy.status.is_final
        )

    @property
    def guests(self) -> tuple[ConvoyView, ...]:
        """Those of the others that the engine works on, and would go on with."""
        return tuple(
            convoy
            for convoy in self.others
            if not convoy.is_interrupted and convoy.status is not ConvoyStatus.PAUSED
        )

    def is_over(self) -> bool:
        """Whether all convoys waited for have ended."""
        convoys = self.convoys
        is_known = bool(convoys) and len(convoys) == len(self._ids)
        return is_known and all(convoy.status.is_final for convoy in convoys)

    def begin(self, ids: Sequence[str], snapshot: Snapshot) -> None:
        """Wait for these convoys; what happened before the snapshot counts no more."""
        self._ids = tuple(ids)
        self.apply(snapshot)

    def apply(self, event: Snapshot | Event) -> ItemView | None:
        """Take in an event; return the item if it tells of a new failure of these convoys."""
        if isinstance(event, ItemChanged):
            return event.item if self._is_new_failure(event.item) else None
        if event.seq < self._seq:
            return None
        self._seq = event.seq
        match event:
            case Snapshot():
                # A snapshot leaves out convoys that ended long ago.
                kept = {id: self._convoys[id] for id in self._ids if id in self._convoys}
                self._convoys = kept | {convoy.id: convoy for convoy in event.convoys}
                self._take_engine(event.engine)
            case ConvoyChanged():
                self._convoys[event.convoy.id] = event.convoy
            case Resized():
                self._parallelism, self._reason = event.parallelism, event.reason
            case EngineState():
                self._take_engine(event.engine)
            case Sampled():
                pass
        return None

    def concerns(self, event: Snapshot | Event) -> bool:
        """Whether an event is about these convoys or the engine as a whole."""
        match event:
            case ItemChanged():
                return event.item.convoy_id in self._ids
            case ConvoyChanged():
                return event.convoy.id in self._ids
        return True

    def lines(self, width: int, glyphs: Glyphs) -> list[Line]:
        """Return the live picture: a line for each convoy, then the engine's."""
        convoys = self.convoys
        name_width = min(
            _NAME_WIDEST, max((cell_width(one_line(convoy.id)) for convoy in convoys), default=0)
        )
        lines = [_convoy_line(convoy, name_width, width, glyphs) for convoy in convoys]
        pace = _pace(convoys[0]) if len(convoys) == 1 else []
        return [*lines, [("  ", Ink.PLAIN), *self._engine_pieces(pace)]]

    def sentence(self) -> str:
        """Return the whole picture as one plain line."""
        parts = []
        for convoy in self.convoys:
            words = ", ".join(text for text, _ in _counts(convoy.counts))
            pace = "".join(f", {text}" for text in _pace(convoy))
            parts.append(
                f"{one_line(convoy.id)}: {percent(convoy.counts.ended, convoy.counts.total)}, "
                f"{words}{pace}"
            )
        return "; ".join([*parts, "".join(text for text, _ in self._engine_pieces([]))])

    def _engine_pieces(self, pace: Sequence[str]) -> Line:
        engine = self.engine
        pinned = "" if engine is None or engine.auto else " (pinned)"
        at_once = f"{count(self._parallelism)} at once{pinned}"
        line: Line = [(", ".join([*pace, at_once]), Ink.PLAIN)]
        if self._reason:
            line.append((f": {one_line(self._reason)}", Ink.DIM))
        if engine is not None and (trouble := engine.trouble or engine.waiting):
            line.append((f"; {one_line(trouble)}", Ink.WARN))
        return line

    def _take_engine(self, engine: EngineView) -> None:
        self.engine = engine
        self._parallelism, self._reason = engine.parallelism, engine.reason

    def _is_new_failure(self, item: ItemView) -> bool:
        key = (item.convoy_id, item.id, item.attempt)
        if (
            item.convoy_id not in self._ids
            or item.status not in FAILURE_STATUSES
            or key in self._seen_failures
        ):
            return False
        self._seen_failures.add(key)
        return True


def outcome_words(counts: StatusCounts) -> str:
    """Return the counts that are not 0 in words: `297 completed, 2 failed, 1 skipped`."""
    names = ("completed", "failed", "lost", "cancelled", "skipped", "running", "pending", "blocked")
    return ", ".join(
        f"{count(number)} {name}" for name in names if (number := getattr(counts, name))
    )


def failure_line(item: ItemView, last_line: str | None) -> str:
    """Return one failure as a line: id, how it ended, the last thing that it said."""
    ended = item.error or (
        item.status.word if item.exit_code is None else f"exit status {item.exit_code}"
    )
    tries = f" (attempt {item.attempt})" if item.attempt > 1 else ""
    said = one_line(last_line or "")
    more = f": {said}" if said and not said.endswith(one_line(ended)) else ""
    return f"{one_line(item.id)}  {item.status.word}, {one_line(ended)}{tries}{more}"


def _convoy_line(convoy: ConvoyView, name_width: int, width: int, glyphs: Glyphs) -> Line:
    counts = convoy.counts
    words = _counts(counts)
    share = f"{percent(counts.ended, counts.total):>5}"
    name = pad(cut(one_line(convoy.id), name_width, glyphs.ellipsis), name_width)
    fixed = 2 + name_width + 2 + 1 + len(share) + sum(2 + len(text) for text, _ in words)
    bar_width = max(_BAR_NARROWEST, min(_BAR_WIDEST, width - fixed))
    other = counts.failed + counts.lost + counts.cancelled + counts.skipped
    cells = bar_cells((counts.completed, other, counts.running), counts.total, bar_width)
    line: Line = [
        (glyphs.convoy[convoy.status] + " ", CONVOY_INKS[convoy.status]),
        (name + "  ", Ink.STRONG),
        *((glyphs.bar[n] * cells[n], _BAR_INKS[n]) for n in range(len(cells))),
        (f" {share}", Ink.PLAIN),
    ]
    for text, ink in words:
        line += [("  ", Ink.PLAIN), (text, ink)]
    return line


def _counts(counts: StatusCounts) -> Line:
    failed = counts.failed + counts.lost
    left_out = counts.cancelled + counts.skipped
    words: Line = [
        (f"{count(counts.completed)} done", Ink.GOOD if counts.completed else Ink.DIM),
        (f"{count(failed)} failed", Ink.BAD if failed else Ink.DIM),
        (f"{count(counts.running)} running", Ink.BUSY if counts.running else Ink.DIM),
        (f"{count(counts.queued)} queued", Ink.PLAIN if counts.queued else Ink.DIM),
    ]
    if left_out:
        words.append((f"{count(left_out)} left out", Ink.WARN))
    return words


def _pace(convoy: ConvoyView) -> list[str]:
    if convoy.status.is_final:
        return []
    pace = []
    if convoy.rate_per_s:
        pace.append(rate(convoy.rate_per_s))
    if convoy.eta_s is not None:
        pace.append(f"{duration(convoy.eta_s)} left")
    if convoy.reason:
        pace.append(one_line(convoy.reason))
    return pace


def ended_words(convoy: ConvoyView) -> str:
    """Return how a run of a convoy ended: `completed: 300 operations in 3m 12s`."""
    word = convoy.status.value if convoy.status.is_final else "interrupted"
    words = f"{word}: {plural(convoy.counts.total, 'operation')}"
    if convoy.started_at is not None and convoy.finished_at is not None:
        words += f" in {duration((convoy.finished_at - convoy.started_at).total_seconds())}"
    return words
