"""The `aisquad` command, a file a verb."""

from aisquad_tui.cli.app import main

__all__ = ["main"]
