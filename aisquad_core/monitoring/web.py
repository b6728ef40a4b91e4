"""The one place that speaks HTTP: aiohttp's parser and writer around a function of our own.

One request a connection: who asks is known from its start, and nothing needs to be kept open.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

from aisquad_core.monitoring import guard
from aisquad_core.monitoring.answer import HEADERS, Answer, problem
from aisquad_core.monitoring.guard import Head

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aisquad_core.monitoring.listener import Visit

_LINE_BYTES = 4096
_FIELD_BYTES = 4096
_MOST_FIELDS = 64
_BUFFER_BYTES = 16 << 10
_LEAVE_S = 1.0
"""For answers under way when the server ends."""

logger = logging.getLogger(__name__)
_requests = logging.getLogger(f"{__name__}.requests")
_requests.setLevel(logging.WARNING)  # whoever may ask must not fill the engine's log


class Request:
    """What an endpoint may know of a request that was not refused."""

    def __init__(self, request: web.BaseRequest) -> None:
        self.path, _, self.query = request.raw_path.partition("?")
        self.accept = request.headers.get("Accept", "")
        self.authorization = request.headers.get("Authorization", "")


class WebServer:
    """Answers HTTP on connections that somebody else accepts.

    Args:
        answer: Answers a request of a visit.
    """

    def __init__(self, answer: Callable[[Request, Visit], Awaitable[Answer]]) -> None:
        self._answer = answer
        self._server = web.Server(self._handle, handler_cancellation=True)

    def receive(self, visit: Visit) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return _Protocol(self._server, visit)

    async def close(self) -> None:
        """End what is still being answered."""
        await self._server.shutdown(_LEAVE_S)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        protocol = request.protocol
        if not isinstance(protocol, _Protocol):
            raise TypeError(f"a connection of another server: {protocol!r}")
        visit = protocol.visit
        visit.asked.set()
        headers = request.headers
        head = Head(
            method=request.method,
            hosts=headers.getall("Host", ()),
            origins=headers.getall("Origin", ()),
            fetch_sites=headers.getall("Sec-Fetch-Site", ()),
            has_body=request.body_exists,
        )
        answer = guard.refuse(head, visit.own)
        return _respond(answer or await self._answer(Request(request), visit))


class _Protocol(web.RequestHandler):
    """One connection in aiohttp's hands."""

    def __init__(self, server: web.Server, visit: Visit) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=_requests,
            max_line_size=_LINE_BYTES,
            max_field_size=_FIELD_BYTES,
            max_headers=_MOST_FIELDS,
            read_bufsize=_BUFFER_BYTES,
            lingering_time=0,
            tcp_keepalive=False,
        )
        self.visit = visit

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let the listener know."""
        super().connection_lost(exc)
        self.visit.asked.set()
        self.visit.closed.set()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP, is too long, or failed here."""
        self.visit.asked.set()
        if request.writer.output_size:
            raise ConnectionError("failed in the middle of an answer") from exc
        if status != HTTPStatus.BAD_REQUEST:
            logger.error("%s could not be answered", request.path, exc_info=exc)
            return _respond(
                problem(HTTPStatus.INTERNAL_SERVER_ERROR, "it failed; the log says why")
            )
        return _respond(
            problem(HTTPStatus.BAD_REQUEST, "that is no HTTP request, or too long a one")
        )


def _respond(answer: Answer) -> web.Response:
    headers: dict[str, Any] = {**HEADERS, **answer.headers, "Content-Type": answer.content_type}
    response = web.Response(status=answer.status, body=answer.body, headers=headers)
    response.force_close()
    return response
