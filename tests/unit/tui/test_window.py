from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aisquad_core.api import ItemFilter, ItemSort, ItemView
from aisquad_core.model import ItemKey, WorkStatus
from aisquad_tui.filter import parse
from aisquad_tui.listing import Place, key_of
from aisquad_tui.window import MOST_MARKS, Window
from tests.unit.tui.pictures import make_item

RUNNING, PENDING = WorkStatus.IN_PROGRESS, WorkStatus.PENDING
COMPLETED, FAILED = WorkStatus.COMPLETED, WorkStatus.FAILED
_ORDER = (RUNNING, FAILED, PENDING, COMPLETED)


class _Work:
    """The engine's side: items in the order that is asked for."""

    def __init__(self, count: int, status: WorkStatus = PENDING) -> None:
        self.items = {n: make_item(f"i{n:04}", status, position=n) for n in range(count)}

    def key(self, n: int) -> ItemKey:
        return key_of(self.items[n])

    def change(self, n: int, status: WorkStatus) -> dict[ItemKey, ItemView]:
        before = self.items[n]
        self.items[n] = replace(before, status=status, version=before.version + 1)
        return {key_of(before): self.items[n]}

    def listed(self, window: Window) -> list[ItemView]:
        wanted = window.query.statuses
        views = [v for v in self.items.values() if not wanted or v.status in wanted]
        if window.sort is ItemSort.STATUS:
            views.sort(key=lambda v: (_ORDER.index(v.status), -v.position))
        else:
            views.sort(key=lambda v: v.id)
        return views[::-1] if window.is_reversed else views

    def find(self, window: Window) -> Place | None:
        key = window.cursor
        if key is None:
            return None
        keys = [key_of(view) for view in self.listed(window)]
        place = Place(key=key, offset=keys.index(key) if key in keys else None)
        if window.is_far(place):
            view = next(view for view in self.items.values() if key_of(view) == key)
            window.take({key: view}, are_unknown=False)
        return place

    def read(self, window: Window, *, is_counted: bool = True) -> None:
        place = self.find(window)
        self.answer(window, place, is_counted=is_counted)

    def answer(self, window: Window, place: Place | None, *, is_counted: bool = True) -> None:
        wanted, views = window.wanted(place), self.listed(window)
        rows = views[wanted.start : wanted.start + wanted.limit]
        window.put(wanted, rows, len(views) if is_counted else None, place)


def _opened(work: _Work, height: int = 5, sort: ItemSort = ItemSort.STATUS) -> Window:
    window = Window()
    window.resize(height)
    window.order(sort, is_reversed=False)
    work.read(window)
    window.move(0)
    return window


def _total(window: Window) -> int | None:
    return window.total


def _ids(window: Window) -> list[str]:
    return [view.id if view else "?" for view in window.shown()]


def test_before_anything_is_read_it_shows_nothing_and_knows_no_total() -> None:
    window = Window()
    window.resize(5)
    for act in (window.home, window.end, lambda: window.move(3), lambda: window.page(-1)):
        act()
    assert (window.shown(), window.total, window.cursor) == ([], None, None)
    assert window.lacks_rows


def test_the_first_rows_put_the_cursor_on_the_first_item() -> None:
    window = _opened(_Work(30))
    assert _ids(window) == ["i0029", "i0028", "i0027", "i0026", "i0025"]
    assert (window.cursor_row, window.total, window.lacks_rows) == (0, 30, False)


def test_an_empty_list_is_known_to_be_empty() -> None:
    window = _opened(_Work(0))
    assert (window.shown(), window.total, window.cursor, window.lacks_rows) == ([], 0, None, False)


def test_keys_move_the_cursor_and_scroll_as_little_as_they_must() -> None:
    work = _Work(100)
    window = _opened(work, sort=ItemSort.ID)
    window.move(4)
    assert (_ids(window)[0], window.cursor_row) == ("i0000", 4)
    window.move(1)
    assert (_ids(window)[0], window.cursor_row) == ("i0001", 4)
    window.page(1)
    assert window.cursor == work.key(9)
    window.page(-9)
    assert window.cursor == work.key(0)
    window.move(-1)
    assert (window.cursor, window.cursor_row) == (work.key(0), 0)


