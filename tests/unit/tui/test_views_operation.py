"""One work item in full, as lines."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from aisquad_core.api import ItemDetail, ItemView, RelatedItem
from aisquad_core.model import Operation, Try, WorkStatus
from aisquad_tui.formatting import ASCII_GLYPHS, GLYPHS, data_size
from aisquad_tui.ink import plain, width
from aisquad_tui.views.operation import LogState, facts, header, log_info, no_output, tries

_NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_STATE = LogState(size=88_000, lines=1_204, is_following=True, is_final=False, percent=0)


def _ago(seconds: float) -> datetime:
    return _NOW - timedelta(seconds=seconds)


def _detail(status: WorkStatus = WorkStatus.IN_PROGRESS, **changes: object) -> ItemDetail:
    has_begun = status not in {WorkStatus.PENDING, WorkStatus.BLOCKED, WorkStatus.SKIPPED}
    view = ItemView(
        id="fix-api-018",
        convoy_id="nightly-review-0001",
        status=status,
        agent_id="engineer",
        attempt=2,
        max_attempts=3,
        priority=0,
        position=18,
        version=4,
        created_at=_ago(400),
        updated_at=_ago(41),
        started_at=_ago(41) if has_begun else None,
        finished_at=_NOW if status.is_final and has_begun else None,
        exit_code=1 if status is WorkStatus.FAILED else None,
        error="exit 1: boom" if status is WorkStatus.FAILED else None,
        reason=None if has_begun else "needs lint",
    )
    detail = ItemDetail(
        view=view,
        operation=Operation(id="fix-api-018", argv=("claude", "-p", "Fix the lint findings")),
        cwd="/home/ada/src/shop",
        pid=48_213,
        token="t",
        tries=(
            Try(
                attempt=1,
                status=WorkStatus.FAILED,
                exit_code=1,
                error="rate limit 429",
                started_at=_ago(300),
                finished_at=_ago(177),
                token="s",
            ),
        ),
        dependencies=(RelatedItem(id="lint", status=WorkStatus.COMPLETED),),
        dependents=(RelatedItem(id="report", status=WorkStatus.BLOCKED),),
        context={"file": "src/api/routes.py", "line": 3},
        metadata={},
        artifacts={"diff": ["a.py"]},
        cpu_percent=12.2,
        rss_bytes=212_000_000,
    )
    return replace(detail, **changes)  # type: ignore[arg-type]  # a test's own changes


def _rows(detail: ItemDetail, cells: int = 60) -> list[str]:
    return [plain(row).rstrip() for row in facts(detail, _NOW, cells, GLYPHS)]


def test_the_header_says_where_and_how_it_goes() -> None:
    shown = header(
        _detail(), _NOW, 100, GLYPHS, item_id="fix-api-018", convoy_name="nightly-review"
    )

    assert plain(shown) == (
        " nightly-review › fix-api-018 "  # noqa: RUF001 - the sign of the sketch
        "                               ● running 41s   try 2 of 3   pid 48213 "
    )


def test_the_header_keeps_the_item_and_the_state_where_it_is_narrow() -> None:
    shown = plain(
        header(_detail(), _NOW, 50, GLYPHS, item_id="fix-api-018", convoy_name="nightly-review")
    )

    assert "fix-api-018" in shown
    assert "● running 41s" in shown
    assert "pid" not in shown


def test_the_header_says_that_the_engine_is_away() -> None:
    shown = header(_detail(), _NOW, 100, GLYPHS, item_id="a", convoy_name="b", lost_at=_ago(5))

    assert f"engine away since {_ago(5).astimezone():%H:%M:%S}" in plain(shown)


def test_facts_name_what_it_is() -> None:
    rows = _rows(_detail())

    assert rows[:5] == [
        "agent      engineer",
        "command    claude -p 'Fix the lint findings'",
        "cwd        /home/ada/src/shop",
        "needs      lint ✓",
        "needed by  report ·",
    ]
    assert rows[-3:] == [
        "context    file src/api/routes.py",
        "           line 3",
        'artifact   diff ["a.py"]',
    ]


def test_facts_begin_with_what_is_wrong() -> None:
    assert _rows(_detail(WorkStatus.FAILED))[0] == "error      exit 1: boom"
    assert _rows(_detail(WorkStatus.BLOCKED))[0] == "reason     needs lint"


def test_a_long_command_wraps_and_is_cut_at_last() -> None:
    operation = Operation(id="a", argv=("claude", "-p", "many words " * 200))
    rows = _rows(_detail(operation=operation))
    command = [row for row in rows if "words" in row]

    assert len(command) == 6
    assert command[-1].endswith("…")
    brief = facts(_detail(operation=operation), _NOW, 60, GLYPHS, is_brief=True)
    assert sum("words" in plain(row) for row in brief) == 2


def test_many_dependents_are_counted() -> None:
    many = tuple(RelatedItem(id=f"i{n}", status=WorkStatus.BLOCKED) for n in range(1_012))

    assert any("and 1,000 more" in row for row in _rows(_detail(dependents=many), 80))


def test_tries_stand_newest_first_with_what_they_use_or_why_they_failed() -> None:
    rows = [plain(row).rstrip() for row in tries(_detail(), _NOW, 60, GLYPHS)]

    assert rows == [
        "2  ● running      41s   CPU 12 %  212 MB",
        "1  ✗ exit 1    2m 03s   rate limit 429",
    ]


def test_an_item_that_never_began_has_no_try() -> None:
    rows = tries(_detail(WorkStatus.BLOCKED, tries=()), _NOW, 60, GLYPHS)

    assert [plain(row).rstrip() for row in rows] == ["has not begun: needs lint"]


def test_no_output_says_why() -> None:
    def said(detail: ItemDetail, attempt: int = 2, *, was_lost: bool = False) -> str:
        return no_output(detail, attempt=attempt, is_result=False, was_lost=was_lost)

    assert said(_detail()) == "no output yet"
    assert said(_detail(WorkStatus.BLOCKED)) == "has not begun: needs lint"
    assert said(_detail(WorkStatus.COMPLETED)) == "no output, or it was removed since"
    assert said(_detail(WorkStatus.COMPLETED), was_lost=True) == "its output is no longer there"
    assert said(_detail(), attempt=1) == "no output, or it was removed since"


def test_the_logs_edge_tells_how_it_stands() -> None:
    still = replace(_STATE, is_following=False, percent=53)

    assert plain(log_info(_STATE, 80, GLYPHS)) == "following · 1,204 lines · 88 KB · / search"
    assert plain(log_info(still, 30, GLYPHS)) == "stands at 53 %, f follows"
    assert plain(log_info(replace(_STATE, is_final=True, lines=None), 80, GLYPHS)) == (
        "ended · 88 KB · / search"
    )
    assert plain(log_info(replace(still, is_final=True), 30, GLYPHS)) == (
        "ended, at 53 % · 1,204 lines"
    )


def test_sizes_read_as_people_say_them() -> None:
    sizes = (0, 999, 1_000, 88_400, 999_400, 999_600, 1_240_000, 500_000_000, 3_100_000_000)

    assert [data_size(size) for size in sizes] == [
        "0 B",
        "999 B",
        "1 KB",
        "88 KB",
        "999 KB",
        "1.0 MB",
        "1.2 MB",
        "500 MB",
        "3.1 GB",
    ]


@given(
    cells=st.integers(20, 300),
    status=st.sampled_from(WorkStatus),
    is_ascii=st.booleans(),
    name=st.text(min_size=1, max_size=60),
)
def test_every_line_has_the_width_asked_for(
    cells: int, status: WorkStatus, is_ascii: bool, name: str
) -> None:
    glyphs = ASCII_GLYPHS if is_ascii else GLYPHS
    detail = _detail(status, context={name: name}, cwd=name)
    lines = [
        header(detail, _NOW, cells, glyphs, item_id=name, convoy_name=name),
        *facts(detail, _NOW, cells, glyphs),
        *tries(detail, _NOW, cells, glyphs),
    ]

    assert {width(each) for each in lines} == {cells}
    assert not is_ascii or all(plain(each).isascii() for each in lines)
    assert all("\n" not in plain(each) and "\x1b" not in plain(each) for each in lines)
    assert width(log_info(_STATE, cells, glyphs)) <= max(cells, 25)
