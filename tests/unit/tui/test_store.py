from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aisquad_core.api import (
    ConvoyChanged,
    EngineState,
    ItemChanged,
    Resized,
    Sampled,
    Snapshot,
    StatusCounts,
    add_counts,
)
from aisquad_core.model import ItemKey, WorkStatus
from aisquad_tui.store import Part, Picture, Store
from tests.unit.tui.pictures import NOW, ago, make_convoy, make_engine, make_item, make_load


def _snapshot(seq: int = 1) -> Snapshot:
    convoys = (make_convoy("two", id="two"), make_convoy("one", id="one"))
    return Snapshot(
        seq=seq,
        at=NOW,
        engine=make_engine(),
        nodes=(),
        convoys=convoys,
        counts=StatusCounts(),
        history=(make_load(age_s=2), make_load(age_s=1)),
    )


def _begun() -> Store:
    store = Store()
    store.apply(_snapshot())
    store.take()
    return store


def test_before_the_first_snapshot_the_picture_is_empty() -> None:
    store = Store()
    assert not store.has_news
    assert store.take().picture == Picture()


def test_a_snapshot_changes_every_part_and_leaves_the_items_unknown() -> None:
    store = Store()
    store.apply(_snapshot())
    frame = store.take()
    assert frame.parts == Part.ALL
    assert frame.are_items_unknown
    assert list(frame.picture.convoys) == ["two", "one"]
    assert frame.picture.counts == add_counts(c.counts for c in _snapshot().convoys)
    assert [load.at for load in frame.picture.history] == [ago(2), ago(1)]
    assert not store.has_news


def test_a_convoy_that_is_new_comes_first_and_one_that_changed_keeps_its_place() -> None:
    store = _begun()
    store.apply(ConvoyChanged(seq=2, convoy=make_convoy("three", id="three")))
    changed = make_convoy("one", id="one", counts=StatusCounts(failed=7))
    store.apply(ConvoyChanged(seq=3, convoy=changed))
    frame = store.take()
    assert frame.parts == Part.CONVOYS
    assert list(frame.picture.convoys) == ["three", "two", "one"]
    assert frame.picture.convoys["one"] is changed


_COUNTS = st.builds(StatusCounts, running=st.integers(0, 9), failed=st.integers(0, 9))


@given(changes=st.lists(st.tuples(st.sampled_from(["one", "two", "new"]), _COUNTS)))
def test_the_counts_are_always_the_sum_over_the_convoys(
    changes: list[tuple[str, StatusCounts]],
) -> None:
    store = _begun()
    for seq, (name, counts) in enumerate(changes):
        store.apply(ConvoyChanged(seq=seq, convoy=make_convoy(name, id=name, counts=counts)))
    picture = store.take().picture
    assert picture.counts == add_counts(convoy.counts for convoy in picture.convoys.values())


def test_a_picture_that_was_given_out_never_changes() -> None:
    store = Store()
    store.apply(_snapshot())
    given_out = store.take().picture
    store.apply(ConvoyChanged(seq=2, convoy=make_convoy("renamed", id="one")))
    store.apply(ConvoyChanged(seq=3, convoy=make_convoy("three", id="three")))
    store.apply(Sampled(seq=4, load=make_load()))
    store.take()
    assert [convoy.name for convoy in given_out.convoys.values()] == ["two", "one"]
    assert len(given_out.history) == 2


def test_a_part_that_did_not_change_is_the_same_object_in_the_next_frame() -> None:
    store = Store()
    store.apply(_snapshot())
    first = store.take().picture
    store.apply(EngineState(seq=2, engine=make_engine(queued=1)))
    second = store.take().picture
    assert second.convoys is first.convoys
    assert second.history is first.history
    assert second.counts is first.counts


def test_a_resize_tells_the_size_before_it() -> None:
    store = _begun()
    store.apply(Resized(seq=2, at=NOW, previous=12, parallelism=13, auto=True, reason="CPU 40 %"))
    frame = store.take()
    engine = frame.picture.engine
    assert frame.parts == Part.ENGINE
    assert engine is not None
    assert (engine.resized_from, engine.parallelism, engine.reason) == (12, 13, "CPU 40 %")


def test_a_resize_before_the_first_snapshot_is_no_news() -> None:
    store = Store()
    store.apply(Resized(seq=1, at=NOW, previous=1, parallelism=2, auto=True, reason="x"))
    assert not store.has_news


def test_the_history_forgets_what_is_older_than_five_minutes_of_ticks() -> None:
    store = _begun()
    for age_s in range(400, 0, -1):
        store.apply(Sampled(seq=2, load=make_load(age_s=age_s)))
    frame = store.take()
    assert frame.parts == Part.LOAD
    assert [load.at for load in frame.picture.history] == [ago(n) for n in range(300, 0, -1)]


def test_an_item_that_changed_twice_is_told_once_with_its_newest_state() -> None:
    store = _begun()
    for status in (WorkStatus.IN_PROGRESS, WorkStatus.COMPLETED):
        store.apply(ItemChanged(seq=2, item=make_item("a", status)))
    frame = store.take()
    assert frame.parts == Part.ITEMS
    assert [item.status for item in frame.items.values()] == [WorkStatus.COMPLETED]
    assert not frame.are_items_unknown
    assert store.take().items == {}


def test_too_many_changed_items_are_told_as_unknown_and_never_kept() -> None:
    store = _begun()
    for n in range(2_001):
        store.apply(ItemChanged(seq=n, item=make_item(f"i{n}")))
    last = make_item("last")
    store.apply(ItemChanged(seq=9_999, item=last))
    frame = store.take()
    assert frame.are_items_unknown
    assert frame.items == {ItemKey(last.convoy_id, "last"): last}


def test_an_engine_that_is_away_leaves_its_last_picture_until_a_snapshot_comes() -> None:
    store = _begun()
    store.lose(ago(9))
    store.lose(ago(1))
    frame = store.take()
    assert frame.parts == Part.ENGINE
    assert frame.picture.lost_at == ago(9)
    assert list(frame.picture.convoys) == ["two", "one"]
    store.apply(_snapshot(seq=5))
    assert store.take().picture.lost_at is None


def test_what_is_away_may_turn_out_to_be_silent_and_stays_away_since_then() -> None:
    store = _begun()
    store.lose(ago(9))
    store.take()
    store.lose(ago(1), is_silent=True)
    silent = store.take().picture
    assert (silent.lost_at, silent.is_silent) == (ago(9), True)
    store.lose(ago(1), is_silent=True)
    assert not store.has_news
    store.apply(_snapshot(seq=5))
    assert not store.take().picture.is_silent


def test_renewed_everything_counts_as_changed() -> None:
    store = _begun()
    store.renew()
    frame = store.take()
    assert frame.parts == Part.ALL
    assert frame.are_items_unknown
