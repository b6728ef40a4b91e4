from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aisquad_core import Convoy
from aisquad_core.errors import InputError, SpecError
from aisquad_core.model import ConvoyStatus, Operation

if TYPE_CHECKING:
    from pathlib import Path


async def double() -> int:
    return 42


async def broken() -> None:
    raise RuntimeError("out of order")


async def test_a_script_runs_its_callables_with_one_await(tmp_path: Path) -> None:
    convoy = Convoy(
        "script",
        operations=[double, double, broken],
        enable_auto_tuning=True,
        cpu_threshold=75,
        memory_threshold=75,
        baseline_parallelism=5,
        max_parallelism=20,
        state_dir=tmp_path,
    )
    result = await convoy.execute()
    assert result.status is ConvoyStatus.PARTIAL
    assert result.results == {"double": 42, "double-2": 42}
    assert result.errors == {"broken": "RuntimeError: out of order"}
    assert (result.counts.completed, result.counts.failed) == (2, 1)


async def test_commands_and_callables_may_need_each_other(tmp_path: Path) -> None:
    out = tmp_path / "out"

    async def read() -> str:
        return out.read_text()

    convoy = Convoy(
        "mixed",
        operations=[
            Operation(id="write", argv=("sh", "-c", f"echo hello > {out}")),
            (Operation(id="read", needs=("write",)), read),
        ],
        state_dir=tmp_path / "state",
    )
    result = await convoy.execute()
    assert result.is_success
    assert result.results == {"read": "hello\n"}


@pytest.mark.parametrize(
    ("operations", "complaint"),
    [
        ([], "no operations"),
        ([Operation(id="a", argv=("true",), needs=("b",))], 'needs "b", which does not exist'),
        ([Operation(id="a", argv=("true",)), Operation(id="a", argv=("true",))], "used 2 times"),
        (
            [
                Operation(id="a", argv=("true",), needs=("b",)),
                Operation(id="b", argv=("true",), needs=("a",)),
            ],
            "need each other: a, b",
        ),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_written(
    operations: list[Operation], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=complaint):
        Convoy("bad", operations=operations, state_dir=tmp_path)
    assert not list(tmp_path.iterdir())


async def call() -> None: ...


@pytest.mark.parametrize(
    ("member", "complaint"),
    [
        ("ruff check", r"operations\[1\]: expected an async callable, .* not 'ruff check'"),
        (("lint", call), r"operations\[1\]: expected .* not \('lint'"),
        ((Operation(id="lint"), call, call), r"operations\[1\]: expected"),
        ((Operation(id="lint"), "ruff check"), r"operations\[1\]: expected"),
        (Operation(id="lint"), "operation lint: it has neither a command nor a callable"),
    ],
)
def test_what_is_no_operation_is_refused_by_its_place(
    member: Operation, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=complaint):
        Convoy("bad", operations=[call, member], state_dir=tmp_path)
