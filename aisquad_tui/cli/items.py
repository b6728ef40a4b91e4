"""`aisquad items`: the work items, a row each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from aisquad_core.api import ItemFilter, ItemSort
from aisquad_core.sanitise import one_line
from aisquad_tui.cli import options, session
from aisquad_tui.cli.boundary import Status, conclude
from aisquad_tui.cli.completion import complete_convoys
from aisquad_tui.cli.ls import NONE_YET
from aisquad_tui.cli.shapes import dump, record
from aisquad_tui.cli.table import Cell, Column, Table
from aisquad_tui.cli.terminal import ITEM_INKS, ColorChoice, Ink, open_terminal
from aisquad_tui.cli.watch import show
from aisquad_tui.formatting import between, count

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aisquad_core.api import ItemPage, ItemView
    from aisquad_core.connect import WorkReader
    from aisquad_tui.cli.terminal import Stream, Terminal

_PAGE = 1_000
_ON_A_TERMINAL = 100
_COLUMNS = (
    Column(title=""),
    Column(title="ITEM", floor=12),
    Column(title="STATUS"),
    Column(title="AGENT", floor=6, leaves=1),
    Column(title="CONVOY", floor=8, leaves=2),
    Column(title="TRY", is_right=True),
    Column(title="TIME", is_right=True),
    Column(title="EXIT", is_right=True),
    Column(title="WHAT", floor=16, leaves=3),
)


def items(
    convoy: Annotated[
        str | None,
        typer.Argument(
            metavar="[CONVOY]", help="Only of this convoy.", autocompletion=complete_convoys
        ),
    ] = None,
    *,
    statuses: options.Statuses = None,
    convoys: options.Convoys = None,
    agents: options.Agents = None,
    sort: Annotated[ItemSort, typer.Option("--sort", help="Order of the rows.")] = (
        ItemSort.POSITION
    ),
    is_reversed: Annotated[
        bool, typer.Option("--reverse", "-r", help="Turn the order round.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            "-n",
            min=1,
            metavar="N",
            help="At most so many. [default on a terminal: 100]",
        ),
    ] = None,
    is_all: Annotated[bool, typer.Option("--all", "-a", help="All, on a terminal too.")] = False,
    as_json: options.AsJson = False,
    is_watched: options.Watch = False,
    state: options.State = None,
    color: options.Color = ColorChoice.AUTO,
) -> None:
    """List work items: what runs, waits, failed."""
    terminal = open_terminal(color=color)
    wanted = options.parse_statuses(statuses)
    most = limit
    if limit is None and not is_all and not as_json and terminal.out.is_terminal:
        most = _ON_A_TERMINAL

    async def list_items() -> int:
        async with session.open_reader(session.load_settings(state)) as reader:
            prefixes = [*(convoys or ()), *([convoy] if convoy else ())]
            filter = ItemFilter(
                statuses=wanted,
                convoy_ids=tuple([await reader.resolve_convoy(prefix) for prefix in prefixes]),
                agent_ids=tuple(agents or ()),
            )
            listing = Listing(reader, filter, sort, is_reversed=is_reversed, limit=most)
            if is_watched:

                async def read() -> list[str]:
                    return await (listing.json_lines() if as_json else listing.table(terminal.out))

                await show(terminal, read, is_watched=True)
            elif as_json:
                await _write_json(listing, terminal)
            else:
                await _write_table(listing, terminal)
        return Status.OK

    conclude(list_items)


class Listing:
    """The items that fit a filter, read a page at a time."""

    def __init__(
        self,
        reader: WorkReader,
        filter: ItemFilter,
        sort: ItemSort,
        *,
        is_reversed: bool,
        limit: int | None,
    ) -> None:
        self._reader = reader
        self._filter = filter
        self._sort = sort
        self._is_reversed = is_reversed
        self._limit = limit

    async def pages(self) -> AsyncIterator[ItemPage]:
        """Yield pages up to the limit; always at least one."""
        after: str | None = None
        left = self._limit
        while True:
            page = await self._reader.items(
                self._filter,
                sort=self._sort,
                is_reversed=self._is_reversed,
                after=after,
                offset=0,
                limit=_PAGE if left is None else min(left, _PAGE),
            )
            yield page
            after = page.next_after
            if left is not None:
                left -= len(page.items)
            if after is None or left == 0:
                return

    async def has_convoys(self) -> bool:
        """Whether there is anything to list at all."""
        return bool(await self._reader.convoys())

    async def json_lines(self) -> list[str]:
        """Return one document on one line."""
        return [dump([record(item) async for page in self.pages() for item in page.items])]

    async def table(self, stream: Stream) -> list[str]:
        """Return all rows as a table."""
        rows = [item async for page in self.pages() for item in page.items]
        return Table(_COLUMNS, stream).lines([_row(item, stream) for item in rows])


async def _write_json(listing: Listing, terminal: Terminal) -> None:
    """Write one list, an item a line, without holding all of them."""
    separator = "[\n"
    async for page in listing.pages():
        for item in page.items:
            terminal.out.file.write(f"{separator}  {dump(record(item))}")
            separator = ",\n"
    terminal.out.line("\n]" if separator == ",\n" else "[]")


async def _write_table(listing: Listing, terminal: Terminal) -> None:
    table = Table(_COLUMNS, terminal.out)
    shown = total = 0
    async for page in listing.pages():
        shown += len(page.items)
        total = page.total or 0
        if page.items:
            for line in table.lines([_row(item, terminal.out) for item in page.items]):
                terminal.out.line(line)
    terminal.out.file.flush()
    if total == 0:
        terminal.say("No work items fit." if await listing.has_convoys() else NONE_YET)
    elif shown < total:
        terminal.say(f"{count(shown)} of {count(total)} items; --all shows all")


def _row(item: ItemView, stream: Stream) -> list[Cell]:
    ink = ITEM_INKS[item.status]
    what = item.error or item.reason or item.last_line or ""
    return [
        (stream.glyphs.item[item.status], ink),
        (one_line(item.id), Ink.STRONG),
        (item.status.word, ink),
        (one_line(item.agent_id), Ink.PLAIN),
        (one_line(item.convoy_id), Ink.DIM),
        (str(item.attempt), Ink.PLAIN),
        (between(item.started_at, item.finished_at, datetime.now(UTC)), Ink.PLAIN),
        ("" if item.exit_code is None else str(item.exit_code), Ink.PLAIN),
        (one_line(what), Ink.PLAIN),
    ]
