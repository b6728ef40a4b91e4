"""aisquad's engine: runs convoys of operations, as many at a time as the machine can bear."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_core.version import __version__

if TYPE_CHECKING:
    from aisquad_core.library import Convoy, ConvoyResult
    from aisquad_core.shared import (
        close_globals,
        get_global_backpressure,
        get_global_collector,
        get_global_monitor,
        get_global_pool,
        get_global_rate_limiter,
        get_storage,
        start_monitoring_api,
    )

__all__ = [
    "Convoy",
    "ConvoyResult",
    "__version__",
    "close_globals",
    "get_global_backpressure",
    "get_global_collector",
    "get_global_monitor",
    "get_global_pool",
    "get_global_rate_limiter",
    "get_storage",
    "start_monitoring_api",
]


def __getattr__(name: str) -> object:
    """Import what scripts use when it is asked for: a command that only reads does not pay."""
    if name in {"Convoy", "ConvoyResult"}:
        from aisquad_core import library  # noqa: PLC0415 - see above

        return getattr(library, name)
    if name in __all__:
        from aisquad_core import shared  # noqa: PLC0415 - see above

        return getattr(shared, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
