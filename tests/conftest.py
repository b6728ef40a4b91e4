"""What holds for every test: the same surroundings, and no property that asserts a time."""

from __future__ import annotations

import gc
import os
import time

from hypothesis import HealthCheck, settings

_TELLING = ("AI_SQUAD_", "TEXTUAL_", "SSH_", "TMUX", "LC_")
"""Beginnings of variables that tell of the terminal, the locale or the operator's wishes."""
_TELLING_NAMES = {
    "COLORFGBG", "COLORTERM", "COLUMNS", "ESCDELAY", "FORCE_COLOR", "LANG", "LANGUAGE", "LINES",
    "NO_COLOR", "STY", "TERM", "TERM_PROGRAM", "XDG_CONFIG_HOME", "XDG_STATE_HOME",
}  # fmt: skip
for _name in list(os.environ):
    if _name in _TELLING_NAMES or _name.startswith(_TELLING):
        del os.environ[_name]
os.environ["AI_SQUAD_MONITORING_PORT"] = "0"  # no test's engine opens a port by the way
os.environ["TERM"] = "xterm-256color"
os.environ["COLORTERM"] = "truecolor"
os.environ["LANG"] = "C.UTF-8"
os.environ["TZ"] = "UTC"
time.tzset()

# Each test leaves an app or an engine in cycles; by default thousands of collections go over all
# that pytest and Textual hold, a tenth of the time of the tests of the screen.
gc.set_threshold(20_000, 20, 20)

# A loaded machine is slow, not wrong: no property asserts a time. The same examples every time, so
# that a change is judged by itself; `pytest --hypothesis-profile explore` looks for new ones.
settings.register_profile(
    "explore", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("aisquad", settings.get_profile("explore"), derandomize=True)
settings.load_profile("aisquad")
