from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisquad_core.api import AgentFigures, DurationBin, History, ResizeNote, SlowOperation
from aisquad_core.model import ItemKey, WorkStatus
from aisquad_tui.formatting import ASCII_GLYPHS, GLYPHS
from aisquad_tui.ink import Role, plain, width
from aisquad_tui.views import history as views
from aisquad_tui.views import history_rows
from aisquad_tui.views.history_layout import HistoryPane, arrange, page_of, pages
from tests.tui.scenes import past_of
from tests.unit.tui.pasts import make_past, point
from tests.unit.tui.pictures import NOW, SIGNS

if TYPE_CHECKING:
    from aisquad_tui.formatting import Glyphs

PAST = past_of(NOW)
EMPTY = make_past().history


def first_line(heading: views.Heading, cells: int = 120) -> str:
    return plain(views.header(heading, cells, GLYPHS))


def test_the_first_line_tells_whose_how_far_back_and_from_when_to_when() -> None:
    said = first_line(views.Heading(period=1, history=PAST))
    assert said.startswith(" History of all convoys ")
    assert " 15m [1h] 6h  24h  7d  30d " in said
    assert said.rstrip().endswith("11:00–12:00")  # noqa: RUF001 - as shown


def test_the_first_line_names_the_convoy() -> None:
    heading = views.Heading(period=0, history=PAST, convoy_name="nightly-review")
    assert " History of nightly-review " in first_line(heading)


def test_a_picture_of_something_else_than_was_chosen_is_not_named_as_it() -> None:
    said = first_line(views.Heading(period=3, history=None))
    assert "reading…" in said
    assert "[24h]" in said


def test_what_ails_it_is_said_in_words() -> None:
    heading = views.Heading(period=1, history=PAST, error="metrics.db: database is locked")
    assert "✗ metrics.db: database is locked" in first_line(heading)
    heading = views.Heading(period=1, history=PAST, lost_at=NOW)
    assert "○ engine away since 12:00:00" in first_line(heading)
    shown = views.header(heading, 120, GLYPHS)
    assert {role for text, role in shown if text.strip()} == {Role.QUIET}


def test_the_page_outlasts_the_times_where_there_is_little_room() -> None:
    heading = views.Heading(period=3, history=make_past(86_400).history, page=(1, 3))
    assert first_line(heading, 80).rstrip().endswith("1 of 3")
    assert len(first_line(heading, 80)) == 80


@pytest.mark.parametrize("index", range(len(views.PERIODS)))
def test_a_click_on_a_period_finds_it(index: int) -> None:
    heading = views.Heading(period=2, history=PAST)
    name = views.PERIODS[index][1]
    said = first_line(heading)
    column = said.index(f"[{name}]" if index == 2 else f" {name} ") + 1
    assert views.period_at(heading, column, 120, GLYPHS) == index


def test_a_click_beside_the_periods_finds_none() -> None:
    heading = views.Heading(period=2, history=PAST)
    assert views.period_at(heading, 3, 120, GLYPHS) is None
    assert views.period_at(heading, 110, 120, GLYPHS) is None


@pytest.mark.parametrize(
    ("past", "is_away", "error", "said"),
    [
        (None, False, "", "Reading what is recorded"),
        (None, True, "", "The engine is away"),
        (None, False, "database is locked", "database is locked"),
        (replace(EMPTY, is_recorded=False), False, "", "AI_SQUAD_ENABLE_METRICS"),
        (EMPTY, False, "", "Nothing is recorded of this time."),
    ],
)
def test_each_state_without_a_picture_has_its_sentence(
    past: History | None, is_away: bool, error: str, said: str
) -> None:
    lines = views.sentences(past, 80, GLYPHS, is_away=is_away, error=error)
    assert said in "\n".join(plain(each) for each in lines)


def test_what_there_is_to_show_is_shown_instead_of_a_sentence() -> None:
    assert views.sentences(PAST, 80, GLYPHS, is_away=False, error="locked") == []
    only_load = replace(EMPTY, load=(point(60),))
    assert views.sentences(only_load, 80, GLYPHS, is_away=True, error="") == []


