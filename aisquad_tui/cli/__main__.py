"""`python -m aisquad_tui.cli` is the `aisquad` command."""

import sys

from aisquad_tui.cli import main

sys.exit(main())
