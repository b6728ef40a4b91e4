"""Does what screens wish: asks the operator where it must, calls the engine, tells the outcome."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, TypeVar

from aisquad_core.api import ItemFilter, StopMode
from aisquad_core.errors import AISquadError, EngineStoppedError, NotFoundError
from aisquad_core.model import ConvoyStatus
from aisquad_core.sanitise import one_line
from aisquad_tui import commands
from aisquad_tui.completion import short_path
from aisquad_tui.desk import Desk
from aisquad_tui.draft import Draft, file_of
from aisquad_tui.formatting import plural
from aisquad_tui.messages import (
    CancelConvoy,
    CancelItems,
    ChangeParallelism,
    LaunchConvoy,
    NewConvoy,
    OpenHelp,
    OpenPalette,
    RetryItems,
    TogglePause,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from textual.screen import Screen

    from aisquad_core.api import ConvoyView, Snapshot
    from aisquad_core.model import ItemKey
    from aisquad_core.spec import ConvoySource
    from aisquad_tui.commands import Answer
    from aisquad_tui.messages import Wish
    from aisquad_tui.screens.live import LiveScreen
    from aisquad_tui.surroundings import Surroundings
    from aisquad_tui.theme import Look
    from aisquad_tui.views.question import Question, Tally

    Deed = Callable[[], Awaitable[None]]

_PAGE = 500
_LEAVING = (None, StopMode.INTERRUPT, StopMode.DETACH)
"""What the answers to the question of leaving mean; None: stay."""

ResultT = TypeVar("ResultT")


class Stage(Protocol):
    """What steering needs of the app."""

    @property
    def look(self) -> Look:
        """How roles look."""
        ...

    @property
    def live_screen(self) -> LiveScreen | None:
        """The screen of the engine's that is in view."""
        ...

    def show_notice(self, text: str, is_error: bool = False) -> None:
        """Tell the operator something."""
        ...

    def simulate_key(self, key: str) -> None:
        """Press a key."""
        ...

    async def push_screen_wait(self, screen: Screen[ResultT]) -> ResultT:
        """Show a dialog until it has a result; only from a worker."""
        ...


