"""A work state on a real file, and items to put into it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import pytest
from blockbuster import blockbuster_ctx

from aisquad_core.model import ConvoyRecord, ConvoyStatus, RunUpdate, WorkItem, WorkStatus
from aisquad_core.state.workstate import WorkState
from aisquad_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    with blockbuster_ctx("aisquad_core"):
        yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "workstate.db"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
async def state(path: Path, clock: FakeClock) -> AsyncIterator[WorkState]:
    async with WorkState(path, clock=clock) as opened:
        yield opened


class MakeItem(Protocol):
    def __call__(self, item_id: str, /, **changes: Any) -> WorkItem: ...  # noqa: ANN401


class MakeConvoy(Protocol):
    def __call__(self, convoy_id: str, /, **changes: Any) -> ConvoyRecord: ...  # noqa: ANN401


class MakeStart(Protocol):
    def __call__(self, item_id: str, /, **changes: Any) -> RunUpdate: ...  # noqa: ANN401


@pytest.fixture
def make_item() -> MakeItem:
    def make(item_id: str, /, **changes: Any) -> WorkItem:  # noqa: ANN401
        item = WorkItem(
            id=item_id,
            status=WorkStatus.PENDING,
            agent_id="shell",
            convoy_id="build-1",
            version=1,
            created_at=NOW,
            updated_at=NOW,
        )
        return msgspec.structs.replace(item, **changes)

    return make


@pytest.fixture
def make_convoy() -> MakeConvoy:
    def make(convoy_id: str, /, **changes: Any) -> ConvoyRecord:  # noqa: ANN401
        record = ConvoyRecord(
            id=convoy_id,
            name=convoy_id,
            status=ConvoyStatus.PENDING,
            created_at=NOW,
            updated_at=NOW,
        )
        return replace(record, **changes)

    return make


@pytest.fixture
def make_start() -> MakeStart:
    """The start of an item of `build-1` that is at version 1."""

    def make(item_id: str, /, **changes: Any) -> RunUpdate:  # noqa: ANN401
        update = RunUpdate(
            convoy_id="build-1",
            item_id=item_id,
            expected_version=1,
            previous=WorkStatus.PENDING,
            status=WorkStatus.IN_PROGRESS,
            token="t1",
            started_at=NOW,
        )
        return msgspec.structs.replace(update, **changes)

    return make
