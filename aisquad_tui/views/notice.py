"""Sentences for the operator, and the line above the footer that shows one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_core.model import ConvoyStatus, WorkStatus
from aisquad_core.sanitise import one_line
from aisquad_tui.formatting import count, cut_words, duration
from aisquad_tui.ink import Role, line
from aisquad_tui.views.layout import fitted

if TYPE_CHECKING:
    from aisquad_core.api import ConvoyView, ItemView
    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line

_LONGEST = 1_000


def notice(text: str, cells: int, glyphs: Glyphs, *, is_error: bool = False) -> Line:
    """Return a sentence as a line; a failure has its sign before it."""
    said = one_line(text, _LONGEST)
    if not said:
        return fitted((), cells, glyphs)
    sign = f"{glyphs.item[WorkStatus.FAILED]} " if is_error else ""
    shown = cut_words(f"{sign}{said}", cells - 2, glyphs.ellipsis)
    return fitted(line(" ", (shown, Role.BAD if is_error else Role.TEXT)), cells, glyphs)


def wait_of(reason: str) -> str:
    """Say what work waits for, from the engine's words: `waits: rate limit: 12 s`."""
    said = one_line(reason)
    return said if said.startswith("waits") else f"waits: {said}"


def summary(convoy: ConvoyView, glyphs: Glyphs) -> str:
    """Say how an ended convoy ended: `lint-all: 27 done in 14s, 3 failed · n again`."""
    return f"{ending(convoy)} {glyphs.separator} n again"


def ending(convoy: ConvoyView) -> str:
    """Say how an ended convoy ended: `lint-all: 27 done in 14s, 3 failed`."""
    counts = convoy.counts
    done = f"{count(counts.completed)} done"
    if convoy.started_at and convoy.finished_at:
        done += f" in {duration((convoy.finished_at - convoy.started_at).total_seconds())}"
    others = (
        (counts.failed + counts.lost, "failed"),
        (counts.cancelled, "cancelled"),
        (counts.skipped, "skipped"),
    )
    said = ", ".join([done, *(f"{count(number)} {word}" for number, word in others if number)])
    is_cancelled = convoy.status is ConvoyStatus.CANCELLED
    name = f"{one_line(convoy.name)} cancelled" if is_cancelled else one_line(convoy.name)
    return f"{name}: {said}"


def failure(failed: int, item: ItemView, glyphs: Glyphs) -> str:
    """Say what failed first, and what to do: `3 failed: pytest exit 1 · enter shows …`."""
    why = one_line(item.error or "", 60)
    if not why and item.exit_code is not None:
        why = f"exit {item.exit_code}"
    what = f"{one_line(item.id)} {why}".rstrip()
    keys = ("enter shows the end of its log", "r retries")
    return f" {glyphs.separator} ".join((f"{count(failed)} failed: {what}", *keys))
