"""`aisquad demo`: a throw-away project with harmless convoys, so that the screen has work."""

from __future__ import annotations

import signal
import tempfile
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = ("site-release.toml", "link-check.toml")
"""Convoy files of the demo, in the order in which they are launched."""

_ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)


@contextmanager
def throw_away_project() -> Iterator[Path]:
    """Make a folder with the demo's convoy files; it goes when the demo ends."""
    with tempfile.TemporaryDirectory(prefix="aisquad-demo-") as name:
        for file in FILES:
            text = (resources.files("aisquad_tui.cli") / "demo_project" / file).read_text("utf-8")
            Path(name, file).write_text(text, encoding="utf-8")
        yield Path(name)
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)  # they wait until the folder is gone
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
