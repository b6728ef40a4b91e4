"""What holds for every test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A loaded machine is slow, not wrong: no property asserts a time.
settings.register_profile(
    "aisquad", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("aisquad")
