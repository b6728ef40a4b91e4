"""A launch from the command line while the disk does not keep up."""

from __future__ import annotations

import asyncio

import pytest

from aisquad_core.errors import BackpressureError
from aisquad_core.spec import AdHocSource
from aisquad_core.testing import FakeEngine
from aisquad_tui.cli.launching import hand_over
from aisquad_tui.cli.terminal import ColorChoice, open_terminal

SOURCE = AdHocSource(command="true", inputs=("a",), name="c")
BOUND_S = 10


async def launch(engine: FakeEngine, *, is_patient: bool) -> str:
    terminal = open_terminal(color=ColorChoice.NEVER)
    return await hand_over(engine, SOURCE, terminal, is_patient=is_patient)


async def test_with_room_it_is_launched_without_a_word(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with FakeEngine() as engine:
        convoy_id = await launch(engine, is_patient=False)
        assert [each.id for each in (await engine.snapshot()).convoys] == [convoy_id]
    assert capsys.readouterr() == ("", "")


async def test_without_room_it_fails_unless_it_is_patient() -> None:
    async with FakeEngine() as engine:
        engine.set_backlog(900)
        with pytest.raises(BackpressureError):
            await launch(engine, is_patient=False)
        assert (await engine.snapshot()).convoys == ()


async def test_who_is_patient_is_told_and_waits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with FakeEngine() as engine, asyncio.timeout(BOUND_S), asyncio.TaskGroup() as tasks:
        engine.set_backlog(900, drained_per_s=250)
        launching = tasks.create_task(launch(engine, is_patient=True))
        while not (await engine.snapshot()).engine.launches_waiting:
            await asyncio.wait([launching], timeout=0.01)  # its file is read on a thread
        assert not launching.done()
        engine.set_backlog(0)
        await launching
        assert [each.id for each in (await engine.snapshot()).convoys] == [launching.result()]
    assert capsys.readouterr() == (
        "",
        "900 of 1,000 writes wait for the disk: waiting for room, about 0.4 s\n",
    )
