"""Each path over a real socket: its shape for the owner, and what is wrong in words."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from aisquad_core.monitoring import Monitoring
from aisquad_core.monitoring.token import TOKEN_NAME
from aisquad_core.state.workstate import WorkState
from aisquad_core.testing import FakeClock
from tests.monitoring import recorded
from tests.monitoring.asking import ask

if TYPE_CHECKING:
    from aisquad_core.settings import Settings
    from tests.tui.scenes import Scene


async def test_health_of_what_is_well(monitoring: Monitoring, scene: Scene) -> None:
    await scene.clock.advance(12.5)
    reply = await ask(monitoring.port, "/health")
    assert reply.status == 200
    assert reply.json == {
        "status": "ok",
        "uptime_seconds": 12.5,
        "parts": {"engine": "ok", "workstate": "ok", "metrics": "ok"},
        "details": {},
    }


async def test_an_ill_engine_is_told_with_its_trouble(monitoring: Monitoring, scene: Scene) -> None:
    scene.engine.set_trouble("disk full")
    reply = await ask(monitoring.port, "/health")
    assert (reply.status, reply.json["status"]) == (503, "ill")
    assert reply.json["parts"]["engine"] == "ill"
    assert reply.json["details"] == {"engine": "disk full"}


async def test_an_engine_that_has_stopped_is_the_part_that_is_ill(
    monitoring: Monitoring, scene: Scene
) -> None:
    await scene.engine.stop()
    reply = await ask(monitoring.port, "/metrics/system")
    assert (reply.status, reply.json["part"]) == (503, "engine")
    health = (await ask(monitoring.port, "/health")).json
    assert health["parts"] == {"engine": "ill", "workstate": "ok", "metrics": "ok"}


async def test_convoys_newest_first_up_to_a_limit(monitoring: Monitoring) -> None:
    convoys = (await ask(monitoring.port, "/metrics/convoys?limit=2")).json
    assert [convoy["convoy_id"] for convoy in convoys] == [
        "nightly-review-k3f9",
        "dep-upgrades-h2m1",
    ]
    assert convoys[0] | {"start_time": "", "avg_duration": 0} == {
        "convoy_id": "nightly-review-k3f9",
        "name": "nightly-review",
        "status": "running",
        "start_time": "",
        "end_time": None,
        "operations": 300,
        "completed": 162,
        "failed": 2,
        "cancelled": 0,
        "skipped": 0,
        "avg_duration": 0,
    }
    assert len((await ask(monitoring.port, "/metrics/convoys")).json) == 5


async def test_stats_follow_the_time_range(monitoring: Monitoring) -> None:
    hour = (await ask(monitoring.port, "/metrics/stats?time_range=60")).json
    assert hour["total_convoys"] == 5
    assert hour["success_rate"] == 0.5
    assert hour["operations"] == {"completed": 410, "failed": 4}
    assert hour["operation_success_rate"] == pytest.approx(410 / 414)
    quarter = (await ask(monitoring.port, "/metrics/stats?time_range=15")).json
    assert quarter["operations"] == {"completed": 105, "failed": 2}


async def test_resources_are_as_many_points_as_were_asked_for(monitoring: Monitoring) -> None:
    series = (await ask(monitoring.port, "/metrics/resources?time_range=60&points=12")).json
    assert len(series) == 12
    assert {"timestamp", "cpu_percent", "memory_percent", "active_workers", "queue_depth"} <= set(
        series[0]
    )
    assert [entry["timestamp"] for entry in series] == sorted(
        entry["timestamp"] for entry in series
    )


async def test_system_is_what_the_engine_says_now(monitoring: Monitoring, scene: Scene) -> None:
    for cpu_percent in (20.0, 40.0):
        await scene.clock.advance(40)
        scene.engine.set_load(cpu_percent, 50.0)
    shape = (await ask(monitoring.port, "/metrics/system")).json
    assert (shape["cpu_percent"], shape["memory_percent"]) == (40.0, 50.0)
    assert (shape["cpu_avg"], shape["memory_avg"]) == (30.0, 50.0)
    assert (shape["running"], shape["queued"], shape["parallelism"]) == (12, 162, 12)
    assert shape["engine"]["pid"] == 4242


async def test_failures_and_agents(monitoring: Monitoring) -> None:
    (newest,) = (await ask(monitoring.port, "/metrics/failures?limit=1")).json
    assert newest["convoy_id"] == "nightly-review-k3f9"
    assert (newest["item_id"], newest["agent_id"], newest["exit_code"]) == (
        "fix-db-001", "engineer", 1,
    )  # fmt: skip
    assert newest["error"] == "exit 1: AssertionError: migration 0042 is missing"
    agents = (await ask(monitoring.port, "/metrics/agents?time_range=60")).json
    assert [(agent["agent_id"], agent["completed"], agent["failed"]) for agent in agents] == [
        ("engineer", 246, 3),
        ("reviewer", 82, 1),
        ("shell", 82, 0),
    ]


async def test_prometheus_reads_it_in_base_units(monitoring: Monitoring, scene: Scene) -> None:
    scene.engine.set_load(63.0, 32.0)
    reply = await ask(monitoring.port, "/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=")
    families = {
        family.name: family for family in text_string_to_metric_families(reply.body.decode())
    }
    assert families["aisquad_cpu_usage_ratio"].samples[0].value == pytest.approx(0.63)
    assert families["aisquad_memory_limit_bytes"].samples[0].value == 8_000_000_000
    assert families["aisquad_operations_running"].samples[0].value == 12
    assert {
        sample.labels["part"]: sample.value for sample in families["aisquad_part_up"].samples
    } == {"engine": 1.0, "workstate": 1.0, "metrics": 1.0}
    assert all(name.startswith("aisquad") for name in families)


async def test_the_queue_of_writes_is_told(monitoring: Monitoring, scene: Scene) -> None:
    scene.engine.set_backlog(912)
    reply = await ask(monitoring.port, "/metrics")
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(reply.body.decode())
        for sample in family.samples
    }
    assert samples["aisquad_writes_pending"] == 912
    assert samples["aisquad_writes_capacity"] == 1_000
    assert samples["aisquad_writes_threshold_ratio"] == 0.8
    assert samples["aisquad_launches_waiting"] == 0
    assert samples["aisquad_launches_refused_total"] == 0
    shape = (await ask(monitoring.port, "/metrics/system")).json
    assert (shape["writes"]["pending"], shape["writes"]["capacity"]) == (912, 1_000)


async def test_prometheus_may_ask_for_openmetrics(monitoring: Monitoring) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    reply = await ask(monitoring.port, "/metrics?name[]=x", headers=accept)
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    assert reply.body.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/metrics/convoys?limit=none", "limit"),
        ("/metrics/convoys?time_range=60", "time_range"),
        ("/metrics/stats?time_range=0", "time_range"),
        ("/metrics/resources?points=2001", "points"),
        ("/metrics/failures?limit=-1", "limit"),
        ("/health?verbose=1", "verbose"),
    ],
)
async def test_a_bad_parameter_is_named(monitoring: Monitoring, path: str, parameter: str) -> None:
    reply = await ask(monitoring.port, path)
    assert reply.status == 400
    assert reply.headers["content-type"] == "application/problem+json; charset=utf-8"
    assert reply.json["parameter"] == parameter
    assert reply.json["detail"].startswith(f"{parameter}: ")


@pytest.mark.parametrize(
    "path",
    ["/", "/metrics/", "/metrics/nope", "/dashboard/", "/dashboard/../health", "/%68ealth",
     "http://127.0.0.1/health", "//health", "/favicon.ico", "/dashboard/__init__.py"],
)  # fmt: skip
async def test_an_unknown_path_is_not_there(monitoring: Monitoring, path: str) -> None:
    reply = await ask(monitoring.port, path)
    assert reply.status == 404
    assert reply.headers["content-type"] == "application/problem+json; charset=utf-8"


async def test_names_cannot_steer_the_terminal_that_shows_the_answer(
    databases: Settings, scene: Scene
) -> None:
    with closing(sqlite3.connect(databases.metrics_db)) as database, database:
        database.execute("UPDATE convoys SET name = ?", ("\x1b]0;owned\x07\u009b31m\u202eevil",))
    async with Monitoring(databases, engine=scene.engine, port=0, clock=scene.clock) as monitoring:
        reply = await ask(monitoring.port, "/metrics/convoys")
    assert reply.body.isascii()
    assert {convoy["name"] for convoy in reply.json} == {"evil"}


async def test_without_databases_each_answer_says_which_part_is_missing(settings: Settings) -> None:
    async with Monitoring(settings, port=0, clock=FakeClock()) as monitoring:
        health = await ask(monitoring.port, "/health")
        assert health.status == 503
        assert health.json["parts"] == {"engine": "away", "workstate": "ill", "metrics": "ill"}
        for path in ("convoys", "stats", "resources", "failures", "agents"):
            reply = await ask(monitoring.port, f"/metrics/{path}")
            assert (reply.status, reply.json["part"]) == (503, "metrics")
        reply = await ask(monitoring.port, "/metrics/system")
        assert (reply.status, reply.json["part"]) == (503, "workstate")
        scraped = await ask(monitoring.port, "/metrics")
        assert b'aisquad_part_up{part="workstate"} 0.0' in scraped.body
        page = await ask(monitoring.port, "/dashboard/data")
        assert (page.status, set(page.json["problems"])) == (200, {"workstate", "metrics"})
    assert os.listdir(settings.state_dir) == [TOKEN_NAME]  # and no database


async def test_databases_that_come_later_are_found(settings: Settings, scene: Scene) -> None:
    async with Monitoring(settings, port=0, clock=scene.clock) as monitoring:
        assert (await ask(monitoring.port, "/metrics/convoys")).status == 503
        async with WorkState(settings.workstate_db, clock=scene.clock):
            pass
        await recorded.record_hour(settings.metrics_db, scene.clock)
        assert len((await ask(monitoring.port, "/metrics/convoys")).json) == 5
        health = await ask(monitoring.port, "/health")
        assert (health.status, health.json["parts"]["engine"]) == (200, "away")


@pytest.mark.slow
async def test_a_locked_database_is_the_part_that_is_ill(databases: Settings, scene: Scene) -> None:
    with closing(sqlite3.connect(databases.metrics_db, isolation_level=None)) as holder:
        holder.execute("PRAGMA journal_mode = DELETE").fetchall()
        holder.execute("BEGIN EXCLUSIVE")
        async with Monitoring(
            databases, engine=scene.engine, port=0, clock=scene.clock
        ) as monitoring:
            reply = await ask(monitoring.port, "/metrics/stats")
            assert (reply.status, reply.json["part"]) == (503, "metrics")
            assert "locked" in reply.json["detail"]
            health = await ask(monitoring.port, "/health")
            assert health.status == 503
            assert health.json["parts"] == {"engine": "ok", "workstate": "ok", "metrics": "ill"}
            assert (await ask(monitoring.port, "/metrics/system")).status == 200
            holder.execute("ROLLBACK")
            assert (await ask(monitoring.port, "/metrics/stats")).status == 200


async def test_with_metrics_off_it_says_so_and_all_is_well(
    scene: Scene, databases: Settings
) -> None:
    off = replace(databases, enable_metrics=False)
    async with Monitoring(off, engine=scene.engine, port=0, clock=scene.clock) as monitoring:
        reply = await ask(monitoring.port, "/metrics/stats")
        assert (reply.status, reply.json["part"]) == (503, "metrics")
        assert "enable_metrics is false" in reply.json["detail"]
        health = await ask(monitoring.port, "/health")
        assert (health.status, health.json["parts"]["metrics"]) == (200, "off")
