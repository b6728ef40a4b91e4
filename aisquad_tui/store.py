"""What the screens know of the engine: one picture, changed by events alone. Pure."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import asdict, dataclass, field, replace
from enum import Flag, auto
from typing import TYPE_CHECKING

from aisquad_core.api import (
    ConvoyChanged,
    EngineState,
    ItemChanged,
    Resized,
    Sampled,
    Snapshot,
    StatusCounts,
    add_counts,
)
from aisquad_core.model import ItemKey

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from aisquad_core.api import ConvoyView, EngineView, Event, ItemView, Load

_LOADS_KEPT = 300
_ITEMS_KEPT = 2_000
"""Most changed items that a frame carries; with more of them the table reads its rows anew."""


class Part(Flag):
    """Parts of the picture that a frame changed."""

    NONE = 0
    ENGINE = auto()
    """The engine's own view, its parallelism, whether it can be reached."""
    CONVOYS = auto()
    LOAD = auto()
    ITEMS = auto()
    ALL = ENGINE | CONVOYS | LOAD | ITEMS


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Everything but the items at one moment; empty before the first snapshot."""

    engine: EngineView | None = None
    convoys: Mapping[str, ConvoyView] = field(default_factory=dict)
    """By id, newest first."""
    counts: StatusCounts = field(default_factory=StatusCounts)
    """Sum over the convoys."""
    history: tuple[Load, ...] = ()
    """Samples of the last minutes, oldest first."""
    lost_at: datetime | None = None
    """Since when the engine cannot be reached: the rest is what it last said."""
    is_silent: bool = False
    """Whether it is there then, and does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A picture and what changed since the frame before."""

    picture: Picture
    parts: Part
    items: Mapping[ItemKey, ItemView]
    """Newest state of each item that changed."""
    are_items_unknown: bool
    """Whether more items changed than `items` tells, so that rows on display must be read anew."""


class Store:
    """Takes the engine's stream, or one engine's after another, and gives out frames.

    A part of the picture that did not change is the same object in the next frame.
    """

    def __init__(self) -> None:
        self._engine: EngineView | None = None
        self._convoys: dict[str, ConvoyView] = {}
        self._sums = Counter[str]()
        self._history: deque[Load] = deque(maxlen=_LOADS_KEPT)
        self._lost_at: datetime | None = None
        self._is_silent = False
        self._picture = Picture()
        self._parts = Part.NONE
        self._items: dict[ItemKey, ItemView] = {}
        self._are_items_unknown = False

    @property
    def has_news(self) -> bool:
        """Whether something changed since the last frame."""
        return self._parts is not Part.NONE

    def apply(self, event: Snapshot | Event) -> None:
        """Take a snapshot or one change."""
        match event:
            case Snapshot():
                self._begin(event)
            case ConvoyChanged(convoy=convoy):
                self._change_convoy(convoy)
            case ItemChanged(item=item):
                self._items[ItemKey(item.convoy_id, item.id)] = item
                if len(self._items) > _ITEMS_KEPT:
                    self._forget_items()
                self._parts |= Part.ITEMS
            case Resized() if self._engine is not None:
                self._engine = replace(
                    self._engine,
                    parallelism=event.parallelism,
                    auto=event.auto,
                    reason=event.reason,
                    resized_from=event.previous,
                )
                self._parts |= Part.ENGINE
            case Sampled(load=load):
                self._history.append(load)
                self._parts |= Part.LOAD
            case EngineState(engine=engine):
                self._engine = engine
                self._parts |= Part.ENGINE
            case _:  # a resize before any snapshot says nothing that can be shown
                pass

    def lose(self, at: datetime, *, is_silent: bool = False) -> None:
        """Note that the engine cannot be reached; the last picture stays.

        Args:
            at: Since when, if that was not known.
            is_silent: Whether it is there and does not answer.
        """
        if self._lost_at is None or is_silent is not self._is_silent:
            self._lost_at = self._lost_at or at
            self._is_silent = is_silent
            self._parts |= Part.ENGINE

    def renew(self) -> None:
        """Let the next frame say that all may have changed."""
        self._forget_items()
        self._parts = Part.ALL

    def take(self) -> Frame:
        """Return what is known now, and what changed since the last call."""
        before, parts = self._picture, self._parts
        has_convoys = Part.CONVOYS in parts
        self._picture = Picture(
            engine=self._engine,
            convoys=dict(self._convoys) if has_convoys else before.convoys,
            counts=StatusCounts(**self._sums) if has_convoys else before.counts,
            history=tuple(self._history) if Part.LOAD in parts else before.history,
            lost_at=self._lost_at,
            is_silent=self._is_silent,
        )
        frame = Frame(
            picture=self._picture,
            parts=parts,
            items=self._items,
            are_items_unknown=self._are_items_unknown,
        )
        self._parts, self._items, self._are_items_unknown = Part.NONE, {}, False
        return frame

    def _begin(self, snapshot: Snapshot) -> None:
        self._engine = snapshot.engine
        self._convoys = {convoy.id: convoy for convoy in snapshot.convoys}
        self._sums = Counter(asdict(add_counts(convoy.counts for convoy in snapshot.convoys)))
        self._history.clear()
        self._history.extend(snapshot.history)
        if snapshot.engine.phase != "stopped":  # which one that has just gone still answers
            self._lost_at, self._is_silent = None, False
        self.renew()

    def _change_convoy(self, convoy: ConvoyView) -> None:
        before = self._convoys.get(convoy.id)
        if before is None:
            self._convoys = {convoy.id: convoy, **self._convoys}
        else:
            self._convoys[convoy.id] = convoy
            self._sums.subtract(asdict(before.counts))
        self._sums.update(asdict(convoy.counts))
        self._parts |= Part.CONVOYS

    def _forget_items(self) -> None:
        self._items = {}
        self._are_items_unknown = True
