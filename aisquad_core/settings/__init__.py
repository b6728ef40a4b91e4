"""Settings and agents: defaults < user's aisquad.toml < project's < AI_SQUAD_* < flags.

Each value knows where it came from, and each bad one is an error that names its place, what was
found and what is allowed. Nothing here opens a database, starts anything or writes a file.
"""

from aisquad_core.settings.agents import BUILT_IN_AGENTS, BUILT_IN_SOURCE, AgentProfile
from aisquad_core.settings.kinds import DURATION_FORM, parse_duration
from aisquad_core.settings.loading import (
    SETTINGS_FILE,
    STATE_FOLDER,
    Review,
    load_settings,
    review_project,
)
from aisquad_core.settings.values import (
    DEFAULT_SOURCE,
    VARIABLE_PREFIX,
    SettingRow,
    Settings,
    Untrusted,
    describe,
)

__all__ = [
    "BUILT_IN_AGENTS",
    "BUILT_IN_SOURCE",
    "DEFAULT_SOURCE",
    "DURATION_FORM",
    "SETTINGS_FILE",
    "STATE_FOLDER",
    "VARIABLE_PREFIX",
    "AgentProfile",
    "Review",
    "SettingRow",
    "Settings",
    "Untrusted",
    "describe",
    "load_settings",
    "parse_duration",
    "review_project",
]
