"""What the end of an attempt means for its work item: pure policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aisquad_core.model import StopReason, WorkStatus

if TYPE_CHECKING:
    from aisquad_core.execution.runner import Exit

MAX_RETRY_DELAY_S = 300.0
"""Seconds beyond which the wait before a retry no longer grows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of an item."""

    status: WorkStatus
    """Where it goes; `pending` for an interrupted item and for one that is tried again."""
    ended_as: WorkStatus
    """How the attempt itself ended; `pending` when it does not count."""
    error: str | None = None

    @property
    def is_retry(self) -> bool:
        """Whether the attempt counts and another follows by itself."""
        return self.status is WorkStatus.PENDING and self.ended_as is not WorkStatus.PENDING


def judge(
    end: Exit,
    *,
    stopping: StopReason | None,
    attempt: int,
    max_attempts: int,
    timeout: str | None = None,
    may_retry: bool = True,
) -> Verdict:
    """Decide what becomes of an item whose attempt ended.

    Args:
        end: How the process ended.
        stopping: Why it was being stopped; None if it ended by itself.
        attempt: Its number, from 1.
        max_attempts: Attempts that are made without anybody asking.
        timeout: For `StopReason.TIMEOUT`, which time was over, in words.
        may_retry: False once the convoy itself is ending.
    """
    if stopping is StopReason.CANCEL:
        return Verdict(status=WorkStatus.CANCELLED, ended_as=WorkStatus.CANCELLED, error=end.error)
    if not end.did_run or (stopping is StopReason.INTERRUPT and end.exit_code != 0):
        return Verdict(status=WorkStatus.PENDING, ended_as=WorkStatus.PENDING)
    if stopping is StopReason.TIMEOUT:
        ended_as, error = WorkStatus.FAILED, timeout or "timed out"
    elif end.exit_code == 0:  # also when it was interrupted: what it did is not repeated
        return Verdict(status=WorkStatus.COMPLETED, ended_as=WorkStatus.COMPLETED)
    elif end.exit_code is None:
        ended_as, error = WorkStatus.LOST, end.error or "ended unseen"
    else:
        ended_as, error = WorkStatus.FAILED, end.error or describe_exit(end.exit_code)
    is_tried_again = may_retry and attempt < max_attempts
    return Verdict(
        status=WorkStatus.PENDING if is_tried_again else ended_as, ended_as=ended_as, error=error
    )


def describe_exit(exit_code: int) -> str:
    """Say in words what an exit status of the shell means."""
    known = {126: "cannot be executed", 127: "command not found"}
    if exit_code in known:
        return f"exit {exit_code}: {known[exit_code]}"
    if 128 < exit_code < 128 + 65:
        return f"exit {exit_code}: ended by signal {exit_code - 128}"
    return f"exit {exit_code}"


def retry_delay_s(base_s: float, failed_attempts: int, jitter: float) -> float:
    """Return the seconds before the next attempt: exponential backoff with jitter.

    Args:
        base_s: Seconds before the first retry.
        failed_attempts: How many attempts have failed, from 1.
        jitter: A random number from 0 to 1, spread over 75 % to 125 % of the delay.
    """
    exponent = min(failed_attempts - 1, 32)
    return min(MAX_RETRY_DELAY_S, base_s * 2.0**exponent) * (0.75 + 0.5 * jitter)
