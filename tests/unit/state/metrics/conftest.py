"""A collector on a real file, and ends of attempts to record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from msgspec.structs import replace

from aisquad_core.model import RunUpdate, WorkStatus
from aisquad_core.state.metrics import MetricsCollector
from aisquad_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.db"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
async def collector(path: Path, clock: FakeClock) -> AsyncIterator[MetricsCollector]:
    async with MetricsCollector(path, clock=clock) as opened:
        yield opened


class MakeEnd(Protocol):
    def __call__(self, duration_s: float, /, **changes: Any) -> RunUpdate: ...  # noqa: ANN401


@pytest.fixture
def make_end(clock: FakeClock) -> MakeEnd:
    """The end, now, of an attempt of `build-1` that took so long."""

    def make(duration_s: float, /, **changes: Any) -> RunUpdate:  # noqa: ANN401
        finished_at = changes.pop("finished_at", clock.now())
        update = RunUpdate(
            convoy_id="build-1",
            item_id="lint",
            expected_version=2,
            previous=WorkStatus.IN_PROGRESS,
            status=WorkStatus.COMPLETED,
            exit_code=0,
            started_at=finished_at - timedelta(seconds=duration_s),
            finished_at=finished_at,
        )
        return replace(update, **changes)

    return make