def test_a_page_either_way_is_answered_from_memory() -> None:
    window = _opened(_Work(1000), height=30)
    window.page(1)
    assert not window.lacks_rows
    window.page(-1)
    assert not window.lacks_rows


def test_near_the_edge_of_what_was_read_more_is_wanted() -> None:
    work = _Work(1000)
    window = _opened(work)
    assert not window.is_near_edge
    window.move(40)
    assert (window.lacks_rows, window.is_near_edge) == (False, True)
    work.read(window)
    assert not window.is_near_edge


def test_the_end_of_a_million_items_is_reached_with_one_short_reading() -> None:
    work = _Work(50)
    window = _opened(work)
    wanted = window.wanted()
    window.put(wanted, work.listed(window)[: wanted.limit], 1_000_000)
    window.end()
    assert (window.cursor, window.lacks_rows) == (None, True)
    wanted = window.wanted()
    assert wanted.start + wanted.limit >= 1_000_000
    assert wanted.limit <= 100
    tail = [make_item(f"z{n:06}") for n in range(wanted.start, 1_000_000)]
    window.put(wanted, tail, 1_000_000)
    assert window.cursor == key_of(tail[-1])
    assert window.cursor_row == 4


def test_keys_before_the_rows_are_read_are_not_lost() -> None:
    work = _Work(1000)
    window = _opened(work, sort=ItemSort.ID)
    window.end()
    window.move(-2)
    work.read(window)
    assert window.cursor == work.key(997)


def test_until_the_operator_moves_the_cursor_it_is_on_whatever_comes_first() -> None:
    work = _Work(30)
    window = Window()
    window.resize(5)
    work.read(window)
    window.take(work.change(3, RUNNING), are_unknown=False)
    work.read(window)
    assert (window.cursor, window.cursor_row) == (work.key(3), 0)
    window.take(work.change(3, COMPLETED), are_unknown=False)
    work.read(window)
    assert (window.cursor, window.cursor_row) == (work.key(29), 0)
    window.move(0)
    work.change(4, RUNNING)
    work.read(window)
    assert (window.cursor, window.cursor_row) == (work.key(29), 1)


def test_a_click_puts_the_cursor_on_what_is_displayed_there() -> None:
    work = _Work(3)
    window = _opened(work, sort=ItemSort.ID)
    assert window.point(2)
    assert window.cursor == work.key(2)
    assert not window.point(3)
    assert not window.point(-1)
    assert window.cursor == work.key(2)


def test_scrolling_takes_the_cursor_along_only_when_it_would_leave_the_view() -> None:
    work = _Work(100)
    window = _opened(work, sort=ItemSort.ID)
    window.move(2)
    window.scroll(2)
    assert (window.cursor, window.cursor_row) == (work.key(2), 0)
    window.scroll(3)
    assert (window.cursor, window.cursor_row) == (work.key(5), 0)
    window.scroll(-99)
    assert (window.cursor, window.cursor_row) == (work.key(4), 4)


def test_items_that_come_above_push_the_cursor_s_row_down_only_at_the_top() -> None:
    work = _Work(100)
    window = _opened(work)
    window.move(1)
    cursor = window.cursor
    work.change(5, RUNNING)
    work.read(window)
    assert (window.cursor, window.cursor_row) == (cursor, 2)
    window.move(10)
    cursor, row = window.cursor, window.cursor_row
    work.change(6, RUNNING)
    work.read(window)
    assert (window.cursor, window.cursor_row) == (cursor, row)