def test_the_edges_tell_what_the_signs_mean_and_how_it_stands() -> None:
    said = plain(views.load_info(PAST, 80, 80, GLYPHS))
    assert said == "█ CPU 88 % peak 88 %  ○ memory 41 %  · limit 80 %"
    assert plain(views.workers_info(PAST, 80, GLYPHS)) == "█ busy 3  ─ parallelism 5  queue 123"
    assert plain(views.throughput_info(PAST, 80, GLYPHS)) == "█ 335 completed  ✗ 8 failed"
    assert plain(views.durations_info(PAST)) == "343 attempts"


def test_edges_of_nothing_say_so() -> None:
    assert plain(views.load_info(EMPTY, 80, 80, GLYPHS)) == "no sample in this time"
    assert plain(views.workers_info(EMPTY, 80, GLYPHS)) == "no sample in this time"
    assert plain(views.throughput_info(EMPTY, 80, GLYPHS)) == "nothing ended in this time"
    assert views.durations_info(EMPTY) == ()
    assert plain(views.durations(EMPTY, 40, 9, GLYPHS)[0]) == "nothing ended in this time"


def test_durations_are_told_in_words_before_the_bars() -> None:
    lines = [plain(each).rstrip() for each in views.durations(PAST, 76, 10, GLYPHS)]
    assert lines[0] == "half within 17s · 95 % within 1m 11s · 99 % within 2m 46s · mean 27s"
    assert lines[1].split() == ["2.0s–4.0s", "█", "4"]  # noqa: RUF001 - as shown
    longest = max(lines[1:], key=lambda each: each.count("█"))
    assert longest.endswith(" 118")


def test_bounds_of_neighbouring_bins_are_never_named_alike() -> None:
    bounds_s = [0.001 * 1.04**n for n in range(400)]
    bins = tuple(
        DurationBin(lower_s=lower, upper_s=upper, count=1) for lower, upper in pairwise(bounds_s)
    )
    for start in range(0, 390, 10):
        some = replace(EMPTY, durations=bins[start : start + 9])
        named = [each[0][0].strip() for each in views.durations(some, 60, 9, GLYPHS)]
        assert len({part for each in named for part in each.split(GLYPHS.dash)}) == 10


@given(
    counts=st.lists(st.integers(0, 2_000_000), min_size=1, max_size=40).filter(any),
    rows=st.integers(1, 60),
    cells=st.integers(10, 100),
)
def test_bars_fit_their_room_and_no_attempt_is_lost(
    counts: list[int], rows: int, cells: int
) -> None:
    bins = tuple(
        DurationBin(lower_s=1.5**n, upper_s=1.5 ** (n + 1), count=count)
        for n, count in enumerate(counts)
    )
    lines = views.durations(replace(EMPTY, durations=bins), cells, rows, GLYPHS)
    assert len(lines) <= rows
    assert {width(each) for each in lines} == {cells}
    if cells >= 40:
        shown = [plain(each).split()[-1].replace(",", "") for each in lines]
        assert sum(int(each) for each in shown if each.isdigit()) == sum(counts)


def test_resizes_are_told_latest_first_with_their_reasons() -> None:
    notes = (
        ResizeNote(
            at=NOW - timedelta(seconds=90),
            previous=5,
            parallelism=7,
            auto=True,
            reason="CPU 37 %, memory 32 %: up to 20, growing by 2",
        ),
        ResizeNote(at=NOW, previous=7, parallelism=2, auto=False, reason="pinned by hand"),
    )
    listing = history_rows.resizes(replace(EMPTY, resizes=notes), 60, GLYPHS)
    shown = [plain(row.spans).rstrip() for row in listing.rows]
    assert shown == [
        "12:00:00  ▼ 7→2    pinned by hand",
        "11:58:30  ▲ 5→7    CPU 37 %, memory 32 %",
    ]
    assert listing.rows[1].said == "11:58:30: ▲ 5→7 CPU 37 %, memory 32 %: up to 20, growing by 2"


