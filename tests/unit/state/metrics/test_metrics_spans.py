from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisquad_core.state.metrics.spans import DAY_US, HOUR_US, cut, from_us, to_us

TIMES_US = st.integers(min_value=0, max_value=40 * DAY_US)


@settings(deadline=None)
@given(TIMES_US, TIMES_US)
def test_a_cut_stretch_has_each_moment_once(first: int, second: int) -> None:
    start, end = sorted((first, second))
    spans = cut(start, end)
    parts = (spans.singly, spans.hours[0], spans.days, spans.hours[1])
    assert [part[0] for part in parts] == [start, *(part[1] for part in parts[:-1])]
    assert spans.surplus == (end, parts[-1][1])
    assert all(begin <= stop for begin, stop in (*parts, spans.surplus))


@settings(deadline=None)
@given(TIMES_US, TIMES_US)
def test_sums_are_used_wherever_they_can_be(first: int, second: int) -> None:
    start, end = sorted((first, second))
    spans = cut(start, end)
    assert all(stop - begin < HOUR_US for begin, stop in (spans.singly, spans.surplus))
    assert all(stop - begin < 2 * DAY_US for begin, stop in spans.hours)
    assert all(edge % HOUR_US == 0 for part in spans.hours for edge in part if part[0] < part[1])
    assert all(edge % DAY_US == 0 for edge in spans.days if spans.days[0] < spans.days[1])


@pytest.mark.parametrize("at", [datetime(1970, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_a_time_comes_back_as_it_was(at: datetime) -> None:
    assert from_us(to_us(at)) == at
