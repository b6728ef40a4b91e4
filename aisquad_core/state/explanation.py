"""Says of blocked items what they wait for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aisquad_core.model import WorkStatus
from aisquad_core.state.operation_text import decode_json, encode_json

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from aisquad_core.api import ItemView


def explain_blocked(connection: sqlite3.Connection, views: list[ItemView]) -> list[ItemView]:
    """Say what each blocked item needs where nothing better is known."""
    unexplained = [v for v in views if v.status is WorkStatus.BLOCKED and v.reason is None]
    if not unexplained:
        return views
    rows = connection.execute(
        "SELECT own.convoy_id, own.id, json_group_array(w.id)"
        " FROM json_each(?) AS v CROSS JOIN work_items AS own"
        " ON own.convoy_id = v.value->>0 AND own.id = v.value->>1"
        " CROSS JOIN json_each(own.dependencies) AS needed CROSS JOIN work_items AS w"
        " ON w.convoy_id = own.convoy_id AND w.id = needed.value"
        " WHERE w.status <> 'completed' GROUP BY 1, 2",
        (encode_json([(view.convoy_id, view.id) for view in unexplained]),),
    ).fetchall()
    needs = {(convoy_id, item_id): decode_json(ids) for convoy_id, item_id, ids in rows}
    return [
        _with_reason(view, needs[view.convoy_id, view.id])
        if view.reason is None and (view.convoy_id, view.id) in needs
        else view
        for view in views
    ]


def _with_reason(view: ItemView, needs: Sequence[str]) -> ItemView:
    rest = f" and {len(needs) - 3} more" if len(needs) > 3 else ""
    return replace(view, reason=f"needs {', '.join(needs[:3])}{rest}")
