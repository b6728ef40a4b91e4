from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from aisquad_core.connect import EngineStatus
from aisquad_core.monitoring import plate
from aisquad_core.monitoring.plate import Plate
from aisquad_tui.cli import session
from aisquad_tui.cli import status as module
from tests.unit.tui.pictures import make_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aisquad_core.api import EngineView
    from tests.unit.cli.conftest import Aisquad, FakeReader

ENGINE = EngineStatus(
    pid=4711,
    version="0.1.0",
    sqlite_version="3.40.1",
    state_dir="/src/.ai_squad",
    started_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    parallelism=12,
    baseline=5,
    max=20,
    auto=True,
    running=12,
    queued=1024,
    cpu_percent=63.2,
    memory_percent=32.4,
    throttle=0.0,
    reason="CPU 63 %, memory 32 %",
    wal_bytes=4_120_000,
    oldest_reader_s=2.5,
)


@pytest.fixture
def running(reader: FakeReader) -> FakeReader:
    reader.engine = ENGINE
    return reader


def test_it_tells_how_much_runs_and_why(aisquad: Aisquad, running: FakeReader) -> None:
    lines = aisquad("status", "--utc").out.splitlines()
    assert lines[0].startswith("engine 4711 since 2026-01-02 03:04:05Z (")
    assert lines[1:] == [
        "at once  12 (auto, 5 to 20): CPU 63 %, memory 32 %",
        "load     CPU 63 %, memory 32 %",
        "work     12 running, 1,024 queued",
        "state    /src/.ai_squad",
        "wal      4.1 MB, oldest reader 2.5s",
        "version  aisquad 0.1.0, SQLite 3.40.1",
    ]


def test_a_pin_and_the_throttle_show(aisquad: Aisquad, running: FakeReader) -> None:
    running.engine = replace(ENGINE, auto=False, throttle=0.854)
    out = aisquad("status").out
    assert "12 (pinned): " in out
    assert "throttle  0.85" in out


def test_the_dashboard_of_the_engine_that_runs_is_named(
    aisquad: Aisquad, running: FakeReader
) -> None:
    state_dir = session.load_settings(None).state_dir
    state_dir.mkdir(mode=0o700)
    plate.write(state_dir, Plate(url="http://127.0.0.1:8080"))
    running.engine = replace(ENGINE, pid=os.getpid())
    assert "dashboard  http://127.0.0.1:8080/dashboard\n" in aisquad("status").out
    shape = json.loads(aisquad("status", "--json").out)
    assert shape["dashboard"] == "http://127.0.0.1:8080/dashboard"
    plate.write(state_dir, Plate(problem="127.0.0.1 port 8080: Address already in use"))
    said = "dashboard  none: 127.0.0.1 port 8080: Address already in use\n"
    assert said in aisquad("status").out
    running.engine = ENGINE  # another engine than the one that wrote it
    assert "dashboard" not in aisquad("status").out
    assert json.loads(aisquad("status", "--json").out)["dashboard"] is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "12 of 1,000 wait for the disk"),
        (
            {"writes_pending": 912},
            "912 of 1,000 wait for the disk, over 80 %: launches are refused, or wait",
        ),
        (
            {"launches_waiting": 2, "launches_refused": 31},
            "12 of 1,000 wait for the disk; 2 launches waiting; 31 refused so far",
        ),
    ],
)
def test_an_engine_that_answers_tells_what_waits_for_the_disk(
    aisquad: Aisquad,
    running: FakeReader,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, int],
    said: str,
) -> None:
    async def view_engine(_: object) -> EngineView:
        return make_engine(**{"writes_pending": 12, **changes})

    monkeypatch.setattr(session, "view_engine", view_engine)
    assert f"writes   {said}" in aisquad("status").out.splitlines()
    shape = json.loads(aisquad("status", "--json").out)
    assert shape["writes_pending"] == changes.get("writes_pending", 12)
    assert (shape["writes_capacity"], shape["writes_threshold"]) == (1_000, 0.8)


def test_without_an_engine_it_says_so(aisquad: Aisquad, running: FakeReader) -> None:
    running.engine = replace(
        ENGINE, pid=None, started_at=None, parallelism=0, running=0, queued=3, reason=""
    )
    out = aisquad("status").out
    assert out.startswith("no engine runs\nat once  5 to 20 when one does\n")
    assert json.loads(aisquad("status", "--json").out)["pid"] is None


def test_as_json_it_has_the_names_that_scripts_rely_on(
    aisquad: Aisquad, running: FakeReader
) -> None:
    shape = json.loads(aisquad("status", "--json").out)
    names = (
        "pid version sqlite_version parallelism baseline max auto running queued cpu_percent "
        "memory_percent throttle reason"
    )
    assert set(names.split()) <= set(shape)
    assert (shape["pid"], shape["auto"], shape["queued"]) == (4711, True, 1024)


def test_a_check_without_an_engine_exits_with_3(aisquad: Aisquad, running: FakeReader) -> None:
    ran = aisquad("status", "--check")
    assert (ran.status, ran.out) == (3, "")
    assert "no engine runs here" in ran.err


def test_a_check_of_an_engine_that_does_not_answer_exits_with_3(
    aisquad: Aisquad, running: FakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def hang(settings: object, *, patience_s: float) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield

    monkeypatch.setattr(session, "open_client", hang)
    monkeypatch.setattr(module, "_ANSWER_S", 0.01)
    ran = aisquad("status", "--check")
    assert (ran.status, ran.out) == (3, "")
    assert "did not answer within 0.01 s" in ran.err


def test_a_check_shows_nothing_else(aisquad: Aisquad, running: FakeReader) -> None:
    assert aisquad("status", "--check", "--json").status == 2
    assert aisquad("status", "--check", "--watch").status == 2


@pytest.mark.parametrize(
    ("oldest_reader_s", "said"), [(None, "4.1 MB"), (0.0, "4.1 MB, nothing reads")]
)
def test_readers_are_told_by_the_engine_alone(
    aisquad: Aisquad, running: FakeReader, oldest_reader_s: float | None, said: str
) -> None:
    running.engine = replace(ENGINE, oldest_reader_s=oldest_reader_s)
    assert f"wal      {said}" in aisquad("status").out.splitlines()
