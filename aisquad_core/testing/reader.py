"""What FakeEngine answers about work items: windows, details and logs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from aisquad_core.api import ItemDetail, ItemPage, ItemSort, LogChunk, RelatedItem
from aisquad_core.errors import InputError
from aisquad_core.model import ItemKey, WorkStatus
from aisquad_core.sanitise import one_line
from aisquad_core.state import pattern
from aisquad_core.testing.records import fits, sort_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aisquad_core.api import ItemFilter, ItemView
    from aisquad_core.testing.records import FakeItem
    from aisquad_core.testing.work import FakeWork


class FakeReader:
    """Reads the work that is pretended.

    Args:
        work: The convoys.
        pid: Of the engine; those of its processes follow.
    """

    def __init__(self, work: FakeWork, *, pid: int) -> None:
        self._work = work
        self._pid = pid

    def items(
        self,
        filter: ItemFilter,
        *,
        sort: ItemSort,
        is_reversed: bool,
        after: str | None,
        offset: int,
        limit: int,
        is_counted: bool,
        has_last_lines: bool,
    ) -> ItemPage:
        """Return one window of the items."""
        fitting = self._sorted(filter, sort, is_reversed=is_reversed)
        if after is not None:
            places = {str(item.key): n for n, item in enumerate(fitting)}
            if after not in places:
                raise InputError(f"{after!r} is not the key of a next page")
            offset += places[after] + 1
        page = fitting[offset : offset + limit]
        is_last = offset + limit >= len(fitting) or not page
        return ItemPage(
            items=tuple([self._view(item, has_last_line=has_last_lines) for item in page]),
            total=len(fitting) if is_counted else None,
            next_after=None if is_last else str(page[-1].key),
        )

    def offset_of(
        self, filter: ItemFilter, key: ItemKey, *, sort: ItemSort, is_reversed: bool
    ) -> int | None:
        """Return how many items stand before this one."""
        keys = [item.key for item in self._sorted(filter, sort, is_reversed=is_reversed)]
        return keys.index(key) if key in keys else None

    def item(self, key: ItemKey) -> ItemDetail:
        """Return everything about one item."""
        item = self._work.item(key)
        operation, siblings = item.operation, item.convoy.items
        is_running = item.view.status is WorkStatus.IN_PROGRESS
        script = item.script
        return ItemDetail(
            view=self._view(item, has_last_line=True),
            operation=operation,
            cwd=operation.cwd or item.convoy.cwd,
            pid=self._pid + 1 + item.view.position if is_running else None,
            token=f"token-{item.view.attempt}" if is_running else None,
            tries=item.tries,
            dependencies=_related(siblings[need] for need in operation.needs),
            dependents=_related(
                other for other in siblings.values() if operation.id in other.operation.needs
            ),
            context=operation.context,
            metadata=operation.metadata,
            artifacts={},
            cpu_percent=(script.cpu_percent if script else 0.0) if is_running else None,
            rss_bytes=(script.rss_bytes if script else 0) if is_running else None,
        )

    def log_range(
        self,
        key: ItemKey,
        *,
        attempt: int | None,
        offset: int,
        length: int,
        stream: Literal["log", "result"],
    ) -> LogChunk:
        """Return bytes of what an attempt has pretended to print."""
        item = self._work.item(key)
        attempt = item.view.attempt if attempt is None else attempt
        data = item.output.get(attempt, b"")
        if stream != item.operation.stdout.value:
            data = b""
        start = max(0, len(data) + offset) if offset < 0 else min(offset, len(data))
        return LogChunk(
            data=data[start : start + length],
            offset=start,
            size=len(data),
            is_final=attempt < item.view.attempt or item.view.status.is_final,
        )

    def _sorted(self, filter: ItemFilter, sort: ItemSort, *, is_reversed: bool) -> list[FakeItem]:
        pattern.check(filter.terms)
        fitting = [
            item
            for convoy in reversed(self._work.convoys.values())
            for item in convoy.items.values()
            if fits(item, filter)
        ]
        fitting.sort(key=lambda item: sort_key(item.view, sort))
        if is_reversed:
            fitting.reverse()
        if sort in (ItemSort.STARTED, ItemSort.FINISHED):  # what has no such time comes last
            fitting.sort(key=lambda item: sort_key(item.view, sort) == "")
        return fitting

    def _view(self, item: FakeItem, *, has_last_line: bool) -> ItemView:
        view = self._work.shown(item)
        if not has_last_line:
            return view
        output = item.output.get(view.attempt, b"").decode("utf-8", "replace")
        lines = (one_line(line) for line in reversed(output.splitlines()))
        return replace(view, last_line=next((line for line in lines if line), None))


def _related(items: Iterable[FakeItem]) -> tuple[RelatedItem, ...]:
    return tuple(RelatedItem(id=item.view.id, status=item.view.status) for item in items)
