"""Whatever is asked of an item, by whichever call: only legal moves are stored, each counted."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from aisquad_core.errors import ConcurrentUpdateError, IllegalTransitionError
from aisquad_core.model import TRANSITIONS, ItemKey, RunUpdate, WorkItem, WorkStatus
from aisquad_core.state.workstate import WorkState
from aisquad_core.testing import FakeClock

KEY = ItemKey("c", "item")
STATUSES = st.sampled_from(WorkStatus)
STEPS = st.lists(
    st.tuples(st.sampled_from(["run_update", "update", "transition"]), STATUSES, st.booleans()),
    max_size=15,
)


async def ask(state: WorkState, call: str, item: WorkItem, wanted: WorkStatus) -> bool:
    """Ask for a status in one of the three ways; return whether it was taken."""
    try:
        if call == "run_update":
            update = RunUpdate(
                convoy_id=KEY.convoy_id,
                item_id=KEY.item_id,
                expected_version=item.version,
                previous=item.status,
                status=wanted,
            )
            await state.run_update(update)
        elif call == "update":
            await state.update(replace(item, status=wanted))
        else:
            versions = [(KEY.item_id, item.version)]
            return not await state.transition(KEY.convoy_id, versions, status=wanted, reason=None)
    except (IllegalTransitionError, ConcurrentUpdateError):
        return False
    return True


async def walk(start: WorkStatus, steps: list[tuple[str, WorkStatus, bool]]) -> None:
    now = FakeClock().now()
    with tempfile.TemporaryDirectory() as folder:
        async with WorkState(Path(folder) / "work.db", clock=FakeClock()) as state:
            await state.create(
                WorkItem(
                    id=KEY.item_id,
                    convoy_id=KEY.convoy_id,
                    agent_id="shell",
                    status=start,
                    version=1,
                    created_at=now,
                    updated_at=now,
                )
            )
            status, version = start, 1
            for call, wanted, is_stale in steps:
                known = await state.get(KEY)
                if is_stale:
                    known = replace(known, version=known.version + 1)
                is_legal = wanted is status or wanted in TRANSITIONS[status]
                assert await ask(state, call, known, wanted) == (is_legal and not is_stale)
                if is_legal and not is_stale:
                    status, version = wanted, version + 1
                stored = await state.get(KEY)
                assert (stored.status, stored.version) == (status, version)


@settings(max_examples=60)
@given(start=STATUSES, steps=STEPS)
def test_only_legal_moves_are_stored_and_each_counts_once(
    start: WorkStatus, steps: list[tuple[str, WorkStatus, bool]]
) -> None:
    asyncio.run(walk(start, steps))
