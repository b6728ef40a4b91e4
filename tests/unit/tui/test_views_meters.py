from __future__ import annotations

from dataclasses import replace

import pytest

from aisquad_core.api import StatusCounts
from aisquad_tui.formatting import GLYPHS
from aisquad_tui.ink import Role, plain
from aisquad_tui.store import Picture
from aisquad_tui.views.curve import heights, sparkline
from aisquad_tui.views.meters import boxes, lines, throttle
from tests.unit.tui.pictures import PICTURE, make_engine, make_load, texts


def _workers(**changes: object) -> list[str]:
    """Return what the box of the workers shows, edges included."""
    picture = replace(PICTURE, engine=make_engine(**changes))
    return [shown[80:] for shown in texts(boxes(picture, 120, GLYPHS))]


def test_wide_terminals_get_three_boxes() -> None:
    assert texts(boxes(PICTURE, 120, GLYPHS)) == [
        "╭ CPU ────────────────── 2 cores  50 % ╮"
        "╭ Memory ───────── 5.1 of 16 GiB  32 % ╮"
        "╭ Workers ────────────────── auto 5\N{EN DASH}20 ╮",
        "│                  ▆▆▆▆▆▆▆             │"
        "│                                      │"
        "│ ████████████········  12 busy of 12  │",
        "│ ████████████████████████████████████ │"
        "│ ▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅ │"
        "│  ▄▄▄▄▄▄▄▄▄▄▄▄▄▄▅▅▅▅▅  163 queued     │",
        "│ peak 90 %   limit 80 %               │"
        "│ peak 32 %   limit 80 %               │"
        "│ ▲ 11→12 CPU 63 %, memory 32 %        │",
        "╰──────────────────────────────────────╯" * 3,
    ]


def test_narrow_terminals_get_two_lines() -> None:
    assert texts(lines(PICTURE, 80, GLYPHS)) == [
        " CPU          ▄▄▄▄▄▄▄▄▄▇▇▇▇▄▄▄▄▄▄ 50 %   MEM          ▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃ 32 %",
        " Workers ████████████········  12 of 12 auto 5\N{EN DASH}20"
        "  ▲ 11→12 CPU 63 %, memory 32 %",
    ]


def test_before_the_first_sample_the_boxes_are_there_and_empty() -> None:
    drawn = texts(boxes(Picture(), 120, GLYPHS))
    assert drawn[0].replace("─", "") == "╭ CPU ╮╭ Memory ╮╭ Workers ╮"
    assert set("".join(drawn[1:4])) == {"│", " "}


def test_samples_over_the_limit_are_amber_and_so_is_the_peak() -> None:
    picture = replace(PICTURE, history=(make_load(50, age_s=5), make_load(91)))
    drawn = boxes(picture, 120, GLYPHS)
    assert [text for text, role in drawn[2][:4] if role is Role.WARN] == ["█"]
    assert dict(drawn[3])["91 %"] is Role.WARN
    assert dict(drawn[0])["91 %"] is Role.WARN
    assert dict(drawn[0])["32 %"] is Role.TEXT


@pytest.mark.parametrize(
    ("running", "size", "gauge"),
    [
        (0, 20, "░" * 20),
        (5, 8, "█" * 5 + "░" * 3 + "·" * 12),
        (20, 20, "█" * 20),
        (12, 5, "█" * 12 + "·" * 8),
    ],
)
def test_the_gauge_tells_busy_from_free_from_beyond(running: int, size: int, gauge: str) -> None:
    engine = make_engine(parallelism=size)
    picture = replace(PICTURE, engine=engine, counts=StatusCounts(running=running))
    assert plain(boxes(picture, 120, GLYPHS)[1])[82:102] == gauge