def test_an_item_that_ends_under_the_cursor_keeps_its_row_until_the_cursor_leaves() -> None:
    work = _Work(20, RUNNING)
    window = _opened(work)
    window.move(2)
    window.take(work.change(17, COMPLETED), are_unknown=False)
    work.read(window)
    assert (window.cursor, window.cursor_row) == (work.key(17), 2)
    assert _ids(window) == ["i0019", "i0018", "i0017", "i0016", "i0015"]
    shown = window.shown()[2]
    assert shown is not None
    assert shown.status is COMPLETED
    window.move(1)
    assert (window.cursor, window.cursor_row) == (work.key(16), 2)
    assert _ids(window)[:4] == ["i0019", "i0018", "i0016", "i0015"]
    window.end()
    assert window.cursor == work.key(17)


def test_an_item_that_the_filter_no_longer_lets_through_keeps_its_row_too() -> None:
    work = _Work(4, RUNNING)
    window = _opened(work)
    window.restrict(parse("status:running"), "status:running")
    work.read(window)
    window.move(3)
    window.take(work.change(0, FAILED), are_unknown=False)
    work.read(window)
    assert (window.total, len(window.shown()), window.cursor_row) == (3, 4, 3)
    assert window.cursor == work.key(0)
    window.move(-1)
    assert _ids(window) == ["i0003", "i0002", "i0001"]


def test_when_everything_else_went_the_cursor_s_item_is_what_is_left() -> None:
    work = _Work(10, RUNNING)
    window = _opened(work)
    window.restrict(parse("status:running"), "status:running")
    work.read(window)
    window.move(9)
    for n in range(10):
        window.take(work.change(n, COMPLETED), are_unknown=False)
    work.read(window)
    assert (_ids(window), window.cursor_row, window.total) == (["i0000"], 0, 0)


def test_an_end_that_no_event_told_of_keeps_the_row_as_well() -> None:
    work = _Work(1000, RUNNING)
    window = _opened(work)
    window.move(2)
    work.change(997, COMPLETED)
    window.take({}, are_unknown=True)
    work.read(window)
    assert (window.cursor, window.cursor_row) == (work.key(997), 2)
    assert _ids(window)[:2] == ["i0999", "i0998"]


def test_an_end_that_only_the_rows_tell_of_keeps_the_row_as_well() -> None:
    work = _Work(6, RUNNING)
    window = _opened(work)
    window.move(3)
    work.change(2, COMPLETED)
    work.read(window)
    assert (window.cursor, window.cursor_row) == (work.key(2), 3)
    assert _ids(window) == ["i0005", "i0004", "i0003", "i0002", "i0001"]


def test_an_item_that_left_the_list_and_comes_back_does_not_pull_the_cursor_away() -> None:
    work = _Work(30)
    window = _opened(work, sort=ItemSort.ID)
    window.move(3)
    key = window.cursor
    assert key is not None
    rest = [view for view in work.listed(window) if key_of(view) != key]
    window.put(window.wanted(), rest, 29, Place(key=key, offset=None))
    assert (window.cursor_row, _ids(window)[2:]) == (3, ["i0002", "i0003", "i0004"])
    back = [*rest[:20], work.items[3], *rest[20:]]
    window.put(window.wanted(), back, 30, Place(key=key, offset=20))
    assert (window.cursor, window.cursor_row) == (key, 3)
    assert _ids(window)[2:] == ["i0002", "i0003", "i0004"]


def test_when_the_list_changes_between_two_answers_no_row_is_hidden_and_it_is_read_again() -> None:
    work = _Work(300)
    window = _opened(work)
    window.move(2)
    place = work.find(window)
    news = work.change(297, COMPLETED)
    work.answer(window, place)
    assert _ids(window) == ["i0299", "i0298", "i0297", "i0296", "i0295"]
    assert window.is_dirty
    window.take(news, are_unknown=False)
    work.read(window)
    assert (window.cursor, window.cursor_row, window.is_dirty) == (work.key(297), 2, False)


