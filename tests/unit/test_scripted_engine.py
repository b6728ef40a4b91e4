"""FakeEngine begins where a test has put it, and stays the same on every machine."""

from __future__ import annotations

from datetime import timedelta

from aisquad_core.api import ItemFilter
from aisquad_core.model import ConvoyStatus, ItemKey, Operation, WorkStatus
from aisquad_core.testing import FakeEngine, ScriptedItem


def _operations(*ids: str) -> list[Operation]:
    return [Operation(id=id, argv=("true",), retries=1) for id in ids]


async def test_items_stand_where_the_script_has_them() -> None:
    async with FakeEngine(parallelism=1, pid=77) as engine:
        convoy = engine.add_convoy(
            "night",
            _operations("runs", "failed", "waits", "next"),
            statuses={
                "runs": ScriptedItem(
                    status=WorkStatus.IN_PROGRESS, started_s=60, lines=("a", "b"), cpu_percent=12.5
                ),
                "failed": ScriptedItem(
                    status=WorkStatus.FAILED, attempt=2, started_s=90, finished_s=30, error="boom"
                ),
                "waits": ScriptedItem(reason="rate limit: 12 s"),
            },
            age_s=120,
        )
        engine.set_pace(convoy, rate_per_s=2.5, eta_s=40)
        now = engine.clock.now()
        page = await engine.items(ItemFilter(), has_last_lines=True)
        runs, failed, waits, following = page.items
        assert (runs.status, runs.last_line) == (WorkStatus.IN_PROGRESS, "b")
        assert runs.started_at == now - timedelta(seconds=60)
        assert (failed.attempt, failed.exit_code, failed.error) == (2, 1, "boom")
        assert failed.finished_at == now - timedelta(seconds=30)
        assert (waits.status, waits.reason) == (WorkStatus.PENDING, "rate limit: 12 s")
        assert following.reason == "waits for a free slot"
        detail = await engine.item(ItemKey(convoy, "runs"))
        assert (detail.pid, detail.cpu_percent) == (78, 12.5)
        snapshot = await engine.snapshot()
        assert snapshot.engine.pid == 77
        view = snapshot.convoys[0]
        assert (view.status, view.rate_per_s, view.eta_s) == (ConvoyStatus.RUNNING, 2.5, 40)
        assert view.created_at == now - timedelta(seconds=120)


async def test_what_runs_or_waits_by_script_does_so_until_its_time_or_for_ever() -> None:
    async with FakeEngine() as engine:
        convoy = engine.add_convoy(
            "work",
            _operations("short", "endless", "held"),
            statuses={
                "held": ScriptedItem(reason="disk full"),
                "short": ScriptedItem(status=WorkStatus.IN_PROGRESS, runs_for_s=10),
                "endless": ScriptedItem(status=WorkStatus.IN_PROGRESS),
            },
        )
        await engine.clock.settle()
        await engine.clock.advance(3600)
        short = (await engine.item(ItemKey(convoy, "short"))).view
        endless = (await engine.item(ItemKey(convoy, "endless"))).view
        assert short.status is WorkStatus.COMPLETED
        assert endless.status is WorkStatus.IN_PROGRESS
        held = (await engine.item(ItemKey(convoy, "held"))).view
        assert (held.status, held.reason) == (WorkStatus.PENDING, "disk full")
        keys = [ItemKey(convoy, "endless"), ItemKey(convoy, "held")]
        assert (await engine.cancel(keys)).refused == {}
        assert (await engine.snapshot()).convoys[0].status is ConvoyStatus.PARTIAL


async def test_a_scripted_convoy_can_be_paused_or_have_ended() -> None:
    async with FakeEngine() as engine:
        now = engine.clock.now()
        engine.add_convoy("paused", _operations("a"), is_paused=True, reason="paused by hand")
        engine.add_convoy(
            "done", _operations("a"), statuses={"a": WorkStatus.COMPLETED}, age_s=90, ended_s=30
        )
        await engine.clock.advance(60)
        done, paused = (await engine.snapshot()).convoys
        assert (done.status, done.finished_at) == (
            ConvoyStatus.COMPLETED,
            now - timedelta(seconds=30),
        )
        assert (paused.status, paused.reason) == (ConvoyStatus.PAUSED, "paused by hand")
        assert paused.counts.pending == 1
        await engine.resume(paused.id)
        await engine.clock.settle()
        await engine.clock.advance(60)
        assert (await engine.snapshot()).convoys[1].status is ConvoyStatus.COMPLETED
