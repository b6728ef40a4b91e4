from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisquad_core.model import ConvoyStatus, WorkStatus
from aisquad_tui.formatting import (
    ASCII_GLYPHS,
    GLYPHS,
    age,
    bar_cells,
    between,
    cell_width,
    cut,
    duration,
    moment,
    pad,
    percent,
    plural,
    rate,
)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0.0s"),
        (0.04, "0.0s"),
        (3.21, "3.2s"),
        (9.96, "10s"),
        (59.6, "1m 00s"),
        (62, "1m 02s"),
        (3599.7, "1h 00m"),
        (11_520, "3h 12m"),
        (183_600, "2d 03h"),
    ],
)
def test_durations_read_as_people_say_them(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.5, "now"), (12.9, "12s"), (250, "4m"), (7200, "2h"), (800_000, "9d")]
)
def test_ages_are_whole_units(seconds: float, shown: str) -> None:
    assert age(seconds) == shown


@pytest.mark.parametrize(
    ("per_s", "shown"), [(2.13, "2.1/s"), (740.2, "740/s"), (0.2, "12/min"), (0.05, "3.0/min")]
)
def test_slow_rates_are_told_per_minute(per_s: float, shown: str) -> None:
    assert rate(per_s) == shown


def test_only_the_whole_is_a_hundred_percent() -> None:
    assert [percent(0, 3), percent(2, 3), percent(9_999, 10_000), percent(3, 3), percent(0, 0)] == [
        "0 %",
        "66 %",
        "99 %",
        "100 %",
        "100 %",
    ]


def test_plurals_set_thousands_apart() -> None:
    assert [plural(1, "item"), plural(1024, "item"), plural(2, "more", "more")] == [
        "1 item",
        "1,024 items",
        "2 more",
    ]


def test_time_between_counts_until_now_while_it_runs() -> None:
    start = datetime(2026, 1, 2, tzinfo=UTC)
    now = start + timedelta(seconds=30)
    assert between(None, None, now) == ""
    assert between(start, None, now) == "30s"
    assert between(start, start + timedelta(seconds=2), now) == "2.0s"


def test_utc_moments_say_so() -> None:
    assert moment(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), is_utc=True) == "2026-01-02 03:04:05Z"


@given(
    parts=st.lists(st.integers(0, 10_000), min_size=3, max_size=3),
    open=st.integers(0, 10_000),
    width=st.integers(4, 60),
)
def test_a_bar_fills_its_width_and_is_full_only_at_the_end(
    parts: list[int], open: int, width: int
) -> None:
    total = sum(parts) + open
    *cells, rest = bar_cells(parts, total, width)
    assert sum(cells) + rest == width
    assert all(cell >= 0 for cell in cells)
    assert all(not cell for cell, part in zip(cells, parts, strict=True) if not part)
    if total:
        assert (rest == 0) == (open == 0)


def test_one_failure_of_many_shows_in_the_bar() -> None:
    assert bar_cells((9_999, 1, 0), 10_000, 20) == (19, 1, 0, 0)


@given(text=st.text(), width=st.integers(0, 30))
def test_cut_text_never_takes_more_cells_than_it_may(text: str, width: int) -> None:
    assert cell_width(cut(text, width)) <= width


def test_wide_characters_count_as_two_cells() -> None:
    assert cell_width("漢字") == 4
    assert cell_width("e\u0301") == 1
    assert cut("漢字漢字", 5) == "漢字…"
    assert pad("漢", 4, is_right=True) == "  漢"


def test_both_sets_of_glyphs_know_every_status() -> None:
    for glyphs in (GLYPHS, ASCII_GLYPHS):
        assert set(glyphs.item) == set(WorkStatus)
        assert set(glyphs.convoy) == set(ConvoyStatus)
        signs = [*glyphs.item.values(), *glyphs.convoy.values(), *glyphs.bar, glyphs.ellipsis]
        assert {cell_width(sign) for sign in signs} == {1}
    signs = [*ASCII_GLYPHS.item.values(), *ASCII_GLYPHS.convoy.values(), *ASCII_GLYPHS.bar]
    assert "".join(signs).isascii()
