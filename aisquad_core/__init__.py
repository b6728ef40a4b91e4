"""aisquad's engine: runs convoys of operations, as many at a time as the machine can bear."""

__version__ = "0.1.0"
