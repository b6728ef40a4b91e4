"""What each path answers, and to whom.

A caller who sees numbers alone gets the same shapes without what could name anything.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeVar

from aisquad_core.monitoring import page, parameters, prometheus, shapes
from aisquad_core.monitoring.answer import Answer, as_json, problem
from aisquad_core.monitoring.parameters import Parameter, ParameterError
from aisquad_core.monitoring.prometheus import Scrape
from aisquad_core.monitoring.sight import Sight
from aisquad_core.monitoring.sources import PartError
from aisquad_core.version import __version__

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from aisquad_core.clock import Clock
    from aisquad_core.monitoring.shapes import Shape
    from aisquad_core.monitoring.sources import Sources

T = TypeVar("T")

_LIMIT: Final = Parameter(name="limit", default=20, highest=1_000)
_TIME_RANGE: Final = Parameter(name="time_range", default=60, highest=525_600)
"""Minutes up to now."""
_POINTS: Final = Parameter(name="points", default=240, highest=2_000)
_PAGE_FAILURES: Final = 8
_PAGE_RESIZES: Final = 5
_DENIED: Final = (
    "this is for the owner alone: show the token of monitoring.token in the state folder,"
    " as `Authorization: Bearer TOKEN`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What an endpoint is asked."""

    values: Mapping[str, int]
    sight: Sight
    accept: str
    """The Accept header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One path."""

    answer: Callable[[Query], Awaitable[Answer]]
    parameters: Sequence[Parameter] | None = ()
    """What it takes behind the `?`; None: anything, which is not looked at."""
    sights: frozenset[Sight] = frozenset({Sight.ALL})
    """Who is answered."""


_EVERYBODY: Final = frozenset(Sight)
_THIS_MACHINE: Final = frozenset({Sight.ALL, Sight.NUMBERS})