def test_the_rows_below_do_not_move_when_the_cursor_leaves_an_item_that_kept_its_row() -> None:
    work = _Work(100, RUNNING)
    window = _opened(work)
    window.move(10)
    window.move(-2)
    window.take(work.change(91, COMPLETED), are_unknown=False)
    work.read(window)
    before = _ids(window)
    assert before == ["i0093", "i0092", "i0091", "i0090", "i0089"]
    window.move(1)
    assert (window.cursor, window.cursor_row) == (work.key(90), 3)
    assert _ids(window) == ["i0094", "i0093", "i0092", "i0090", "i0089"]


def test_another_order_gives_an_item_that_kept_its_row_its_own_place() -> None:
    work = _Work(100, RUNNING)
    window = _opened(work)
    window.move(2)
    window.take(work.change(97, COMPLETED), are_unknown=False)
    work.read(window)
    window.order(ItemSort.ID, is_reversed=False)
    work.read(window)
    assert _ids(window) == ["i0095", "i0096", "i0097", "i0098", "i0099"]


def test_an_item_pushed_far_by_others_is_followed() -> None:
    work = _Work(1000)
    window = _opened(work)
    window.move(2)
    for n in range(300):
        work.change(n, RUNNING)
    window.take({}, are_unknown=True)
    work.read(window)
    assert window.cursor == work.key(997)
    assert window.lacks_rows is False
    assert _ids(window)[window.cursor_row or 0] == "i0997"


def test_another_order_keeps_the_cursor_on_its_item_and_the_old_rows_until_the_new_come() -> None:
    work = _Work(1000)
    window = _opened(work)
    window.move(2)
    before = _ids(window)
    window.order(ItemSort.ID, is_reversed=False)
    assert (_ids(window), window.lacks_rows) == (before, True)
    work.read(window)
    assert (window.cursor, window.cursor_row) == (work.key(997), 2)
    assert _ids(window) == ["i0995", "i0996", "i0997", "i0998", "i0999"]


def test_a_filter_keeps_the_cursor_on_its_item_if_it_lets_it_through_else_it_begins() -> None:
    work = _Work(100)
    for n in range(0, 100, 2):
        work.change(n, FAILED)
    window = _opened(work, sort=ItemSort.ID)
    window.move(30)
    window.restrict(parse("status:failed"), "status:failed")
    assert _total(window) is None
    work.read(window)
    assert (window.cursor, _total(window)) == (work.key(30), 50)
    window.restrict(parse("status:pending"), "status:pending")
    work.read(window)
    assert (window.cursor, window.cursor_row) == (work.key(1), 0)
    window.restrict(ItemFilter(), "")
    work.read(window)
    assert window.cursor == work.key(1)


def test_a_convoy_and_the_filter_line_both_restrict() -> None:
    window = Window()
    window.restrict(parse("status:failed"), "status:failed")
    window.show_convoy("a-1")
    assert window.query == ItemFilter(statuses=(FAILED,), convoy_ids=("a-1",))
    window.restrict(ItemFilter(), "")
    assert window.query == ItemFilter(convoy_ids=("a-1",))
    window.show_convoy(None)
    assert window.query == ItemFilter()


def test_rows_of_an_order_that_nobody_wants_any_more_are_dropped() -> None:
    work = _Work(100)
    window = _opened(work, sort=ItemSort.ID)
    wanted, before = window.wanted(), _ids(window)
    window.order(ItemSort.ID, is_reversed=True)
    window.put(wanted, [make_item(f"stray{n}") for n in range(9)], 9)
    assert _ids(window) == before
    assert window.lacks_rows


def test_what_an_event_told_is_not_undone_by_rows_read_before_it() -> None:
    work = _Work(3)
    window = _opened(work, sort=ItemSort.ID)
    wanted, stale = window.wanted(), work.listed(window)
    window.take(work.change(1, RUNNING), are_unknown=False)
    window.put(wanted, stale, 3, work.find(window))
    assert [view.status for view in window.shown() if view] == [PENDING, RUNNING, PENDING]


