from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisquad_core.state.metrics.bins import (
    LOWER_US,
    RELATIVE_ERROR,
    bin_of,
    histogram,
    pack,
    percentile_s,
    unpack,
)

DURATIONS_US = st.integers(min_value=0, max_value=LOWER_US[-1] - 1)


@settings(deadline=None)
@given(st.lists(DURATIONS_US, min_size=1), st.sampled_from([0.1, 50, 95, 99, 100]))
def test_a_percentile_is_off_by_two_percent_at_most(
    durations_us: list[int], percent: float
) -> None:
    exact_s = sorted(durations_us)[math.ceil(percent / 100 * len(durations_us)) - 1] / 1e6
    estimate_s = percentile_s(Counter(map(bin_of, durations_us)), percent)
    assert estimate_s == pytest.approx(exact_s, rel=RELATIVE_ERROR, abs=0.001)


@settings(deadline=None)
@given(st.integers(min_value=1_000, max_value=LOWER_US[-1] - 1))
def test_from_a_millisecond_on_the_error_is_relative_alone(duration_us: int) -> None:
    estimate_s = percentile_s({bin_of(duration_us): 1}, 50)
    assert estimate_s == pytest.approx(duration_us / 1e6, rel=RELATIVE_ERROR, abs=0)


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=2 * LOWER_US[-1]))
def test_every_duration_is_in_the_bin_that_says_so(duration_us: int) -> None:
    number = bin_of(duration_us)
    ends = (*LOWER_US[1:], math.inf)
    assert LOWER_US[number] <= duration_us < ends[number]


@pytest.mark.parametrize("number", [0, 1, 20, len(LOWER_US) - 1])
def test_a_bin_holds_where_it_begins(number: int) -> None:
    assert bin_of(LOWER_US[number]) == number


def test_the_percentile_of_nothing_is_unknown() -> None:
    assert percentile_s({}, 50) is None


@settings(deadline=None)
@given(st.lists(DURATIONS_US, min_size=1, max_size=50))
def test_a_histogram_holds_everything_without_gaps(durations_us: list[int]) -> None:
    bins = histogram(Counter(map(bin_of, durations_us)))
    assert sum(each.count for each in bins) == len(durations_us)
    assert [each.upper_s for each in bins[:-1]] == [each.lower_s for each in bins[1:]]
    assert bins[0].lower_s <= min(durations_us) / 1e6
    assert max(durations_us) / 1e6 < bins[-1].upper_s
    assert len(bins) <= 40


def test_a_histogram_begins_and_ends_with_what_it_holds() -> None:
    bins = histogram({10: 1, 12: 2})
    assert [each.count for each in bins] == [1, 0, 2]


def test_a_histogram_of_nothing_is_empty() -> None:
    assert histogram({}) == ()


COUNTS = st.dictionaries(
    st.integers(min_value=0, max_value=len(LOWER_US) - 1), st.integers(min_value=1, max_value=10**9)
)


@settings(deadline=None)
@given(COUNTS, COUNTS)
def test_the_sum_of_packed_counts_is_the_sum_of_each(
    first: dict[int, int], second: dict[int, int]
) -> None:
    assert unpack(pack(first) + pack(second)) == Counter(first) + Counter(second)
    assert unpack(pack(first) + pack(second) - pack(second)) == first
