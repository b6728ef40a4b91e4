"""What a person means by a part of an id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_core.errors import NotFoundError
from aisquad_core.model import ItemKey
from aisquad_core.state.rows import words

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

CANDIDATES_SHOWN = 5


def find_convoy(connection: sqlite3.Connection, prefix: str) -> str:
    """Return the id of the one convoy that `prefix` names or begins.

    Raises:
        NotFoundError: None fits, or more than one.
    """
    prefix = words(prefix)
    rows = connection.execute(
        "SELECT id FROM convoys WHERE id BETWEEN ? AND ? ORDER BY id <> ?, id LIMIT ?",
        (prefix, _last_with(prefix), prefix, CANDIDATES_SHOWN + 1),
    ).fetchall()
    return _choose("convoy", prefix, [convoy_id for (convoy_id,) in rows])


def find_item(connection: sqlite3.Connection, text: str) -> ItemKey:
    """Return the item that `text` names: `CONVOY/ITEM`, each a unique prefix, or an item alone.

    Item ids may hold slashes, so a text with one may be an item alone, too.

    Raises:
        NotFoundError: None fits, or more than one.
    """
    text = words(text)
    if (exact := _newest_with(connection, text)) is not None:
        return exact
    convoy_part, slash, item_part = text.partition("/")
    if slash:
        try:
            convoy_id = find_convoy(connection, convoy_part)
        except NotFoundError:
            if not item_ids(connection, text):
                raise
        else:
            rows = connection.execute(
                "SELECT id FROM work_items WHERE convoy_id = ? AND id BETWEEN ? AND ?"
                " ORDER BY id <> ?, id LIMIT ?",
                (convoy_id, item_part, _last_with(item_part), item_part, CANDIDATES_SHOWN + 1),
            ).fetchall()
            ids = [item_id for (item_id,) in rows]
            return ItemKey(convoy_id, _choose(f"work item in {convoy_id}", item_part, ids))
    item_id = _choose("work item", text, item_ids(connection, text))
    key = _newest_with(connection, item_id)
    if key is None:
        raise NotFoundError(f"no work item {text}")
    return key


def _newest_with(connection: sqlite3.Connection, item_id: str) -> ItemKey | None:
    rows = connection.execute(
        "SELECT w.convoy_id, w.id FROM work_items AS w JOIN launches AS l USING (convoy_id)"
        " WHERE w.id = ? AND l.is_complete ORDER BY w.place LIMIT 1",
        (item_id,),
    ).fetchall()
    return ItemKey(*rows[0]) if rows else None


def item_ids(
    connection: sqlite3.Connection, prefix: str, *, limit: int = CANDIDATES_SHOWN + 1
) -> list[str]:
    """Return ids of items that begin so, each once, in their order."""
    prefix = words(prefix)
    rows = connection.execute(
        "SELECT DISTINCT w.id FROM work_items AS w JOIN launches AS l USING (convoy_id)"
        " WHERE w.id BETWEEN ? AND ? AND l.is_complete ORDER BY w.id LIMIT ?",
        (prefix, _last_with(prefix), limit),
    ).fetchall()
    return [item_id for (item_id,) in rows]


def _last_with(prefix: str) -> str:
    """Return a text that sorts after all that begin with `prefix`."""
    return f"{prefix}\U0010ffff"


def _choose(what: str, wanted: str, candidates: Sequence[str]) -> str:
    """Return the candidate that is meant; the exact one, if there is, comes first."""
    if len(candidates) == 1 or (candidates and candidates[0] == wanted):
        return candidates[0]
    if not candidates:
        raise NotFoundError(f"no {what} {wanted}")
    shown = ", ".join(candidates[:CANDIDATES_SHOWN])
    more = ", …" if len(candidates) > CANDIDATES_SHOWN else ""
    raise NotFoundError(f"more than one {what} begins with {wanted}: {shown}{more}")