def test_the_newest_line_of_output_stays_when_an_event_does_not_know_it() -> None:
    work = _Work(1, RUNNING)
    work.items[0] = replace(work.items[0], last_line="31 passed")
    window = _opened(work)
    work.items[0] = replace(work.items[0], last_line=None)
    window.take(work.change(0, COMPLETED), are_unknown=False)
    assert [view.last_line for view in window.shown() if view] == ["31 passed"]


def test_changes_of_another_convoy_do_not_have_the_rows_read_again() -> None:
    work = _Work(3)
    window = _opened(work)
    window.show_convoy("nightly-review-0001")
    work.read(window)
    other = make_item("x", convoy_id="other-0001")
    assert not window.take({key_of(other): other}, are_unknown=False)
    assert window.take(work.change(1, RUNNING), are_unknown=False)


def test_a_list_that_shrank_uncounted_is_found_again() -> None:
    work = _Work(1000)
    window = _opened(work)
    window.end()
    work.read(window)
    for n in range(10, 1000):
        del work.items[n]
    window.take({}, are_unknown=True)
    for _ in range(30):
        work.read(window, is_counted=False)
    assert window.total == 10
    assert not window.lacks_rows


def test_a_refused_filter_shows_nothing_rather_than_the_old_rows() -> None:
    window = _opened(_Work(10))
    window.restrict(parse("/x/"), "/x/")
    window.clear()
    assert (window.shown(), window.total, window.cursor, window.lacks_rows) == ([], 0, None, False)


def test_marks_have_the_order_of_marking_and_a_bound() -> None:
    work = _Work(3)
    window = _opened(work)
    window.mark(work.key(2))
    window.mark(work.key(0))
    window.mark(work.key(2))
    assert list(window.marks) == [work.key(0)]
    window.mark_all(ItemKey("c", str(n)) for n in range(MOST_MARKS + 5))
    assert len(window.marks) == MOST_MARKS
    window.mark(work.key(1))
    assert work.key(1) not in window.marks
    window.unmark()
    assert not window.marks


@pytest.mark.parametrize("height", [0, 1, 3])
def test_the_cursor_stays_in_view_whatever_the_height(height: int) -> None:
    work = _Work(50)
    window = _opened(work, height=10)
    window.move(9)
    cursor = window.cursor
    window.resize(height)
    assert window.cursor == cursor
    assert window.cursor_row == (height - 1 if height else None)


