"""Completion with the ids that the work state holds right now."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import typer  # noqa: TC002  # typer reads the annotations

from aisquad_core.errors import AISquadError
from aisquad_tui.cli import session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from aisquad_core.connect import WorkReader

_HARMLESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@%+,=-]*")
"""Ids that no shell would expand: the scripts of bash and zsh evaluate what they are given."""
_LIMIT = 200


def complete_convoys(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the ids of convoys that begin so."""

    async def ids(reader: WorkReader) -> list[str]:
        return [convoy.id for convoy in await reader.convoys()]

    return _complete(ctx, incomplete, ids)


def complete_items(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the ids of work items that begin so."""

    async def ids(reader: WorkReader) -> list[str]:
        return list(await reader.complete(incomplete))

    return _complete(ctx, incomplete, ids)


def _complete(
    ctx: typer.Context, incomplete: str, ids: Callable[[WorkReader], Awaitable[list[str]]]
) -> list[str]:
    state: Path | None = ctx.params.get("state")
    if state is None and ctx.parent is not None:
        state = ctx.parent.params.get("state")

    async def read() -> list[str]:
        async with session.open_reader(session.load_settings(state, is_silent=True)) as reader:
            return await ids(reader)

    try:
        found = asyncio.run(read())
    except (AISquadError, OSError):
        # Whoever presses TAB cannot read an error; the command itself will say it.
        return []
    fitting = (id for id in found if id.startswith(incomplete) and _HARMLESS.fullmatch(id))
    return [id for _, id in zip(range(_LIMIT), fitting, strict=False)]
