"""The past: load, workers, throughput and durations over time, of all convoys or of one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual import on

from aisquad_core.sanitise import one_line
from aisquad_tui.keymap import Place, at, bindings
from aisquad_tui.past import PastReader, Question
from aisquad_tui.screens.history_panes import HistoryPanesScreen
from aisquad_tui.views.history import PERIODS, Heading
from aisquad_tui.views.history_layout import OPENING_PANES, HistoryPane
from aisquad_tui.views.status import too_small
from aisquad_tui.widgets.history_panes import PeriodLine

if TYPE_CHECKING:
    from textual.binding import BindingType
    from textual.events import DescendantFocus

    from aisquad_tui.store import Frame
    from aisquad_tui.surroundings import Surroundings
    from aisquad_tui.theme import Look

_FIRST_PERIOD = 1
_PANES = tuple(HistoryPane)
_OF_PANES = frozenset({"open", "zoom", "next_pane", "previous_pane"})
"""Actions that do nothing while there is but a sentence."""


class HistoryScreen(HistoryPanesScreen):
    """Shows what the metrics keep, over engines and restarts, and asks for more of it.

    Args:
        surroundings: Where it runs.
        look: How roles look.
        convoy_id: The convoy that it can be narrowed to; None: to none.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.HISTORY, Place.EVERYWHERE)]

    def __init__(self, surroundings: Surroundings, look: Look, convoy_id: str | None) -> None:
        super().__init__(surroundings, look)
        self._convoy_id = convoy_id
        self._is_of_convoy = self._is_held = False
        self._period = _FIRST_PERIOD
        self._reader = PastReader(surroundings.engine, surroundings.clock, self._take)

    def on_mount(self) -> None:
        """Begin to read."""
        self.run_worker(self._live())

    def on_resize(self) -> None:
        """Fit the new size."""
        self.lay_out()
        self._ask()

    def on_screen_resume(self) -> None:
        """Read on, now that somebody sees it; what every screen does then is done, too."""
        self._reader.show(True)

    def on_screen_suspend(self) -> None:
        """Read nothing while something else lies over it."""
        self._reader.show(False)

    def convoy_at_hand(self) -> str | None:
        """Return the convoy that it can be narrowed to."""
        return self._convoy_id

    def places(self) -> tuple[Place, ...]:
        """Return where its keys work, the nearest first."""
        return (Place.HISTORY, Place.EVERYWHERE)

    def show(self, frame: Frame) -> None:
        """Take what is known of the engine, and whether it is away."""
        was_lost, was_known = self.picture.lost_at is not None, self.picture.engine is not None
        self.picture = frame.picture
        is_lost = frame.picture.lost_at is not None
        if was_lost and not is_lost:
            self._reader.ask_again()
        if was_lost is not is_lost or not was_known:
            self.is_old.set()
        self._tell()

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._reader.run())
            tasks.create_task(self.keep_drawn())

    def _take(self) -> None:
        """Take another answer, or hear why there is none."""
        if (self.past, self.error) != (self._reader.past, self._reader.error):
            self.past, self.error = self._reader.past, self._reader.error
            self.is_old.set()
        self._tell()

    def _ask(self) -> None:
        """Ask for what is chosen, in as many stretches as a chart has columns."""
        if not too_small(*self.size):
            convoy_id = self._convoy_id if self._is_of_convoy else None
            period_s, points = PERIODS[self._period][0], self.chart_columns
            self._reader.ask(Question(period_s=period_s, convoy_id=convoy_id, points=points))
        self.is_old.set()
        self._tell()

    def _tell(self) -> None:
        """Say in the first line what is on display."""
        past = self._reader.past if self._reader.is_current else None
        self.title_line.show(
            Heading(
                period=self._period,
                convoy_name=self._convoy_name() if self._is_of_convoy else None,
                history=None if past is None else past.history,
                page=self.page,
                is_held=self._is_held,
                lost_at=self.picture.lost_at,
                error=self.error,
            )
        )
        self._tell_keys()

    def _convoy_name(self) -> str:
        """Return the convoy's name; its id if it is gone."""
        convoy = self.picture.convoys.get(self._convoy_id or "")
        return one_line((self._convoy_id or "") if convoy is None else convoy.name)

    @on(PeriodLine.Chosen)
    def _choose(self, event: PeriodLine.Chosen) -> None:
        self._period = event.index
        self._ask()

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """Note which pane a click went to."""
        self.at = self.pane_of(event.widget) or self.at
        self._tell_keys()

    def _tell_keys(self) -> None:
        """Tell the keys that work here and now."""
        keys = at(*self.places())
        if not self.has_panes:
            keys = tuple(key for key in keys if key.action not in _OF_PANES)
        elif self.at not in OPENING_PANES:
            keys = tuple(key for key in keys if key.action != "open")
        self.keys.show(keys)

    def action_period(self, steps: int) -> None:
        """Look further back, or less far."""
        self._period = max(0, min(self._period + steps, len(PERIODS) - 1))
        self._ask()

    def action_scope(self) -> None:
        """Show the operations of the convoy alone, or of all."""
        if self._convoy_id is None:
            self.show_notice("no convoy was selected where the history was opened")
        else:
            self._is_of_convoy = not self._is_of_convoy
            self._ask()

    def action_pane(self, number: int) -> None:
        """Go to a pane, on its page."""
        self.at = _PANES[number - 1]
        self.lay_out()
        self._ask()

    def action_next_pane(self) -> None:
        """Go to the next pane."""
        self._go(1)

    def action_previous_pane(self) -> None:
        """Go to the pane before."""
        self._go(-1)

    def action_zoom(self) -> None:
        """Show the pane alone, or all that there is room for."""
        self.is_zoomed = not self.is_zoomed
        self.lay_out()
        self._ask()

    def action_hold(self) -> None:
        """Hold what is on display still, or let it go on."""
        self._is_held = not self._is_held
        self._reader.hold(self._is_held)
        self._tell()

    def action_back(self) -> None:
        """Show all panes again, or go back."""
        if self.is_zoomed:
            self.action_zoom()
        else:
            self.dismiss()

    def action_leave(self) -> None:
        """Go back at once."""
        self.dismiss()

    def action_history(self) -> None:
        """Go back at once: the key that opens it closes it."""
        self.dismiss()

    def _go(self, steps: int) -> None:
        self.action_pane((_PANES.index(self.at) + steps) % len(_PANES) + 1)
