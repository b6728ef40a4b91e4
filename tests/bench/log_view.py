"""How soon the log of an operation shows, how fast it is searched, and what the loop notices.

Run it by hand: `python tests/bench/log_view.py`. It writes a log of `--megabytes` to a temporary
folder (a tenth of the lines coloured, one line of 10 MB) and opens it in the app at 120x40.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from aisquad_core.clock import SystemClock
from aisquad_core.execution.output import read_range
from aisquad_core.model import ItemKey, Operation
from aisquad_core.testing import FakeEngine, ScriptedOutcome
from aisquad_tui.app import SquadApp
from aisquad_tui.log_matcher import Matcher
from aisquad_tui.log_search import search
from aisquad_tui.messages import OpenItem
from aisquad_tui.screens.operation import OperationScreen
from tests.bench.measuring import StallMeter, peak_rss_mb, percentile, print_result
from tests.tui.playing import surroundings_of

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Literal

    from textual.pilot import Pilot

    from aisquad_core.api import LogChunk
    from aisquad_tui.log_search import Found

_MB = 1_000_000
_LONG_LINE = b"x" * 10 * _MB + b"\n"
_KEYS = ("pageup", "k", "pagedown", "g", "j", "G")


class FileEngine(FakeEngine):
    """An engine whose only log is a file."""

    def __init__(self, path: Path) -> None:
        super().__init__(outcome=lambda *_: ScriptedOutcome(duration_s=3_600.0))
        self._path = str(path)

    async def log_range(
        self,
        key: ItemKey,
        *,
        attempt: int | None = None,
        offset: int = 0,
        length: int = 65_536,
        stream: Literal["log", "result"] = "log",
    ) -> LogChunk:
        """Return bytes of the file, as the engine reads them."""
        return await asyncio.to_thread(
            read_range, self._path, offset=offset, length=length, is_final=False
        )


def write_log(path: Path, megabytes: int) -> None:
    """Write lines as test runners and agents do."""
    plain = b"".join(b"tests/test_routes.py::test_%04d PASSED in 0.31s\n" % n for n in range(9_000))
    color = b"".join(b"\x1b[32m%04d\x1b[0m Editing src/api/routes.py\n" % n for n in range(1_000))
    with path.open("wb") as file:
        while file.tell() < megabytes * _MB:
            file.write(plain + color)
        file.write(_LONG_LINE)
        file.write(plain[:10_000])


async def measure(path: Path) -> dict[str, object]:
    """Open the log in the app; return the figures."""
    async with FileEngine(path) as engine:
        convoy_id = engine.add_convoy("bench", [Operation(id="long", argv=("true",))])
        await engine.clock.settle()
        app = SquadApp(surroundings_of(engine, SystemClock()))
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause(0.5)
            return await _measure(app, pilot, ItemKey(convoy_id, "long"))


async def _measure(app: SquadApp, pilot: Pilot[None], key: ItemKey) -> dict[str, object]:
    async with StallMeter() as opening:
        begun = time.perf_counter()
        app.post_message(OpenItem(key))
        while True:
            await asyncio.sleep(0.001)
            if isinstance(screen := app.screen, OperationScreen) and screen.log_view.lines:
                break
        open_ms = (time.perf_counter() - begun) * 1_000
    assert screen.feed is not None
    reader = screen.feed.reader
    megabytes = reader.size / _MB

    async with StallMeter() as moving:
        for press in _KEYS * 10:
            await pilot.press(press)
        moves: list[float] = []
        for _ in range(200):
            begun = time.perf_counter()
            screen.log_view.action_rows(-1)
            moves.append((time.perf_counter() - begun) * 1_000)
            await asyncio.sleep(0)
        await pilot.press("f")
    figures: dict[str, object] = {}
    for name, query in (("text", "no such text"), ("regex", r"/no such \d+ text/")):
        async with StallMeter() as searching:
            took_s = await _timed(
                search(reader, Matcher(query), -1, is_backward=False, on_progress=lambda _: None)
            )
        figures[f"{name}_search_mb_per_s"] = megabytes / took_s
        figures[f"{name}_search_worst_stall_ms"] = searching.worst_ms
    return {
        "name": "log_view",
        "megabytes": megabytes,
        "open_ms": open_ms,
        "open_worst_stall_ms": opening.worst_ms,
        "scroll_p50_ms": percentile(sorted(moves), 50),
        "scroll_p99_ms": percentile(sorted(moves), 99),
        "worst_stall_ms": moving.worst_ms,
        **figures,
        "lines": screen.feed.line_count,
        "rss_mb": peak_rss_mb(),
        "errors": 0 if reader.has_looked and screen.feed.trouble is None else 1,
    }


async def _timed(searching: Awaitable[Found | None]) -> float:
    begun = time.perf_counter()
    assert await searching is None
    return time.perf_counter() - begun


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "output.log")
        write_log(path, arguments.megabytes)
        print_result(asyncio.run(measure(path)))


if __name__ == "__main__":
    main()
