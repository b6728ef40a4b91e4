"""What the real engine adds to windows of items: totals that it keeps, lines of logs, usage."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING

from aisquad_core.api import ConvoyChanged, ItemFilter, ItemSort
from aisquad_core.execution import picture, takeover
from aisquad_core.model import ItemKey, WorkStatus
from aisquad_core.state import reader
from tests.integration.engine.test_engine import launch, running, until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from aisquad_core.engine import Engine
    from aisquad_core.model import ConvoyRecord

_FILTERS = (
    ItemFilter(),
    ItemFilter(statuses=(WorkStatus.COMPLETED,)),
    ItemFilter(statuses=(WorkStatus.FAILED, WorkStatus.COMPLETED)),
)


async def totals(engine: Engine) -> list[int | None]:
    return [(await engine.items(wanted, limit=1)).total for wanted in _FILTERS]


async def test_totals_are_kept_and_not_counted_though_old_convoys_leave_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture, "_ENDED_SHOWN", 2)
    monkeypatch.setattr(takeover, "_CONVOYS_SHOWN", 2)

    def count_items(*_: object) -> int:
        raise AssertionError("counts rows")

    monkeypatch.setattr(reader, "count_items", count_items)
    async with running(tmp_path) as engine:
        await engine.wait([])  # until what earlier engines left is in memory
        assert await totals(engine) == [0, 0, 0]
        ids = [
            await launch(
                engine, tmp_path, {"id": "good", "run": "true"}, {"id": "bad", "run": "exit 1"}
            )
            for _ in range(4)
        ]
        await engine.wait(ids)
        assert len((await engine.snapshot()).convoys) == 2
        assert await totals(engine) == [8, 4, 8]
        page = await engine.items(ItemFilter(convoy_ids=(ids[0], ids[3])))
        assert (page.total, len(page.items)) == (4, 4)
    async with running(tmp_path) as engine:
        await engine.wait([])
        assert await totals(engine) == [8, 4, 8]
        await engine.retry([ItemKey(ids[0], "bad")], env=dict(os.environ))
        ids.append(await launch(engine, tmp_path, {"id": "more", "run": "true"}))
        await engine.wait(ids)
        assert await totals(engine) == [9, 5, 9]
        whole = await engine.items(ItemFilter(), limit=100)
        assert len(whole.items) == 9


async def test_a_page_says_the_newest_line_of_each_log_even_if_one_cannot_be_read(
    tmp_path: Path,
) -> None:
    hostile = "printf 'one\\n\\033]52;c;aGk=\\007\\033[31mtwo\\033[0m\\r\\n\\n   \\n'"
    async with running(tmp_path) as engine:
        convoy = await launch(
            engine,
            tmp_path,
            {"id": "hostile", "run": hostile},
            {"id": "broken", "run": "echo never seen"},
            {"id": "silent", "run": "true"},
            {"id": "long", "run": "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end"},
        )
        await engine.wait([convoy])
        [log] = [
            path
            for path in (tmp_path / "state" / "runs").rglob("output.log")
            if path.read_bytes() == b"never seen\n"
        ]
        log.unlink()
        log.mkdir()
        page = await engine.items(ItemFilter(), has_last_lines=True)
        assert [view.last_line for view in page.items] == ["two", None, None, "end"]
        shutil.rmtree(tmp_path / "state" / "runs")
        page = await engine.items(ItemFilter(), has_last_lines=True, sort=ItemSort.ID)
        assert [view.last_line for view in page.items] == [None] * 4


async def test_usage_is_that_of_the_whole_tree(tmp_path: Path) -> None:
    burn = "import time\nkept = bytearray(50_000_000)\nwhile True: pass"
    async with running(tmp_path) as engine:
        convoy = await launch(
            engine, tmp_path, {"id": "burn", "run": f"sh -c \"python3 -c '{burn}'\" & wait"}
        )
        key = ItemKey(convoy, "burn")

        async def is_large() -> bool:
            detail = await engine.item(key)
            return (detail.rss_bytes or 0) > 50_000_000 and (detail.cpu_percent or 0) > 5

        await until(engine, is_large)
        await engine.cancel([key], is_kill=True)
        detail = await engine.item(key)
        assert (detail.cpu_percent, detail.rss_bytes) == (None, None)


async def test_each_sample_says_what_the_machine_has(tmp_path: Path) -> None:
    async with running(tmp_path, grace_seconds=3.0) as engine:

        async def is_sampled() -> bool:
            return bool((await engine.snapshot()).history)

        await until(engine, is_sampled)
        snapshot = await engine.snapshot()
        assert (snapshot.history[0].cpu_count, snapshot.history[0].memory_bytes) == (2, 8e9)
        assert snapshot.engine.grace_s == 3.0


async def test_a_wait_sees_a_convoy_that_ends_while_another_is_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is found running; the second has left the picture, so its row is read."""
    monkeypatch.setattr(picture, "_ENDED_SHOWN", 1)
    async with running(tmp_path) as engine:
        old, newer = [await launch(engine, tmp_path, {"id": "a", "run": "true"}) for _ in range(2)]
        await engine.wait([old, newer])
        gate = tmp_path / "gate"
        os.mkfifo(gate)
        present = await launch(engine, tmp_path, {"id": "a", "run": f"read line < {gate}"})
        read = engine._state.reader.convoy

        async def let_it_end(convoy_id: str) -> ConvoyRecord:
            monkeypatch.setattr(engine._state.reader, "convoy", read)
            async with engine.subscribe() as stream:
                await asyncio.to_thread(gate.write_text, "go\n")
                async for news in stream:
                    if isinstance(news, ConvoyChanged) and news.convoy.status.is_final:
                        break
            return await read(convoy_id)

        monkeypatch.setattr(engine._state.reader, "convoy", let_it_end)
        async with asyncio.timeout(10):
            views = await engine.wait([present, old])
    assert [view.id for view in views] == [present, old]
