from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisquad_core.model import WorkStatus
from aisquad_tui.formatting import ASCII_GLYPHS, GLYPHS, cell_width
from aisquad_tui.ink import Role, plain, width
from aisquad_tui.views.charts import (
    Chart,
    Trace,
    columns_in,
    load_chart,
    memory_sign,
    throughput_chart,
    workers_chart,
)
from aisquad_tui.views.plot import plot
from tests.unit.tui.pasts import ended, loads_of, make_past, point
from tests.unit.tui.pictures import SIGNS

if TYPE_CHECKING:
    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line
    from aisquad_tui.views.timeline import Past

_AXIS = 6
"""Cells of the numbers and the axis."""
_BOTH = pytest.mark.parametrize("glyphs", [GLYPHS, ASCII_GLYPHS], ids=["unicode", "ascii"])


def night() -> Past:
    """An hour with a gap, an overload, and failures."""
    load = [
        point(3600 - 60 * n, cpu=(n * 7) % 100, active_workers=n % 12)
        for n in range(60)
        if not 20 <= n < 30
    ]
    throughput = [ended(3600 - 60 * n, n % 9, n % 3) for n in range(0, 60, 2)]
    return make_past(load=tuple(load), throughput=tuple(throughput))


def charts(past: Past, cells: int, rows: int, glyphs: Glyphs) -> list[Chart]:
    return [
        load_chart(past, cells, rows, glyphs, limit=80),
        workers_chart(past, cells, rows, glyphs, most=20),
        throughput_chart(past, cells, rows, glyphs),
    ]


def column(lines: list[Line], place: int) -> list[str]:
    """Return a column of a canvas that is too narrow for times, the upper row first."""
    return [plain(each)[_AXIS + place] for each in lines]


def roles(lines: list[Line], sign: str) -> set[Role]:
    """Return the roles that a sign is drawn in."""
    return {role for each in lines for text, role in each if sign in text}


@_BOTH
@pytest.mark.parametrize("cells", [0, 3, 6, 7, 12, 36, 66, 194])
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 12, 40])
def test_a_chart_fills_its_room_exactly(glyphs: Glyphs, cells: int, rows: int) -> None:
    for past in (night(), make_past()):
        for chart in charts(past, cells, rows, glyphs):
            assert [width(each) for each in plot(chart, glyphs)] == [cells] * rows


@_BOTH
def test_only_signs_that_every_font_has_are_drawn(glyphs: Glyphs) -> None:
    for chart in charts(night(), 66, 12, glyphs):
        text = "".join(plain(each) for each in plot(chart, glyphs))
        strange = {char for char in text if not char.isascii()}
        assert strange <= (SIGNS if glyphs is GLYPHS else set())
        assert all(cell_width(char) == 1 for char in text)


@pytest.mark.parametrize(
    ("is_fine", "rows"),
    [
        (True, ["    █", "   ▄█", "  ▄██", " ▄███", "▄████"]),
        (False, ["    █", "   ██", "   ██", " ████", "█████"]),
    ],
)
def test_an_area_is_as_high_as_its_value(is_fine: bool, rows: list[str]) -> None:
    trace = Trace(
        values=(10, 30, 50, 70, 100), sign="█", role=Role.GOOD, is_area=True, is_fine=is_fine
    )
    scale = ((0.0, "    0"), (100.0, "  100"))
    chart = Chart(cells=_AXIS + 5, rows=5, top=100, scale=scale, marks=(), traces=(trace,))
    assert [plain(each)[_AXIS:] for each in plot(chart, GLYPHS)] == rows


def test_what_is_known_to_be_nothing_is_not_a_gap() -> None:
    chart = load_chart(loads_of(0, None, None, None, 0), _AXIS + 5, 8, GLYPHS, limit=None)
    lines = plot(chart, GLYPHS)
    assert [column(lines, place)[-1] for place in range(5)] == ["▄", " ", " ", " ", "▄"]


@_BOTH
def test_a_gap_is_blank_from_top_to_bottom(glyphs: Glyphs) -> None:
    chart = load_chart(loads_of(50, 50, None, None, None, 50), _AXIS + 6, 9, glyphs, limit=None)
    lines = plot(chart, glyphs)
    assert set(column(lines, 3)) == {" "}
    assert set(column(lines, 5)) > {" "}


@_BOTH
def test_cpu_and_memory_are_told_apart_by_their_signs(glyphs: Glyphs) -> None:
    chart = load_chart(loads_of(*(70,) * 10), _AXIS + 10, 11, glyphs, limit=None)
    lines = plot(chart, glyphs)
    signs = set(column(lines, 4)) - {" ", "▄"}
    assert signs == {memory_sign(glyphs), glyphs.bar[0]}


