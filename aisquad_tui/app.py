"""The app: puts screens, bridge and steering together, and does nothing else."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual._compositor import CompositorUpdate
from textual.worker import WorkerCancelled, WorkerFailed

from aisquad_core.api import StopMode
from aisquad_tui.audience import Audience
from aisquad_tui.bridge import Bridge
from aisquad_tui.clipboard import CopyError, copy
from aisquad_tui.driver import PacedApp, SquadDriver, TerminalGone
from aisquad_tui.herald import Herald, ring
from aisquad_tui.keymap import Place, bindings
from aisquad_tui.messages import (
    CopyText,
    HoldScreen,
    LaunchConvoy,
    Leave,
    Notify,
    OpenHistory,
    OpenItem,
    Wish,
)
from aisquad_tui.screens.dashboard import DashboardScreen
from aisquad_tui.screens.live import LiveScreen
from aisquad_tui.steering import Steering
from aisquad_tui.store import Picture
from aisquad_tui.surroundings import ColorDepth
from aisquad_tui.theme import Look
from aisquad_tui.tight import tightened

if TYPE_CHECKING:
    from rich.console import RenderableType
    from textual.binding import BindingType
    from textual.screen import Screen
    from textual.worker import Worker

    from aisquad_tui.store import Frame
    from aisquad_tui.surroundings import Surroundings

_OWN = {"theme", "redraw", "suspend", "interrupt", "leave_now"}
"""Actions of every place that are the app's, not a screen's."""
_ABOVE_DIALOGS = {"redraw", "suspend", "leave_now"}


class SquadApp(PacedApp, inherit_bindings=False):
    """The operator's screen.

    Args:
        surroundings: Where it runs and what it drives.
    """

    TITLE = "aisquad"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        replace(binding, priority=binding.action in _ABOVE_DIALOGS)
        for binding in bindings(Place.EVERYWHERE)
        if binding.action in _OWN
    ]

    def __init__(self, surroundings: Surroundings) -> None:
        is_plain = surroundings.terminal.depth <= ColorDepth.ANSI
        super().__init__(SquadDriver, ansi_color=is_plain or None)
        self.surroundings = surroundings
        self.look = Look(surroundings.terminal)
        self.stop_mode = StopMode.INTERRUPT
        """What becomes of the work of an embedded engine, once the app has ended."""
        self.fault: Exception | None = None
        """What ended the app if it failed."""
        self.picture = Picture()
        """What is known of the engine."""
        self.animation_level = "none"
        self._audience = Audience(lambda: self.screen_stack)
        self._herald = Herald(surroundings.clock.now(), is_ascii=surroundings.terminal.is_ascii)
        self._bridge = Bridge(
            surroundings.engine,
            surroundings.clock,
            self._show,
            is_lasting=not surroundings.is_embedded,
        )
        self._steering = Steering(self, surroundings)
        self._asking = asyncio.Lock()
        self._carrying: Worker[None] | None = None

    @property
    def live_screen(self) -> LiveScreen | None:
        """The screen of the engine's that is in view, beneath a dialog too."""
        return self._audience.screen

    def get_default_screen(self) -> Screen[None]:
        """Begin with the dashboard."""
        return DashboardScreen(self.surroundings, self.look)

    def on_mount(self) -> None:
        """Listen to the engine, and launch what is to be launched at once."""
        self._wear()
        self.app_resume_signal.subscribe(self, lambda _: self.action_redraw())
        self._carrying = self.run_worker(self._bridge.run())
        for source in self.surroundings.first:
            self.post_message(LaunchConvoy(source))

    async def on_unmount(self) -> None:
        """Wait until the engine's stream is closed."""
        if self._carrying is not None:
            self._carrying.cancel()
            with suppress(WorkerCancelled, WorkerFailed):  # its failure is known as the fault
                await self._carrying.wait()

    def leave(self, mode: StopMode = StopMode.INTERRUPT, *, status: int = 0) -> None:
        """End the app; only the first wish to leave counts.

        Args:
            mode: What becomes of the work of an embedded engine.
            status: The exit status.
        """
        if not self._exit:
            self.stop_mode = mode
            self.exit(return_code=status)

    def show_notice(self, text: str, is_error: bool = False) -> None:
        """Say something on the screen in view, on the line above the keys."""
        if self._audience.screen is not None:
            self._audience.screen.show_notice(text, is_error=is_error)

    def _show(self, frame: Frame) -> None:
        """Hand a frame to the screens, and ring when a convoy ended or first failed."""
        self.picture = frame.picture
        self._audience.show(frame)
        said, terminal = self._herald.news_of(frame), self.surroundings.terminal
        if said and terminal.has_bell and not self.surroundings.is_demo and self._driver:
            self._driver.write(ring(said, terminal))
            self._driver.flush()

    @on(Wish)
    def _fulfil(self, wish: Wish) -> None:
        """Do what is the app's own; the steering asks and commands for the rest."""
        match wish:
            case OpenItem():
                self.push_screen(self._operation(wish))
            case OpenHistory():
                self._open_history(wish)
            case Notify():
                self.show_notice(wish.text, wish.is_error)
            case HoldScreen():
                self._bridge.hold(wish.is_held)
            case CopyText():
                self.run_worker(self._copy(wish.text))
            case Leave():
                self.run_worker(self._leave_if_agreed())
            case _:
                self.run_worker(self._steering.fulfil(wish))

    @on(LiveScreen.CameIntoView)
    def _catch_up(self) -> None:
        self._audience.show_again()

    @on(TerminalGone)
    def _hang_up(self) -> None:
        self.leave(StopMode.DETACH, status=TerminalGone.STATUS)

    def _operation(self, wish: OpenItem) -> LiveScreen:
        from aisquad_tui.screens.operation import OperationScreen  # noqa: PLC0415  # start sooner

        return OperationScreen(self.surroundings, self.look, wish.key, is_log=wish.is_log)

    def _open_history(self, wish: OpenHistory) -> None:
        """Open the history, or go back to it from what was opened in it."""
        from aisquad_tui.screens.history import HistoryScreen  # noqa: PLC0415  # start sooner

        if any(isinstance(screen, HistoryScreen) for screen in self.screen_stack):
            self.pop_screen()
        else:
            self.push_screen(HistoryScreen(self.surroundings, self.look, wish.convoy_id))

    async def _copy(self, text: str) -> None:
        if self._driver is None:
            return
        try:
            said = await copy(text, self.surroundings.terminal, self._driver.write)
        except CopyError as error:
            self.show_notice(str(error), is_error=True)
        else:
            self.show_notice(said)

    async def _leave_if_agreed(self) -> None:
        if self._asking.locked():
            return
        async with self._asking:
            mode = await self._steering.ask_to_leave()
        if mode is not None:
            self.leave(mode)

    def copy_to_clipboard(self, text: str) -> None:
        """Put text that Textual selected on the operator's own clipboard."""
        self.post_message(CopyText(text, "the selection"))

    def action_leave_now(self) -> None:
        """Leave from anywhere."""
        self.post_message(Leave())

    def action_interrupt(self) -> None:
        """Say what Ctrl+C does not do; a selection is copied before it comes here."""
        self.show_notice("q leaves, x cancels what the cursor is on")

    def action_theme(self) -> None:
        """Go from dark to light or back."""
        self.look.switch()
        self._wear()

    def action_redraw(self) -> None:
        """Draw all of the screen again."""
        self.refresh(layout=True)

    action_suspend = PacedApp.action_suspend_process

    def _wear(self) -> None:
        self.register_theme(theme := self.look.theme())
        self.theme = theme.name

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        tight = tightened(renderable) if isinstance(renderable, CompositorUpdate) else renderable
        super()._display(screen, tight)

    def _handle_exception(self, error: Exception) -> None:
        cause = error.error if isinstance(error, WorkerFailed) else error
        if self.fault is None:
            self.fault = cause if isinstance(cause, Exception) else error
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """End without Textual's picture of the stack, which shows the values of variables."""
        self._close_messages_no_wait()
