"""An operation that prints 50 MB/s of rubbish: its log stays small, and nobody else notices."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aisquad_core.api import ItemFilter
from aisquad_core.client import SocketEngine
from aisquad_core.execution.log_cap import punch_hole
from aisquad_core.model import ConvoyStatus
from tests.faults.serving import BOUND_S, ended, ticks, until

if TYPE_CHECKING:
    from tests.faults.serving import Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]
LIMIT = 1_000_000
WRITTEN = 100_000_000
GROWN_MOST = 25_000_000
"""Bytes by which the engine's memory may differ; a log of it would be four times as much."""

NOISE = f"""
import os, random, time
nasty = (
    b"\\x1b]52;c;ZXZpbA==\\x07 \\x1b]0;title\\x1b\\\\ \\x1b[2J\\x1b[31mred \\x9b5n \\x90q\\x9c \\r"
    b"\\xe2\\x80\\xaeturned [@click=app.quit]x[/] \\xc2\\x9b6n \\x1bP unterminated\\n"
)
block = (random.Random(1).randbytes(700) + nasty) * 1200
begun, written = time.monotonic(), 0
while written < {WRITTEN}:
    part = block[: {WRITTEN} - written]
    os.write(1, part)
    written += len(part)
    time.sleep(max(0.0, begun + written / 50e6 - time.monotonic()))
os.write(1, b"\\n" + nasty)
"""
# What a terminal would act on: every control but newline and tab, also as C1, and bidi marks.
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


async def print_of(served: Service, *arguments: str) -> str:
    """Return what `aisquad` prints, however wrong its encoding would be."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "aisquad_tui.cli", *arguments, "--state", str(served.state_dir)],
        check=True,
        capture_output=True,
        timeout=BOUND_S,
    )
    return done.stdout.decode()


def rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@pytest.fixture
def can_punch(tmp_path: Path) -> None:
    """Leave out what this file system cannot do; the product says so there, too."""
    path = tmp_path / "probe"
    path.write_bytes(bytes(65_536))
    with path.open("r+b") as file:
        try:
            punch_hole(file.fileno(), 4096, 4096)
        except OSError as error:
            pytest.skip(f"this file system cannot free the middle of a file: {error.strerror}")


@pytest.mark.usefixtures("can_punch")
async def test_a_flood_of_rubbish_is_cut_and_reaches_no_terminal(served: Service) -> None:
    pid = await served.start(log_limit_bytes=LIMIT)
    script = served.folder / "noise.py"
    script.write_text(NOISE)
    async with SocketEngine(served.state_dir) as client, SocketEngine(served.state_dir) as other:
        await ended(client, await served.launch(client, {"id": "first", "run": "true"}))
        before = rss_bytes(pid)
        convoy_id = await served.launch(
            client, {"id": "noise", "run": [sys.executable, str(script)]}
        )
        logs = served.state_dir / "runs" / convoy_id
        await until(lambda: any(log.stat().st_size for log in logs.glob("*/*/output.log")))
        quiet = await served.launch(other, {"id": "quiet", "run": "echo hello"})
        assert await ended(other, quiet) is ConvoyStatus.COMPLETED
        page = await other.items(ItemFilter(convoy_ids=(convoy_id,)), has_last_lines=True)
        assert UNSAFE.search(page.items[0].last_line or "") is None
        assert await ended(client, convoy_id) is ConvoyStatus.COMPLETED
        await ticks(client, 1)

        (log,) = logs.glob("*/*/output.log")
        assert log.stat().st_size >= WRITTEN
        assert log.stat().st_blocks * 512 <= LIMIT
        assert abs(rss_bytes(pid) - before) < GROWN_MOST
        page = await other.items(ItemFilter(convoy_ids=(convoy_id,)), has_last_lines=True)
        assert UNSAFE.search(page.items[0].last_line or "") is None
    printed = await print_of(served, "logs", f"{convoy_id}/noise")
    assert "bytes were left out here" in printed
    assert UNSAFE.search(printed.replace("\n", "")) is None
    assert "turned" in printed
    for verb in (["items", convoy_id], ["items", convoy_id, "--json"], ["why", "noise"]):
        assert UNSAFE.search((await print_of(served, *verb)).replace("\n", "")) is None
