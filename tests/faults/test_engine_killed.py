from __future__ import annotations

import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.conftest import Operator

KILLS = 5
OPERATIONS = 500

CONVOY = """
name = "marks"

[[operations]]
id = "op-{n}"
for_each = { n = [%s] }
# From the trap on it completes, though it is interrupted; before it has left no mark.
run = 'sleep 0.05; trap "" TERM; printf "%%s\\n" "$AISQUAD_ITEM" >> "$MARKS"'
"""


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_every_operation_completes_once_though_the_engine_is_killed_five_times(
    operator: Operator, find_processes: Callable[[str], list[int]]
) -> None:
    numbers = ", ".join(str(number) for number in range(OPERATIONS))
    (operator.folder / "marks.toml").write_text(CONVOY % numbers)
    marks = operator.folder / "marks.txt"
    engine = operator.start("run", "marks.toml", "--parallelism", "20", MARKS=str(marks))
    operator.wait_until(lambda: len(lines(marks)) > 0, "the first mark")
    (convoy,) = operator.json("ls")
    for kill in range(1, KILLS + 1):
        wanted = OPERATIONS * kill // (KILLS + 2)
        operator.wait_until(lambda wanted=wanted: len(lines(marks)) >= wanted, f"{wanted} marks")  # type: ignore[misc]
        operator.kill(engine)
        engine = operator.start("run", "--resume", convoy["id"], "--parallelism", "20")
    assert engine.wait(timeout=120) == 0, operator.output()

    counts = Counter(lines(marks))
    assert counts == Counter(f"op-{number}" for number in range(OPERATIONS))
    items = operator.json("items", convoy["id"], "--all")
    assert Counter(item["status"] for item in items) == {"completed": OPERATIONS}
    assert {item["attempt"] for item in items} == {1}
    assert find_processes(convoy["id"]) == []


@pytest.mark.slow
def test_an_interrupted_run_resumes_without_repeating_what_completed(operator: Operator) -> None:
    (operator.folder / "marks.toml").write_text(
        CONVOY % ", ".join(str(number) for number in range(60))
    )
    marks = operator.folder / "marks.txt"
    engine = operator.start("run", "marks.toml", "--parallelism", "4", MARKS=str(marks))
    operator.wait_until(lambda: len(lines(marks)) >= 10, "ten marks")
    engine.send_signal(subprocess.signal.SIGINT)  # type: ignore[attr-defined]
    assert engine.wait(timeout=30) == 130, operator.output()
    (convoy,) = operator.json("ls")
    assert convoy["running"] == 0
    assert convoy["completed"] < 60
    assert f"aisquad run --resume {convoy['id']}" in operator.output()

    assert operator.start("run", "--resume", convoy["id"]).wait(timeout=60) == 0
    items = operator.json("items", convoy["id"], "--all")
    assert Counter(item["status"] for item in items) == {"completed": 60}
    assert {item["attempt"] for item in items} == {1}
    assert Counter(lines(marks)) == Counter(f"op-{number}" for number in range(60))


@pytest.mark.slow
def test_an_engine_that_ought_to_be_another_one_is_refused_with_the_pid_of_the_first(
    operator: Operator,
) -> None:
    (operator.folder / "marks.toml").write_text(CONVOY % "1, 2")
    engine = operator.start("run", "--each", "sleep {}", "30")
    operator.wait_until(lambda: bool(operator.json("ls")), "the convoy")
    second = operator.start("run", "marks.toml", "--max", "3")
    assert second.wait(timeout=30) == 2
    assert str(engine.pid) in operator.output()
