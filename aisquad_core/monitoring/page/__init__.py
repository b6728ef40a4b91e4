"""The dashboard's page: a few files that hold no figures, the same for everybody."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from aisquad_core.monitoring.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILES: Mapping[str, tuple[str, str]] = {
    "/dashboard": ("dashboard.html", "text/html; charset=utf-8"),
    "/dashboard/dashboard.css": ("dashboard.css", "text/css; charset=utf-8"),
    "/dashboard/dashboard.js": ("dashboard.js", "text/javascript; charset=utf-8"),
    "/dashboard/chart.js": ("chart.js", "text/javascript; charset=utf-8"),
    "/dashboard/format.js": ("format.js", "text/javascript; charset=utf-8"),
    "/dashboard/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""Path to a file of this folder and what it is."""
PATHS = frozenset(_FILES)


@cache
def answer(path: str) -> Answer:
    """Return the file of a path of `PATHS`; reads it the first time (`load` reads all)."""
    name, content_type = _FILES[path]
    return Answer(body=(files(__name__) / name).read_bytes(), content_type=content_type)


def load() -> None:
    """Read every file (blocking), so that no answer has to."""
    for path in PATHS:
        answer(path)
