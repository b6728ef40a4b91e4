from __future__ import annotations

from dataclasses import replace

import pytest

from aisquad_core.api import StatusCounts
from aisquad_core.model import ConvoyStatus, WorkStatus
from aisquad_tui.formatting import ASCII_GLYPHS, GLYPHS
from aisquad_tui.ink import Role, line, plain
from aisquad_tui.keymap import Place, at
from aisquad_tui.views.footer import footer, key_at
from aisquad_tui.views.layout import Piece, dimmed, frame, joined
from aisquad_tui.views.notice import failure, notice, summary, wait_of
from aisquad_tui.views.status import status, too_small
from tests.unit.tui.pictures import PICTURE, ago, make_convoy, make_engine, make_item, texts

WORK_KEYS = at(Place.WORK, Place.EVERYWHERE)


@pytest.mark.parametrize("cells", range(20, 200, 7))
def test_the_footer_drops_keys_but_cuts_none_and_help_is_the_last_to_go(cells: int) -> None:
    shown = plain(footer(WORK_KEYS, cells, GLYPHS))
    words = {f"{key.sign} {key.word}" for key in WORK_KEYS}
    assert set(shown.strip().split("  ")) <= words
    assert "? help" in shown


def test_the_history_does_not_offer_itself() -> None:
    here = [key for key in at(Place.HISTORY, Place.EVERYWHERE) if key.action == "history"]
    assert [key.word for key in here] == ["back"]
    assert "history" not in plain(footer(at(Place.HISTORY, Place.EVERYWHERE), 300, GLYPHS))
    assert "H history" in plain(footer(WORK_KEYS, 300, GLYPHS))


def test_a_click_in_the_footer_finds_its_key() -> None:
    text = plain(footer(WORK_KEYS, 80, GLYPHS))
    found = [key_at(WORK_KEYS, text.index(word), 80) for word in ("enter", "open", "x cancel")]
    assert [key.action if key else None for key in found] == ["open", "open", "cancel"]
    assert key_at(WORK_KEYS, 0, 80) is None
    assert key_at(WORK_KEYS, text.index("  l"), 80) is None
    assert key_at(WORK_KEYS, 79, 80) is None


def test_a_failure_has_its_sign_and_is_cut_between_words() -> None:
    drawn = notice("cannot cancel fix-api-017: it has ended", 30, GLYPHS, is_error=True)
    assert plain(drawn) == " ✗ cannot cancel fix-api-017… "
    assert drawn[1][1] is Role.BAD
    assert plain(notice("3 cancelled", 20, GLYPHS)) == " 3 cancelled        "


def test_what_operations_say_is_shown_harmless_and_never_as_markup() -> None:
    assert plain(notice("[@click=quit]a\x1b]52;c;eA==\x07\nb", 30, GLYPHS)).rstrip() == (
        " [@click=quit]a b"
    )


@pytest.mark.parametrize(
    ("counts", "state", "said"),
    [
        (StatusCounts(completed=27), ConvoyStatus.COMPLETED, "x: 27 done in 14s · n again"),
        (
            StatusCounts(completed=27, failed=2, lost=1, skipped=4),
            ConvoyStatus.PARTIAL,
            "x: 27 done in 14s, 3 failed, 4 skipped · n again",
        ),
        (
            StatusCounts(completed=1, cancelled=1200),
            ConvoyStatus.CANCELLED,
            "x cancelled: 1 done in 14s, 1,200 cancelled · n again",
        ),
    ],
)
def test_a_convoys_end_is_summed_up(counts: StatusCounts, state: ConvoyStatus, said: str) -> None:
    convoy = make_convoy("x", state, counts=counts, started_at=ago(20), finished_at=ago(6))
    assert summary(convoy, GLYPHS) == said


@pytest.mark.parametrize(
    ("reason", "said"),
    [("rate limit: 12 s", "waits: rate limit: 12 s"), ("waits for a free slot",) * 2],
)
def test_what_work_waits_for_is_said_once(reason: str, said: str) -> None:
    assert wait_of(reason) == said


def test_the_first_failure_says_what_to_do_about_it() -> None:
    item = make_item("pytest", WorkStatus.FAILED, exit_code=1, error="exit 1")
    keys = "enter shows the end of its log · r retries"
    assert failure(3, item, GLYPHS) == f"3 failed: pytest exit 1 · {keys}"
    assert failure(1, replace(item, error=None), GLYPHS) == f"1 failed: pytest exit 1 · {keys}"
    assert "·" not in failure(1, item, ASCII_GLYPHS)


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        (
            80,
            " 12 running  163 queued  3 failed   12 of 12 workers   CPU 50 %  MEM 32 %",
        ),
        (60, " 12 running  163 queued  3 failed   CPU 50 %  MEM 32 %"),
        (40, " 12 running  163 queued  3 failed"),
    ],
)
def test_a_small_terminal_gets_everything_in_one_line(cells: int, shown: str) -> None:
    assert texts([status(PICTURE, cells, GLYPHS)]) == [shown]


def test_the_one_line_tells_trouble_and_an_engine_that_is_away() -> None:
    ill = replace(PICTURE, engine=make_engine(trouble="disk full"))
    assert texts([status(ill, 60, GLYPHS)]) == [" ✗ disk full"]
    away = replace(PICTURE, lost_at=ago(5))
    assert texts([status(away, 60, GLYPHS)]) == [
        f" engine away since {ago(5).astimezone():%H:%M:%S}"
    ]
    assert texts([status(away, 60, GLYPHS, is_lasting=True)]) == [
        f" engine away since {ago(5).astimezone():%H:%M:%S}, trying again"
    ]


@pytest.mark.parametrize(
    ("cells", "rows", "said"),
    [
        (40, 10, ""),
        (39, 10, "aisquad needs 40x10, not 39x10"),
        (12, 10, "aisquad needs 40x10"),
        (80, 9, "aisquad needs 40x10; this terminal has 80x9"),
    ],
)
def test_below_40x10_a_sentence_says_so(cells: int, rows: int, said: str) -> None:
    assert too_small(cells, rows) == said


def test_a_box_carries_title_and_remark_in_its_edge() -> None:
    title, remark = line(("CPU", Role.STRONG)), line("63 %")
    drawn = frame(title, remark, [line("hello world")], 20, GLYPHS, is_focused=True)
    assert texts(drawn) == ["╭ CPU ─────── 63 % ╮", "│ hello world      │", "╰──────────────────╯"]
    assert drawn[0][0] == ("╭", Role.ACCENT)
    assert texts(frame(title, remark, [line("hello world")], 13, GLYPHS)) == [
        "╭ CPU ──────╮",
        "│ hello wo… │",
        "╰───────────╯",
    ]
    assert texts(frame(title, (), [], 8, ASCII_GLYPHS)) == ["+ CPU -+", "+------+"]


def test_pieces_give_way_by_rank_and_the_last_one_stays() -> None:
    pieces = [Piece(line("aaa"), 1), Piece(line("bbb"), 3), Piece(line("ccc"), 2, gap=1)]
    shown = [plain(joined(pieces, cells)) for cells in (12, 9, 8, 6, 1)]
    assert shown == ["aaa  bbb ccc", "bbb ccc", "bbb ccc", "bbb", "bbb"]


def test_dimmed_lines_keep_their_text() -> None:
    drawn = dimmed(line(("a", Role.BAD), "b"))
    assert (plain(drawn), {role for _, role in drawn}) == ("ab", {Role.QUIET})