def test_over_the_limit_cpu_has_the_role_of_a_warning() -> None:
    chart = load_chart(loads_of(95, 40), _AXIS + 2, 11, GLYPHS, limit=80)
    lines = plot(chart, GLYPHS)
    assert roles(lines, "█") == {Role.WARN, Role.ACCENT}
    chart = load_chart(loads_of(79, 40), _AXIS + 2, 11, GLYPHS, limit=80)
    assert roles(plot(chart, GLYPHS), "█") == {Role.ACCENT}


def test_the_limit_is_a_dotted_line_where_nothing_lies_over_it() -> None:
    chart = load_chart(loads_of(10, 10, 10, 10), _AXIS + 4, 11, GLYPHS, limit=80)
    assert plain(plot(chart, GLYPHS)[2])[_AXIS:] == "· · "


def test_numbers_and_axis_are_quiet() -> None:
    lines = plot(load_chart(loads_of(10, 20), 30, 11, GLYPHS, limit=None), GLYPHS)
    assert plain(lines[0]).startswith("  100│")
    assert lines[0][0][1] is Role.QUIET
    assert plain(lines[-2]).startswith("    0│")
    assert plain(lines[-1]).strip() == "11:30"


def test_the_parallelism_stands_over_what_runs() -> None:
    past = make_past(points=2, load=(point(3600, active_workers=5), point(1800, active_workers=0)))
    lines = plot(workers_chart(past, _AXIS + 2, 10, GLYPHS, most=20), GLYPHS)
    assert "".join(column(lines, 0)) == "   ─   ▄██"
    assert "".join(column(lines, 1)) == "   ─      "


@_BOTH
def test_failures_stand_on_what_completed_and_neither_vanishes(glyphs: Glyphs) -> None:
    past = make_past(points=3, throughput=(ended(3600, 1000, 1), ended(2400, 1, 1000)))
    lines = plot(throughput_chart(past, _AXIS + 3, 8, glyphs), glyphs)
    bad, good = glyphs.item[WorkStatus.FAILED], glyphs.bar[0]
    for place in (0, 1):
        stack = "".join(column(lines, place)).strip()
        assert stack == bad * stack.count(bad) + good * stack.count(good)
        assert stack.count(bad) >= 1
        assert stack.count(good) >= 1
    assert set(column(lines, 2)) == {" "}


@settings(max_examples=40)
@given(
    values=st.lists(st.floats(0, 1e9), max_size=30),
    counts=st.lists(st.integers(0, 10**9), max_size=30),
    cells=st.integers(0, 120),
    rows=st.integers(0, 20),
    limit=st.none() | st.floats(0, 100),
)
def test_whatever_was_recorded_can_be_drawn(
    values: list[float], counts: list[int], cells: int, rows: int, limit: float | None
) -> None:
    load = [
        point(3600 - 100 * n, min(100, value), parallelism=value, active_workers=value)
        for n, value in enumerate(values)
    ]
    throughput = [ended(3600 - 100 * n, count, counts[-1]) for n, count in enumerate(counts)]
    past = make_past(points=36, load=tuple(load), throughput=tuple(throughput))
    made = [
        load_chart(past, cells, rows, GLYPHS, limit=limit),
        workers_chart(past, cells, rows, GLYPHS, most=20),
        throughput_chart(past, cells, rows, GLYPHS),
    ]
    for chart in made:
        assert [width(each) for each in plot(chart, GLYPHS)] == [cells] * rows


def test_charts_share_nothing_though_plotext_has_one_figure_for_all() -> None:
    made = charts(night(), 66, 12, GLYPHS) * 4
    alone = [plot(chart, GLYPHS) for chart in made]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda chart: plot(chart, GLYPHS), made)) == alone


def test_drawing_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for past in (night(), make_past(), make_past(1.0)):
        for chart in charts(past, 40, 8, GLYPHS):
            plot(chart, GLYPHS)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("ended_most", "top"), [(0, "1"), (1, "1"), (7, "8"), (11, "20"), (999, "1,000")]
)
def test_the_scale_ends_at_a_round_number(ended_most: int, top: str) -> None:
    past = make_past(points=1, throughput=(ended(3600, ended_most),))
    assert throughput_chart(past, 40, 10, GLYPHS).scale[-1][1].strip() == top


def test_the_workers_scale_has_room_for_the_maximum_and_for_what_was() -> None:
    assert workers_chart(make_past(), 40, 10, GLYPHS, most=20).top == 20
    past = make_past(load=(point(60, parallelism=33),))
    assert workers_chart(past, 40, 10, GLYPHS, most=20).top == 40


def test_all_charts_of_a_width_have_the_same_columns() -> None:
    assert {chart.columns for chart in charts(night(), 66, 12, GLYPHS)} == {columns_in(66)} == {60}
