"""Who asks, and so how much they see."""

from __future__ import annotations

from enum import Enum


class Sight(Enum):
    """How much a caller sees."""

    ALL = "all"
    """The same user on this machine, or whoever shows the token."""
    NUMBERS = "numbers"
    """Another user of this machine: no names, commands, errors, paths or ids."""
    HEALTH = "health"
    """From another machine: whether it is well, and nothing else."""
