from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

import pytest

from aisquad_core.state.interpreter import answering_quickly

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def as_python_has_it() -> Iterator[None]:
    thresholds, interval_s = gc.get_threshold(), sys.getswitchinterval()
    yield
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval_s)


@pytest.mark.parametrize(("before", "within"), [(700, 3_000), (50_000, 50_000), (0, 0)])
def test_garbage_waits_while_it_lasts_unless_somebody_has_said_otherwise(
    before: int, within: int
) -> None:
    gc.set_threshold(before, 11, 12)
    with answering_quickly():
        assert gc.get_threshold()[0] == within
    assert gc.get_threshold()[0] == before


def test_of_several_the_last_one_ends_it_in_whatever_order_they_leave() -> None:
    gc.set_threshold(700, 11, 12)
    sys.setswitchinterval(0.005)
    first, second = answering_quickly(), answering_quickly()
    with first:
        second.__enter__()
    assert gc.get_threshold()[0] == 3_000
    assert sys.getswitchinterval() == pytest.approx(1e-4)
    second.__exit__(None, None, None)
    assert gc.get_threshold() == (700, 11, 12)
    assert sys.getswitchinterval() == pytest.approx(0.005)


@pytest.mark.parametrize(("before_s", "within_s"), [(0.005, 1e-4), (5e-5, 5e-5)])
def test_threads_switch_soon(before_s: float, within_s: float) -> None:
    sys.setswitchinterval(before_s)
    with answering_quickly():
        assert sys.getswitchinterval() == pytest.approx(within_s, abs=2e-6)
    assert sys.getswitchinterval() == pytest.approx(before_s, abs=2e-6)  # whole microseconds
