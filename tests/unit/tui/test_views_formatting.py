from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisquad_tui.formatting import (
    ASCII_GLYPHS,
    GLYPHS,
    cell_width,
    cut_words,
    elapsed,
    glyphs_for,
    short_count,
    uptime,
)
from aisquad_tui.views.convoys import remaining
from aisquad_tui.views.meters import gibibytes
from tests.unit.tui.pictures import SIGNS


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-3, "0s"), (59.9, "59s"), (64, "1m 00s"), (599, "9m 55s"), (3599, "59m"), (3600, "1h 00m")],
)
def test_running_times_grow_coarser(seconds: float, shown: str) -> None:
    assert elapsed(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1, "0s"), (58.2, "58s"), (259, "4m 10s"), (725, "12m"), (11_520, "3h 12m")],
)
def test_expected_times_are_rounded(seconds: float, shown: str) -> None:
    assert remaining(seconds) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(59, "<1m"), (60, "1m"), (90_000, "1d 01h")])
def test_uptimes_have_no_seconds(seconds: float, shown: str) -> None:
    assert uptime(seconds) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (10_000, "10.0k"),
        (99_999, "99.9k"),
        (999_999, "999k"),
        (1_000_000, "1.0M"),
        (99_999_999, "99.9M"),
        (100_000_000, "100M"),
    ],
)
def test_big_counts_are_rounded_down(number: int, shown: str) -> None:
    assert short_count(number) == shown


@given(st.integers(0, 9_999_999_999))
def test_counts_take_five_characters_at_most(number: int) -> None:
    assert len(short_count(number)) <= 5


@pytest.mark.parametrize(("size", "shown"), [(16 << 30, "16"), (5.1 * (1 << 30), "5.1"), (0, "0")])
def test_bytes_are_told_in_gib(size: float, shown: str) -> None:
    assert gibibytes(size) == shown


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (40, "CPU 63 %, memory 32 %"),
        (20, "CPU 63 %, memory 32…"),
        (18, "CPU 63 %, memory…"),
        (10, "CPU 63 %…"),
        (3, "CP…"),
        (0, ""),
    ],
)
def test_sentences_end_after_a_word(width: int, shown: str) -> None:
    assert cut_words("CPU 63 %, memory 32 %", width) == shown


@given(st.text(), st.integers(0, 60))
def test_sentences_fit(text: str, width: int) -> None:
    assert cell_width(cut_words(text, width)) <= width or cell_width(text) <= width


@pytest.mark.parametrize("is_ascii", [True, False])
def test_every_sign_takes_one_cell_of_its_set(is_ascii: bool) -> None:
    glyphs = glyphs_for(is_ascii)
    assert glyphs is (ASCII_GLYPHS if is_ascii else GLYPHS)
    signs = [*glyphs.item.values(), *glyphs.convoy.values(), *glyphs.progress, *glyphs.levels]
    signs += [*glyphs.gauge, *glyphs.frame, glyphs.up, glyphs.down, glyphs.arrow, glyphs.alive]
    signs += [glyphs.waiting, glyphs.dash, glyphs.separator, glyphs.times, glyphs.ellipsis]
    assert {cell_width(sign) for sign in signs} == {1}
    assert all(sign.isascii() or (not is_ascii and sign in SIGNS) for sign in signs)


@pytest.mark.parametrize("glyphs", [GLYPHS, ASCII_GLYPHS])
def test_statuses_that_differ_in_colour_differ_in_sign(glyphs: object) -> None:
    assert isinstance(glyphs, type(GLYPHS))
    assert len(set(glyphs.item.values())) == len(glyphs.item)
    assert len(set(glyphs.levels)) == 8