class WindowMachine(RuleBasedStateMachine):
    """Whatever the operator and the engine do, the cursor stays on its item."""

    @initialize(count=st.integers(0, 120), height=st.integers(1, 12))
    def open(self, count: int, height: int) -> None:
        self.work = _Work(count)
        self.count = count
        self.window = _opened(self.work, height)
        self.cursor = self.window.cursor
        self.marks: list[ItemKey] = []

    @rule(rows=st.integers(-150, 150))
    def move(self, rows: int) -> None:
        self.window.move(rows)
        self._moved()

    @rule(pages=st.sampled_from([-1, 1]))
    def page(self, pages: int) -> None:
        self.window.page(pages)
        self._moved()

    @rule(is_end=st.booleans())
    def jump(self, is_end: bool) -> None:
        (self.window.end if is_end else self.window.home)()
        self._moved()

    @rule(rows=st.integers(-30, 30))
    def scroll(self, rows: int) -> None:
        self.window.scroll(rows)
        self._moved()

    @rule(row=st.integers(-1, 12))
    def point(self, row: int) -> None:
        shown = self.window.shown()
        if self.window.point(row) and shown[row] is not None:
            view = shown[row]
            assert view is not None
            assert self.window.cursor == key_of(view)
        self._moved()

    @rule(height=st.integers(0, 15))
    def resize(self, height: int) -> None:
        self.window.resize(height)

    @rule(sort=st.sampled_from([ItemSort.STATUS, ItemSort.ID]), is_reversed=st.booleans())
    def order(self, sort: ItemSort, is_reversed: bool) -> None:
        self.window.order(sort, is_reversed=is_reversed)

    @rule(line=st.sampled_from(["", "status:failed", "status:running,pending"]))
    def restrict(self, line: str) -> None:
        self.window.restrict(parse(line), line)

    @precondition(lambda self: self.count > 0)
    @rule(
        n=st.integers(0, 119), status=st.sampled_from(_ORDER), told=st.sampled_from(["yes", "late"])
    )
    def change(self, n: int, status: WorkStatus, told: str) -> None:
        news = self.work.change(n % self.count, status)
        self.window.take(news if told == "yes" else {}, are_unknown=told == "late")

    @rule(n=st.integers(0, 119))
    def add(self, n: int) -> None:
        self.work.items[self.count] = make_item(f"a{n:03}{self.count:04}", position=self.count)
        self.count += 1
        self.window.take({}, are_unknown=True)

    @rule()
    def mark(self) -> None:
        if self.window.cursor is not None:
            self.window.mark(self.window.cursor)
            self.marks = list(self.window.marks)

    @rule(is_counted=st.booleans())
    def read(self, is_counted: bool) -> None:
        self.is_refiltered = self.window.total is None
        self.work.read(self.window, is_counted=is_counted)
        self._came()
        for _ in range(5):
            if not self.window.lacks_rows:
                break
            self.work.read(self.window)
        self._is_in_order(is_counted=is_counted)

    @precondition(lambda self: self.count > 0)
    @rule(n=st.integers(0, 119), status=st.sampled_from(_ORDER))
    def read_while_it_changes(self, n: int, status: WorkStatus) -> None:
        self.is_refiltered = self.window.total is None
        place = self.work.find(self.window)
        news = self.work.change(n % self.count, status)
        self.work.answer(self.window, place)
        self.window.take(news, are_unknown=False)
        self._came()

    @rule(rows=st.integers(-40, 40), line=st.sampled_from(["", "status:failed"]))
    def read_while_the_cursor_moves(self, rows: int, line: str) -> None:
        self.window.restrict(parse(line), line)
        place = self.work.find(self.window)
        self.window.move(rows)
        self._moved()
        self.is_refiltered = self.window.total is None
        self.work.answer(self.window, place)
        self._came()

    def _moved(self) -> None:
        self.cursor = self.window.cursor

    def _came(self) -> None:
        """After another filter the cursor may begin anew, else it stays."""
        if self.cursor is None or self.is_refiltered:
            self.cursor = self.window.cursor

    def _is_in_order(self, *, is_counted: bool) -> None:
        """Everything read, the rows are the engine's list around the cursor's item."""
        window, shown = self.window, self.window.shown()
        listed = [key_of(view) for view in self.work.listed(window)]
        assert not window.lacks_rows
        if is_counted:
            assert window.total == len(listed)
        keys = [key_of(view) for view in shown if view and key_of(view) != window.cursor]
        rest = [key for key in listed if key != window.cursor]
        start = rest.index(keys[0]) if keys else 0
        assert keys == rest[start : start + len(keys)]
        assert len(shown) >= min(window.height, window.total or 0)

    @invariant()
    def the_cursor_stays(self) -> None:
        if hasattr(self, "window") and self.cursor is not None:
            assert self.window.cursor == self.cursor

    @invariant()
    def the_cursor_is_in_view(self) -> None:
        if not hasattr(self, "window"):
            return
        row, shown = self.window.cursor_row, self.window.shown()
        assert len(shown) <= self.window.height
        if self.window.cursor is not None and self.window.height:
            assert row is not None
            view = shown[row]
            assert view is not None
            assert key_of(view) == self.window.cursor

    @invariant()
    def the_marks_stay(self) -> None:
        if hasattr(self, "window"):
            assert list(self.window.marks) == self.marks


TestWindowMachine = WindowMachine.TestCase
TestWindowMachine.settings = settings(max_examples=100, stateful_step_count=40)
