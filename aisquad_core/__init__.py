"""aisquad's engine: runs convoys of operations, as many at a time as the machine can bear."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisquad_core.version import __version__

if TYPE_CHECKING:
    from aisquad_core.library import Convoy, ConvoyResult

__all__ = ["Convoy", "ConvoyResult", "__version__"]


def __getattr__(name: str) -> object:
    """Import the façade when it is asked for: a command that only reads does not pay for it."""
    if name in {"Convoy", "ConvoyResult"}:
        from aisquad_core import library  # noqa: PLC0415 - see above

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
