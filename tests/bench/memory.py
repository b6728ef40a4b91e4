"""How much memory the engine's process takes, with operations running and with many queued.

Run it by hand: `python tests/bench/memory.py --running 200` or `--queued 100000`. The baseline is
the same engine without work; figures are the peak of the process, launching included.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from pathlib import Path

from aisquad_core.api import StopMode
from aisquad_core.engine import Engine
from aisquad_core.settings import load_settings
from aisquad_core.spec import SpecFormat, SpecSource
from tests.bench.measuring import peak_rss_mb, print_result


async def measure(running: int, operations: int, folder: Path) -> tuple[float, float]:
    """Return the peak before a convoy and with it, in MB."""
    settings = load_settings(cwd=folder, environ={"HOME": str(folder)}, state_dir=folder / "state")
    tens = list(range(max(1, operations // 100)))
    text = f"""
        name = "memory"
        [[operations]]
        id = "op-{{a}}-{{b}}"
        for_each = {{ a = {tens}, b = {list(range(100))} }}
        run = "sleep 60; echo {{a}} {{b}}"
    """
    source = SpecSource(text=text, format=SpecFormat.TOML, origin="memory", base_dir=str(folder))
    async with Engine(settings) as engine:
        await engine.set_parallelism(running)
        idle_mb = peak_rss_mb()
        async with engine.subscribe() as changes:
            await engine.launch(source, env=os.environ, cwd=str(folder))
            async for _ in changes:
                if (await engine.snapshot()).counts.running == running:
                    break
        loaded_mb = peak_rss_mb()
        await engine.stop(StopMode.KILL)
    return idle_mb, loaded_mb


def main() -> None:
    """Measure and print one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--running", type=int, default=5)
    parser.add_argument("--queued", type=int, default=0)
    arguments = parser.parse_args()
    operations = max(arguments.queued, arguments.running)
    with tempfile.TemporaryDirectory() as folder:
        idle_mb, loaded_mb = asyncio.run(measure(arguments.running, operations, Path(folder)))
    print_result(
        {
            "name": f"memory --running {arguments.running} --queued {arguments.queued}",
            "rss_mb": loaded_mb,
            "baseline": "the same engine without work",
            "baseline_rss_mb": idle_mb,
            "ratio": loaded_mb / idle_mb,
        }
    )


if __name__ == "__main__":
    main()
