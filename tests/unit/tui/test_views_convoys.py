from __future__ import annotations

import pytest

from aisquad_core.api import StatusCounts
from aisquad_core.model import ConvoyStatus
from aisquad_tui.formatting import ASCII_GLYPHS, GLYPHS
from aisquad_tui.ink import Role, plain
from aisquad_tui.views.convoys import heading, order, row
from tests.unit.tui.pictures import CONVOYS, NOW, ago, make_convoy, texts


def _table(cells: int) -> list[str]:
    rows = (row(convoy, NOW, cells, GLYPHS) for convoy in order(CONVOYS))
    return texts([heading(cells, GLYPHS), *rows])


def test_at_120_columns_everything_has_a_column() -> None:
    assert _table(116) == [
        "  CONVOY                 PROGRESS                         DONE  FAIL  RUN  QUEUE"
        "    RATE  ETA",
        "▶ nightly-review         ████████████▇░░░░░░░░░░░░  54 %   162     2   12    124"
        "   2.1/s  58s",
        "▶ dep-upgrades           ██████▇▇░░░░░░░░░░░░░░░░░  33 %     3     1    0      8"
        "       —  waits for rate limit",
        "‖ docs-sweep             █████░░░░░░░░░░░░░░░░░░░░  22 %     9     0    0     31"
        "       —  paused by hand",
        "✓ lint-all               █████████████████████████ 100 %   240     0    0      0"
        "       —  4m ago",
    ]


def test_a_wide_row_tells_how_long_ago_its_convoy_was_launched() -> None:
    convoys = [make_convoy("a", created_at=ago(30)), make_convoy("b", created_at=ago(7300))]
    ages = [texts([row(each, NOW, 140, GLYPHS)])[0] for each in convoys]
    column = texts([heading(140, GLYPHS)])[0].index("   AGE")
    assert [text[column : column + 6] for text in ages] == ["   <1m", "    2h"]
    assert "AGE" not in plain(heading(129, GLYPHS))


def test_at_80_columns_the_rate_gives_way_but_not_the_reason() -> None:
    assert _table(76) == [
        "  CONVOY            PROGRESS         DONE  FAIL  RUN  QUEUE  ETA",
        "▶ nightly-review    ███▇░░░░░  54 %   162     2   12    124  58s",
        "▶ dep-upgrades      ██▇░░░░░░  33 %     3     1    0      8  waits for rate…",
        "‖ docs-sweep        ██░░░░░░░  22 %     9     0    0     31  paused by hand",
        "✓ lint-all          █████████ 100 %   240     0    0      0  4m ago",
    ]


def test_at_40_columns_failures_and_what_runs_are_left() -> None:
    assert _table(36)[:3] == [
        "  CONVOY                   FAIL  RUN",
        "▶ nightly-review     54 %     2   12",
        "▶ dep-upgrades       33 %     1    0",
    ]


def test_what_runs_stands_before_what_waits_and_what_ended_newest_first() -> None:
    convoys = [
        make_convoy("old", ConvoyStatus.FAILED, finished_at=ago(500)),
        make_convoy("paused", ConvoyStatus.PAUSED),
        make_convoy("new", ConvoyStatus.COMPLETED, finished_at=ago(5)),
        make_convoy("first", created_at=ago(50)),
        make_convoy("pending", ConvoyStatus.PENDING),
        make_convoy("second", created_at=ago(20)),
    ]
    ordered = [convoy.name for convoy in order(convoys)]
    assert ordered == ["second", "first", "pending", "paused", "new", "old"]
    assert [convoy.name for convoy in order(order(convoys))] == ordered


@pytest.mark.parametrize(
    ("age_s", "shown"), [(3, "just now"), (59, "just now"), (61, "1m ago"), (90_000, "1d ago")]
)
def test_an_ended_convoy_says_how_long_ago_without_seconds(age_s: int, shown: str) -> None:
    convoy = make_convoy("x", ConvoyStatus.COMPLETED, finished_at=ago(age_s))
    assert plain(row(convoy, NOW, 116, GLYPHS)).rstrip().endswith(f"  {shown}")


def test_an_ended_convoy_says_why_it_ended_early() -> None:
    convoy = make_convoy("x", ConvoyStatus.FAILED, finished_at=ago(65), reason="first failure")
    assert plain(row(convoy, NOW, 116, GLYPHS)).rstrip().endswith("1m ago, first failure")


def test_a_convoy_that_stands_still_says_what_the_engine_waits_for() -> None:
    convoy = make_convoy("x", counts=StatusCounts(pending=3))
    drawn = row(convoy, NOW, 116, GLYPHS, waiting="disk full")
    assert dict(drawn)["waits: disk full"] is Role.WARN
    assert drawn[0] == ("▶ ", Role.WARN)


def test_a_convoy_that_moves_has_a_strong_name_and_failures_are_bad() -> None:
    counts = StatusCounts(running=1, failed=2)
    drawn = row(make_convoy("x", counts=counts), NOW, 116, GLYPHS)
    roles = {text.strip()[:1]: role for text, role in drawn}
    assert (roles["x"], roles["2"], roles["▇"]) == (Role.STRONG, Role.BAD, Role.BAD)


def test_lost_items_count_as_failed() -> None:
    convoy = make_convoy("x", counts=StatusCounts(lost=3, failed=4, completed=3))
    assert plain(row(convoy, NOW, 36, GLYPHS)).split() == ["▶", "x", "100", "%", "7", "0"]


def test_big_numbers_keep_their_columns() -> None:
    counts = StatusCounts(completed=1_234_567, failed=99_999, pending=123_456, running=200)
    drawn = plain(row(make_convoy("x", counts=counts), NOW, 76, GLYPHS))
    assert drawn.split()[-5:-1] == ["1.2M", "99.9k", "200", "123k"]


def test_ascii_tells_the_parts_of_the_bar_apart() -> None:
    counts = StatusCounts(completed=4, failed=2, running=2, pending=2)
    drawn = plain(row(make_convoy("x", counts=counts), NOW, 116, ASCII_GLYPHS))
    assert "##########xxxxx>>>>>....." in drawn


def test_names_are_shown_harmless_and_in_their_column() -> None:
    drawn = row(make_convoy("a\x1b[31m\n[/b]" + "é" * 60), NOW, 116, GLYPHS)
    assert plain(drawn).startswith("▶ a [/b]ééééééé")
    assert "é… " in plain(drawn)
