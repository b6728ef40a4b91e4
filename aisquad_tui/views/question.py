"""What the operator is asked before work is stopped or repeated: texts with numbers and ages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aisquad_core.model import FAILURE_STATUSES, WorkStatus
from aisquad_core.sanitise import one_line
from aisquad_tui.formatting import count, elapsed, plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from aisquad_core.api import ConvoyView, ItemView, StatusCounts

MOST_UNTYPED = 10
"""Most running operations that are stopped without a word being typed."""
_LONGEST_NAME = 40
_LONGEST_WORD = 24
_EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One answer."""

    key: str
    """The letter that gives it."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked before something is done that cannot be taken back."""

    title: str
    lines: tuple[str, ...]
    """Paragraphs; they are wrapped."""
    choices: tuple[Choice, ...]
    """The first one is harmless and the default."""
    words: tuple[str, ...] = ()
    """One of them is to be typed before anything but the first answer is taken."""
    verb: str = ""
    """What happens once it is typed: `cancel it`."""


class Tally:
    """Counts the items that an action concerns, page by page."""

    def __init__(self) -> None:
        self.running = self.queued = self.completed = self.failed = self.other = 0
        self.names: list[str] = []
        """The first few that would be changed."""
        self.since: datetime | None = None
        """When the oldest that runs began."""

    @property
    def open(self) -> int:
        """Items that can be cancelled."""
        return self.running + self.queued

    @property
    def ended(self) -> int:
        """Items that can be retried, or were skipped."""
        return self.completed + self.failed + self.other

    def add(self, items: Iterable[ItemView], *, is_open: bool) -> None:
        """Count some.

        Args:
            items: The items.
            is_open: Whether the action concerns those that have not ended, or those that have.
        """
        for item in items:
            status = item.status
            if status is WorkStatus.IN_PROGRESS:
                self.running += 1
                if item.started_at is not None:
                    self.since = min(self.since or item.started_at, item.started_at)
            elif not status.is_final:
                self.queued += 1
            elif status is WorkStatus.COMPLETED:
                self.completed += 1
            elif status in FAILURE_STATUSES:
                self.failed += 1
            else:
                self.other += 1
            if status.is_final is not is_open and len(self.names) < _EXAMPLES:
                self.names.append(_name(item.id))


def cancel_items(tally: Tally, grace_s: float, now: datetime, *, is_kill: bool) -> Question:
    """Ask whether these items shall be cancelled; at least one of them has not ended."""
    verb = "kill" if is_kill else "cancel"
    it = "it" if tally.open == 1 else "them"
    what = tally.names[0] if tally.open == 1 else plural(tally.open, "operation")
    lines = [f"{_listed(tally.names, tally.open)}."] if tally.open > 1 else []
    if tally.running:
        age = elapsed((now - (tally.since or now)).total_seconds())
        lines.append(f"{_stopped(tally.running, grace_s, is_kill=is_kill)} {_aged(tally, age)}")
    lines.append(_rest(tally.queued, tally.ended))
    return Question(
        title=f"{verb.capitalize()} {what}?",
        lines=tuple(each for each in lines if each),
        choices=_choices(it, f"{verb} {it}"),
        words=(str(tally.open),) if is_kill or tally.running > MOST_UNTYPED else (),
        verb=f"{verb} {it}",
    )


def cancel_convoy(convoy: ConvoyView, grace_s: float, now: datetime, *, is_kill: bool) -> Question:
    """Ask whether all of a convoy shall be cancelled."""
    verb = "kill" if is_kill else "cancel"
    counts = convoy.counts
    begun = elapsed((now - (convoy.started_at or convoy.created_at)).total_seconds())
    lines = []
    if counts.running:
        lines.append(_stopped(counts.running, grace_s, is_kill=is_kill))
    lines.append(_rest(counts.queued, counts.ended))
    lines.append(f"It began {begun} ago.")
    is_typed = is_kill or counts.running > MOST_UNTYPED
    return Question(
        title=f"{verb.capitalize()} convoy {_name(convoy.name)}?",
        lines=tuple(each for each in lines if each),
        choices=_choices("it", f"{verb} it"),
        words=_words(convoy.name, counts.running or counts.queued) if is_typed else (),
        verb=f"{verb} it",
    )


def retry(tally: Tally) -> Question:
    """Ask whether these items shall run again; at least one of them has ended."""
    is_one = tally.ended == 1
    what = tally.names[0] if is_one else plural(tally.ended, "operation")
    said = [
        f"{count(number)} {word}"
        for number, word in (
            (tally.failed, "failed"),
            (tally.completed, "completed"),
            (tally.other, "cancelled or skipped"),
        )
        if number
    ]
    lines = ["It has completed; its result is replaced."] if is_one and tally.completed else []
    if not is_one:
        lines.append(f"{_listed(tally.names, tally.ended)}: {', '.join(said)}.")
        if tally.completed:
            lines.append("What completed runs again too; its results are replaced.")
    if tally.open:
        lines.append(f"{count(tally.open)} that have not ended stay as they are.")
    it = "it" if is_one else "them"
    return Question(title=f"Retry {what}?", lines=tuple(lines), choices=_choices(it, f"retry {it}"))


def leaving(counts: StatusCounts, grace_s: float) -> Question:
    """Ask what becomes of the work: stay, stop it, let it run on."""
    it = "it" if counts.running == 1 else "them"
    return Question(
        title=f"Leave while {plural(counts.running, 'operation')} "
        f"{'runs' if counts.running == 1 else 'run'}?",
        lines=(
            "The engine lives in this screen and ends with it."
            + (f" {count(counts.queued)} queued wait for the next start." if counts.queued else ""),
        ),
        choices=(
            Choice(key="n", text="stay"),
            Choice(
                key="s",
                text=f"stop {it}: TERM, KILL after {grace_s:g} s; same try next time",
            ),
            Choice(key="d", text=f"let {it} run on; the next aisquad takes {it} over"),
        ),
    )


def _choices(it: str, deed: str) -> tuple[Choice, ...]:
    return (Choice(key="n", text=f"leave {it} alone"), Choice(key="y", text=deed))


def _stopped(running: int, grace_s: float, *, is_kill: bool) -> str:
    how = "KILL at once" if is_kill else f"TERM, then KILL after {grace_s:g} s"
    return f"{count(running)} running {_is(running)} stopped ({how})."


def _aged(tally: Tally, age: str) -> str:
    return f"It has run for {age}." if tally.running == 1 else f"The oldest has run for {age}."


def _rest(queued: int, ended: int) -> str:
    said = []
    if queued:
        said.append(f"{count(queued)} queued never {'starts' if queued == 1 else 'start'}.")
    if ended:
        said.append(f"{count(ended)} ended {'stays' if ended == 1 else 'stay'}.")
    return " ".join(said)


def _is(number: int) -> str:
    return "operation is" if number == 1 else "operations are"


def _listed(names: Sequence[str], total: int) -> str:
    more = total - len(names)
    return ", ".join(names) + (f" and {count(more)} more" if more > 0 else "")


def _name(text: str) -> str:
    return one_line(text, _LONGEST_NAME)


def _words(name: str, number: int) -> tuple[str, ...]:
    """Return what may be typed: the name, if it can be, or the number."""
    is_typeable = name.isascii() and name.isprintable() and len(name) <= _LONGEST_WORD
    return (name, str(number)) if is_typeable and name == one_line(name) else (str(number),)
