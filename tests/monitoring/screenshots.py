"""The pictures of the monitoring page: `PYTHONPATH=. python -m tests.monitoring.screenshots`.

The page in Chromium, served over HTTP, beside the engine of the terminal's pictures and metrics
of its last hour.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from aisquad_core.monitoring import Monitoring
from aisquad_core.settings import Settings
from tests.monitoring import recorded
from tests.monitoring.chromium import browsing
from tests.tui import scenes

FOLDER = Path(__file__).parents[2] / "screenshots"
_PICTURES = (
    ("monitoring", (1280, 900), "light"),
    ("monitoring-dark", (1280, 900), "dark"),
    ("monitoring-phone", (390, 844), "dark"),
)


async def draw() -> None:
    """Write every picture."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(workstate_db=Path(folder, "workstate.db"))
        async with scenes.busy() as scene, browsing() as browser:
            await recorded.record_hour(settings.metrics_db, scene.clock)
            async with Monitoring(
                settings, engine=scene.engine, port=0, clock=scene.clock
            ) as monitoring:
                for name, (width, height), scheme in _PICTURES:
                    context = await browser.new_context(
                        viewport={"width": width, "height": height},
                        color_scheme="dark" if scheme == "dark" else "light",
                        timezone_id="UTC",
                        locale="en-GB",
                        reduced_motion="reduce",
                    )
                    page = await context.new_page()
                    await page.goto(f"{monitoring.url}/dashboard")
                    await page.wait_for_selector("#convoy-table tbody tr")
                    path = FOLDER / f"{name}.png"
                    await page.screenshot(path=path, full_page=True)
                    await context.close()
                    print(path)


if __name__ == "__main__":
    asyncio.run(draw())
