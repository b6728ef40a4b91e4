"""What is sent back: status, content, and the headers that every answer has."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON: Final = "application/json; charset=utf-8"
PROBLEM: Final = "application/problem+json; charset=utf-8"

HEADERS: Final[Mapping[str, str]] = {
    "Server": "aisquad",
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every answer: nothing of it is kept, framed, or read by a page of another origin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer."""

    status: HTTPStatus = HTTPStatus.OK
    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """Beside those of every answer."""


def as_json(value: object, *, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    """Answer with data: frozen objects by their fields, stamps in ISO 8601 UTC."""
    return Answer(status=status, body=_encode(value), content_type=JSON)


def problem(
    status: HTTPStatus, detail: str, *, headers: Mapping[str, str] | None = None, **more: str
) -> Answer:
    """Answer with what is wrong, in the form of RFC 9457.

    Args:
        status: The status.
        detail: What is wrong and what would be right, in a sentence.
        headers: Headers of this answer alone.
        more: Members beside the standard ones.
    """
    body = {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail}
    return Answer(
        status=status,
        body=_encode(body | more),
        content_type=PROBLEM,
        headers=headers or {},
    )


def _encode(value: object) -> bytes:
    """Return JSON in ASCII alone: what is printed in a terminal must not steer it."""
    return json.dumps(msgspec.to_builtins(value)).encode("ascii") + b"\n"
