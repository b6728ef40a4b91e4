"""Reads the work state after each commit and judges what has become durable."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from aisquad_core.model import (
    FAILURE_STATUSES,
    TRANSITIONS,
    ConvoyStatus,
    ItemKey,
    WorkStatus,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.simulated.world import Start, World

_ITEMS = """
SELECT w.convoy_id, w.id, w.status, w.version, w.attempt, w.token, w.exit_code, w.reason,
    json_array_length(w.tries), w.retries, w.dependencies
FROM work_items AS w JOIN launches AS l ON l.convoy_id = w.convoy_id WHERE l.is_complete
"""
_CONVOYS = "SELECT id, status, total, stopping, stop_on_first_failure, timeout_s FROM convoys"

ADMISSION_S = 0.25
"""Longer than from a pick to the commit of its intent."""
_UNMET = FAILURE_STATUSES | {WorkStatus.CANCELLED, WorkStatus.SKIPPED}
_OPEN = {WorkStatus.PENDING, WorkStatus.BLOCKED, WorkStatus.IN_PROGRESS}


class ItemRow(NamedTuple):
    """What is durable of an item."""

    convoy_id: str
    item_id: str
    status: WorkStatus
    version: int
    attempt: int
    token: str | None
    exit_code: int | None
    reason: str | None
    tries: int
    retries: int
    needs: tuple[str, ...]

    @property
    def key(self) -> ItemKey:
        """Its name."""
        return ItemKey(self.convoy_id, self.item_id)


class ConvoyRow(NamedTuple):
    """What is durable of a convoy."""

    convoy_id: str
    status: ConvoyStatus
    total: int
    stopping: str | None
    stop_on_first_failure: int
    timeout_s: float | None


class Wishes:
    """What the operator asked for, and what was acknowledged."""

    def __init__(self) -> None:
        self.cancels: set[ItemKey | str] = set()
        """Items and convoys whose cancel was asked for."""
        self.retries: Counter[ItemKey] = Counter()
        """How often a retry of each item was asked for."""
        self.retried_convoys: set[str] = set()
        self.paused: dict[str, float] = {}
        """When the pause of a convoy was acknowledged of which nobody has asked more since."""
        self.held: set[str] = set()
        """Convoys of earlier engines that this one was not asked to go on with."""
        self.resuming: Counter[str] = Counter()
        """How many requests to resume or retry something of a convoy have not been answered."""
        self.resumes: Counter[str] = Counter()
        """How many there were in all."""
        self.launched: dict[str, int] = {}
        """Acknowledged launches, and their size."""


class Audit:
    """The durable truth, as of the last commit.

    Args:
        world: What really happened to the processes.
        wishes: What the operator asked for.
    """

    def __init__(self, world: World, wishes: Wishes) -> None:
        self.items: dict[ItemKey, ItemRow] = {}
        self.convoys: dict[str, ConvoyRow] = {}
        self._reopened_s: dict[ItemKey, float] = {}
        """When each completed item was put back last."""
        self._stopping_s: dict[str, float] = {}
        """When the cancel of each convoy became durable."""
        self._excused: dict[ItemKey, set[str]] = {}
        """Items that had begun when something that they need was put back; and which."""
        self._world = world
        self._wishes = wishes

    def read(self, connection: sqlite3.Connection) -> None:
        """Compare what is durable now with what was."""
        items = {row.key: row for row in map(_item, connection.execute(_ITEMS).fetchall())}
        convoys = {
            row[0]: ConvoyRow(row[0], ConvoyStatus(row[1]), *row[2:])
            for row in connection.execute(_CONVOYS).fetchall()
        }
        if items == self.items and convoys == self.convoys:
            return
        before_items, before_convoys = self.items, self.convoys
        self.items, self.convoys = items, convoys
        for convoy in convoys.values():
            earlier = before_convoys.get(convoy.convoy_id)
            if convoy.stopping and not (earlier and earlier.stopping):
                self._stopping_s[convoy.convoy_id] = self._world.time()
        for key in before_items.keys() - items.keys():
            self._world.fail(f"{key} is gone")
        for key, row in items.items():
            before = before_items.get(key)
            if before != row:
                self._note_item(before, row)
                if before is not None:
                    self._judge_item(before, row)
        for convoy_id, convoy in convoys.items():
            earlier = before_convoys.get(convoy_id)
            if earlier != convoy:
                self._world.note(f"{convoy_id} is {convoy.status} {convoy.stopping or ''}")
                self._judge_convoy(earlier, convoy)

    def reopen(self, database: Path, *, may_differ: bool) -> None:
        """Read what a new engine finds.

        Args:
            database: Its path.
            may_differ: Whether a commit was interrupted, which is there as a whole or not at all.
        """
        if not database.exists():
            if self.items:
                self._world.fail("the database is gone")
            return
        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            answer = connection.execute("PRAGMA integrity_check").fetchall()
            if answer != [("ok",)]:
                self._world.fail(f"integrity_check: {answer}")
            if not connection.execute("PRAGMA user_version").fetchone()[0]:
                return
            before = (self.items, self.convoys)
            self.read(connection)
        if not may_differ and before != (self.items, self.convoys):
            self._world.fail("what was committed is not what a new engine finds")

    def is_unfinished(self, convoy_id: str) -> bool:
        """Whether something may still happen in a convoy."""
        return any(row.status in _OPEN for row in self.items.values() if row.convoy_id == convoy_id)

    def check_owned(self, start: Start, what: str) -> None:
        """Raise `Violation` unless the item's present start is this one."""
        row = self.items.get(ItemKey(*start.ref[:2]))
        if (
            row is None
            or row.status is not WorkStatus.IN_PROGRESS
            or row.token != start.ref.token
            or row.attempt != start.ref.attempt
        ):
            self._world.fail(f"{start.ref} {what}, but durable is {row}")

    def check_quiet(self) -> None:
        """Judge what is left when everything should have ended."""
        for row in self.items.values():
            if row.status in _OPEN:
                self._world.fail(f"{row.key} never ended: {row}")
        for convoy in self.convoys.values():
            counts = Counter(
                row.status for row in self.items.values() if row.convoy_id == convoy.convoy_id
            )
            expected = _final_status(counts)
            is_cancelled = convoy.status is ConvoyStatus.CANCELLED
            if is_cancelled and convoy.convoy_id in self._wishes.cancels:
                continue
            if convoy.status is not expected:
                self._world.fail(f"{convoy} with {dict(counts)} should be {expected}")

    def _note_item(self, before: ItemRow | None, row: ItemRow) -> None:
        self._world.note(
            f"{row.key} {before.status if before else 'new'} -> {row.status} "
            f"#{row.attempt} v{row.version} {(row.token or '')[:6]}"
            + (f" ({row.reason})" if row.reason else "")
        )

    def _judge_item(self, before: ItemRow, row: ItemRow) -> None:
        if before.status is WorkStatus.COMPLETED and row.status in _OPEN:
            self._note_reopened(row.key)
        if row.status.is_final or row.status is WorkStatus.BLOCKED:
            self._excused.pop(row.key, None)
        self._judge_change(before, row)
        self._judge_owner(before, row)
        if row.status is before.status:
            return
        if row.status is WorkStatus.IN_PROGRESS:
            self._judge_start(row)
        elif row.status is WorkStatus.SKIPPED:
            self._judge_skip(row)
        elif row.status is WorkStatus.CANCELLED:
            if not self._wishes.cancels & {row.key, row.convoy_id}:
                self._world.fail(f"{row.key} is cancelled, and nobody asked for it")
        elif row.status is WorkStatus.COMPLETED:
            start = self._world.starts[row.token or ""]
            if start.exit_code != 0:
                self._world.fail(f"{row.key} is completed, but exited {start.exit_code}")

    def _judge_change(self, before: ItemRow, row: ItemRow) -> None:
        fail, retries, key = self._world.fail, self._wishes.retries[row.key], row.key
        if row.version <= before.version:
            fail(f"{key} changed without a new version: {before} -> {row}")
        if row.status is not before.status and row.status not in TRANSITIONS[before.status]:
            fail(f"{key} went from {before.status} to {row.status}")
        is_freed = (
            before.status is WorkStatus.SKIPPED and row.convoy_id in self._wishes.retried_convoys
        )
        if before.status.is_final and row.status is not before.status and not (retries or is_freed):
            fail(f"{key} was {before.status}, and nobody asked to retry it: {row}")
        most = 1 + row.retries + retries
        if row.attempt not in (before.attempt, before.attempt + 1) or row.attempt > most:
            fail(f"{key}: attempt {before.attempt} was followed by {row.attempt}, of {most}")
        if row.tries != row.attempt - 1:
            fail(f"{key} has {row.tries} earlier tries in attempt {row.attempt}")

    def _note_reopened(self, key: ItemKey) -> None:
        """What has begun does not wait for a need that is retried, not even to be tried again."""
        self._reopened_s[key] = self._world.time()
        for other in self.items.values():
            is_it = other.convoy_id == key.convoy_id and key.item_id in other.needs
            has_begun = other.status is WorkStatus.IN_PROGRESS or other.attempt > 1
            if is_it and has_begun and not other.status.is_final:
                self._excused.setdefault(other.key, set()).add(key.item_id)

    def _judge_owner(self, before: ItemRow, row: ItemRow) -> None:
        """Nothing runs, or will, of a start that is no longer the item's."""
        is_left = row.status is not WorkStatus.IN_PROGRESS or row.token != before.token
        if before.status is not WorkStatus.IN_PROGRESS or not is_left:
            return
        start = self._world.starts.get(before.token or "")
        if start is not None and start.may_run:
            self._world.fail(f"{row.key} is {row.status}, but {start} has no owner any more")

    def _judge_start(self, row: ItemRow) -> None:
        fail = self._world.fail
        convoy = self.convoys[row.convoy_id]
        for need in row.needs:
            needed = self.items[ItemKey(row.convoy_id, need)]
            is_picked = self._world.time() - self._reopened_s.get(needed.key, -1.0) < ADMISSION_S
            is_excused = is_picked or need in self._excused.get(row.key, ())
            if needed.status is not WorkStatus.COMPLETED and not is_excused:
                fail(f"{row.key} starts, but needs {need}, which is {needed.status}")
        # What had been picked before may still start.
        latest_s = self._world.time() - ADMISSION_S
        if self._wishes.paused.get(convoy.convoy_id, latest_s) < latest_s:
            fail(f"{row.key} starts, but its convoy is paused")
        if convoy.convoy_id in self._wishes.held:
            fail(f"{row.key} starts, but its convoy is held")
        if convoy.stopping and self._stopping_s.get(convoy.convoy_id, latest_s) < latest_s:
            fail(f"{row.key} starts, but its convoy is being cancelled")

    def _judge_skip(self, row: ItemRow) -> None:
        convoy = self.convoys[row.convoy_id]
        others = [each for each in self.items.values() if each.convoy_id == row.convoy_id]
        is_unmet = any(each.item_id in row.needs and each.status in _UNMET for each in others)
        has_failed = any(each.status in FAILURE_STATUSES for each in others)
        is_stopped = convoy.stop_on_first_failure and has_failed
        is_late = convoy.timeout_s is not None and "time of" in (row.reason or "")
        if not (is_unmet or is_stopped or is_late):
            self._world.fail(
                f"{row.key} is skipped ({row.reason}), but nothing that it needs fails"
            )

    def _judge_convoy(self, before: ConvoyRow | None, row: ConvoyRow) -> None:
        counts: defaultdict[WorkStatus, int] = defaultdict(int)
        for each in self.items.values():
            if each.convoy_id == row.convoy_id:
                counts[each.status] += 1
        if sum(counts.values()) != row.total:
            self._world.fail(f"{row} has {dict(counts)}")
        if row.status.is_final and any(counts[status] for status in _OPEN):
            self._world.fail(f"{row} has ended with {dict(counts)}")
        goes_on = before is not None and before.status.is_final and not row.status.is_final
        if goes_on and row.convoy_id not in self._wishes.retried_convoys:
            self._world.fail(f"{row} goes on, and nobody asked for it")


def _item(row: tuple[Any, ...]) -> ItemRow:
    row = (*row[:2], WorkStatus(row[2]), *row[3:-1], tuple(json.loads(row[-1])))
    return ItemRow._make(row)


def _final_status(counts: Counter[WorkStatus]) -> ConvoyStatus:
    """Return what a convoy ends as, worked out from its items alone."""
    if counts[WorkStatus.COMPLETED] == counts.total():
        return ConvoyStatus.COMPLETED
    if counts[WorkStatus.COMPLETED]:
        return ConvoyStatus.PARTIAL
    if counts[WorkStatus.CANCELLED] == counts.total():
        return ConvoyStatus.CANCELLED
    return ConvoyStatus.FAILED
