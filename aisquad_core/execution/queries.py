"""Answers questions about work items: committed rows, with what only the memory knows laid over.

Without a scheduler it answers for commands that find no engine.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from aisquad_core.api import (
    ItemDetail,
    ItemPage,
    ItemSort,
    LogChunk,
    Preview,
    PreviewOperation,
    StatusCounts,
    add_counts,
)
from aisquad_core.errors import NotFoundError, SpecError
from aisquad_core.execution.runner import StartRef
from aisquad_core.execution.views import view_record
from aisquad_core.model import ItemKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aisquad_core.api import ConvoyView, ItemFilter, ItemView
    from aisquad_core.execution.runner import Runner
    from aisquad_core.model import WorkItem
    from aisquad_core.settings import AgentProfile
    from aisquad_core.spec import ConvoyPlan, ConvoySource
    from aisquad_core.state.reader import Reader


class Queries:
    """Reads items, logs and previews.

    Args:
        reader: The work state.
        runner: Where the logs are.
        why: Says why an item does not run, or may not; None if only its row knows.
        counts: Says the counts of convoys that are kept in memory; None: they are not known now.
    """

    def __init__(
        self,
        *,
        reader: Reader,
        runner: Runner,
        why: Callable[[ItemView], str | None],
        counts: Callable[[], Mapping[str, StatusCounts] | None] = lambda: None,
    ) -> None:
        self._reader = reader
        self._runner = runner
        self._why = why
        self._counts = counts
        self._older: Mapping[str, StatusCounts] | None = None
        """Counts of the convoys that were not kept when they were first asked for."""

    async def items(
        self,
        filter: ItemFilter,
        *,
        sort: ItemSort = ItemSort.POSITION,
        is_reversed: bool = False,
        after: str | None = None,
        offset: int = 0,
        limit: int = 100,
        is_counted: bool = True,
        has_last_lines: bool = False,
    ) -> ItemPage:
        """Return one window of the items, with reasons and last lines of output."""
        page = await self._reader.items(
            filter,
            sort=sort,
            is_reversed=is_reversed,
            after=after,
            offset=offset,
            limit=limit,
            is_counted=is_counted,
            known_total=await self._known_total(filter) if is_counted else None,
        )
        views = [self._explained(view) for view in page.items]
        if has_last_lines:
            views = await self._with_last_lines(views)
        return replace(page, items=tuple(views))

    async def offset_of(
        self,
        filter: ItemFilter,
        key: ItemKey,
        *,
        sort: ItemSort = ItemSort.POSITION,
        is_reversed: bool = False,
    ) -> int | None:
        """Return how many items stand before this one; None when the filter leaves it out."""
        return await self._reader.offset_of(filter, key, sort=sort, is_reversed=is_reversed)

    async def _known_total(self, filter: ItemFilter) -> int | None:
        """Return how many items fit without counting them; None if that cannot be known."""
        kept = self._counts()
        if kept is None or filter.agent_ids or filter.keys or filter.text or filter.terms:
            return None
        if filter.convoy_ids:
            if not kept.keys() >= set(filter.convoy_ids):
                return None
            chosen = [kept[convoy_id] for convoy_id in set(filter.convoy_ids)]
        else:
            if self._older is None:
                stored = await self._reader.counts_by_convoy()
                kept = self._counts() or {}
                self._older = {id: counts for id, counts in stored.items() if id not in kept}
            chosen = list({**self._older, **kept}.values())
        counts = add_counts(chosen)
        if not filter.statuses:
            return counts.total
        total = 0
        for status in set(filter.statuses):
            total += getattr(counts, status.word)
        return total

    async def _with_last_lines(self, views: list[ItemView]) -> list[ItemView]:
        """Read the newest line of output of each item that began, all in one go."""
        starts = await self._reader.tokens([ItemKey(view.convoy_id, view.id) for view in views])
        refs = [StartRef(*key, attempt, token) for key, (attempt, token) in starts.items()]
        found = await self._runner.last_lines(refs) if refs else {}
        lines = {ItemKey(ref.convoy_id, ref.item_id): found.get(ref.token) for ref in refs}
        return [
            replace(view, last_line=lines.get(ItemKey(view.convoy_id, view.id)) or None)
            for view in views
        ]

    async def item(self, key: ItemKey) -> ItemDetail:
        """Return everything about one item."""
        item = await self._reader.item(key)
        view = self._explained(await self._reader.view(key))
        usage = None
        if item.token is not None:
            ref = StartRef(*key, item.attempt, item.token)
            usage = await self._runner.usage(ref)
            last_lines = await self._runner.last_lines([ref])
            view = replace(view, last_line=last_lines.get(item.token) or None)
        return ItemDetail(
            view=view,
            operation=item.operation,
            cwd=await self._folder_of(item),
            pid=None if item.token is None else self._runner.pid(item.token),
            token=item.token,
            tries=item.tries,
            dependencies=await self._reader.dependencies(key),
            dependents=await self._reader.dependents(key),
            context=item.context,
            metadata=item.metadata,
            artifacts=item.artifacts,
            cpu_percent=None if usage is None else usage.cpu_percent,
            rss_bytes=None if usage is None else usage.rss_bytes,
        )

    async def _folder_of(self, item: WorkItem) -> str | None:
        if item.operation is None:
            return None
        return item.operation.cwd or (await self._reader.convoy(item.convoy_id)).cwd

    async def log_range(
        self,
        key: ItemKey,
        *,
        attempt: int | None = None,
        offset: int = 0,
        length: int = 65_536,
        stream: Literal["log", "result"] = "log",
    ) -> LogChunk:
        """Return bytes of an attempt's log; an attempt that has none is an empty chunk.

        Raises:
            NotFoundError: There is no such item, or it never had that attempt.
        """
        item = await self._reader.item(key)
        token = _token_of(item, item.attempt if attempt is None else attempt)
        if token is None:
            return LogChunk(data=b"", offset=0, size=0, is_final=item.status.is_final)
        ref = StartRef(*key, item.attempt if attempt is None else attempt, token)
        return await self._runner.log_range(ref, offset=offset, length=length, stream=stream)

    async def convoys(self) -> tuple[ConvoyView, ...]:
        """Return all convoys as they are stored, newest first."""
        counts = await self._reader.counts_by_convoy()
        return tuple(
            view_record(record, counts.get(record.id, StatusCounts()))
            for record in await self._reader.convoys()
        )

    def _explained(self, view: ItemView) -> ItemView:
        if not view.status.is_final:
            return replace(view, reason=self._why(view) or view.reason)
        return view


def _token_of(item: WorkItem, attempt: int) -> str | None:
    """Return the token of an attempt's last start; None if it has none yet.

    Raises:
        NotFoundError: There never was such an attempt.
    """
    if attempt == item.attempt:
        return item.token
    for ended in item.tries:
        if ended.attempt == attempt:
            return ended.token
    raise NotFoundError(f"work item {item.key} has no attempt {attempt}; it is at {item.attempt}")


def preview(
    source: ConvoySource, *, agents: Mapping[str, AgentProfile], cwd: str, limit: int
) -> Preview:
    """Say what a launch would run; blocks while it expands the operations."""
    from aisquad_core.spec import plan  # noqa: PLC0415 - commands that only read do not pay

    try:
        planned = plan(source, agents=agents, cwd=cwd)
    except SpecError as error:
        return Preview(
            name="",
            total=0,
            agents={},
            templates=(),
            operations=(),
            timeout_s=None,
            stop_on_first_failure=False,
            problems=error.problems,
        )
    return _preview_of(planned, limit)


def _preview_of(planned: ConvoyPlan, limit: int) -> Preview:
    from aisquad_core.spec import display_command  # noqa: PLC0415 - as above

    return Preview(
        name=planned.name,
        total=planned.total,
        agents=planned.agents,
        templates=tuple(
            PreviewOperation(
                id=template.id,
                agent_id=template.agent_id,
                command=template.command,
                count=template.count,
                needs=template.needs,
                timeout_s=template.timeout_s,
                retries=template.retries,
                priority=template.priority,
            )
            for template in planned.templates
        ),
        operations=tuple(
            PreviewOperation(
                id=operation.id,
                agent_id=operation.agent_id,
                command=display_command(operation),
                count=1,
                needs=operation.needs,
                timeout_s=operation.timeout_s,
                retries=operation.retries,
                priority=operation.priority,
                cwd=operation.cwd,
            )
            for operation in itertools.islice(planned.operations(), limit)
        ),
        timeout_s=planned.timeout_s,
        stop_on_first_failure=planned.stop_on_first_failure,
        problems=(),
    )
