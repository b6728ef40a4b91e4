"""The language between an engine and its clients: frames on a stream, and what is in them.

A frame is its length (four bytes, most significant first), a head and a body, both JSON with a
newline between. Lengths are checked before anything is read. A connection begins with a `Hello`
from each side; then the client asks, each request with a number that its answer bears. `ping` asks
nothing but for an answer: an engine that is stopped or stuck gives none. `subscribe` turns the rest
of the connection into a stream of events. Strings that are not UTF-8 (`os.fsdecode`
gives lone surrogates) travel as escapes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from aisquad_core.api import (
    ConvoyChanged,
    ConvoyView,
    EngineState,
    History,
    ItemChanged,
    ItemDetail,
    ItemFilter,
    ItemPage,
    ItemSort,
    LogChunk,
    Outcome,
    Preview,
    Resized,
    Sampled,
    Snapshot,
    StopMode,
)
from aisquad_core.errors import (
    AISquadError,
    BackpressureError,
    EngineError,
    EngineStoppedError,
    InputError,
    NotFoundError,
    Problem,
    ProtocolError,
    SpecError,
    StateError,
    StorageError,
)
from aisquad_core.model import ItemKey
from aisquad_core.spec.source import AdHocSource, SpecSource

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from aisquad_core.api import Event
    from aisquad_core.spec.source import ConvoySource

PROTOCOL = 2
"""Grows by one with each change that the other side would not understand."""
MAX_FRAME_BYTES = 96 << 20
"""A convoy file of 10 MB whose every byte is escaped, with room for the environment."""
MAX_HELLO_BYTES = 4096

_LENGTH_BYTES = 4
_T = TypeVar("_T")


class Hello(msgspec.Struct, frozen=True):
    """What each side says first."""

    protocol: int
    version: str
    pid: int


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a frame is."""

    id: int = 0
    """The request that it is, or answers."""
    verb: str = ""
    """Of a request: what to do. Of an answer: what the body is (`event`'s type, `error`, …)."""


class ItemsRequest(msgspec.Struct, frozen=True):
    """Arguments of `items`."""

    filter: ItemFilter
    sort: ItemSort
    is_reversed: bool
    after: str | None
    offset: int
    limit: int
    is_counted: bool
    has_last_lines: bool


class OffsetRequest(msgspec.Struct, frozen=True):
    """Arguments of `offset_of`."""

    filter: ItemFilter
    key: ItemKey
    sort: ItemSort
    is_reversed: bool


class LogRequest(msgspec.Struct, frozen=True):
    """Arguments of `log_range`."""

    key: ItemKey
    attempt: int | None
    offset: int
    length: int
    stream: str


class HistoryRequest(msgspec.Struct, frozen=True):
    """Arguments of `history`."""

    period_s: float
    points: int
    convoy_id: str | None


class LaunchRequest(msgspec.Struct, frozen=True):
    """Arguments of `launch` and `preview`; one of the sources is given."""

    cwd: str
    file: SpecSource | None = None
    command: AdHocSource | None = None
    env: dict[str, str] | None = None
    """None for a preview."""
    limit: int = 0
    is_patient: bool = False

    def __repr__(self) -> str:
        """Say nothing of the environment, which may hold secrets."""
        return "LaunchRequest(...)"

    @property
    def source(self) -> ConvoySource:
        """The one that was given."""
        source = self.file or self.command
        if source is None:
            raise ProtocolError("a launch without a source")
        return source


class CancelRequest(msgspec.Struct, frozen=True):
    """Arguments of `cancel`; items, or a convoy."""

    keys: tuple[ItemKey, ...] | None
    convoy_id: str | None
    is_kill: bool
    is_waiting: bool


class RetryRequest(msgspec.Struct, frozen=True):
    """Arguments of `retry`."""

    keys: tuple[ItemKey, ...]
    env: dict[str, str] | None

    def __repr__(self) -> str:
        """Say nothing of the environment, which may hold secrets."""
        return f"RetryRequest(keys={self.keys!r})"


class ResumeRequest(msgspec.Struct, frozen=True):
    """Arguments of `resume`."""

    convoy_id: str
    env: dict[str, str] | None

    def __repr__(self) -> str:
        """Say nothing of the environment, which may hold secrets."""
        return f"ResumeRequest(convoy_id={self.convoy_id!r})"


class WaitRequest(msgspec.Struct, frozen=True):
    """Arguments of `wait`."""

    convoy_ids: tuple[str, ...]
    is_any: bool
    timeout_s: float | None


class Crowd(msgspec.Struct, frozen=True):
    """What a `BackpressureError` says."""

    pending: int
    capacity: int
    retry_after_s: float


class Failure(msgspec.Struct, frozen=True):
    """An exception of the engine on its way to a client."""

    kind: str
    message: str
    problems: tuple[Problem, ...] = ()
    crowd: Crowd | None = None
    """Of a `BackpressureError`."""


_FAILURES: Mapping[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        InputError,
        NotFoundError,
        EngineStoppedError,
        StorageError,
        StateError,
        EngineError,
        AISquadError,
        TimeoutError,
    )
}
"""Exceptions that cross as they are; others cross as the nearest of these."""

_NEWS: Mapping[str, type[Snapshot | Event]] = {
    "snapshot": Snapshot,
    "convoy": ConvoyChanged,
    "item": ItemChanged,
    "resized": Resized,
    "sampled": Sampled,
    "engine": EngineState,
}
"""Bodies of a stream by the verb of their heads."""

