"""Views to show, and a work state that holds them, in place of a database."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import pytest

from aisquad_core.api import (
    ConvoyView,
    ItemDetail,
    ItemPage,
    ItemSort,
    ItemView,
    LogChunk,
    StatusCounts,
)
from aisquad_core.errors import NotFoundError
from aisquad_core.model import ConvoyStatus, ItemKey, Operation, WorkStatus
from aisquad_tui.cli import main, session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from aisquad_core.api import ItemFilter
    from aisquad_core.connect import EngineStatus

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def make_convoy(id: str = "nightly-k3f9", **changes: object) -> ConvoyView:
    base = ConvoyView(
        id=id,
        name="nightly",
        status=ConvoyStatus.RUNNING,
        counts=StatusCounts(pending=4, running=1, completed=5),
        created_at=START,
        started_at=START,
        finished_at=None,
        source="nightly.toml",
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # fields by name


def make_item(id: str = "lint", **changes: object) -> ItemView:
    base = ItemView(
        id=id,
        convoy_id="nightly-k3f9",
        status=WorkStatus.PENDING,
        agent_id="shell",
        attempt=1,
        max_attempts=1,
        priority=0,
        position=0,
        version=1,
        created_at=START,
        updated_at=START,
        started_at=None,
        finished_at=None,
        exit_code=None,
        error=None,
        reason=None,
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # fields by name


@dataclass
class FakeReader:
    """The work state as a test wants it; filters by convoy, status and key."""

    views: list[ConvoyView] = field(default_factory=list)
    rows: list[ItemView] = field(default_factory=list)
    output: dict[str, bytes] = field(default_factory=dict)
    left_out: range = field(default_factory=lambda: range(0))
    """Offsets that a cut log does not have, as the runner reads them."""
    """By item id."""
    engine: EngineStatus | None = None
    page_size: int = 1_000
    """Most items of one page, whatever is asked for."""

    async def convoys(self) -> tuple[ConvoyView, ...]:
        return tuple(self.views)

    async def items(
        self,
        filter: ItemFilter,
        *,
        sort: ItemSort = ItemSort.POSITION,
        is_reversed: bool = False,
        after: str | None = None,
        offset: int = 0,
        limit: int = 100,
    ) -> ItemPage:
        fitting = [
            row
            for row in self.rows
            if (not filter.statuses or row.status in filter.statuses)
            and (not filter.convoy_ids or row.convoy_id in filter.convoy_ids)
            and (not filter.keys or (row.convoy_id, row.id) in filter.keys)
        ]
        start = int(after or offset)
        end = start + min(limit, self.page_size)
        return ItemPage(
            items=tuple(fitting[start:end]),
            total=len(fitting),
            next_after=str(end) if end < len(fitting) else None,
        )

    async def item(self, key: ItemKey) -> ItemDetail:
        view = next(row for row in self.rows if (row.convoy_id, row.id) == key)
        return ItemDetail(
            view=view,
            operation=Operation(
                id=view.id, argv=("sh", "-c", "echo $1", "sh", "a b"), stdin="secret"
            ),
            cwd="/src",
            pid=None,
            token=None,
            tries=(),
            dependencies=(),
            dependents=(),
            context={},
            metadata={},
            artifacts={},
        )

    async def resolve_convoy(self, prefix: str) -> str:
        return self._one([view.id for view in self.views if view.id.startswith(prefix)], prefix)

    async def resolve_item(self, text: str) -> ItemKey:
        id = self._one([row.id for row in self.rows if row.id == text.rpartition("/")[2]], text)
        return ItemKey("nightly-k3f9", id)

    async def log_range(
        self,
        key: ItemKey,
        *,
        attempt: int | None = None,
        offset: int = 0,
        length: int = 65_536,
        stream: str = "log",
    ) -> LogChunk:
        data = self.output.get(key.item_id, b"")
        start = max(0, len(data) + offset) if offset < 0 else offset
        if start in self.left_out:
            start = self.left_out.stop
        end = start + length
        if start < self.left_out.start:
            end = min(end, self.left_out.start)
        return LogChunk(data=data[start:end], offset=start, size=len(data), is_final=True)

    async def complete(self, prefix: str) -> tuple[str, ...]:
        return tuple(row.id for row in self.rows if row.id.startswith(prefix))

    async def status(self) -> EngineStatus:
        assert self.engine is not None
        return self.engine

    def _one(self, found: list[str], wanted: str) -> str:
        if len(found) != 1:
            raise NotFoundError(f"nothing is called {wanted}")
        return found[0]


@pytest.fixture
def convoy() -> Callable[..., ConvoyView]:
    return make_convoy


@pytest.fixture
def item() -> Callable[..., ItemView]:
    return make_item


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeReader:
    """What `open_reader` opens, in an empty folder."""
    fake = FakeReader()

    @asynccontextmanager
    async def open_reader(settings: object) -> AsyncIterator[FakeReader]:
        yield fake

    monkeypatch.setattr(session, "open_reader", open_reader)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    return fake


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command did."""

    status: int
    out: str
    err: str


class Aisquad(Protocol):
    """Runs the command in this process."""

    def __call__(self, *arguments: str) -> Ran: ...


@pytest.fixture
def aisquad(capsys: pytest.CaptureFixture[str]) -> Aisquad:
    def run(*arguments: str) -> Ran:
        status = main(arguments)
        captured = capsys.readouterr()
        return Ran(status, captured.out, captured.err)

    return run
