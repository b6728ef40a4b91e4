from __future__ import annotations

from datetime import timedelta

import pytest

from aisquad_core.api import ItemSort
from aisquad_core.model import WorkStatus
from aisquad_tui.formatting import GLYPHS
from aisquad_tui.ink import Role, plain, width
from aisquad_tui.views.work import (
    heading,
    info,
    item_cells,
    longest_id,
    row,
    sort_at,
    status_word,
    time_of,
)
from tests.unit.tui.pictures import ITEMS, NOW, ago, make_item, texts


def _table(cells: int) -> list[str]:
    rows = (row(item, "nightly-review", NOW, cells, GLYPHS) for item in ITEMS)
    return texts([heading(cells, GLYPHS, sort=ItemSort.STATUS), *rows])


def test_at_120_columns_everything_has_a_column() -> None:
    assert _table(116) == [
        "  ITEM          STATUS▲    AGENT     CONVOY            TRY    TIME EXIT  LAST LINE",
        "● fix-api-017   running    engineer  nightly-review      1  1m 05s       "
        "Editing src/api/routes.py",
        "● fix-api-018   running    engineer  nightly-review      2     41s       "
        "pytest: 31 passed",
        "✗ fix-db-001    failed     engineer  nightly-review      2  2m 10s    1  "
        "AssertionError: migration 0042 is missing",
        "○ bump-redis    limited    engineer  nightly-review      1               rate limit: 12 s",
        "✓ fix-api-001   completed  engineer  nightly-review      1     54s    0  "
        "Done: 2 files changed",
        "· fix-api-019   blocked    engineer  nightly-review                      needs lint",
    ]


def test_at_80_columns_the_convoy_gives_way() -> None:
    assert _table(76)[:3] == [
        "  ITEM          STATUS▲    AGENT     TRY    TIME EXIT  LAST LINE",
        "● fix-api-017   running    engineer    1  1m 05s       Editing src/api/rout…",
        "● fix-api-018   running    engineer    2     41s       pytest: 31 passed",
    ]


def test_at_40_columns_the_last_line_is_still_there() -> None:
    assert _table(36)[:3] == [
        "  ITEM          STATUS▲    LAST LINE",
        "● fix-api-017   running    Editing …",
        "● fix-api-018   running    pytest: …",
    ]


@pytest.mark.parametrize("cells", range(36, 297, 20))
def test_columns_do_not_depend_on_what_the_rows_hold(cells: int) -> None:
    long = make_item("x" * 50, WorkStatus.FAILED, agent_id="y" * 50, exit_code=255, error="z" * 99)
    drawn = row(long, "w" * 50, NOW, cells, GLYPHS)
    assert [width([span]) for span in drawn if span[0].strip()] == [
        width([span]) for span in row(long, "w" * 70, NOW, cells, GLYPHS) if span[0].strip()
    ]
    assert plain(drawn).index("failed") == plain(heading(cells, GLYPHS, sort=ItemSort.ID)).index(
        "STATUS"
    )


def test_a_list_of_one_convoy_does_not_name_it() -> None:
    assert "CONVOY" not in plain(heading(116, GLYPHS, sort=ItemSort.ID, has_convoy=False))
    assert "nightly" not in plain(row(ITEMS[0], "nightly", NOW, 116, GLYPHS, has_convoy=False))


def test_ids_get_their_room_in_steps() -> None:
    assert [item_cells(longest, 116) for longest in (0, 12, 13, 20, 21, 500)] == [
        12, 12, 16, 20, 24, 32,
    ]  # fmt: skip
    assert item_cells(500, 36) == 12
    assert longest_id(ITEMS) == 11


def test_a_marked_row_has_a_sign_and_an_amber_name() -> None:
    drawn = row(ITEMS[0], "x", NOW, 116, GLYPHS, is_marked=True)
    assert plain(drawn).startswith("●*fix-api-017 ")
    assert {text.strip(): role for text, role in drawn}["fix-api-017"] is Role.WARN


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (WorkStatus.IN_PROGRESS, "running"),
        *((s, s.value) for s in WorkStatus if s != "in_progress"),
    ],
)
def test_each_status_has_its_word_and_its_glyph(status: WorkStatus, word: str) -> None:
    item = make_item("a", status)
    assert status_word(item)[0] == word
    assert plain(row(item, "x", NOW, 116, GLYPHS))[0] == GLYPHS.item[status]


