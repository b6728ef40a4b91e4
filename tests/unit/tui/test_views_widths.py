from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisquad_core.api import ConvoyView, ItemView, StatusCounts, add_counts
from aisquad_core.model import ConvoyStatus, WorkStatus
from aisquad_tui.ink import plain
from aisquad_tui.store import Picture
from tests.unit.tui import pictures

_NUMBERS = st.integers(0, 12) | st.integers(0, 2_000_000)
_TEXTS = st.text(max_size=40)
_MAYBE = st.none() | _TEXTS
_AGES = st.integers(0, 1_000_000) | st.integers(0, 200)
_COUNTS = st.builds(
    StatusCounts,
    pending=_NUMBERS,
    blocked=_NUMBERS,
    running=_NUMBERS,
    completed=_NUMBERS,
    failed=_NUMBERS,
    lost=_NUMBERS,
    cancelled=_NUMBERS,
    skipped=_NUMBERS,
)
_CONVOYS = st.builds(
    pictures.make_convoy,
    _TEXTS,
    st.sampled_from(ConvoyStatus),
    counts=_COUNTS,
    reason=_MAYBE,
    rate_per_s=st.none() | st.floats(0, 1e7),
    eta_s=st.none() | st.floats(0, 1e7),
    finished_at=st.none() | _AGES.map(pictures.ago),
)
_ITEMS = st.builds(
    pictures.make_item,
    _TEXTS,
    st.sampled_from(WorkStatus),
    agent_id=_TEXTS,
    attempt=st.integers(1, 2000),
    started_at=st.none() | _AGES.map(pictures.ago),
    finished_at=st.none() | _AGES.map(pictures.ago),
    exit_code=st.none() | st.integers(0, 255),
    error=_MAYBE,
    reason=_MAYBE,
    last_line=_MAYBE,
)
_LOADS = st.builds(
    pictures.make_load,
    st.floats(0, 100),
    st.floats(0, 100),
    age_s=_AGES,
    size=st.integers(1, 300),
    throttle=st.floats(0, 1),
)
_ENGINES = st.none() | st.builds(
    pictures.make_engine,
    parallelism=st.integers(1, 300),
    max=st.integers(1, 300),
    auto=st.booleans(),
    reason=_TEXTS,
    waiting=_MAYBE,
    trouble=_MAYBE,
    phase=st.sampled_from(["recovering", "running", "stopping", "stopped"]),
    resized_from=st.none() | st.integers(1, 300),
)


@st.composite
def _pictures(draw: st.DrawFn) -> Picture:
    loads = sorted(draw(st.lists(_LOADS, max_size=12)), key=lambda load: load.at)
    return Picture(
        engine=draw(_ENGINES),
        counts=draw(_COUNTS),
        history=tuple(loads),
        lost_at=draw(st.none() | st.just(pictures.NOW - timedelta(seconds=5))),
    )


@settings(max_examples=60, deadline=None)
@given(
    cells=st.integers(40, 300),
    picture=_pictures(),
    convoys=st.lists(_CONVOYS, max_size=3),
    items=st.lists(_ITEMS, max_size=4),
    is_ascii=st.booleans(),
)
def test_every_line_is_exactly_as_wide_as_asked_whatever_it_shows(
    cells: int,
    picture: Picture,
    convoys: list[ConvoyView],
    items: list[ItemView],
    is_ascii: bool,
) -> None:
    drawn = pictures.dashboard(
        cells, picture=picture, all_convoys=convoys, items=items, is_ascii=is_ascii
    )
    assert pictures.widths(drawn) == {cells}
    if is_ascii:
        assert all(plain(each).isascii() for each in drawn)


@pytest.mark.parametrize("cells", range(40, 301, 13))
def test_only_signs_of_the_agreed_set_are_drawn(cells: int) -> None:
    picture = Picture(
        engine=pictures.make_engine(trouble="disk full", phase="stopping", auto=False),
        counts=add_counts(each.counts for each in pictures.CONVOYS),
        history=pictures.HISTORY,
    )
    convoys = [pictures.make_convoy("any", status) for status in ConvoyStatus]
    items = [pictures.make_item("any", each, attempt=2, started_at=None) for each in WorkStatus]
    drawn = pictures.dashboard(cells, picture=picture, all_convoys=convoys, items=items)
    drawn += pictures.dashboard(cells)
    signs = {char for each in drawn for char in plain(each) if not char.isascii()}
    assert signs - pictures.SIGNS == set()


@pytest.mark.parametrize("cells", [40, 80, 120, 200])
def test_ascii_terminals_get_ascii_alone(cells: int) -> None:
    drawn = pictures.dashboard(cells, is_ascii=True)
    assert [plain(each) for each in drawn if not plain(each).isascii()] == []
