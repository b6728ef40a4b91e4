"""What every EngineAPI says of the past, whatever it has recorded."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from aisquad_core.errors import InputError

if TYPE_CHECKING:
    from tests.contract.conftest import World


async def test_a_history_covers_the_period_that_was_asked_for(world: World) -> None:
    past = await world.api.history(period_s=600.0, points=10)
    assert past.end - past.start == timedelta(seconds=600)


@pytest.mark.parametrize(("period_s", "points"), [(0.0, 1), (-1.0, 1), (60.0, 0), (60.0, 2_001)])
async def test_a_history_of_nothing_or_too_much_is_refused(
    world: World, period_s: float, points: int
) -> None:
    with pytest.raises(InputError, match=r"^(period|points) "):
        await world.api.history(period_s=period_s, points=points)