class Steering:
    """Fulfils wishes; each of them in a worker of its own.

    Args:
        stage: The app.
        surroundings: Where it runs and what it drives.
    """

    def __init__(self, stage: Stage, surroundings: Surroundings) -> None:
        self._stage = stage
        self._place = surroundings
        self._desk = Desk(surroundings.state_dir)
        self._draft = Draft()
        self._is_asking = False
        self._sizing = asyncio.Lock()
        """Held while the parallelism changes, so that two keys make two steps."""

    async def fulfil(self, wish: Wish) -> None:
        """Do what is wished; what goes wrong is told as a notice.

        While a dialog opens or is open, all that keys can wish is dropped: they were meant for the
        dialog, or are the same key pressed twice.
        """
        if self._is_asking and not isinstance(wish, LaunchConvoy):
            return
        try:
            match wish:
                case ChangeParallelism(change=change):
                    async with self._sizing:
                        engine = (await self._place.engine.snapshot()).engine
                        self._tell(await commands.change_parallelism(self._place, engine, change))
                case TogglePause(convoy_id=convoy_id):
                    await self._toggle_pause(convoy_id)
                case LaunchConvoy(source=source):
                    await self._launch(source)
                case _:
                    await self._ask_first(wish)
        except AISquadError as error:
            self._stage.show_notice(one_line(str(error)), is_error=True)

    async def ask_to_leave(self) -> StopMode | None:
        """Return how to leave, or None to stay; asks only when work would be stopped by it."""
        if not self._place.is_embedded:
            return StopMode.DETACH
        if self._place.is_demo:
            return StopMode.INTERRUPT
        try:
            snapshot = await self._place.engine.snapshot()
        except EngineStoppedError:
            return StopMode.INTERRUPT
        if not snapshot.counts.running:
            return StopMode.INTERRUPT
        from aisquad_tui.views.question import leaving  # noqa: PLC0415  # start sooner

        return _LEAVING[await self._ask(leaving(snapshot.counts, snapshot.engine.grace_s))]

    async def _ask_first(self, wish: Wish) -> None:
        self._is_asking = True
        try:
            deed = await self._agreed(wish)
        finally:
            self._is_asking = False
        if deed is not None:
            await deed()

    async def _agreed(self, wish: Wish) -> Deed | None:
        """Ask what there is to ask; return what is to be done then."""
        match wish:
            case CancelItems(keys=keys, is_kill=is_kill):
                return await self._cancel_items(keys, is_kill=is_kill)
            case CancelConvoy(convoy_id=convoy_id, is_kill=is_kill):
                return await self._cancel_convoy(convoy_id, is_kill=is_kill)
            case RetryItems(keys=keys):
                return await self._retry(keys)
            case NewConvoy():
                return await self._open_launch()
            case OpenHelp():
                await self._open_help()
            case OpenPalette():
                return await self._open_palette()
        return None

    async def _cancel_items(self, keys: Sequence[ItemKey], *, is_kill: bool) -> Deed | None:
        from aisquad_tui.views.question import cancel_items  # noqa: PLC0415  # start sooner

        tally = await self._tally(keys, is_open=True)
        if not tally.open:
            self._stage.show_notice(f"nothing to cancel: {_said(tally.ended, 'ended')}")
            return None
        grace_s = (await self._place.engine.snapshot()).engine.grace_s
        now = self._place.clock.now()
        if not await self._ask(cancel_items(tally, grace_s, now, is_kill=is_kill)):
            return None

        async def cancel() -> None:
            self._announce(tally.open, tally.running, grace_s, is_kill=is_kill)
            self._tell(await commands.cancel_items(self._place, keys, is_kill=is_kill))

        return cancel

    async def _cancel_convoy(self, convoy_id: str, *, is_kill: bool) -> Deed | None:
        from aisquad_tui.views.question import cancel_convoy  # noqa: PLC0415  # start sooner

        snapshot = await self._place.engine.snapshot()
        convoy, grace_s = _convoy_of(snapshot, convoy_id), snapshot.engine.grace_s
        counts = convoy.counts
        if not counts.running + counts.queued:
            name = one_line(convoy.name)
            self._stage.show_notice(f"nothing to cancel: all of {name} has ended")
            return None
        now = self._place.clock.now()
        if not await self._ask(cancel_convoy(convoy, grace_s, now, is_kill=is_kill)):
            return None

        async def cancel() -> None:
            number = counts.running + counts.queued
            self._announce(number, counts.running, grace_s, is_kill=is_kill)
            self._tell(await commands.cancel_convoy(self._place, convoy, is_kill=is_kill))

        return cancel

    async def _retry(self, keys: Sequence[ItemKey]) -> Deed | None:
        from aisquad_tui.views.question import retry  # noqa: PLC0415  # start sooner

        tally = await self._tally(keys, is_open=False)
        if not tally.ended:
            self._stage.show_notice(f"nothing to retry: {_said(tally.open, 'not ended')}")
            return None
        if (tally.ended > 1 or tally.completed) and not await self._ask(retry(tally)):
            return None

        async def again() -> None:
            self._tell(await commands.retry_items(self._place, keys))

        return again

    async def _toggle_pause(self, convoy_id: str) -> None:
        convoy = _convoy_of(await self._place.engine.snapshot(), convoy_id)
        if convoy.status.is_final:
            self._stage.show_notice(f"{one_line(convoy.name)} has ended")
            return
        stands = convoy.status is ConvoyStatus.PAUSED or convoy.is_interrupted
        command = commands.resume if stands else commands.pause
        self._tell(await command(self._place, convoy))

    async def _open_launch(self, path: str = "") -> Deed | None:
        from aisquad_tui.screens.launch import LaunchScreen  # noqa: PLC0415  # start sooner

        draft = Draft(path=path) if path else self._draft
        recent = await asyncio.to_thread(self._desk.recent)
        screen = LaunchScreen(self._place, self._stage.look, draft, recent)
        source = await self._stage.push_screen_wait(screen)
        self._draft = screen.draft

        async def launch() -> None:
            if source is not None and await self._launch(source):
                self._draft = Draft()

        return launch

    async def _open_help(self) -> None:
        from aisquad_tui.screens.help import HelpScreen  # noqa: PLC0415  # start sooner

        live = self._stage.live_screen
        places = live.places() if live is not None else ()
        await self._stage.push_screen_wait(HelpScreen(self._place, self._stage.look, places))

    async def _open_palette(self) -> Deed | None:
        from aisquad_tui.palette import PaletteScreen, entries  # noqa: PLC0415  # start sooner

        live = self._stage.live_screen
        recent = await asyncio.to_thread(self._desk.recent)
        choices = entries(live.places() if live is not None else (), recent, self._place.cwd)
        screen = PaletteScreen(self._place, self._stage.look, choices)
        chosen = await self._stage.push_screen_wait(screen)
        if chosen is None:
            return None

        if chosen.path is not None:
            return await self._open_launch(short_path(chosen.path, self._place.cwd))
        key = chosen.key

        async def press() -> None:
            if key is not None:
                self._stage.simulate_key(key)

        return press

    async def _launch(self, source: ConvoySource) -> bool:
        """Launch; return whether it was."""
        answer = await commands.launch(self._place, source)
        self._tell(answer)
        path = file_of(source)
        if not answer.is_error and path is not None:
            await asyncio.to_thread(self._desk.remember, path)
        return not answer.is_error

    async def _tally(self, keys: Sequence[ItemKey], *, is_open: bool) -> Tally:
        """Count what the action concerns, by what is committed now."""
        from aisquad_tui.views.question import Tally  # noqa: PLC0415  # start sooner

        tally = Tally()
        for start in range(0, len(keys), _PAGE):
            some = ItemFilter(keys=tuple(keys[start : start + _PAGE]))
            page = await self._place.engine.items(some, limit=_PAGE, is_counted=False)
            tally.add(page.items, is_open=is_open)
        return tally

    async def _ask(self, question: Question) -> int:
        """Return the number of the answer; 0 changes nothing."""
        from aisquad_tui.screens.confirm import ConfirmScreen  # noqa: PLC0415  # start sooner

        screen = ConfirmScreen(self._place, self._stage.look, question)
        return await self._stage.push_screen_wait(screen)

    def _announce(self, number: int, running: int, grace_s: float, *, is_kill: bool) -> None:
        """Say what has begun: it may take as long as the grace."""
        verb = "killing" if is_kill else "cancelling"
        how = f": TERM, then KILL after {grace_s:g} s" if running and not is_kill else ""
        self._stage.show_notice(f"{verb} {plural(number, 'operation')}{how}")

    def _tell(self, answer: Answer) -> None:
        self._stage.show_notice(answer.text, is_error=answer.is_error)


def _convoy_of(snapshot: Snapshot, convoy_id: str) -> ConvoyView:
    for convoy in snapshot.convoys:
        if convoy.id == convoy_id:
            return convoy
    raise NotFoundError(f'no convoy "{convoy_id}"')


def _said(number: int, what: str) -> str:
    return f"{plural(number, 'operation')} {'has' if number == 1 else 'have'} {what}"
