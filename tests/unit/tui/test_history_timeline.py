from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisquad_tui.views.timeline import Timeline, extent, loads, marks, moment, sums
from tests.unit.tui.pasts import ended, loads_of, make_past, point
from tests.unit.tui.pictures import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aisquad_core.api import LoadPoint
    from aisquad_tui.views.timeline import Heights, Past

_DASH = "-"


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where clocks go forward on 29 March 2026, from 02:00 to 03:00."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


def cpu(past: Past, columns: int) -> Heights:
    def value(point: LoadPoint) -> float:
        return point.cpu_percent

    return loads(past, columns, value)


def test_each_stretch_has_its_column() -> None:
    assert cpu(loads_of(10, 20, 30, 40), 4) == (10, 20, 30, 40)


def test_fewer_columns_show_the_mean_of_what_is_in_them() -> None:
    assert cpu(loads_of(10, 20, 30, 50), 2) == (15, 40)


def test_a_time_without_an_engine_is_a_gap() -> None:
    values = (10.0, 20.0, None, None, None, 60.0, 70.0, 80.0)
    assert cpu(loads_of(*values), 8) == values


def test_samples_that_are_rarer_than_columns_leave_no_gaps_between_them() -> None:
    assert cpu(loads_of(10, 20, 30), 6) == (None, 10, 10, 20, 20, 30)


def test_stretches_that_begin_before_the_time_shown_count_by_their_middle() -> None:
    past = make_past(points=4, load=(point(3600 + 200, 10), point(2700 + 200, 20)))
    assert cpu(past, 4) == (10, 20, None, None)


def test_two_samples_alone_say_nothing_of_the_time_between_them() -> None:
    assert cpu(loads_of(10, None, None, 20), 4) == (10, None, None, 20)


def test_what_lies_outside_is_left_out() -> None:
    past = make_past(points=4, load=(point(9000, 10), point(-9000, 20)))
    assert cpu(past, 4) == (None,) * 4


def test_nothing_known_is_all_gaps() -> None:
    assert cpu(make_past(), 3) == (None, None, None)


def test_what_ended_is_added_up() -> None:
    past = make_past(points=4, throughput=(ended(3600, 3, 1), ended(2700, 4), ended(900, 0, 2)))
    assert sums(past, 4) == ((3, 1), (4, 0), (0, 0), (0, 2))
    assert sums(past, 2) == ((7, 1), (0, 2))


@pytest.mark.parametrize(
    ("period_s", "columns", "names"),
    [
        (900, 66, ["11:50", "11:55"]),
        (3600, 66, ["11:10", "11:20", "11:30", "11:40", "11:50"]),
        (6 * 3600, 66, ["07:00", "08:00", "09:00", "10:00", "11:00"]),
        (86_400, 66, ["18:00", "00:00", "06:00"]),
        (7 * 86_400, 66, ["Feb 24", "Feb 26", "Feb 28"]),
        (30 * 86_400, 66, ["Feb  2", "Feb  9", "Feb 16", "Feb 23"]),
    ],
)
def test_times_are_named_where_they_are_round(
    period_s: float, columns: int, names: list[str]
) -> None:
    line = Timeline(NOW - timedelta(seconds=period_s), NOW, columns)
    shown = [mark.name for mark in marks(line)]
    assert [name for name in names if name in shown] == names


@given(
    period_s=st.sampled_from([900, 3600, 21_600, 86_400, 604_800, 2_592_000]) | st.floats(1, 4e6),
    columns=st.integers(0, 300),
    end=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),
)
def test_names_of_times_never_touch_and_never_leave_the_axis(
    period_s: float, columns: int, end: datetime
) -> None:
    last = end.replace(tzinfo=UTC)
    shown = marks(Timeline(last - timedelta(seconds=period_s), last, columns))
    for before, after in pairwise(shown):
        assert after.column - before.column >= len(after.name) + 2
    for mark in shown:
        assert len(mark.name) // 2 <= mark.column <= columns - len(mark.name) // 2


@pytest.mark.usefixtures("berlin")
def test_times_are_those_of_the_wall_and_survive_the_change_of_clocks() -> None:
    end = datetime(2026, 3, 29, 10, 0, tzinfo=UTC)
    shown = marks(Timeline(end - timedelta(hours=24), end, 66))
    assert [mark.name for mark in shown] == ["12:00", "18:00", "00:00", "06:00"]
    hours = (shown[3].column - shown[2].column) / 66 * 24
    assert round(hours) == 5  # from midnight to six, an hour of which there was not


@pytest.mark.usefixtures("berlin")
def test_moments_are_local_and_have_their_day_where_that_matters() -> None:
    at = datetime(2026, 3, 29, 10, 0, 7, tzinfo=UTC)
    assert moment(at, 3600) == "12:00:07"
    assert moment(at, 86_400) == "Mar 29 12:00"


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        (1, "11:00-12:00"),
        (13, "Feb 28 23:00-12:00"),
        (24, "Feb 28 12:00-12:00"),
        (168, "Feb 22-Mar  1"),
    ],
)
def test_the_extent_names_days_where_they_differ(hours: int, said: str) -> None:
    assert extent(NOW - timedelta(hours=hours), NOW, _DASH) == said
