"""Doubles for tests: public, used by nothing else."""

from aisquad_core.testing.clock import FakeClock
from aisquad_core.testing.sampler import FakeSampler
from aisquad_core.testing.script import ScriptedOutcome, run_as_shell

__all__ = ["FakeClock", "FakeSampler", "ScriptedOutcome", "run_as_shell"]