RESULTS: Mapping[str, Any] = {
    "ping": None,
    "snapshot": Snapshot,
    "items": ItemPage,
    "offset_of": int | None,
    "item": ItemDetail,
    "log_range": LogChunk,
    "history": History,
    "preview": Preview,
    "launch": str,
    "cancel": Outcome,
    "retry": Outcome,
    "pause": None,
    "resume": None,
    "set_parallelism": int,
    "rescue": int,
    "wait": tuple[ConvoyView, ...],
    "stop": None,
}
"""What each verb answers."""
REQUESTS: Mapping[str, Any] = {
    "ping": None,
    "snapshot": None,
    "items": ItemsRequest,
    "offset_of": OffsetRequest,
    "item": ItemKey,
    "log_range": LogRequest,
    "history": HistoryRequest,
    "preview": LaunchRequest,
    "launch": LaunchRequest,
    "cancel": CancelRequest,
    "retry": RetryRequest,
    "pause": str,
    "resume": ResumeRequest,
    "set_parallelism": Any,
    "rescue": str,
    "wait": WaitRequest,
    "stop": StopMode,
    "subscribe": int | None,
    "abandon": None,
}
"""What each verb is given; `abandon` cancels the request whose number it bears."""

_encoder = msgspec.json.Encoder()
_heads = msgspec.json.Decoder(Head)
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def encode(head: Head, body: object = None) -> bytes:
    """Return a frame.

    Raises:
        ProtocolError: It would be longer than the other side takes.
    """
    try:
        encoded = _encoder.encode(body)
    except UnicodeEncodeError:
        encoded = json.dumps(msgspec.to_builtins(body), separators=(",", ":")).encode("ascii")
    payload = b"\n".join((_encoder.encode(head), encoded))
    if len(payload) > MAX_FRAME_BYTES:
        raise ProtocolError(f"{head.verb}: {len(payload):,} bytes are more than a message may have")
    return len(payload).to_bytes(_LENGTH_BYTES) + payload


def encode_news(news: Snapshot | Event, id: int) -> bytes:
    """Return the frame of one part of a stream."""
    verb = "snapshot" if isinstance(news, Snapshot) else news.type
    return encode(Head(id=id, verb=verb), news)


def encode_error(error: Exception, id: int) -> bytes:
    """Return the frame that says how a request failed."""
    kind = next((k.__name__ for k in type(error).__mro__ if k.__name__ in _FAILURES), "EngineError")
    problems: tuple[Problem, ...] = ()
    if isinstance(error, SpecError):
        kind, problems = "SpecError", error.problems
    crowd: Crowd | None = None
    if isinstance(error, BackpressureError):
        crowd = Crowd(error.pending, error.capacity, error.retry_after_s)
    failure = Failure(kind=kind, message=str(error) or kind, problems=problems, crowd=crowd)
    return encode(Head(id=id, verb="error"), failure)


def split(payload: bytes) -> tuple[Head, bytes]:
    """Return the head of a frame and its body as it is.

    Raises:
        ProtocolError: It is no frame.
    """
    head, separator, body = payload.partition(b"\n")
    if not separator:
        raise ProtocolError("a message without a body")
    try:
        return _heads.decode(head), body
    except msgspec.DecodeError as error:
        raise ProtocolError(f"a message whose head is wrong: {error}") from error


def decode(body: bytes, kind: Any) -> Any:  # noqa: ANN401 - the type is the argument's
    """Return a body as its type.

    Raises:
        ProtocolError: It is of another.
    """
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        try:
            return decoder.decode(body)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:  # lone surrogates, which the fast codec refuses
            return msgspec.convert(json.loads(body), kind)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"a message with a wrong body: {error}") from error


def decode_news(verb: str, body: bytes) -> Snapshot | Event:
    """Return one part of a stream.

    Raises:
        ProtocolError: It is none.
    """
    if verb not in _NEWS:
        raise ProtocolError(f"a stream with {verb!r} in it")
    news: Snapshot | Event = decode(body, _NEWS[verb])
    return news


def decode_error(body: bytes) -> Exception:
    """Return the exception that the engine met with."""
    failure: Failure = decode(body, Failure)
    if failure.kind == "SpecError":
        return SpecError(failure.problems)
    if (crowd := failure.crowd) is not None:
        return BackpressureError(
            pending=crowd.pending, capacity=crowd.capacity, retry_after_s=crowd.retry_after_s
        )
    return _FAILURES.get(failure.kind, EngineError)(failure.message)


class FrameReader:
    """Reads frames from a stream; a cancelled read loses nothing.

    Args:
        stream: Where they come from.
    """

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self._length: int | None = None

    async def read(self, limit: int = MAX_FRAME_BYTES) -> bytes:
        """Return the next frame without its length.

        Args:
            limit: Most bytes of it; looked at before it is read.

        Raises:
            asyncio.IncompleteReadError: The other side is gone.
            ProtocolError: The frame is too long.
        """
        if self._length is None:
            length = int.from_bytes(await self._stream.readexactly(_LENGTH_BYTES))
            if length > limit:
                raise ProtocolError(f"a message of {length:,} bytes; at most {limit:,} are taken")
            self._length = length
        payload = await self._stream.readexactly(self._length)
        self._length = None
        return payload
