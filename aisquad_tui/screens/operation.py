"""One work item: what it is, its tries, and its log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from aisquad_core.errors import AISquadError
from aisquad_core.model import OutputMode, WorkStatus
from aisquad_core.sanitise import one_line
from aisquad_tui.formatting import plural
from aisquad_tui.ink import Role, line
from aisquad_tui.keymap import Place, at, bindings
from aisquad_tui.messages import (
    CancelItems,
    CopyText,
    RetryItems,
    TogglePause,
)
from aisquad_tui.screens.log_screen import LogScreen
from aisquad_tui.store import Picture
from aisquad_tui.views.operation import header, no_output
from aisquad_tui.views.status import too_small
from aisquad_tui.widgets.canvas import Canvas
from aisquad_tui.widgets.footer import KeyLine
from aisquad_tui.widgets.item_boxes import ItemBoxes

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.binding import BindingType

    from aisquad_core.api import ItemDetail
    from aisquad_core.model import ItemKey
    from aisquad_tui.store import Frame
    from aisquad_tui.surroundings import Surroundings
    from aisquad_tui.theme import Look

_READ_EVERY_S = 0.5
"""Least time between two questions for the item."""
_TICK_S = 1.0
_LEAST_ROWS_FOR_BOXES = 18
_LEAST_BOX_ROWS = 5


class OperationScreen(LogScreen):
    """Shows one work item and its log.

    Args:
        surroundings: Where it runs.
        look: How roles look.
        key: The item.
        is_log: Begin with the log alone.
    """

    CSS = """
    OperationScreen { layout: vertical; overflow: hidden hidden; }
    OperationScreen #title { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(Place.OPERATION, Place.LOG, Place.EVERYWHERE)
    ]

    def __init__(
        self, surroundings: Surroundings, look: Look, key: ItemKey, *, is_log: bool = False
    ) -> None:
        super().__init__(surroundings, look, key)
        self._is_log_alone = is_log
        self._picture = Picture()
        self._detail: ItemDetail | None = None
        self._is_old = asyncio.Event()
        self._title = Canvas(look, id="title")
        self._boxes = ItemBoxes(look, self.glyphs)
        self._keys = KeyLine(look, self.glyphs)

    def compose(self) -> ComposeResult:
        """Put the parts beneath each other."""
        yield self._title
        yield self._boxes
        yield self.log_view
        yield self.query_field
        yield self.path_field
        yield self.notice
        yield self._keys

    def on_mount(self) -> None:
        """Begin to read."""
        self._keys.show(at(Place.OPERATION, Place.LOG, Place.EVERYWHERE))
        self.log_view.focus()
        self._arrange()
        self.run_worker(self._read())

    def on_resize(self) -> None:
        """Fit the new size."""
        self._arrange()
        self._draw()

    def places(self) -> tuple[Place, ...]:
        """Return where its keys work, the nearest first."""
        return (Place.LOG, Place.OPERATION, Place.EVERYWHERE)

    def show(self, frame: Frame) -> None:
        """Take what changed; read the item again if it is among that."""
        self._picture = frame.picture
        if frame.are_items_unknown or self.key in frame.items:
            self._is_old.set()
        self._draw()

    def log_changed(self) -> None:
        """Draw what came of the log, or why there is nothing of it."""
        self._tell_log()
        super().log_changed()

    async def _read(self) -> None:
        async with asyncio.TaskGroup() as self.tasks:
            self.tasks.create_task(self._read_details())
            self.tasks.create_task(self._tick())

    async def _read_details(self) -> None:
        while True:
            self._is_old.clear()
            try:
                self._take(await self.surroundings.engine.item(self.key))
            except AISquadError as error:
                self.show_notice(one_line(str(error)), is_error=True)
            await self.surroundings.clock.sleep(_READ_EVERY_S)
            await self._is_old.wait()

    async def _tick(self) -> None:
        """Let the time of a running item go on; ask for what it uses every other time."""
        is_even = True
        while True:
            await self.surroundings.clock.sleep(_TICK_S)
            is_even = not is_even
            if self._detail is not None and self._detail.view.status is WorkStatus.IN_PROGRESS:
                if is_even:
                    self._is_old.set()
                self._draw()

    def _take(self, detail: ItemDetail) -> None:
        before, self._detail = self._detail, detail
        present = detail.view.attempt
        was_present = before is None or self.attempt == before.view.attempt
        if self.attempt is None or (was_present and self.attempt != present):
            self.open_log(present, is_present=True)
        elif before is not None and before.view != detail.view and self.feed is not None:
            self.feed.wake()
        self._draw()
        self._arrange()

    def _draw(self) -> None:
        if not self._title.size.width:
            return
        if sentence := too_small(*self.size):
            self._title.draw_lines([line((sentence, Role.WARN))])
            return
        now = self.surroundings.clock.now()
        convoy = self._picture.convoys.get(self.key.convoy_id)
        first = header(
            self._detail,
            now,
            self._title.size.width,
            self.glyphs,
            item_id=self.key.item_id,
            convoy_name=self.key.convoy_id if convoy is None else convoy.name,
            lost_at=self._picture.lost_at,
        )
        self._title.draw_lines([first])
        if self._detail is not None:
            is_stale = self._picture.lost_at is not None
            self._boxes.show(self._detail, now, is_stale=is_stale)
        self._tell_log()

    def _tell_log(self) -> None:
        if self.attempt is not None and self.feed is not None:
            blank = no_output(
                self._detail,
                attempt=self.attempt,
                is_result=self.stream == "result",
                was_lost=self.feed.reader.was_lost,
            )
            self.log_view.tell(blank=blank, is_stale=self._picture.lost_at is not None)

    def _arrange(self) -> None:
        """Divide the screen between the boxes and the log."""
        cells, rows = self.size
        is_usable = not too_small(cells, rows)
        for part in (self.log_view, self._keys):
            part.display = is_usable
        has_boxes = is_usable and rows >= _LEAST_ROWS_FOR_BOXES and not self._is_log_alone
        self._boxes.display = has_boxes
        if has_boxes and self._detail is not None:
            most = max(_LEAST_BOX_ROWS, rows * 35 // 100)
            wanted = self._boxes.rows_for(cells, most)
            if self._boxes.styles.height is None or self._boxes.styles.height.value != wanted:
                self._boxes.styles.height = wanted
        elif self._boxes.has_focus:
            self.log_view.focus()

    def action_cancel(self) -> None:
        """Cancel the item."""
        self.post_message(CancelItems([self.key]))

    def action_kill(self) -> None:
        """Kill the item."""
        self.post_message(CancelItems([self.key], is_kill=True))

    def action_retry(self) -> None:
        """Put the item back."""
        self.post_message(RetryItems([self.key]))

    def action_pause(self) -> None:
        """Pause its convoy, or let it go on."""
        self.post_message(TogglePause(self.key.convoy_id))

    def action_back(self) -> None:
        """End the search, forget it, or go back."""
        if not self.stop_search():
            self.dismiss()

    def action_leave(self) -> None:
        """Go back at once."""
        self.dismiss()

    def action_copy(self) -> None:
        """Copy the rows of the log on display, or the item's id if the boxes have the focus."""
        lines = self.log_view.lines
        if self._boxes.has_focus or not lines:
            self.post_message(CopyText(self.key.item_id, f"the id {one_line(self.key.item_id)}"))
        else:
            what = f"{plural(len(lines), 'line')} of the log"
            self.post_message(CopyText("\n".join(lines), what))

    def action_zoom(self) -> None:
        """Show the log alone, or all again."""
        self._is_log_alone = not self._is_log_alone
        self._arrange()

    def action_result(self) -> None:
        """Show the result instead of the log, or back."""
        operation = None if self._detail is None else self._detail.operation
        has_result = operation is not None and operation.stdout is OutputMode.RESULT
        if self.stream == "log" and not has_result:
            self.show_notice("it has no result of its own: all that it writes is in the log")
        elif self.attempt is not None:
            self.stream = "result" if self.stream == "log" else "log"
            self._open_try(self.attempt)

    def action_previous_try(self) -> None:
        """Show the log of the try before."""
        if self.attempt is not None and self.attempt > 1:
            self._open_try(self.attempt - 1)
        else:
            self.show_notice("there is no earlier try")

    def action_next_try(self) -> None:
        """Show the log of the next try."""
        if self._detail is not None and self.attempt not in {None, self._detail.view.attempt}:
            self._open_try((self.attempt or 0) + 1)
        else:
            self.show_notice("there is no later try")

    def _open_try(self, attempt: int) -> None:
        present = self._detail is not None and attempt == self._detail.view.attempt
        self.open_log(attempt, is_present=present)
        self._tell_log()
