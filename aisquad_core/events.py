"""A snapshot, then every change after it, for any number of readers.

The hub belongs to one event loop. Publishing never waits: what a slow reader has not taken yet is
merged to the newest state of each thing, and when even that is too much it is dropped for a new
snapshot. The hub keeps no state of its own to take snapshots from and knows nothing of the engine.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aisquad_core.api import ConvoyChanged, ItemChanged, Resized

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable

    from aisquad_core.api import Event, Snapshot

_RESIZES_KEPT = 64
"""Most changes of the semaphore's size that wait for a reader: their reasons are worth seeing."""


class EventStream:
    """What one reader has not taken yet; an async iterator for one task at a time.

    A cancelled wait loses nothing. The stream ends once the hub is closed and all was taken.
    """

    def __init__(self, take_snapshot: Callable[[], Snapshot], limit: int) -> None:
        self._take_snapshot = take_snapshot
        self._limit = limit
        self._first: Snapshot | None = None
        self._pending: OrderedDict[Hashable, Event] = OrderedDict()
        self._is_overrun = False
        self._is_closed = False
        self._wakened = asyncio.Event()

    def __aiter__(self) -> EventStream:
        """Return itself."""
        return self

    async def __anext__(self) -> Snapshot | Event:
        """Return the next snapshot or change, waiting for it if need be."""
        while True:
            for ready in self.take_ready(1):
                return ready
            if self._is_closed:
                raise StopAsyncIteration
            self._wakened.clear()
            await self._wakened.wait()

    def take_ready(self, limit: int) -> list[Snapshot | Event]:
        """Return up to `limit` snapshots and changes that need no waiting."""
        taken: list[Snapshot | Event] = []
        if limit > 0 and self._is_overrun:
            self._is_overrun = False
            taken.append(self._take_snapshot())
        elif limit > 0 and self._first is not None:
            taken.append(self._first)
            self._first = None
        while self._pending and len(taken) < limit:
            taken.append(self._pending.popitem(last=False)[1])
        return taken

    def _begin(self) -> None:
        self._first = self._take_snapshot()

    def _put(self, key: Hashable, event: Event) -> None:
        if self._is_overrun:
            return
        self._pending[key] = event
        self._pending.move_to_end(key)
        if len(self._pending) > self._limit:
            self._first = None
            self._pending.clear()
            self._is_overrun = True
        self._wakened.set()

    def _close(self) -> None:
        self._is_closed = True
        self._wakened.set()


class EventHub:
    """Numbers the engine's changes and hands them to every reader.

    The engine takes `next_seq()` for each change; only while `has_subscribers` need it build the
    event and `publish` it, with no await in between.

    Args:
        limit: Distinct things that may wait for one reader; with more it gets a new snapshot.
        backlog: Newest events kept for readers that come back with `since`.
    """

    def __init__(self, *, limit: int = 4096, backlog: int = 1024) -> None:
        self._limit = limit
        self._backlog: deque[Event] = deque(maxlen=backlog)
        self._streams: set[EventStream] = set()
        self._seq = 0
        self._is_closed = False

    @property
    def seq(self) -> int:
        """The number of the newest change; 0 before the first."""
        return self._seq

    @property
    def has_subscribers(self) -> bool:
        """Whether anybody would see an event."""
        return bool(self._streams)

    def next_seq(self) -> int:
        """Count one change and return its number."""
        self._seq += 1
        return self._seq

    def publish(self, event: Event) -> None:
        """Hand a change to every reader without waiting for any.

        Args:
            event: Carries the number from `next_seq()`; numbers must come in order.
        """
        if self._backlog and event.seq != self._backlog[-1].seq + 1:
            self._backlog.clear()
        self._backlog.append(event)
        key = self._key(event)
        for stream in self._streams:
            stream._put(key, event)

    def close(self) -> None:
        """End every stream, each after what it still holds; later ones end after their snapshot."""
        self._is_closed = True
        for stream in self._streams:
            stream._close()

    @asynccontextmanager
    async def subscribe(
        self, since: int | None, take_snapshot: Callable[[], Snapshot]
    ) -> AsyncIterator[EventStream]:
        """Open a stream: a snapshot, then every change after it.

        Args:
            since: The newest change that the reader knows; if the backlog reaches back to it, the
                stream begins with the change after it instead of a snapshot.
            take_snapshot: Builds the snapshot at the present `seq`; called here and whenever the
                reader fell too far behind.
        """
        stream = EventStream(take_snapshot, self._limit)
        if since is not None and self._reaches(since):
            for event in self._backlog:
                if event.seq > since:
                    stream._put(self._key(event), event)
        else:
            stream._begin()
        if self._is_closed:
            stream._close()
        self._streams.add(stream)
        try:
            yield stream
        finally:
            self._streams.discard(stream)

    def _reaches(self, since: int) -> bool:
        if since == self._seq:
            return True
        return (
            bool(self._backlog)
            and self._backlog[-1].seq == self._seq
            and self._backlog[0].seq - 1 <= since < self._seq
        )

    @staticmethod
    def _key(event: Event) -> Hashable:
        """Name the thing that an event is about: a newer event of that name replaces it."""
        if isinstance(event, ItemChanged):
            return event.type, event.item.convoy_id, event.item.id
        if isinstance(event, ConvoyChanged):
            return event.type, event.convoy.id
        if isinstance(event, Resized):
            return event.type, event.seq % _RESIZES_KEPT
        return event.type
