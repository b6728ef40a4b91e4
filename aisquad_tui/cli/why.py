"""`aisquad why`: one work item, why it stands where it stands, and what to do about it."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aisquad_core.errors import AISquadError
from aisquad_core.model import ItemKey, WorkStatus
from aisquad_core.sanitise import one_line, sanitise
from aisquad_tui.cli import options, session
from aisquad_tui.cli.boundary import Status, conclude
from aisquad_tui.cli.shapes import detail_shape, document
from aisquad_tui.cli.table import facts
from aisquad_tui.cli.terminal import ITEM_INKS, ColorChoice, open_terminal
from aisquad_tui.formatting import between, moment, plural

if TYPE_CHECKING:
    from aisquad_core.api import ItemDetail, ItemView, RelatedItem
    from aisquad_core.connect import WorkReader
    from aisquad_tui.cli.terminal import Terminal

_TAIL_BYTES = 4_000
_TAIL_LINES = 5
_MOST_RELATED = 8


def why(
    item: options.Item,
    *,
    as_json: options.AsJson = False,
    state: options.State = None,
    color: options.Color = ColorChoice.AUTO,
    utc: options.Utc = False,
) -> None:
    """Say why an item waits, failed or was left out."""
    terminal = open_terminal(color=color, is_utc=utc)

    async def explain() -> int:
        async with session.open_reader(session.load_settings(state)) as reader:
            key = await reader.resolve_item(item)
            detail = await reader.item(key)
            if as_json:
                terminal.out.line(document(detail_shape(detail)))
                return Status.OK
            for line in _lines(detail, await _tail(reader, key), terminal):
                terminal.out.line(line)
        return Status.OK

    conclude(explain)


async def _tail(reader: WorkReader, key: ItemKey) -> list[str]:
    """Return the last lines of output; an item whose log is gone can still be explained."""
    try:
        chunk = await reader.log_range(
            key, attempt=None, offset=-_TAIL_BYTES, length=_TAIL_BYTES, stream="log"
        )
    except AISquadError:
        return []
    text = sanitise(chunk.data.decode(errors="replace"))
    return [line.expandtabs() for line in text.splitlines() if line.strip()][-_TAIL_LINES:]


def _lines(detail: ItemDetail, tail: list[str], terminal: Terminal) -> list[str]:
    item, out = detail.view, terminal.out
    ink = ITEM_INKS[item.status]
    head = out.ink(f"{out.glyphs.item[item.status]} {one_line(item.id)} {item.status.word}", ink)
    because = item.error or item.reason
    lines = [f"{head}: {one_line(because)}" if because else head, *facts(_facts(detail, terminal))]
    if tail:
        lines += ["", "Last output:", *(f"  {line}" for line in tail)]
    hint = _hint(item)
    return [*lines, "", hint] if hint else lines


def _facts(detail: ItemDetail, terminal: Terminal) -> list[tuple[str, str]]:
    item = detail.view
    times = [(item.started_at, "started"), (item.finished_at, "ended")]
    stamps = [f"{word} {moment(at, is_utc=terminal.is_utc)}" for at, word in times if at]
    took = between(item.started_at, item.finished_at, datetime.now(UTC))
    pairs = [
        ("convoy", one_line(item.convoy_id)),
        ("agent", one_line(item.agent_id)),
        ("attempt", f"{item.attempt} of {item.max_attempts}"),
        ("time", ", ".join([*stamps, *([took] if took else [])])),
        ("exit", "" if item.exit_code is None else str(item.exit_code)),
        ("pid", "" if detail.pid is None else str(detail.pid)),
        ("command", one_line(shlex.join(detail.operation.argv)) if detail.operation else ""),
        ("folder", one_line(detail.cwd or "")),
        ("needs", _related(detail.dependencies)),
        ("needed by", _related(detail.dependents)),
    ]
    pairs += [
        (
            f"attempt {ended.attempt}",
            one_line(ended.error or f"{ended.status.word}, exit status {ended.exit_code}"),
        )
        for ended in detail.tries
    ]
    return [(f"  {name}", value) for name, value in pairs if value]


def _related(related: tuple[RelatedItem, ...]) -> str:
    """Name related items, those that are not completed first."""
    ordered = sorted(related, key=lambda item: item.status is WorkStatus.COMPLETED)
    words = [f"{one_line(item.id)} ({item.status.word})" for item in ordered[:_MOST_RELATED]]
    if len(ordered) > _MOST_RELATED:
        words.append(f"and {plural(len(ordered) - _MOST_RELATED, 'more', 'more')}")
    return ", ".join(words)


def _hint(item: ItemView) -> str:
    """Return what to do next; empty when there is nothing to do."""
    key = shlex.quote(one_line(str(ItemKey(item.convoy_id, item.id))))
    match item.status:
        case WorkStatus.FAILED | WorkStatus.LOST | WorkStatus.CANCELLED:
            return f"`aisquad logs {key}` shows its output, `aisquad retry {key}` runs it again."
        case WorkStatus.SKIPPED:
            return "It runs when what it needs has been retried: `aisquad retry`."
        case _:
            return ""
