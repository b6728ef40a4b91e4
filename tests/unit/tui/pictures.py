"""What an engine might show, the same on every machine: for the tests of views and widgets."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from aisquad_core.api import (
    ConvoyView,
    EngineView,
    ItemSort,
    ItemView,
    Load,
    StatusCounts,
    add_counts,
)
from aisquad_core.model import ConvoyStatus, WorkStatus
from aisquad_core.testing import FakeClock, FakeEngine
from aisquad_tui.formatting import ASCII_GLYPHS, GLYPHS
from aisquad_tui.ink import plain, width
from aisquad_tui.store import Picture
from aisquad_tui.surroundings import Surroundings, Terminal
from aisquad_tui.views import convoys, empty, footer, header, meters, notice, status, work

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aisquad_tui.formatting import Glyphs
    from aisquad_tui.ink import Line

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SIGNS = frozenset("●✓✗‖○·–▶▲▼→›×…—█░▁▂▃▄▅▆▇╭╮╰╯│─")  # noqa: RUF001 - that is the set
"""What SCREENS.md allows beside ASCII."""


def ago(seconds: float) -> datetime:
    """Return the stamp of a moment before NOW."""
    return NOW - timedelta(seconds=seconds)


def make_load(
    cpu: float = 63, memory: float = 32, *, age_s: float = 0, size: int = 12, throttle: float = 0
) -> Load:
    """Return what one tick saw."""
    return Load(
        at=ago(age_s),
        cpu_percent=cpu,
        memory_percent=memory,
        parallelism=size,
        throttle=throttle,
        cpu_count=2,
        memory_bytes=16 << 30,
    )


def make_engine(**changes: object) -> EngineView:
    """Return an engine that is well and was resized once."""
    engine = EngineView(
        pid=4242,
        version="1",
        sqlite_version="3",
        state_dir="/fake/.ai_squad",
        started_at=ago(11_520),
        parallelism=12,
        baseline=5,
        max=20,
        auto=True,
        running=12,
        queued=163,
        cpu_percent=63,
        memory_percent=32,
        cpu_threshold=80,
        memory_threshold=80,
        throttle=0,
        reason="CPU 63 %, memory 32 %: up to 12",
        waiting=None,
        resized_from=11,
    )
    return replace(engine, **changes)  # type: ignore[arg-type]  # names are checked at run time


def make_convoy(
    name: str, status: ConvoyStatus = ConvoyStatus.RUNNING, **changes: object
) -> ConvoyView:
    """Return a convoy that began an hour ago."""
    convoy = ConvoyView(
        id=f"{name}-0001",
        name=name,
        status=status,
        counts=StatusCounts(),
        created_at=ago(3600),
        started_at=ago(3600),
        finished_at=None,
        source=None,
    )
    return replace(convoy, **changes)  # type: ignore[arg-type]  # names are checked at run time


def make_item(id: str, status: WorkStatus = WorkStatus.PENDING, **changes: object) -> ItemView:
    """Return a work item that has not begun."""
    item = ItemView(
        id=id,
        convoy_id="nightly-review-0001",
        status=status,
        agent_id="engineer",
        attempt=1,
        max_attempts=3,
        priority=0,
        position=0,
        version=1,
        created_at=ago(3600),
        updated_at=ago(60),
        started_at=None,
        finished_at=None,
        exit_code=None,
        error=None,
        reason=None,
    )
    return replace(item, **changes)  # type: ignore[arg-type]  # names are checked at run time


CONVOYS = (
    make_convoy(
        "lint-all",
        ConvoyStatus.COMPLETED,
        counts=StatusCounts(completed=240),
        finished_at=ago(252),
    ),
    make_convoy(
        "docs-sweep",
        ConvoyStatus.PAUSED,
        counts=StatusCounts(pending=31, completed=9),
        reason="paused by hand",
    ),
    make_convoy(
        "nightly-review",
        counts=StatusCounts(pending=100, blocked=24, running=12, completed=162, failed=2),
        rate_per_s=2.1,
        eta_s=58,
    ),
    make_convoy(
        "dep-upgrades",
        counts=StatusCounts(pending=8, completed=3, lost=1),
        created_at=ago(7200),
        reason="waits for rate limit",
    ),
)
ITEMS = (
    make_item(
        "fix-api-017",
        WorkStatus.IN_PROGRESS,
        started_at=ago(65),
        last_line="Editing src/api/routes.py",
    ),
    make_item(
        "fix-api-018",
        WorkStatus.IN_PROGRESS,
        attempt=2,
        started_at=ago(41),
        last_line="pytest: 31 passed",
    ),
    make_item(
        "fix-db-001",
        WorkStatus.FAILED,
        attempt=2,
        started_at=ago(150),
        finished_at=ago(20),
        exit_code=1,
        error="exit 1",
        last_line="AssertionError: migration 0042 is missing",
    ),
    make_item("bump-redis", reason="rate limit: 12 s"),
    make_item(
        "fix-api-001",
        WorkStatus.COMPLETED,
        started_at=ago(150),
        finished_at=ago(96),
        exit_code=0,
        last_line="Done: 2 files changed",
    ),
    make_item("fix-api-019", WorkStatus.BLOCKED, reason="needs lint"),
)
HISTORY = tuple(
    make_load(90 if 60 <= age_s < 90 else 50, 32, age_s=age_s, size=12 if age_s < 40 else 9)
    for age_s in range(180, -1, -1)
)
"""Three minutes in which the CPU was over its limit for half a minute."""
PICTURE = Picture(
    engine=make_engine(),
    convoys={convoy.id: convoy for convoy in CONVOYS},
    counts=add_counts(convoy.counts for convoy in CONVOYS),
    history=HISTORY,
)
AGENTS = (
    empty.AgentFound(name="claude", path="/bin/claude", version="2.1.0"),
    empty.AgentFound(name="gemini", path=None),
)


def make_surroundings(*, is_ascii: bool = False, **changes: object) -> Surroundings:
    """Return a place that is the same on every machine."""
    clock = FakeClock()
    place = Surroundings(
        engine=FakeEngine(clock=clock),
        clock=clock,
        cwd="/home/ada/src/shop",
        env={},
        place="~/src/shop",
        host="build-07",
        terminal=Terminal(is_ascii=is_ascii),
    )
    return replace(place, **changes)  # type: ignore[arg-type]  # names are checked at run time


def dashboard(
    cells: int,
    *,
    picture: Picture = PICTURE,
    all_convoys: Iterable[ConvoyView] = CONVOYS,
    items: Sequence[ItemView] = ITEMS,
    agents: Sequence[empty.AgentFound] = AGENTS,
    is_ascii: bool = False,
) -> list[Line]:
    """Return every line that the views make of a picture."""
    glyphs: Glyphs = ASCII_GLYPHS if is_ascii else GLYPHS
    place = make_surroundings(is_ascii=is_ascii)
    ids = work.item_cells(work.longest_id(items), cells)
    return [
        header.header(picture, place, NOW, cells),
        *meters.boxes(picture, cells, glyphs),
        *meters.lines(picture, cells, glyphs),
        convoys.heading(cells, glyphs),
        *(convoys.row(each, NOW, cells, glyphs) for each in convoys.order(all_convoys)),
        work.heading(cells, glyphs, sort=ItemSort.STATUS, item_cells=ids),
        *(work.row(each, "nightly-review", NOW, cells, glyphs, item_cells=ids) for each in items),
        *empty.empty(picture, agents, cells, 20, glyphs),
        status.status(picture, cells, glyphs),
        *(notice.notice(notice.summary(each, glyphs), cells, glyphs) for each in all_convoys),
        *(
            notice.notice(notice.failure(1, each, glyphs), cells, glyphs, is_error=True)
            for each in items
        ),
        footer.footer((), cells, glyphs),
    ]


def texts(drawn: Iterable[Line]) -> list[str]:
    """Return the lines as people read them, without what fills them up."""
    return [plain(each).rstrip() for each in drawn]


def widths(drawn: Iterable[Line]) -> set[int]:
    """Return how wide the lines are."""
    return {width(each) for each in drawn}
