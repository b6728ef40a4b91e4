"""What importing the engine must not import: each of these delays the first screen."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["connect", "embedded", "engine"])
def test_the_sampler_and_the_readers_of_convoy_files_wait_until_they_are_needed(
    module: str,
) -> None:
    """psutil, proclimits and the convoy files' reader take some 40 of 160 ms of the import."""
    heavy = ("psutil", "proclimits", "yaml", "tomllib", "aisquad_core.spec", "textual", "rich")
    code = f"import sys, aisquad_core.{module}; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_what_only_reads_imports_no_engine() -> None:
    code = (
        "import sys, aisquad_core.connect;"
        "print([m for m in ('aisquad_core.engine', 'aisquad_core.load', 'anyio')"
        " if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "module",
    ["aisquad_tui.cli.status", "aisquad_tui.cli.screen", "aisquad_core.service", "aisquad_core"],
)
def test_only_the_monitoring_server_imports_a_web_server(module: str) -> None:
    """aiohttp and prometheus_client take a quarter of a second."""
    code = (
        f"import sys, {module}, aisquad_core.monitoring, aisquad_core.monitoring.plate;"
        "print([m for m in ('aiohttp', 'prometheus_client') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_screen_that_attaches_imports_no_engine() -> None:
    code = (
        "import sys, aisquad_tui.cli.screen, aisquad_core.attached, aisquad_tui.app;"
        "print([m for m in ('aiosqlite', 'sqlite3', 'psutil', 'aisquad_core.engine',"
        " 'aisquad_core.embedded', 'aisquad_core.state', 'aisquad_core.execution', 'typer')"
        " if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_plotext_waits_until_the_history_draws() -> None:
    """It takes a tenth of a second, and most screens never show a chart."""
    code = (
        "import sys, aisquad_tui.cli.screen, aisquad_tui.app, aisquad_tui.screens.history;"
        "print('plotext' in sys.modules);"
        "import aisquad_tui.views.plot; print('plotext' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]
