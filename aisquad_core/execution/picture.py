"""What watchers see of the engine's memory: events for every commit, snapshots, ended convoys.

Views are built only while somebody watches, and a convoy's counts go out once a pass of the loop
however many of its items changed in it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aisquad_core.api import (
    ConvoyChanged,
    EngineState,
    ItemChanged,
    Resized,
    Sampled,
)
from aisquad_core.execution.views import view_convoy, view_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisquad_core.api import ConvoyView, EngineView, Load, StatusCounts
    from aisquad_core.clock import Clock
    from aisquad_core.events import EventHub
    from aisquad_core.execution.scheduler import ConvoyState, Scheduler, Task
    from aisquad_core.model import RunUpdate

_ENDED_SHOWN = 100
"""Ended convoys that stay in the picture; the work state has all."""


class Picture:
    """Tells watchers what was committed; the ledger's observer.

    Args:
        hub: Numbers and hands out events.
        scheduler: The convoys in memory.
        clock: Time.
        why: Says why a task does not run.
    """

    def __init__(
        self,
        *,
        hub: EventHub,
        scheduler: Scheduler,
        clock: Clock,
        why: Callable[[Task], str | None],
    ) -> None:
        self._hub = hub
        self._scheduler = scheduler
        self._clock = clock
        self._why = why
        self._changed: set[ConvoyState] = set()
        self._ended: dict[str, ConvoyView] = {}
        self._dropped: dict[str, StatusCounts] = {}
        """Counts of ended convoys that left the picture."""
        self._end_waiters: dict[str, list[asyncio.Future[None]]] = {}
        self.is_closed = False
        """Whether the engine has stopped."""

    def item_changed(self, task: Task, update: RunUpdate | None) -> None:
        """Tell that an item's state was committed."""
        sequence = self._hub.next_seq()
        if self._hub.has_subscribers:
            view = view_task(task, update, now=self._clock.now(), reason=self._why(task))
            self._hub.publish(ItemChanged(seq=sequence, item=view))
            self.convoy_changed(task.convoy)

    def convoy_changed(self, convoy: ConvoyState) -> None:
        """Tell, at the end of this pass of the loop, that a convoy changed."""
        if not self._changed:
            asyncio.get_running_loop().call_soon(self._tell_convoys)
        self._changed.add(convoy)

    def convoy_ended(self, convoy: ConvoyState) -> None:
        """Keep an ended convoy in the picture and wake who waits for it."""
        convoy_id = convoy.record.id
        self.show_ended(view_convoy(convoy, self._clock.monotonic()))
        _release(self._end_waiters.pop(convoy_id, []))

    def show_ended(self, view: ConvoyView) -> None:
        """Put an ended convoy into the picture, dropping the oldest."""
        self._ended[view.id] = view
        if len(self._ended) > _ENDED_SHOWN:
            oldest = self._ended.pop(min(self._ended.values(), key=_creation).id)
            self._dropped[oldest.id] = oldest.counts

    def reopened(self, convoy_id: str) -> None:
        """Note that an ended convoy is in memory again."""
        self._ended.pop(convoy_id, None)

    def resized(self, previous: int, engine: EngineView) -> None:
        """Tell that the semaphore has another size."""
        sequence = self._hub.next_seq()
        if self._hub.has_subscribers:
            self._hub.publish(
                Resized(
                    seq=sequence,
                    at=self._clock.now(),
                    previous=previous,
                    parallelism=engine.parallelism,
                    auto=engine.auto,
                    reason=engine.reason,
                )
            )

    def sampled(self, load: Load) -> None:
        """Tell what a tick saw."""
        sequence = self._hub.next_seq()
        if self._hub.has_subscribers:
            self._hub.publish(Sampled(seq=sequence, load=load))

    def engine_changed(self, engine: EngineView) -> None:
        """Tell that the engine itself changed."""
        sequence = self._hub.next_seq()
        if self._hub.has_subscribers:
            self._hub.publish(EngineState(seq=sequence, engine=engine))

    def convoys(self) -> tuple[ConvoyView, ...]:
        """Return the unfinished convoys and the latest ended ones, newest first."""
        now_s = self._clock.monotonic()
        views = [view_convoy(convoy, now_s) for convoy in self._scheduler.convoys.values()]
        views += self._ended.values()
        return tuple(sorted(views, key=_creation, reverse=True))

    def counts(self) -> dict[str, StatusCounts]:
        """Return the counts of every convoy that was in the picture."""
        return self._dropped | {view.id: view.counts for view in self.convoys()}

    def ended(self, convoy_id: str) -> ConvoyView | None:
        """Return an ended convoy that is in the picture."""
        return self._ended.get(convoy_id)

    def end_of(self, convoy_id: str) -> asyncio.Future[None]:
        """Return a future that is done when a convoy in memory ends, or the engine does."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._end_waiters.setdefault(convoy_id, []).append(waiter)
        return waiter

    def close(self) -> None:
        """Tell the last changes, end the streams, let go who waits."""
        self.is_closed = True
        self._tell_convoys()
        for waiters in self._end_waiters.values():
            _release(waiters)
        self._hub.close()

    def _tell_convoys(self) -> None:
        now_s = self._clock.monotonic()
        for convoy in self._changed:
            sequence = self._hub.next_seq()
            if self._hub.has_subscribers:
                self._hub.publish(ConvoyChanged(seq=sequence, convoy=view_convoy(convoy, now_s)))
        self._changed.clear()


def _release(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)


def _creation(view: ConvoyView) -> tuple[str, str]:
    return view.created_at.isoformat(), view.id
