"""The `aisquad` command, a file a verb."""

from aisquad_tui.cli.entry import main

__all__ = ["main"]
