"""`aisquad logs`: the output of work items."""

from __future__ import annotations

import asyncio
import codecs
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from aisquad_core.model import WorkStatus
from aisquad_core.sanitise import one_line, sanitise
from aisquad_tui.cli import options, session
from aisquad_tui.cli.boundary import Status, conclude
from aisquad_tui.cli.selection import read_words
from aisquad_tui.cli.shapes import dump
from aisquad_tui.cli.terminal import ColorChoice, Ink, open_terminal
from aisquad_tui.formatting import cell_width, pad

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aisquad_core.api import LogChunk
    from aisquad_core.connect import WorkReader
    from aisquad_core.model import ItemKey
    from aisquad_tui.cli.terminal import Terminal

_CHUNK_BYTES = 65_536
_FOLLOW_EVERY_S = 0.25
_LONGEST_LINE = 1_000_000
"""Characters after which a line is broken: output need not have lines at all."""


def logs(
    items: options.Items = None,
    *,
    is_followed: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as output comes, until it ends.")
    ] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", "-n", min=0, metavar="N", help="Only the last N lines.")
    ] = None,
    is_raw: Annotated[
        bool, typer.Option("--raw", help="The bytes as they are: a terminal may act on them.")
    ] = False,
    attempt: Annotated[
        int | None, typer.Option("--attempt", min=1, metavar="N", help="An earlier attempt.")
    ] = None,
    is_result: Annotated[
        bool, typer.Option("--result", help="What the agent wrote apart, not its log.")
    ] = False,
    as_json: options.AsJson = False,
    state: options.State = None,
    color: options.Color = ColorChoice.AUTO,
) -> None:
    """Print the output of items."""
    terminal = open_terminal(color=color)
    names = read_words(items or [])
    if not names:
        raise typer.BadParameter("name at least one item", param_hint="ITEM")

    async def print_logs() -> int:
        stream: Literal["log", "result"] = "result" if is_result else "log"
        async with session.open_reader(session.load_settings(state)) as reader:
            keys = [await reader.resolve_item(name) for name in names]
            widths = [cell_width(one_line(key.item_id)) for key in keys]
            form = _Form(
                is_raw=is_raw, is_json=as_json, prefix_width=max(widths) if len(keys) > 1 else 0
            )
            logs = [Log(reader, key, attempt, stream, tail=tail) for key in keys]
            if not is_followed:
                for log in logs:
                    await _copy(log, terminal, form, is_followed=False)
                    await _say_if_not_started(reader, log.key, terminal)
                return Status.OK
            async with asyncio.TaskGroup() as group:
                for log in logs:
                    group.create_task(_copy(log, terminal, form, is_followed=True))
        return Status.OK

    conclude(print_logs)


async def _say_if_not_started(reader: WorkReader, key: ItemKey, terminal: Terminal) -> None:
    view = (await reader.item(key)).view
    if view.status in (WorkStatus.PENDING, WorkStatus.BLOCKED, WorkStatus.SKIPPED):
        reason = f": {one_line(view.reason)}" if view.reason else ""
        terminal.say(f"{one_line(key.item_id)} is {view.status.word}{reason}")


class Log:
    """The output of one attempt, read in pieces."""

    def __init__(
        self,
        reader: WorkReader,
        key: ItemKey,
        attempt: int | None,
        stream: Literal["log", "result"],
        *,
        tail: int | None,
    ) -> None:
        self.key = key
        self.attempt = attempt
        self._reader = reader
        self._stream = stream
        self._tail = tail

    async def chunks(self, *, is_followed: bool) -> AsyncIterator[bytes]:
        """Yield what there is, then with `is_followed` what comes until the attempt ends."""
        offset = 0 if self._tail is None else await self._tail_offset(self._tail)
        while True:
            chunk = await self._read(offset, _CHUNK_BYTES)
            offset = chunk.offset + len(chunk.data)
            if chunk.data:
                yield chunk.data
            elif not is_followed or chunk.is_final:
                return
            else:
                await asyncio.sleep(_FOLLOW_EVERY_S)

    async def _tail_offset(self, lines: int) -> int:
        """Return where the last lines begin, reading backwards; a last newline begins no line."""
        end = position = (await self._read(0, 1)).size
        if lines == 0:
            return end
        while position > 0:
            start = max(0, position - _CHUNK_BYTES)
            chunk = await self._read(start, position - start)
            data = chunk.data if chunk.offset < position else b""  # else: left out of a long log
            stop = len(data) - (position == end and data.endswith(b"\n"))
            while (found := data.rfind(b"\n", 0, stop)) >= 0:
                lines -= 1
                if lines == 0:
                    return chunk.offset + found + 1
                stop = found
            position = start
        return 0

    async def _read(self, offset: int, length: int) -> LogChunk:
        return await self._reader.log_range(
            self.key, attempt=self.attempt, offset=offset, length=length, stream=self._stream
        )


class LineWriter:
    """Turns the bytes of one log into harmless lines and writes them."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes, *, is_last: bool = False) -> None:
        """Take in bytes and write the lines that they complete; at the end what is left, too."""
        *lines, self._rest = (self._rest + self._decoder.decode(data, is_last)).split("\n")
        if self._rest and (is_last or len(self._rest) > _LONGEST_LINE):
            lines.append(self._rest)
            self._rest = ""
        for line in lines:
            # A terminal would show what was written over the line last.
            self._write(line.rstrip("\r").rpartition("\r")[2])


async def _copy(log: Log, terminal: Terminal, form: _Form, *, is_followed: bool) -> None:
    out = terminal.out.file
    if form.is_raw:
        async for data in log.chunks(is_followed=is_followed):
            out.buffer.write(data)
            out.buffer.flush()
        return
    writer = LineWriter(lambda line: terminal.out.line(form.line(log, line, terminal)))
    async for data in log.chunks(is_followed=is_followed):
        writer.feed(data)
        out.flush()
    writer.feed(b"", is_last=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """How lines are written."""

    is_raw: bool
    is_json: bool
    prefix_width: int
    """Cells for the item's id before each line; 0: one item, no prefix."""

    def line(self, log: Log, text: str, terminal: Terminal) -> str:
        """Return one line of output as it is printed."""
        if self.is_json:
            convoy_id, item_id = log.key
            return dump({"id": item_id, "convoy_id": convoy_id, "line": sanitise(text)})
        has_color = terminal.out.has_color
        clean = sanitise(text, keep_colours=has_color)
        if has_color and "\x1b" in clean:
            clean += "\x1b[0m"
        if not self.prefix_width:
            return clean
        prefix = pad(one_line(log.key.item_id), self.prefix_width)
        return f"{terminal.out.ink(prefix, Ink.DIM)}  {clean}"
