"""How long the monitoring API takes to sum up a month: 30 days of 5,000 operations a day.

Run it by hand: `python tests/bench/monitoring.py`, with `--beside COMMAND` while that runs, such
as the load test. Each request is a connection of its own to `python -m
aisquad_core.monitoring`; the baseline asks the same of the reader, without HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aisquad_core.clock import SystemClock
from aisquad_core.state.metrics import MetricsReader
from aisquad_core.state.workstate import WorkState
from tests.bench.measuring import percentile, print_result
from tests.bench.metrics import MINUTES, fill, measure
from tests.monitoring.asking import ask

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATHS = {
    "stats": f"/metrics/stats?time_range={MINUTES}",
    "resources": f"/metrics/resources?time_range={MINUTES}",
    "convoys": "/metrics/convoys?limit=100",
    "system": "/metrics/system",
    "prometheus": "/metrics",
    "page": f"/dashboard/data?time_range={MINUTES}",
}


_BEGIN_S = 5.0
"""For what runs beside to come to its work."""


@contextmanager
def serving(state_dir: Path) -> Iterator[int]:
    """Serve the API from a process of its own; give its port."""
    line = [sys.executable, "-m", "aisquad_core.monitoring", "0", "--state", str(state_dir)]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        if process.stderr is None:
            raise AssertionError("a pipe was asked for")
        try:
            yield int(process.stderr.readline().rpartition(":")[2].partition("/")[0])
        finally:
            process.terminate()


@contextmanager
def beside(command: str | None) -> Iterator[None]:
    """Let a command run meanwhile, and end it."""
    if command is None:
        yield
        return
    with subprocess.Popen(shlex.split(command), stdout=subprocess.DEVNULL) as process:
        try:
            time.sleep(_BEGIN_S)
            yield
            if process.poll() is not None:
                raise SystemExit(f"{command} ended before all was measured")
        finally:
            process.terminate()


async def run(state_dir: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Fill the databases and measure each path."""
    async with WorkState(state_dir / "workstate.db", clock=SystemClock()):
        pass
    rows = await fill(state_dir / "metrics.db", 30, arguments.operations_a_day)
    result: dict[str, object] = {"name": "monitoring", "rows": rows, "beside": arguments.beside}
    with ExitStack() as stack:
        port = stack.enter_context(serving(state_dir))
        stack.enter_context(beside(arguments.beside))
        errors = 0

        async def get(path: str) -> None:
            nonlocal errors
            errors += (await ask(port, path)).status != 200

        for name, path in _PATHS.items():
            taken = await measure(partial(get, path), arguments.times)
            result[f"{name}_p50_ms"] = percentile(taken, 50)
            result[f"{name}_p99_ms"] = percentile(taken, 99)
        async with MetricsReader(state_dir / "metrics.db") as reader:
            directly = await measure(lambda: reader.get_convoy_stats(MINUTES), arguments.times)
    return result | {
        "p50_ms": result["stats_p50_ms"],
        "p99_ms": result["stats_p99_ms"],
        "baseline": "the same sums from the reader, without HTTP",
        "baseline_p50_ms": percentile(directly, 50),
        "baseline_p99_ms": percentile(directly, 99),
        "errors": errors,
    }


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations-a-day", type=int, default=5_000)
    parser.add_argument("--times", type=int, default=200, help="how often each path is asked")
    parser.add_argument("--beside", help="a command to run meanwhile")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print_result(asyncio.run(run(Path(folder), arguments)))


if __name__ == "__main__":
    main()
