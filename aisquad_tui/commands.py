"""Intent to one call of the engine, and its outcome in words. Asks nobody; draws nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aisquad_core.errors import AISquadError, SpecError
from aisquad_core.sanitise import one_line
from aisquad_tui.formatting import count, plural

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aisquad_core.api import ConvoyView, EngineView, Outcome
    from aisquad_core.model import ItemKey
    from aisquad_core.spec import ConvoySource
    from aisquad_tui.surroundings import Surroundings


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the operator is told after a command."""

    text: str
    is_error: bool = False
    convoy_id: str | None = None
    """The convoy that was launched."""


async def cancel_items(
    place: Surroundings, keys: Sequence[ItemKey], *, is_kill: bool = False
) -> Answer:
    """Cancel items; return when their processes are gone."""
    verb = "killed" if is_kill else "cancelled"

    async def call() -> Answer:
        return _outcome(await place.engine.cancel(keys, is_kill=is_kill), verb)

    return await _told(call, "not cancelled")


async def cancel_convoy(place: Surroundings, convoy: ConvoyView, *, is_kill: bool) -> Answer:
    """Cancel all of a convoy; return when its processes are gone."""
    name, verb = one_line(convoy.name), "killed" if is_kill else "cancelled"

    async def call() -> Answer:
        outcome = await place.engine.cancel(convoy.id, is_kill=is_kill)
        if not (outcome.changed or outcome.refused):
            return Answer(text=f"nothing of {name} was left to be {verb}")
        return _outcome(outcome, f"of {name} {verb}")

    return await _told(call, "not cancelled")


async def retry_items(place: Surroundings, keys: Sequence[ItemKey]) -> Answer:
    """Put ended items back, with this place's environment."""

    async def call() -> Answer:
        return _outcome(await place.engine.retry(keys, env=place.env), "will run again")

    return await _told(call, "not retried")


async def pause(place: Surroundings, convoy: ConvoyView) -> Answer:
    """Start nothing more of a convoy."""

    async def call() -> Answer:
        await place.engine.pause(convoy.id)
        running = convoy.counts.running
        verb = "runs" if running == 1 else "run"
        goes_on = f"; {plural(running, 'operation')} {verb} on" if running else ""
        return Answer(text=f"{one_line(convoy.name)} is paused{goes_on} · p resumes")

    return await _told(call, "not paused")


async def resume(place: Surroundings, convoy: ConvoyView) -> Answer:
    """Let a paused or interrupted convoy go on, with this place's environment."""

    async def call() -> Answer:
        await place.engine.resume(convoy.id, env=place.env)
        return Answer(text=f"{one_line(convoy.name)} goes on")

    return await _told(call, "not resumed")


async def change_parallelism(place: Surroundings, engine: EngineView, change: int | None) -> Answer:
    """Pin the parallelism so many more or fewer than it is; None gives it back to auto."""

    async def call() -> Answer:
        wanted = None if change is None else max(1, engine.parallelism + change)
        size = await place.engine.set_parallelism(wanted)
        if change is None:
            return Answer(text=f"parallelism follows the load again, now {size}")
        return Answer(text=f"parallelism pinned at {size} · = gives it back to auto")

    return await _told(call, "parallelism unchanged")


async def launch(place: Surroundings, source: ConvoySource) -> Answer:
    """Launch a convoy here, with this place's environment."""

    async def call() -> Answer:
        convoy_id = await place.engine.launch(source, env=place.env, cwd=place.cwd)
        leaving = "" if place.is_embedded else " · q leaves, work goes on"
        return Answer(text=f"launched {one_line(convoy_id)}{leaving}", convoy_id=convoy_id)

    return await _told(call, "not launched")


def _outcome(outcome: Outcome, verb: str) -> Answer:
    """Say what was changed and what was left alone, with the reason of the first."""
    changed, refused = len(outcome.changed), outcome.refused
    done = f"{plural(changed, 'operation')} {verb}"
    if not refused:
        return Answer(text=done)
    item, why = next(iter(refused.items()))
    if len(refused) == 1:
        left = f"{one_line(item.rpartition('/')[2])} left alone: {one_line(why)}"
    else:
        left = f"{count(len(refused))} left alone, {one_line(item)}: {one_line(why)}"
    return Answer(text=f"{done}, {left}") if changed else Answer(text=left, is_error=True)


async def _told(call: Callable[[], Awaitable[Answer]], failing: str) -> Answer:
    """Return the answer of a call, or why it failed."""
    try:
        return await call()
    except SpecError as error:
        more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
        return Answer(text=f"{failing}: {one_line(str(error.problems[0]))}{more}", is_error=True)
    except (AISquadError, OSError) as error:
        return Answer(text=f"{failing}: {one_line(str(error))}", is_error=True)
