"""A real Chromium (Debian's `chromium`) that looks at a page and talks to nobody else."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from playwright.async_api import async_playwright

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser

PROGRAM = shutil.which("chromium")
"""None: it is not installed."""
_FLAGS = (
    "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update"
    " --disable-sync --no-first-run"
)


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """Run it for as long as the context lasts."""
    if PROGRAM is None:
        raise FileNotFoundError("chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=PROGRAM, args=_FLAGS.split())
        try:
            yield browser
        finally:
            await browser.close()
