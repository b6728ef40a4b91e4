"""The monitoring API as one thing: sources, endpoints, who may see what, and the port."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import AsyncExitStack
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from aisquad_core.clock import SystemClock
from aisquad_core.monitoring import page
from aisquad_core.monitoring.endpoints import Endpoints
from aisquad_core.monitoring.listener import ASK_WAIT_S, MOST_CONNECTIONS, Listener
from aisquad_core.monitoring.sight import Sight
from aisquad_core.monitoring.sources import Sources
from aisquad_core.monitoring.token import Token
from aisquad_core.monitoring.web import WebServer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from aisquad_core.api import EngineAPI
    from aisquad_core.clock import Clock
    from aisquad_core.load.resource_monitor import Sampler
    from aisquad_core.monitoring.answer import Answer
    from aisquad_core.monitoring.listener import Visit
    from aisquad_core.monitoring.web import Request
    from aisquad_core.settings import Settings

logger = logging.getLogger(__name__)


class Monitoring:
    """Serves the monitoring API for as long as the context lasts.

    Args:
        settings: Where the databases are, and where it listens.
        engine: An engine on this loop, asked for what is so now; None: the databases alone are
            read, also while an engine of another process writes them.
        address: Where it listens; None: the setting `monitoring_address`.
        port: None: the setting `monitoring_port`; 0: any that is free.
        clock: Time; None: the machine's.
        sampler: Reads the machine's load if there is no `engine`; None: the machine itself.
        most_connections: At once.
        ask_wait_s: Seconds that a request may take to come.

    Raises:
        OSError: On entering, if it cannot listen there.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        engine: EngineAPI | None = None,
        address: str | None = None,
        port: int | None = None,
        clock: Clock | None = None,
        sampler: Sampler | None = None,
        most_connections: int = MOST_CONNECTIONS,
        ask_wait_s: float = ASK_WAIT_S,
    ) -> None:
        clock = clock or SystemClock()
        self._address = ip_address(settings.monitoring_address if address is None else address)
        self._token = Token(settings.state_dir)
        self._sources = Sources(settings, clock=clock, engine=engine, sampler=sampler)
        self._endpoints = Endpoints(self._sources, clock)
        self._wanted_port = settings.monitoring_port if port is None else port
        self._most_connections = most_connections
        self._ask_wait_s = ask_wait_s
        self._listener: Listener
        self._exits = AsyncExitStack()

    @property
    def url(self) -> str:
        """Its root, without a slash at the end."""
        host = str(self._address)
        if self._address.is_unspecified:  # nobody reaches it by that
            host = socket.gethostname().lower()
        elif isinstance(self._address, IPv6Address):
            host = f"[{host}]"
        return f"http://{host}:{self.port}"

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._listener.port

    @property
    def needs_token(self) -> bool:
        """Whether the owner, too, must show the token: it listens beyond loopback."""
        return not self._address.is_loopback

    @property
    def paths(self) -> Sequence[str]:
        """Every path that is answered."""
        return self._endpoints.paths

    async def __aenter__(self) -> Self:
        """Listen."""
        await asyncio.to_thread(page.load)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._sources)
            web = WebServer(self._answer)
            stack.push_async_callback(web.close)
            self._listener = Listener(
                str(self._address),
                self._wanted_port,
                web.receive,
                most=self._most_connections,
                ask_wait_s=self._ask_wait_s,
            )
            await stack.enter_async_context(self._listener)
            await asyncio.to_thread(self._make_token)
            self._exits = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """End every connection, then close what was opened."""
        await self._exits.aclose()

    def _make_token(self) -> None:
        """Have the token there for its owner to hand on; without it nobody else is let in."""
        try:
            self._token.obtain()
        except FileNotFoundError:  # no engine has made the state folder yet
            return
        except OSError as error:
            logger.warning("nobody can show the token: %s", error)

    async def _answer(self, request: Request, visit: Visit) -> Answer:
        return await self._endpoints.answer(
            request.path,
            request.query,
            sight=await self._sight(request, visit),
            accept=request.accept,
        )

    async def _sight(self, request: Request, visit: Visit) -> Sight:
        if visit.is_own_user:
            return Sight.ALL
        scheme, _, shown = request.authorization.partition(" ")
        if scheme.lower() == "bearer" and await asyncio.to_thread(
            self._token.is_shown, shown.strip()
        ):
            return Sight.ALL
        return Sight.NUMBERS if visit.is_local else Sight.HEALTH
