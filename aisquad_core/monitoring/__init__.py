"""HTTP for operators and their other tools: health, figures, a dashboard page, Prometheus.

It reads the databases, and beside an engine asks that for its live state; it changes nothing.
Only `server` and `prometheus` import aiohttp and prometheus_client, which take a quarter of a
second: a command that asks where the dashboard is does not pay for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aisquad_core.monitoring.server import Monitoring

__all__ = ["Monitoring"]


def __getattr__(name: str) -> object:
    """Import the server when it is asked for."""
    if name == "Monitoring":
        from aisquad_core.monitoring import server  # noqa: PLC0415 - see above

        return server.Monitoring
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
