from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisquad_core.execution.outcome import MAX_RETRY_DELAY_S, describe_exit, judge, retry_delay_s
from aisquad_core.execution.runner import Exit
from aisquad_core.model import StopReason, WorkStatus


def ended(exit_code: int | None) -> Exit:
    return Exit(token="t", exit_code=exit_code)


@pytest.mark.parametrize(
    ("exit_code", "stopping", "expected"),
    [
        (0, None, WorkStatus.COMPLETED),
        (3, None, WorkStatus.FAILED),
        (None, None, WorkStatus.LOST),
        (143, StopReason.CANCEL, WorkStatus.CANCELLED),
        (143, StopReason.INTERRUPT, WorkStatus.PENDING),
        (None, StopReason.INTERRUPT, WorkStatus.PENDING),
        (0, StopReason.INTERRUPT, WorkStatus.COMPLETED),
        (0, StopReason.TIMEOUT, WorkStatus.FAILED),
    ],
)
def test_the_last_attempt_ends_as(
    exit_code: int | None, stopping: StopReason | None, expected: WorkStatus
) -> None:
    verdict = judge(ended(exit_code), stopping=stopping, attempt=1, max_attempts=1)
    assert verdict.status is expected
    assert not verdict.is_retry


@pytest.mark.parametrize("exit_code", [1, None])
def test_failures_and_losses_are_tried_again_while_attempts_are_left(exit_code: int | None) -> None:
    verdict = judge(ended(exit_code), stopping=None, attempt=1, max_attempts=2)
    assert verdict.is_retry
    assert judge(ended(exit_code), stopping=None, attempt=2, max_attempts=2).status.is_final
    closing = judge(ended(exit_code), stopping=None, attempt=1, max_attempts=2, may_retry=False)
    assert closing.status.is_final


def test_an_interrupted_attempt_does_not_count() -> None:
    verdict = judge(ended(143), stopping=StopReason.INTERRUPT, attempt=1, max_attempts=1)
    assert verdict.status is WorkStatus.PENDING
    assert not verdict.is_retry


def test_a_start_whose_command_never_began_does_not_count() -> None:
    end = Exit(token="t", exit_code=125, did_run=False)
    assert judge(end, stopping=None, attempt=1, max_attempts=1).status is WorkStatus.PENDING
    cancelled = judge(end, stopping=StopReason.CANCEL, attempt=1, max_attempts=1)
    assert cancelled.status is WorkStatus.CANCELLED


@given(st.floats(0, 1e6), st.integers(1, 10_000), st.floats(0, 1))
def test_retry_delays_are_bounded(base_s: float, failed: int, jitter: float) -> None:
    assert 0 <= retry_delay_s(base_s, failed, jitter) <= MAX_RETRY_DELAY_S * 1.25


def test_retry_delays_double() -> None:
    assert [retry_delay_s(2.0, failed, 0.5) for failed in (1, 2, 3)] == [2.0, 4.0, 8.0]


def test_exit_statuses_in_words() -> None:
    assert describe_exit(3) == "exit 3"
    assert describe_exit(127) == "exit 127: command not found"
    assert describe_exit(137) == "exit 137: ended by signal 9"