class Endpoints:
    """Answers by path.

    Args:
        sources: Where the figures come from.
        clock: Time.
    """

    def __init__(self, sources: Sources, clock: Clock) -> None:
        self._sources = sources
        self._clock = clock
        self._began_s = clock.monotonic()
        self._by_path: Mapping[str, Endpoint] = {
            "/health": Endpoint(answer=self._health, sights=_EVERYBODY),
            "/metrics": Endpoint(answer=self._prometheus, parameters=None, sights=_THIS_MACHINE),
            "/metrics/convoys": Endpoint(
                answer=self._convoys, parameters=(_LIMIT,), sights=_THIS_MACHINE
            ),
            "/metrics/stats": Endpoint(
                answer=self._stats, parameters=(_TIME_RANGE,), sights=_THIS_MACHINE
            ),
            "/metrics/resources": Endpoint(
                answer=self._resources, parameters=(_TIME_RANGE, _POINTS), sights=_THIS_MACHINE
            ),
            "/metrics/system": Endpoint(answer=self._system, sights=_THIS_MACHINE),
            "/metrics/failures": Endpoint(answer=self._failures, parameters=(_LIMIT,)),
            "/metrics/agents": Endpoint(answer=self._agents, parameters=(_TIME_RANGE,)),
            "/dashboard/data": Endpoint(
                answer=self._page_data, parameters=(_TIME_RANGE,), sights=_THIS_MACHINE
            ),
        }

    @property
    def paths(self) -> Sequence[str]:
        """Every path that is answered."""
        return (*self._by_path, *page.PATHS)

    async def answer(self, path: str, query: str, *, sight: Sight, accept: str) -> Answer:
        """Answer a request.

        Args:
            path: As it was sent.
            query: What stands behind the `?`, as it was sent.
            sight: Who asks.
            accept: The Accept header.
        """
        if path in page.PATHS:  # holds no figures, so there is nothing to hide
            return page.answer(path)
        endpoint = self._by_path.get(path)
        if endpoint is None:
            return problem(HTTPStatus.NOT_FOUND, "there is nothing at this path")
        if sight not in endpoint.sights:
            headers = {"WWW-Authenticate": 'Bearer realm="aisquad"'}
            return problem(HTTPStatus.UNAUTHORIZED, _DENIED, headers=headers)
        try:
            known = endpoint.parameters
            values = {} if known is None else parameters.read(query, known)
            return await endpoint.answer(Query(values=values, sight=sight, accept=accept))
        except ParameterError as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error), parameter=error.parameter)
        except PartError as error:
            detail = str(error) if sight is Sight.ALL else f"{error.part} cannot be read now"
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, part=error.part)

    async def _health(self, query: Query) -> Answer:
        shape = await self._health_shape(query.sight)
        is_ill = shape["status"] == "ill"
        return as_json(shape, status=HTTPStatus.SERVICE_UNAVAILABLE if is_ill else HTTPStatus.OK)

    async def _health_shape(self, sight: Sight) -> Shape:
        parts = await self._sources.health()
        return shapes.health(parts, uptime_s=self._uptime_s(), sight=sight)

    def _uptime_s(self) -> float:
        return self._clock.monotonic() - self._began_s

    async def _convoys(self, query: Query) -> Answer:
        convoys = await self._sources.convoys(query.values["limit"])
        return await _write(lambda: shapes.convoy_metrics(convoys, query.sight))

    async def _stats(self, query: Query) -> Answer:
        return as_json(await self._sources.stats(query.values["time_range"]))

    async def _resources(self, query: Query) -> Answer:
        values = query.values
        series = await self._sources.resources(values["time_range"], values["points"])
        return await _write(lambda: series)

    async def _system(self, query: Query) -> Answer:
        return as_json(shapes.system(await self._sources.picture(), query.sight))

    async def _failures(self, query: Query) -> Answer:
        failures = await self._sources.failures(query.values["limit"])
        return await _write(lambda: [shapes.failure(failure) for failure in failures])

    async def _agents(self, query: Query) -> Answer:
        agents = await self._sources.agents(query.values["time_range"])
        return as_json([shapes.agent(agent) for agent in agents])

    async def _prometheus(self, query: Query) -> Answer:
        health = await self._sources.health()
        picture = await _or_none(self._sources.picture())
        scrape = Scrape(
            parts={part: it.condition in {"ok", "off"} for part, it in health.items()},
            uptime_s=self._uptime_s(),
            load=None if picture is None else picture.load,
            counts=await _or_none(self._sources.counts()),
            ended=await _or_none(self._sources.ended()),
            has_names=query.sight is Sight.ALL,
        )
        return prometheus.expose(scrape, query.accept)

    async def _page_data(self, query: Query) -> Answer:
        """Answer with everything that the page shows; a part that is ill leaves its own out."""
        sight, minutes = query.sight, query.values["time_range"]
        shape: Shape = {
            "at": self._clock.now(),
            "version": __version__,
            "sight": sight.value,
            "time_range": minutes,
            "load": None,
            "engine": None,
            "convoys": None,
            "stats": None,
            "resources": None,
            "resizes": None,
            "failures": None,
            "agents": None,
        }
        problems: Shape = {}
        for fill in (self._fill_live, self._fill_past):
            try:
                shape |= await fill(sight, minutes)
            except PartError as error:
                problems[error.part] = error.detail if sight is Sight.ALL else "cannot be read now"
        return await _write(lambda: shape | {"problems": problems})

    async def _fill_live(self, sight: Sight, _minutes: int) -> Shape:
        picture = await self._sources.picture()
        return {
            "load": picture.load,
            "engine": shapes.engine(picture.engine) if sight is Sight.ALL else None,
            "convoys": [shapes.live_convoy(convoy, sight) for convoy in picture.convoys],
        }

    async def _fill_past(self, sight: Sight, minutes: int) -> Shape:
        sources = self._sources
        shape: Shape = {
            "stats": await sources.stats(minutes),
            "resources": await sources.resources(minutes, _POINTS.default),
            "resizes": [
                shapes.resize(note, sight) for note in await sources.resizes(minutes, _PAGE_RESIZES)
            ],
        }
        if sight is Sight.ALL:
            failures = await sources.failures(_PAGE_FAILURES)
            shape["failures"] = [shapes.failure(failure) for failure in failures]
            shape["agents"] = [shapes.agent(agent) for agent in await sources.agents(minutes)]
        return shape


async def _write(make: Callable[[], object]) -> Answer:
    """Answer with what a call makes; off the loop, since a long list takes tens of milliseconds."""
    return await asyncio.to_thread(lambda: as_json(make()))


async def _or_none(value: Awaitable[T]) -> T | None:
    """Return what a part says; None while it cannot be read, which its health says."""
    try:
        return await value
    except PartError:
        return None