def test_only_what_a_rate_limit_holds_back_is_limited() -> None:
    assert status_word(make_item("a", reason="rate limit: 3 s")) == ("limited", Role.WARN)
    assert status_word(make_item("a", reason="waits for a free slot"))[0] == "pending"
    blocked = make_item("a", WorkStatus.BLOCKED, reason="rate limit")
    assert status_word(blocked)[0] == "blocked"


def test_running_times_tick_by_seconds_then_by_five() -> None:
    item = make_item("a", WorkStatus.IN_PROGRESS, started_at=NOW)
    ticks = [time_of(item, NOW + timedelta(seconds=seconds)) for seconds in range(660)]
    assert ticks[:61:30] == ["0s", "30s", "1m 00s"]
    assert ticks[62:67] == ["1m 00s", "1m 00s", "1m 00s", "1m 05s", "1m 05s"]
    assert ticks[599:601] == ["9m 55s", "10m"]


def test_what_ended_keeps_its_exact_time() -> None:
    ended = make_item("a", WorkStatus.FAILED, started_at=ago(62.4), finished_at=NOW)
    assert time_of(ended, NOW + timedelta(days=1)) == "1m 02s"
    assert time_of(make_item("a", started_at=ago(5)), NOW) == ""


@pytest.mark.parametrize(
    ("item", "shown"),
    [
        (make_item("a", WorkStatus.FAILED, exit_code=1, error="exit 1", last_line="No"), "No"),
        (make_item("a", WorkStatus.FAILED, exit_code=1, error="exit 1"), "exit 1"),
        (
            make_item("a", WorkStatus.FAILED, exit_code=2, error="exit 2: usage", last_line="x"),
            "us",
        ),
        (make_item("a", WorkStatus.FAILED, error="timed out", last_line="Busy"), "timed out"),
        (make_item("a", WorkStatus.LOST, error="ended unseen", last_line="Busy"), "ended unseen"),
        (make_item("a", reason="retry 2 of 3 in 4 s", last_line="No"), "retry 2 of 3 in 4 s"),
        (make_item("a", WorkStatus.SKIPPED, reason="needs lint, which failed"), "needs lint, whi"),
        (make_item("a", WorkStatus.IN_PROGRESS, last_line="\x1b[2Ja\tb\x07"), "a b"),
    ],
)
def test_the_last_line_says_what_matters_most(item: object, shown: str) -> None:
    assert isinstance(item, type(ITEMS[0]))
    assert f"  {shown}" in plain(row(item, "x", NOW, 116, GLYPHS))


def _info(shown: int | None, *, status: str = "any", marks: int = 0, cells: int = 100) -> str:
    return plain(
        info(
            shown=shown,
            total=1024,
            status=status,
            sort=ItemSort.STATUS,
            is_reversed=bool(marks),
            marks=marks,
            cells=cells,
            glyphs=GLYPHS,
        )
    )


def test_the_edge_tells_how_many_which_and_in_what_order() -> None:
    assert _info(306) == "306 of 1,024   status: any   sort: status"
    assert _info(1024) == "1,024   status: any   sort: status"
    assert _info(None, status="status:failed !db", marks=3) == (
        "3 marked   … of 1,024   filter: status:failed !db   sort: status ▼"
    )


def test_the_filter_in_force_is_the_last_thing_to_leave_the_edge() -> None:
    assert _info(306, status="api", marks=3, cells=40) == "3 marked   306 of 1,024   filter: api"
    assert _info(306, status="api", cells=14) == "filter: api"
    assert _info(306, status="api", cells=5) == ""


def test_a_click_on_a_heading_finds_its_order() -> None:
    text = plain(heading(116, GLYPHS, sort=ItemSort.ID))
    orders = [sort_at(text.index(title), 116) for title in ("ITEM", "STATUS", "AGENT", "TIME")]
    assert orders == [ItemSort.ID, ItemSort.STATUS, ItemSort.AGENT, ItemSort.STARTED]
    assert sort_at(text.index("LAST"), 116) is None
