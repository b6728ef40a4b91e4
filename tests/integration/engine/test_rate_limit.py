"""An agent out of tokens, in a whole engine: it holds nothing up and says for how long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aisquad_core.api import ItemFilter
from aisquad_core.engine import Engine
from aisquad_core.model import ItemKey, Operation, WorkStatus
from aisquad_core.settings import AgentProfile, Settings
from aisquad_core.testing import FakeClock, FakeSampler

if TYPE_CHECKING:
    from pathlib import Path

BOUND_S = 10


async def work() -> None:
    pass


async def test_others_go_past_an_operation_whose_agent_is_out_of_tokens(tmp_path: Path) -> None:
    clock = FakeClock()
    settings = Settings(
        workstate_db=tmp_path / "state" / "workstate.db",
        baseline_parallelism=1,
        max_parallelism=1,
        agents={"slow": AgentProfile(name="slow", rate_limit=5, rate_burst=1)},
    )
    operations = [
        Operation(id="slow-1", agent_id="slow"),
        Operation(id="slow-2", agent_id="slow"),
        *(Operation(id=f"quick-{number}") for number in range(3)),
    ]
    async with (
        asyncio.timeout(BOUND_S),
        Engine(settings, clock=clock, sampler=FakeSampler()) as engine,
        engine.subscribe() as news,
    ):
        convoy_id = await engine.launch_operations(
            "limited", operations, dict.fromkeys([o.id for o in operations], work), env={}, cwd="/"
        )
        async for _ in news:
            completed = await engine.items(ItemFilter(statuses=(WorkStatus.COMPLETED,)))
            if completed.total == 4:
                break
        assert {item.id for item in completed.items} == {"slow-1", "quick-0", "quick-1", "quick-2"}
        waiting = (await engine.item(ItemKey(convoy_id, "slow-2"))).view
        assert (waiting.status, waiting.reason) == (WorkStatus.PENDING, "rate limit: 12 s")
        assert (await engine.snapshot()).engine.running == 0
        await clock.advance(11.9)
        waiting = (await engine.item(ItemKey(convoy_id, "slow-2"))).view
        assert (waiting.status, waiting.reason) == (WorkStatus.PENDING, "rate limit: 1 s")
        await clock.advance(0.1)
        (view,) = await engine.wait([convoy_id])
        assert view.counts.completed == 5
