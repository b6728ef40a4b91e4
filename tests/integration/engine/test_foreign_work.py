"""A work state that came with a repository: nothing of it starts without a yes."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from aisquad_core.engine import Engine
from aisquad_core.model import ConvoyStatus
from aisquad_core.settings import load_settings
from aisquad_core.spec import SpecFormat, SpecSource
from aisquad_core.testing import FakeSampler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aisquad_core.api import ConvoyView

ENOUGH_S = 45
pytestmark = pytest.mark.timeout(60)


@asynccontextmanager
async def engine_that_resumes(folder: Path) -> AsyncIterator[Engine]:
    settings = load_settings(
        cwd=folder,
        environ={"HOME": str(folder)},
        flags={"grace_seconds": 0.2, "tick_seconds": 0.1},
        state_dir=folder / "state",
    )
    async with Engine(settings, sampler=FakeSampler(), is_resuming=True) as engine:
        yield engine


async def launch(engine: Engine, folder: Path, name: str) -> str:
    line = f"echo {name} >> ran; [ -e go ] || sleep 60"
    text = json.dumps({"name": name, "operations": [{"id": "a", "run": line}]})
    source = SpecSource(text=text, format=SpecFormat.JSON, origin="w.json", base_dir=str(folder))
    return await engine.launch(source, env={"PATH": os.environ["PATH"]}, cwd=str(folder))


async def view(engine: Engine, convoy_id: str) -> ConvoyView:
    convoys = (await engine.snapshot()).convoys
    return next(convoy for convoy in convoys if convoy.id == convoy_id)


def ran(folder: Path) -> list[str]:
    path = folder / "ran"
    return path.read_text().split() if path.exists() else []


async def leave_unfinished(folder: Path) -> str:
    """Interrupt a convoy, so that its work is queued again; let what comes next end at once."""
    async with engine_that_resumes(folder) as engine, engine.subscribe() as changes:
        convoy_id = await launch(engine, folder, "first")
        async for _ in changes:
            if ran(folder) and (await view(engine, convoy_id)).counts.running:
                break
    (folder / "go").touch()
    return convoy_id


async def test_what_was_begun_here_goes_on_by_itself(tmp_path: Path) -> None:
    async with asyncio.timeout(ENOUGH_S):
        convoy_id = await leave_unfinished(tmp_path)
        async with engine_that_resumes(tmp_path) as engine:
            (ended,) = await engine.wait([convoy_id])
    assert ended.status is ConvoyStatus.COMPLETED
    assert ran(tmp_path) == ["first", "first"]


async def test_what_came_from_elsewhere_waits_for_a_yes_and_nothing_else_does(
    tmp_path: Path,
) -> None:
    async with asyncio.timeout(ENOUGH_S):
        convoy_id = await leave_unfinished(tmp_path)
        (tmp_path / "state" / "workstate.db-origin").unlink()
        async with engine_that_resumes(tmp_path) as engine:
            own_id = await launch(engine, tmp_path, "own")
            (own,) = await engine.wait([own_id])
            held = await view(engine, convoy_id)
        assert own.status is ConvoyStatus.COMPLETED
        assert held.reason == (
            f"begun by another user or machine: `aisquad run --resume {convoy_id}` continues it"
        )
        assert held.is_interrupted
        async with engine_that_resumes(tmp_path) as engine:  # the hold outlives an engine
            await engine.wait([await launch(engine, tmp_path, "own")])
            assert ran(tmp_path) == ["first", "own", "own"]
            await engine.resume(convoy_id)
            (ended,) = await engine.wait([convoy_id])
    assert ended.status is ConvoyStatus.COMPLETED
    assert ran(tmp_path) == ["first", "own", "own", "first"]


async def test_the_yes_outlives_the_engine(tmp_path: Path) -> None:
    async with asyncio.timeout(ENOUGH_S):
        convoy_id = await leave_unfinished(tmp_path)
        (tmp_path / "state" / "workstate.db-origin").unlink()
        (tmp_path / "go").unlink()
        async with engine_that_resumes(tmp_path) as engine, engine.subscribe() as changes:
            await engine.resume(convoy_id)
            async for _ in changes:
                if (await view(engine, convoy_id)).counts.running:
                    break
        (tmp_path / "go").touch()
        async with engine_that_resumes(tmp_path) as engine:
            (ended,) = await engine.wait([convoy_id])
    assert ended.status is ConvoyStatus.COMPLETED