def test_an_operation_and_an_agent_are_told_in_a_row() -> None:
    slow = SlowOperation(
        key=ItemKey("nightly-review-0001", "fix-db-001"),
        agent_id="engineer",
        status=WorkStatus.FAILED,
        duration_s=130,
        finished_at=NOW,
    )
    agent = AgentFigures(agent_id="engineer", completed=12_345, failed=2, mean_s=31)
    past = replace(EMPTY, slowest=(slow,), agents=(agent,))
    [row] = history_rows.slowest(past, 76, GLYPHS).rows
    assert plain(row.spans).split() == [
        "2m", "10s", "✗", "fix-db-001", "nightly-review-0001", "engineer",
    ]  # fmt: skip
    assert row.item == slow.key
    [row] = history_rows.agents(past, 40, GLYPHS).rows
    assert plain(row.spans).split() == ["engineer", "12.3k", "2", "31s"]


def test_names_of_others_are_made_harmless() -> None:
    slow = SlowOperation(
        key=ItemKey("c", "\x1b]0;x\x07[@click=app.quit]"),
        agent_id="\x1b[31ma\nb",
        status=WorkStatus.COMPLETED,
        duration_s=1,
        finished_at=NOW,
    )
    note = ResizeNote(at=NOW, previous=1, parallelism=2, auto=True, reason="\x1b[2Jcleared\n")
    agent = AgentFigures(agent_id="\x1b[31mbad", completed=1, failed=0, mean_s=1)
    past = replace(EMPTY, slowest=(slow,), resizes=(note,), agents=(agent,))
    for make in (history_rows.slowest, history_rows.resizes, history_rows.agents):
        for row in make(past, 90, GLYPHS).rows:
            assert plain(row.spans).isprintable()
            assert row.said.isprintable()
    heading = views.Heading(period=0, convoy_name="\x1b[31mred\n", error="\x1b]8;;x\x07no")
    assert first_line(heading).isprintable()


@pytest.mark.parametrize("glyphs", [GLYPHS, ASCII_GLYPHS], ids=["unicode", "ascii"])
@pytest.mark.parametrize("cells", [10, 36, 50, 76, 196])
def test_rows_are_exactly_as_wide_as_their_box_in_signs_that_it_has(
    cells: int, glyphs: Glyphs
) -> None:
    lines = [views.header(views.Heading(period=1, history=PAST, page=(1, 3)), cells, glyphs)]
    lines += views.durations(PAST, cells, 9, glyphs)
    lines += views.sentences(EMPTY, cells, glyphs, is_away=False, error="")
    for make in (history_rows.slowest, history_rows.resizes, history_rows.agents):
        listing = make(PAST, cells, glyphs)
        lines += [listing.heading, *(row.spans for row in listing.rows)]
    assert {width(each) for each in lines} == {cells}
    strange = {char for each in lines for char in plain(each) if not char.isascii()}
    assert strange <= (SIGNS if glyphs is GLYPHS else set())


@pytest.mark.parametrize("is_zoomed", [False, True])
@pytest.mark.parametrize("pane", HistoryPane)
@pytest.mark.parametrize(
    "size", [(40, 7), (60, 17), (80, 21), (120, 27), (109, 40), (120, 37), (200, 57), (300, 77)]
)
def test_panes_cover_the_screen_without_lying_on_each_other(
    size: tuple[int, int], pane: HistoryPane, is_zoomed: bool
) -> None:
    cells, rows = size
    boxes = arrange(cells, rows, pane, is_zoomed=is_zoomed)
    assert pane in boxes
    covered = [
        (x, y)
        for box in boxes.values()
        for x in range(box.x, box.x + box.cells)
        for y in range(box.y, box.y + box.rows)
    ]
    assert sorted(covered) == [(x, y) for x in range(cells) for y in range(rows)]
    assert is_zoomed is False or list(boxes) == [pane]


def test_the_sizes_that_operators_have_show_what_they_are_for() -> None:
    assert set(arrange(120, 37, HistoryPane.LOAD)) == set(HistoryPane)
    first = {HistoryPane.LOAD, HistoryPane.WORKERS, HistoryPane.RESIZES}
    assert set(arrange(80, 21, HistoryPane.LOAD)) == first
    assert set(arrange(60, 13, HistoryPane.LOAD)) == {HistoryPane.LOAD}


@pytest.mark.parametrize("rows", [7, 21])
def test_each_pane_is_on_exactly_one_page(rows: int) -> None:
    found = [pane for page in pages(rows) for pane in page]
    assert sorted(found) == sorted(HistoryPane)
    assert [page_of(pane, rows) for pane in HistoryPane] == sorted(
        page_of(pane, rows) for pane in HistoryPane
    )
