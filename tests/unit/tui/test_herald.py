"""What calls the operator back to the screen, and what a terminal is sent for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from aisquad_core.model import ConvoyStatus, ItemKey, WorkStatus
from aisquad_tui.herald import Herald, ring
from aisquad_tui.store import Frame, Part, Picture
from aisquad_tui.surroundings import Terminal
from tests.unit.tui.pictures import make_convoy, make_engine, make_item

if TYPE_CHECKING:
    from aisquad_core.api import ConvoyView, ItemView

BEGAN = datetime(2026, 1, 2, 12, tzinfo=UTC)
"""When the screen was opened."""
LOST = Picture(engine=make_engine(), lost_at=BEGAN)


def frame(*convoys: ConvoyView, items: tuple[ItemView, ...] = ()) -> Frame:
    picture = Picture(engine=make_engine(), convoys={convoy.id: convoy for convoy in convoys})
    return Frame(
        picture=picture,
        parts=Part.ALL,
        items={ItemKey(item.convoy_id, item.id): item for item in items},
        are_items_unknown=False,
    )


def convoy(
    id: str, status: ConvoyStatus = ConvoyStatus.RUNNING, *, age_s: float = 60, failed: int = 0
) -> ConvoyView:
    """Return a convoy that was launched so long before the screen was opened."""
    made = make_convoy(id=id, name=id, status=status)
    return replace(
        made,
        created_at=BEGAN - timedelta(seconds=age_s),
        started_at=None,
        counts=replace(made.counts, completed=7, failed=failed, lost=0, cancelled=0, skipped=0),
    )


def ended(id: str, *, age_s: float = 60) -> ConvoyView:
    return convoy(id, ConvoyStatus.COMPLETED, age_s=age_s)


def herald(*known: ConvoyView) -> Herald:
    made = Herald(BEGAN)
    assert made.news_of(frame(*known)) == ""
    return made


def test_an_end_is_told_once() -> None:
    crier = herald(convoy("a"), convoy("b"))
    assert crier.news_of(frame(ended("a"), convoy("b"))) == "aisquad: a: 7 done"
    assert crier.news_of(frame(ended("a"), convoy("b"))) == ""
    assert crier.news_of(frame(convoy("a"), convoy("b"))) == ""
    assert crier.news_of(frame(ended("a"), convoy("b"))) == ""


def test_the_first_failure_is_told_once_with_its_cause_and_the_end_after_it() -> None:
    crier = herald(convoy("a"))
    broken = make_item(id="fix-7", convoy_id="a", status=WorkStatus.FAILED, error=None, exit_code=3)
    one, two = convoy("a", failed=1), convoy("a", failed=2)
    assert crier.news_of(frame(one, items=(broken,))) == "aisquad: a: fix-7 failed, exit 3"
    assert crier.news_of(frame(two, items=(broken,))) == ""
    failed = convoy("a", ConvoyStatus.PARTIAL, failed=2)
    assert crier.news_of(frame(failed)) == "aisquad: a: 7 done, 2 failed"


def test_a_failure_whose_item_is_not_told_is_counted() -> None:
    assert herald(convoy("a")).news_of(frame(convoy("a", failed=3))) == "aisquad: a: 3 failed"


def test_what_had_ended_or_failed_before_is_not_told() -> None:
    crier = herald(ended("old"), convoy("failing", failed=1))
    assert crier.news_of(frame(ended("old"), convoy("failing", failed=2))) == ""


def test_what_was_launched_here_is_told_however_soon_it_ended() -> None:
    assert Herald(BEGAN).news_of(frame(ended("a", age_s=-1))) == "aisquad: a: 7 done"


def test_after_an_absence_what_ended_meanwhile_is_told_and_what_is_only_found_again_is_not() -> (
    None
):
    crier = herald(convoy("a"))
    lost = replace(frame(), picture=LOST)
    assert crier.news_of(lost) == ""
    assert crier.news_of(frame(ended("a"), ended("forgotten"))) == "aisquad: a: 7 done"


def test_several_at_once_are_one_notification() -> None:
    crier = herald(convoy("a"), convoy("b"), convoy("c"))
    said = crier.news_of(frame(ended("a"), ended("b"), ended("c")))
    assert said == "aisquad: a: 7 done (and 2 more)"


def test_it_remembers_no_more_than_the_convoys_there_are() -> None:
    crier = herald(ended("a"), ended("b"))
    assert crier.news_of(frame(ended("b"))) == ""
    assert crier._told.keys() == {"b"}


def test_names_that_terminals_would_act_on_are_made_harmless_and_short() -> None:
    name = "\x1b]52;c;eA==\x07evil\n\x9c" + "x" * 300
    crier = herald(convoy("a"))
    said = crier.news_of(frame(replace(ended("a"), name=name)))
    assert said.isprintable()
    assert said.startswith("aisquad: evil x")
    assert len(said) <= 200


def test_on_an_ascii_terminal_it_is_ascii() -> None:
    crier = Herald(BEGAN, is_ascii=True)
    crier.news_of(frame(convoy("a")))
    assert crier.news_of(frame(replace(ended("a"), name="größe ✓"))) == "aisquad: gr??e ?: 7 done"


@pytest.mark.parametrize(
    ("multiplexer", "sent"),
    [
        (None, "\x07\x1b]9;aisquad: a\x07"),
        ("tmux", "\x07\x1bPtmux;\x1b\x1b]9;aisquad: a\x07\x1b\\"),
        ("screen", "\x07\x1bP\x1b]9;aisquad: a\x07\x1b\\"),
    ],
)
def test_a_terminal_rings_and_notifies_through_what_is_in_between(
    multiplexer: str | None, sent: str
) -> None:
    assert ring("aisquad: a", Terminal(multiplexer=multiplexer)) == sent


def test_what_is_rung_with_holds_no_sequence_of_its_own() -> None:
    assert ring("a\x07\x1b]0;b\x07\x1b\\c", Terminal()).count("\x07") == 2
