from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from aisquad_core.api import StatusCounts
from aisquad_tui.ink import Role, plain
from aisquad_tui.store import Picture
from aisquad_tui.views.header import header
from tests.unit.tui.pictures import (
    NOW,
    PICTURE,
    ago,
    make_engine,
    make_surroundings,
    texts,
)

PLACE = make_surroundings()


def _shown(picture: Picture, cells: int = 120) -> str:
    return texts([header(picture, PLACE, NOW, cells)])[0]


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        (120, " aisquad ~/src/shop on build-07  ● up 3h 12m   12 running  163 queued  3 failed"),
        (70, " aisquad ~/src/shop  ● up 3h 12m   12 running  163 queued  3 failed"),
        (60, " aisquad  ● up 3h 12m   12 running  163 queued  3 failed"),
        (50, " aisquad   12 running  163 queued  3 failed"),
        (40, " 12 running  163 queued  3 failed"),
    ],
)
def test_the_numbers_stay_when_the_rest_gives_way(cells: int, shown: str) -> None:
    assert _shown(PICTURE, cells) == shown


def test_nothing_in_it_changes_from_second_to_second() -> None:
    lines = {header(PICTURE, PLACE, NOW + timedelta(seconds=seconds), 120) for seconds in range(60)}
    assert len(lines) == 1


@pytest.mark.parametrize(("age_s", "up"), [(5, "up <1m"), (65, "up 1m"), (200_000, "up 2d 07h")])
def test_the_time_since_the_start_is_told_in_minutes_at_the_finest(age_s: int, up: str) -> None:
    picture = replace(PICTURE, engine=make_engine(started_at=ago(age_s)))
    assert f"● {up}   12 running" in _shown(picture)


def test_failures_are_bad_and_none_is_quiet() -> None:
    failing = dict(header(PICTURE, PLACE, NOW, 120))
    well = dict(header(replace(PICTURE, counts=StatusCounts(running=1)), PLACE, NOW, 120))
    assert (failing["3 failed"], well["0 failed"]) == (Role.BAD, Role.QUIET)


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        (
            120,
            " aisquad  ✗ disk full: workstate.db cannot grow; what is recorded is safe"
            "   12 running  163 queued  3 failed",
        ),
        (80, " aisquad  ✗ disk full: workstate.db cannot grow   12 running  3 failed"),
        (40, " aisquad  ✗ disk full: workstate.db…"),
    ],
)
def test_trouble_comes_first_and_is_cut_only_between_words(cells: int, shown: str) -> None:
    picture = replace(PICTURE, engine=make_engine(trouble="disk full: workstate.db cannot grow"))
    assert _shown(picture, cells) == shown
    assert Role.BAD in {role for text, role in header(picture, PLACE, NOW, cells) if "disk" in text}


def test_an_engine_that_is_away_is_told_with_the_time_and_all_is_dim() -> None:
    lost_at = ago(5)
    drawn = header(replace(PICTURE, lost_at=lost_at), PLACE, NOW, 120)
    assert f"○ engine away since {lost_at.astimezone():%H:%M:%S}   12 running" in plain(drawn)
    assert {role for text, role in drawn if text.strip()} == {Role.QUIET}


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        (120, "  ○ engine away since {}, trying again   12 running  163 queued  3 failed"),
        (80, " aisquad  ○ engine away since {}   12 running  163 queued  3 failed"),
    ],
)
def test_an_engine_that_may_come_back_is_tried_for(cells: int, shown: str) -> None:
    lost_at = ago(5)
    place = make_surroundings(is_embedded=False)
    drawn = header(replace(PICTURE, lost_at=lost_at), place, NOW, cells)
    assert shown.format(f"{lost_at.astimezone():%H:%M:%S}") in plain(drawn)


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        (120, "● up 3h 12m  disk behind: 912 writes wait   12 running  163 queued  3 failed"),
        (80, " aisquad  disk behind: 912 writes wait   12 running  163 queued  3 failed"),
        (60, " disk behind: 912 writes wait   12 running  3 failed"),
    ],
)
def test_a_disk_that_does_not_keep_up_is_told_quietly(cells: int, shown: str) -> None:
    picture = replace(PICTURE, engine=make_engine(writes_pending=912))
    assert shown in _shown(picture, cells)
    drawn = header(picture, PLACE, NOW, cells)
    assert {role for text, role in drawn if "disk" in text} == {Role.WARN}


@pytest.mark.parametrize(
    "picture",
    [
        replace(PICTURE, engine=make_engine(writes_pending=800)),
        replace(PICTURE, engine=make_engine(writes_pending=912), lost_at=ago(5)),
    ],
)
def test_up_to_the_threshold_and_of_an_engine_that_is_away_nothing_is_told(
    picture: Picture,
) -> None:
    assert "disk" not in _shown(picture)


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        (120, "  ○ engine away since {}: does not answer, trying again   12 running"),
        (80, " ○ engine away since {}: does not answer   12 running"),
    ],
)
def test_an_engine_that_is_there_and_does_not_answer_is_told_apart(cells: int, shown: str) -> None:
    picture = replace(PICTURE, lost_at=ago(5), is_silent=True)
    drawn = plain(header(picture, make_surroundings(is_embedded=False), NOW, cells))
    assert shown.format(f"{ago(5).astimezone():%H:%M:%S}") in drawn


@pytest.mark.parametrize("phase", ["recovering", "stopping"])
def test_an_engine_that_begins_or_ends_says_so(phase: str) -> None:
    assert f"  ○ {phase}   12 running" in _shown(replace(PICTURE, engine=make_engine(phase=phase)))


def test_before_the_first_snapshot_it_waits_for_the_engine() -> None:
    assert "○ waiting for the engine" in _shown(Picture())


def test_a_held_screen_says_for_how_long() -> None:
    drawn = header(PICTURE, PLACE, NOW, 120, held_since=ago(12))
    assert dict(drawn)["held 12s"] is Role.WARN


def test_the_demo_is_marked_and_a_daemons_work_goes_on() -> None:
    place = make_surroundings(is_demo=True, is_embedded=False)
    shown = plain(header(PICTURE, place, NOW, 120)).rstrip()
    assert "build-07  demo  ● up" in shown
    assert shown.endswith("   q leaves, work goes on")


def test_a_places_control_characters_do_no_harm() -> None:
    place = make_surroundings(place="~/\x1b]0;x\x07src\n[bold]", host="a\rb")
    assert " aisquad ~/src [bold] on a b " in plain(header(PICTURE, place, NOW, 120)).replace(
        "ab", "a b"
    )
