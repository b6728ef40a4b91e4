"""Doubles for tests: public, used by nothing else."""

from aisquad_core.testing.clock import FakeClock
from aisquad_core.testing.engine import FakeEngine
from aisquad_core.testing.sampler import FakeSampler
from aisquad_core.testing.script import ScriptedItem, ScriptedOutcome, run_as_shell

__all__ = [
    "FakeClock",
    "FakeEngine",
    "FakeSampler",
    "ScriptedItem",
    "ScriptedOutcome",
    "run_as_shell",
]
