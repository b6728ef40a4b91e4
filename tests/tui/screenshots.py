"""The pictures in `screenshots/`, of the real app: `PYTHONPATH=. python -m tests.tui.screenshots`.

Each is an SVG, and a PNG that Chromium (Debian's `chromium`) makes of it.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import tempfile
from pathlib import Path

from tests.tui import scenes
from tests.tui.playing import playing, settle

FOLDER = Path(__file__).parents[2] / "screenshots"
_PREVIEW_S = 1.0
"""Enough for what a thread does: the preview of a launch."""
_PICTURES = (
    ("dashboard", scenes.busy, (120, 40), ()),
    ("dashboard-80x24", scenes.busy, (80, 24), ()),
    ("dashboard-wide", scenes.busy, (200, 60), ()),
    ("empty", scenes.empty, (120, 40), ()),
    ("failing", scenes.failing, (120, 40), ()),
    ("launch", scenes.busy, (120, 40), ("n", "down", *"ruff check {}", "tab", *"src web")),
    ("cancel", scenes.busy, (120, 40), ("1", "x")),
    ("operation", scenes.busy, (120, 40), ("enter",)),
    ("history", scenes.remembered, (120, 40), ("H",)),
    ("help", scenes.busy, (120, 40), ("question_mark",)),
)


async def draw() -> None:
    """Write every SVG."""
    for name, scene, size, keys in _PICTURES:
        async with playing(scene, size=size) as (app, pilot, _):
            for key in keys:
                await pilot.press("space" if key == " " else key)
                await settle(pilot)
            await pilot.pause(_PREVIEW_S)
            svg = app.export_screenshot(title="aisquad")
            (FOLDER / f"{name}.svg").write_text(svg, "utf-8")


def rasterise(svg: Path) -> None:
    """Write the PNG beside an SVG."""
    width, height = (
        round(float(number))
        for number in re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg.read_text("utf-8"))[0]
    )
    flags = (
        "--headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run"
        " --disable-background-networking --disable-component-update --disable-sync"
    )
    with tempfile.TemporaryDirectory() as profile:
        own = (f"--user-data-dir={profile}", f"--window-size={width},{height}")
        shot = (f"--screenshot={svg.with_suffix('.png')}", svg.as_uri())
        subprocess.run(
            ["chromium", *flags.split(), *own, *shot], check=True, capture_output=True, timeout=120
        )


def main() -> None:
    """Draw them all."""
    FOLDER.mkdir(exist_ok=True)
    asyncio.run(draw())
    for svg in sorted(FOLDER.glob("*.svg")):
        rasterise(svg)
        print(svg.with_suffix(".png"))


if __name__ == "__main__":
    main()
