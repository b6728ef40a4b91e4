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
)
from aisquad_core.errors import NotFoundError, SpecError
from aisquad_core.execution.runner import StartRef
from aisquad_core.execution.views import view_record
from aisquad_core.model import WorkStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aisquad_core.api import ConvoyView, ItemFilter, ItemView
    from aisquad_core.execution.runner import Runner
    from aisquad_core.model import ItemKey, WorkItem
    from aisquad_core.settings import AgentProfile
    from aisquad_core.spec import ConvoyPlan, ConvoySource
    from aisquad_core.state.reader import Reader


class Queries:
    """Reads items, logs and previews.

    Args:
        reader: The work state.
        runner: Where the logs are.
        why: Says why a queued item does not run; None if only its row knows.
    """

    def __init__(
        self, *, reader: Reader, runner: Runner, why: Callable[[ItemView], str | None]
    ) -> None:
        self._reader = reader
        self._runner = runner
        self._why = why

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
        """Return one window of the items, with reasons and last lines of output."""
        page = await self._reader.items(
            filter, sort=sort, is_reversed=is_reversed, after=after, offset=offset, limit=limit
        )
        return replace(page, items=tuple([self._explained(view) for view in page.items]))

    async def item(self, key: ItemKey) -> ItemDetail:
        """Return everything about one item."""
        item = await self._reader.item(key)
        view = self._explained(await self._reader.view(key))
        if item.token is not None:
            ref = StartRef(*key, item.attempt, item.token)
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
        if view.status in (WorkStatus.PENDING, WorkStatus.BLOCKED):
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
