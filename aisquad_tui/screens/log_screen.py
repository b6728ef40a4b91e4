"""What a screen with a log can do with it: follow, search, save, other tries."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from aisquad_core.errors import AISquadError, InputError
from aisquad_core.sanitise import one_line
from aisquad_tui.formatting import data_size, glyphs_for
from aisquad_tui.log_feed import LogFeed
from aisquad_tui.log_matcher import Matcher
from aisquad_tui.log_reader import LogReader
from aisquad_tui.log_saving import FileThereError, default_name, save
from aisquad_tui.log_search import search
from aisquad_tui.messages import Notify
from aisquad_tui.screens.live import LiveScreen
from aisquad_tui.widgets.log_view import LogView
from aisquad_tui.widgets.notice import Notice
from aisquad_tui.widgets.prompt_field import PromptField

if TYPE_CHECKING:
    from aisquad_core.model import ItemKey
    from aisquad_tui.log_reader import Stream
    from aisquad_tui.log_search import Found
    from aisquad_tui.surroundings import Surroundings
    from aisquad_tui.theme import Look


class LogScreen(LiveScreen):
    """Shows the log of a work item among whatever a subclass adds.

    The subclass composes the view, both fields and the notice, and enters `tasks` while it lives.

    Args:
        surroundings: Where it runs.
        look: How roles look.
        key: The item.
    """

    def __init__(self, surroundings: Surroundings, look: Look, key: ItemKey) -> None:
        super().__init__(surroundings, look)
        self.key = key
        self.glyphs = glyphs_for(surroundings.terminal.is_ascii)
        self.tasks: asyncio.TaskGroup | None = None
        self.attempt: int | None = None
        """The try whose log is on display; None before the item was read."""
        self.stream: Stream = "log"
        self.feed: LogFeed | None = None
        self.log_view = LogView(look, self.glyphs)
        self.query_field = PromptField(look, self.glyphs, "/", "text or /regex/", id="query")
        self.path_field = PromptField(look, self.glyphs, "save to", "a file", id="path")
        self.notice = Notice(look, self.glyphs)
        self.query_field.display = self.path_field.display = False
        self._matcher: Matcher | None = None
        self._refused_path: str | None = None
        self._feeding: asyncio.Task[None] | None = None
        self._searching: asyncio.Task[None] | None = None

    def convoy_at_hand(self) -> str | None:
        """Return the item's convoy."""
        return self.key.convoy_id

    def show_notice(self, text: str, *, is_error: bool = False) -> None:
        """Tell the operator something."""
        self.notice.show(text, is_error=is_error)

    def open_log(self, attempt: int, *, is_present: bool) -> None:
        """Show the log of a try, from its end on."""
        if self.tasks is None:
            return
        for task in (self._feeding, self._searching):
            if task is not None:
                task.cancel()
        self.attempt = attempt
        reader = LogReader(self.surroundings.engine, self.key, attempt=attempt, stream=self.stream)
        self.feed = LogFeed(reader, self.surroundings.clock, self.log_changed)
        self._feeding = self.tasks.create_task(self.feed.run())
        self.log_view.open(self.feed, attempt=None if is_present else attempt)

    def log_changed(self) -> None:
        """Draw what came of the log."""
        self.log_view.renew()

    def stop_search(self) -> bool:
        """End a search that goes on, or forget what was searched; whether there was any."""
        if self._searching is not None:
            self._searching.cancel()
        elif self._matcher is not None:
            self._matcher = None
            self.log_view.mark(None)
        else:
            return False
        return True

    def action_follow(self) -> None:
        """Follow the end of the log, or stand still."""
        self.log_view.toggle_follow()

    def action_wrap(self) -> None:
        """Wrap long lines, or cut them."""
        self.log_view.toggle_wrap()

    def action_search(self) -> None:
        """Ask what to search for."""
        self._ask(self.query_field, "" if self._matcher is None else self._matcher.query)

    def action_next_match(self) -> None:
        """Go to the next match."""
        self._search(is_backward=False)

    def action_previous_match(self) -> None:
        """Go to the match before."""
        self._search(is_backward=True)

    def action_save(self) -> None:
        """Ask where to save the log."""
        if self.feed is not None:
            self._refused_path = None
            self._ask(self.path_field, default_name(self.feed.reader))

    def on_prompt_field_changed(self, event: PromptField.Changed) -> None:
        """Forget that a file may be replaced: it is another one now."""
        self._refused_path = None

    def on_prompt_field_dismissed(self) -> None:
        """Leave a field as if nothing was asked."""
        self._close_fields()

    def on_prompt_field_submitted(self, event: PromptField.Submitted) -> None:
        """Search, or save."""
        if self.path_field.display:
            self._save(event.text.strip())
        elif self.query_field.display:
            self._begin_search(event.text)

    def _ask(self, field: PromptField, text: str) -> None:
        self._close_fields()
        field.display, self.notice.display = True, False
        field.open(text)
        self.set_focus(field)  # at once: the next key may be in the same packet

    def _close_fields(self) -> None:
        self.set_focus(self.log_view)
        self.query_field.display = self.path_field.display = False
        self.notice.display = True

    def _begin_search(self, query: str) -> None:
        if not query:
            self._close_fields()
            return
        try:
            self._matcher = Matcher(query)
        except InputError as error:
            self.query_field.complain(0, one_line(str(error)))
            return
        self._close_fields()
        self.log_view.mark(self._matcher)
        self._search(is_backward=False)

    def _search(self, *, is_backward: bool) -> None:
        if self._matcher is None:
            self.action_search()
        elif self.tasks is not None and self.feed is not None:
            if self._searching is not None:
                self._searching.cancel()
            origin = self.log_view.origin(is_backward=is_backward)
            self._searching = self.tasks.create_task(
                self._look_for(self._matcher, self.feed.reader, origin, is_backward=is_backward)
            )

    async def _look_for(
        self, matcher: Matcher, reader: LogReader, origin: int, *, is_backward: bool
    ) -> None:
        said = -1

        def tell(percent: int) -> None:
            nonlocal said
            if percent != said and percent:
                said = percent
                self.log_view.mark(matcher, f"searching {percent} %")

        outcome = ""
        try:
            found = await search(reader, matcher, origin, is_backward=is_backward, on_progress=tell)
            outcome = self._reveal(found)
        except AISquadError as error:
            self.show_notice(f"cannot search: {one_line(str(error))}", is_error=True)
        finally:
            if self._searching is asyncio.current_task():
                self._searching = None
                self.log_view.mark(self._matcher, outcome)

    def _reveal(self, found: Found | None) -> str:
        """Bring a match on display; return what is to be said of it."""
        if found is None:
            return "not found"
        self.log_view.reveal(found.start, found.char)
        return ""

    def _save(self, text: str) -> None:
        if self.feed is None or self.tasks is None or not text:
            self._close_fields()
            return
        path = os.path.join(self.surroundings.cwd, os.path.expanduser(text))
        self.tasks.create_task(self._write(self.feed.reader, path))

    async def _write(self, reader: LogReader, path: str) -> None:
        try:
            size = await save(reader, path, is_replacing=path == self._refused_path)
        except FileThereError:
            self.path_field.complain(0, "is there already; enter again replaces it")
            self._refused_path = path
        except AISquadError as error:
            self.path_field.complain(0, one_line(str(error)))
        except asyncio.CancelledError:
            self.app.post_message(Notify(f"{one_line(path)} was not saved", is_error=True))
            raise
        else:
            self._close_fields()
            self.show_notice(f"saved {data_size(size)} as they are to {one_line(path)}")
