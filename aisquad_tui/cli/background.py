"""The process of an engine in the background, as `aisquad up` and the screen start it.

`python -m aisquad_tui.cli.background PROJECT ON_TERM [STATE]` tells whoever started it how it went
and writes to the state folder's log. It knows no verbs: their import would keep the first screen
waiting.
"""

from __future__ import annotations

import sys
from pathlib import Path

from aisquad_core.api import StopMode
from aisquad_tui.cli import session
from aisquad_tui.cli.boundary import carry_out


def main() -> int:
    """Be the engine until somebody stops it; return the exit status."""
    project, on_term, *state = sys.argv[1:]

    def serve() -> int:
        settings = session.load_settings(
            Path(state[0]) if state else None, cwd=Path(project), needs_trust=True
        )
        return session.serve(settings, on_term=StopMode(on_term), is_reporting=True)

    return carry_out(serve)


if __name__ == "__main__":
    sys.exit(main())
