"""What a request must be before anybody looks at what it asks for.

A browser on this machine is a caller of the same user whatever page it shows. A page of another
host reaches this port by a name that it lets point here (DNS rebinding), or by a request across
origins: both are told by headers that a page cannot set.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from aisquad_core.monitoring.answer import Answer, problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_core.monitoring.peer import End

_OWN_FETCHES = ("same-origin", "none")
"""`none`: typed, from a bookmark, or from a terminal."""
_HTTP_PORT = 80
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A request without its path; of each header every value that was sent."""

    method: str
    hosts: Sequence[str]
    origins: Sequence[str]
    fetch_sites: Sequence[str]
    """`Sec-Fetch-Site`: from where a browser's page asks."""
    has_body: bool


def refuse(head: Head, own: End) -> Answer | None:
    """Return why a request is not answered, or None.

    Args:
        head: The request.
        own: The address and port that it came to.
    """
    if head.method != "GET":
        detail = "everything here is read with GET"
        return problem(HTTPStatus.METHOD_NOT_ALLOWED, detail, headers={"Allow": "GET"})
    if head.has_body:
        return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "a request here has no body")
    if len(head.hosts) != 1 or head.hosts[0].lower() not in own_hosts(own):
        return problem(HTTPStatus.FORBIDDEN, "the Host header names another host than this one")
    origin = f"http://{head.hosts[0].lower()}"
    if any(foreign.lower() != origin for foreign in head.origins):
        return problem(HTTPStatus.FORBIDDEN, "pages of another origin are not answered")
    if any(site not in _OWN_FETCHES for site in head.fetch_sites):
        return problem(HTTPStatus.FORBIDDEN, "pages of another site are not answered")
    return None


def own_hosts(own: End) -> frozenset[str]:
    """Return what a Host header may say of a connection to this address and port.

    Whatever the address is, a forwarded port (SSH, a container) is reached by loopback's names, and
    nobody can let those point elsewhere.
    """
    literal = f"[{own.address}]" if isinstance(own.address, IPv6Address) else str(own.address)
    names = {literal, socket.gethostname().lower(), *_LOOPBACK}
    hosts = {f"{name}:{own.port}" for name in names}
    return frozenset(hosts | names if own.port == _HTTP_PORT else hosts)
