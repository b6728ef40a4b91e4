from __future__ import annotations

import gc

import pytest

from aisquad_core.state.interpreter import collecting_seldom


@pytest.mark.parametrize(("before", "within"), [(700, 3_000), (50_000, 50_000), (0, 0)])
def test_garbage_waits_while_it_lasts_unless_somebody_has_said_otherwise(
    before: int, within: int
) -> None:
    own = gc.get_threshold()
    gc.set_threshold(before, 11, 12)
    try:
        with collecting_seldom():
            assert gc.get_threshold()[0] == within
        assert gc.get_threshold()[0] == before
    finally:
        gc.set_threshold(*own)