@pytest.mark.parametrize(("cells", "most", "whole"), [(120, 5, 20), (200, 20, 40), (120, 300, 19)])
def test_the_gauge_takes_as_much_room_as_whole_workers_do(
    cells: int, most: int, whole: int
) -> None:
    picture = replace(PICTURE, engine=make_engine(max=most, parallelism=most))
    picture = replace(picture, counts=StatusCounts(running=most))
    drawn = boxes(picture, cells, GLYPHS)[1]
    assert [len(text) for text, role in drawn if "█" in text and role is Role.ACCENT][-1] == whole


def test_a_pin_is_told_in_amber() -> None:
    engine = make_engine(auto=False, parallelism=8, reason="pinned by hand at 8", resized_from=12)
    top = boxes(replace(PICTURE, engine=engine), 120, GLYPHS)[0]
    assert dict(top)["pinned 8"] is Role.WARN


def test_auto_tuning_that_is_off_is_not_called_a_pin() -> None:
    reason = "auto tuning off: baseline 5"
    assert "auto off, fixed at 5" in _workers(auto=False, parallelism=5, reason=reason)[0]


def test_the_last_resize_has_its_direction_and_its_reason() -> None:
    shrunk = "CPU 91 % over 80 %: baseline 5"
    assert _workers(parallelism=5, resized_from=12, reason=shrunk)[3].startswith(
        "│ ▼ 12→5 CPU 91 % over 80 %: baseline… "
    )
    assert _workers(parallelism=5, resized_from=None, reason="starting at baseline 5")[3] == (
        "│ starting at baseline 5               │"
    )


def test_a_throttle_stands_before_the_reason() -> None:
    picture = replace(PICTURE, history=(make_load(throttle=0.45),))
    assert throttle(picture) == 0.45
    assert "│ throttled 45 %  ▲ 11→12 CPU 63 %… " in texts(boxes(picture, 120, GLYPHS))[3]


def test_what_the_queue_waits_for_is_told_when_nothing_runs() -> None:
    engine = make_engine(waiting="rate limit: 12 s")
    picture = replace(PICTURE, engine=engine, counts=StatusCounts(pending=5))
    assert "│ waits: rate limit: 12 s " in texts(boxes(picture, 120, GLYPHS))[3]
    assert "waits: rate limit: 12 s" in texts(lines(picture, 80, GLYPHS))[1]


def test_a_column_holds_the_highest_sample_of_its_time() -> None:
    history = [make_load(cpu, age_s=age_s) for cpu, age_s in ((10, 5), (90, 4), (20, 3), (30, 0))]
    assert heights(history, lambda load: load.cpu_percent, 4) == (10, 90, 90, 30)


def test_while_a_column_fills_only_that_one_changes() -> None:
    history = [make_load(60 - age_s % 60, age_s=age_s) for age_s in range(300, 0, -1)]
    shown = [heights(history[:end], lambda load: load.cpu_percent, 36) for end in (297, 298, 299)]
    assert len({columns[:-1] for columns in shown}) == 1
    assert [columns[-1] for columns in shown] == [56, 57, 58]


def test_a_gap_keeps_the_value_before_it() -> None:
    history = [make_load(10, age_s=100), make_load(90, age_s=0)]
    shown = heights(history, lambda load: load.cpu_percent, 30)
    assert shown == (*(None,) * 9, *(10,) * 20, 90)


def test_what_was_before_the_shown_time_fills_its_beginning() -> None:
    history = [make_load(10, age_s=5000), make_load(90, age_s=0)]
    assert heights(history, lambda load: load.cpu_percent, 3) == (10, 10, 90)


def test_a_clock_that_was_set_back_breaks_nothing() -> None:
    history = [make_load(10, age_s=-500), make_load(90, age_s=0)]
    assert heights(history, lambda load: load.cpu_percent, 3) == (None, None, 90)


def test_two_rows_make_sixteen_heights() -> None:
    upper, lower = sparkline((0, 3, 50, 56, 100), 100, 2, GLYPHS)
    assert (plain(upper), plain(lower)) == ("   ▁█", "▁▁███")
