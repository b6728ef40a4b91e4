"""Which runs go: by age, then the oldest of what is too much, and never more than that."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from aisquad_core.upkeep import EndedRun, plan

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def run(name: str, *, days: float, size: int = 10) -> EndedRun:
    return EndedRun(convoy_id=name, finished_at=NOW - timedelta(days=days), size_bytes=size)


def names(*runs: EndedRun, days: int, size: int) -> list[str]:
    planned = plan(runs, now=NOW, keep_days=days, keep_bytes=size)
    return [each.convoy_id for each in planned.runs]


def test_what_ended_too_long_ago_goes_oldest_first() -> None:
    runs = run("new", days=1), run("old", days=31), run("older", days=90), run("edge", days=30)
    assert names(*runs, days=30, size=0) == ["older", "old"]


def test_the_oldest_go_until_the_rest_is_small_enough() -> None:
    runs = run("c", days=1), run("a", days=3), run("b", days=2)
    assert names(*runs, days=0, size=30) == []
    assert names(*runs, days=0, size=29) == ["a"]
    assert names(*runs, days=0, size=10) == ["a", "b"]
    assert names(*runs, days=0, size=9) == ["a", "b", "c"]


def test_what_goes_by_age_counts_no_more_towards_the_size() -> None:
    assert names(run("a", days=40, size=90), run("b", days=1), days=30, size=20) == ["a"]


def test_no_limits_keep_everything() -> None:
    planned = plan([run("a", days=9_999, size=10**12)], now=NOW, keep_days=0, keep_bytes=0)
    assert (planned.runs, planned.kept, planned.kept_bytes) == ((), 1, 10**12)


@given(
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 50)), max_size=12),
    st.integers(0, 60),
    st.integers(0, 300),
)
def test_what_stays_is_newer_than_what_goes_and_within_the_limits(
    given_runs: list[tuple[int, int]], keep_days: int, keep_bytes: int
) -> None:
    runs = [run(f"{n}", days=age, size=size) for n, (age, size) in enumerate(given_runs)]
    planned = plan(runs, now=NOW, keep_days=keep_days, keep_bytes=keep_bytes)
    stay = [each for each in runs if each not in planned.runs]
    assert planned.size_bytes + planned.kept_bytes == sum(each.size_bytes for each in runs)
    assert (planned.kept, planned.kept_bytes) == (len(stay), sum(e.size_bytes for e in stay))
    assert not keep_bytes or planned.kept_bytes <= keep_bytes
    if keep_days:
        assert all(NOW - each.finished_at <= timedelta(days=keep_days) for each in stay)
    if stay and planned.runs:
        assert planned.runs[-1].finished_at <= min(each.finished_at for each in stay)
