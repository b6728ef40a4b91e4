from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aisquad_core.api import (
    ConvoyChanged,
    ConvoyView,
    EngineState,
    EngineView,
    ItemChanged,
    ItemView,
    Resized,
    Snapshot,
    StatusCounts,
)
from aisquad_core.model import ConvoyStatus, WorkStatus
from aisquad_tui.cli.progress import Progress, ended_words, failure_line, outcome_words
from aisquad_tui.formatting import ASCII_GLYPHS, GLYPHS, cell_width

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


def engine(at: datetime, **changes: object) -> EngineView:
    values: dict[str, object] = {
        "pid": 1,
        "version": "0",
        "sqlite_version": "3",
        "state_dir": "/s",
        "started_at": at,
        "parallelism": 5,
        "baseline": 5,
        "max": 20,
        "auto": True,
        "running": 0,
        "queued": 0,
        "cpu_percent": 1.0,
        "memory_percent": 1.0,
        "cpu_threshold": 80.0,
        "memory_threshold": 80.0,
        "throttle": 0.0,
        "reason": "CPU 63 %, memory 32 %",
        "waiting": None,
        **changes,
    }
    return EngineView(**values)  # type: ignore[arg-type]  # fields by name


def snapshot(*convoys: ConvoyView, seq: int = 10) -> Snapshot:
    at = convoys[0].created_at
    return Snapshot(
        seq=seq, at=at, engine=engine(at), nodes=(), convoys=convoys, counts=StatusCounts()
    )


@pytest.fixture
def progress(convoy: Callable[..., ConvoyView]) -> Progress:
    followed = Progress()
    followed.begin(["nightly-k3f9"], snapshot(convoy(rate_per_s=2.1, eta_s=58.0), convoy("old-1")))
    return followed


def text(progress: Progress, width: int = 100) -> list[str]:
    return ["".join(piece for piece, _ in line) for line in progress.lines(width, GLYPHS)]


def test_the_picture_tells_counts_pace_and_why_so_many_run(progress: Progress) -> None:
    assert text(progress) == [
        "▶ nightly-k3f9  ████████████████████▒▒▒░░░░░░░░░░░░░░░░  50 %"
        "  5 done  0 failed  1 running  4 queued",
        "  2.1/s, 58s left, 5 at once: CPU 63 %, memory 32 %",
    ]


@pytest.mark.parametrize("width", [60, 79, 100, 200])
def test_the_bar_makes_room_for_the_rest(progress: Progress, width: int) -> None:
    assert cell_width(text(progress, width)[0]) <= max(width, 75)


def test_another_set_of_signs_stays_ascii(progress: Progress) -> None:
    for line in progress.lines(80, ASCII_GLYPHS):
        assert "".join(piece for piece, _ in line).isascii()


def test_changes_from_before_the_snapshot_do_not_count(
    progress: Progress, convoy: Callable[..., ConvoyView]
) -> None:
    ended = convoy(status=ConvoyStatus.COMPLETED)
    progress.apply(ConvoyChanged(seq=9, convoy=ended))
    assert not progress.is_over()
    progress.apply(ConvoyChanged(seq=11, convoy=ended))
    assert progress.is_over()


def test_a_failure_is_told_once_for_each_attempt(
    progress: Progress, item: Callable[..., ItemView]
) -> None:
    failed = item(status=WorkStatus.FAILED, exit_code=2)
    again = item(status=WorkStatus.FAILED, exit_code=2, attempt=2)
    elsewhere = item(status=WorkStatus.FAILED, convoy_id="old-1")
    told = [
        progress.apply(ItemChanged(seq=seq, item=view))
        for seq, view in enumerate([failed, failed, again, elsewhere], start=11)
    ]
    assert told == [failed, None, again, None]


def test_a_resize_and_what_ails_the_engine_show(progress: Progress) -> None:
    at = progress.convoys[0].created_at
    progress.apply(EngineState(seq=11, engine=engine(at, auto=False, trouble="disk full")))
    progress.apply(
        Resized(seq=12, at=at, previous=5, parallelism=12, auto=False, reason="pinned by hand")
    )
    assert text(progress)[1] == "  2.1/s, 58s left, 12 at once (pinned): pinned by hand; disk full"


def test_convoys_that_did_not_end_earlier_are_the_others(progress: Progress) -> None:
    assert [convoy.id for convoy in progress.others] == ["old-1"]


def test_one_plain_line_holds_everything(progress: Progress) -> None:
    assert progress.sentence() == (
        "nightly-k3f9: 50 %, 5 done, 0 failed, 1 running, 4 queued, 2.1/s, 58s left; "
        "5 at once: CPU 63 %, memory 32 %"
    )


def test_untrusted_names_and_output_are_harmless(item: Callable[..., ItemView]) -> None:
    failed = item("a\x1b]0;x\x07b", status=WorkStatus.FAILED, exit_code=3, attempt=2)
    assert failure_line(failed, "\x1b[31mno\rgo\n") == "ab  failed, exit status 3 (attempt 2): nogo"


@pytest.mark.parametrize("last_line", [None, "sh: 1: tool: not found\n", "tool: not found"])
def test_a_failure_says_nothing_twice(item: Callable[..., ItemView], last_line: str | None) -> None:
    failed = item("lint", status=WorkStatus.FAILED, exit_code=127, error="tool: not found")
    assert failure_line(failed, last_line) == "lint  failed, tool: not found"


def test_ends_are_told_in_words(convoy: Callable[..., ConvoyView]) -> None:
    counts = StatusCounts(completed=297, failed=2, skipped=1)
    assert outcome_words(counts) == "297 completed, 2 failed, 1 skipped"
    start = convoy().created_at
    ended = convoy(
        status=ConvoyStatus.PARTIAL, counts=counts, finished_at=start.replace(minute=7, second=17)
    )
    assert ended_words(ended) == "partial: 300 operations in 3m 12s"
