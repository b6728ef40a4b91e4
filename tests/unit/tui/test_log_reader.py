"""A log read in pages."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisquad_tui.log_reader import BLOCK_BYTES, PAGE_BYTES, LogReader
from aisquad_tui.log_viewport import PageMissingError, Piece
from tests.unit.tui.log_files import KEY, MemoryLog, loading, opened

_EDGES = st.integers(-3, 3).flatmap(
    lambda more: st.integers(0, 9).map(lambda blocks: max(0, blocks * BLOCK_BYTES + more))
)
_PIECES = st.lists(
    st.tuples(st.one_of(st.integers(0, 300), _EDGES), st.sampled_from([b"x", b"\xe6\xbc\xa2"])),
    max_size=12,
)


def _log(parts: list[tuple[int, bytes]]) -> bytes:
    return b"\n".join((unit * length)[:length] for length, unit in parts)


async def _piece(reader: LogReader, offset: int) -> Piece:
    found: list[Piece] = []
    await loading(reader, lambda: found.append(reader.at(offset)))
    return found[0]


async def _forward(reader: LogReader) -> list[Piece]:
    pieces: list[Piece] = []
    offset = 0
    while offset < reader.size:
        pieces.append(await _piece(reader, offset))
        offset = pieces[-1].end
    return pieces


async def _backward(reader: LogReader) -> list[Piece]:
    pieces: list[Piece] = []
    offset = reader.size
    while offset > 0:
        pieces.append(await _piece(reader, offset - 1))
        offset = pieces[-1].start
    return pieces[::-1]


@settings(max_examples=40)
@given(parts=_PIECES)
async def test_every_byte_is_in_one_piece_the_same_from_both_ends(
    parts: list[tuple[int, bytes]],
) -> None:
    data = _log(parts)
    forward = await _forward(await opened(MemoryLog(data)))
    backward = await _backward(await opened(MemoryLog(data)))

    assert forward == backward
    assert "".join(str(piece.start) for piece in forward[:1]) == ("0" if data else "")
    assert all(a.end == b.start for a, b in pairwise(forward))
    assert not forward or forward[-1].end == len(data)


@settings(max_examples=40)
@given(parts=_PIECES)
async def test_pieces_are_bounded_and_break_at_newlines(parts: list[tuple[int, bytes]]) -> None:
    data = _log(parts)
    for piece in await _forward(await opened(MemoryLog(data))):
        raw = data[piece.start : piece.end]
        assert len(raw) <= 2 * BLOCK_BYTES + 4
        assert b"\n" not in raw[:-1]


@settings(max_examples=40)
@given(parts=_PIECES, most=st.sampled_from([1 << 22, 7_000]), steps=st.integers(1, 5))
async def test_a_log_that_grows_has_the_pieces_of_the_whole(
    parts: list[tuple[int, bytes]], most: int, steps: int
) -> None:
    data = _log(parts)
    log = MemoryLog(b"", is_final=False, most=most)
    reader = LogReader(log, KEY, attempt=1)
    for step in range(1, steps + 1):
        log.data = data[: len(data) * step // steps]
        await reader.look()
        await _backward(reader)

    assert await _forward(reader) == await _forward(await opened(MemoryLog(data)))


async def test_a_line_of_megabytes_is_broken_between_characters() -> None:
    reader = await opened(MemoryLog("漢".encode() * 1_000_000))
    pieces = [await _piece(reader, reader.size // 2), await _piece(reader, reader.size - 1)]
    for piece in pieces:
        await loading(reader, partial(reader.text, piece))
        assert set(reader.text(piece)) == {"漢"}


async def test_opening_a_long_log_reads_its_end_alone() -> None:
    log = MemoryLog(b"a line of the log\n" * 3_000_000)
    reader = await opened(log)
    await _piece(reader, reader.size - 1)

    assert log.read_bytes < 3 * PAGE_BYTES


async def test_a_page_that_is_not_in_memory_is_named() -> None:
    reader = await opened(MemoryLog(b"line\n" * 100_000))
    with pytest.raises(PageMissingError) as missing:
        reader.at(2 * PAGE_BYTES + 5)

    assert missing.value.page == 2


async def test_look_tells_growth_and_the_end_once() -> None:
    log = MemoryLog(b"one\n", is_final=False)
    reader = LogReader(log, KEY, attempt=1)
    seen = [await reader.look(), await reader.look()]
    log.data += b"two\n"
    seen += [await reader.look(), await reader.look()]
    log.is_final = True
    seen += [await reader.look(), await reader.look()]

    assert seen == [True, False, True, False, True, False]


async def test_a_log_that_became_shorter_is_read_anew() -> None:
    log = MemoryLog(b"old\n" * 50_000, is_final=False)
    reader = await opened(log)
    log.data = b"new\n"
    await reader.look()

    assert reader.was_lost
    assert reader.text(await _piece(reader, 0)) == "new"


async def test_a_log_that_is_gone_is_empty() -> None:
    log = MemoryLog(b"old\n" * 50)
    reader = await opened(log)
    log.data = b""

    assert await reader.look()
    assert (reader.size, reader.was_lost) == (0, True)


async def test_memory_is_bounded_however_much_is_read() -> None:
    reader = await opened(MemoryLog(b"some line of the log\n" * 200_000))
    for page in range(reader.size // PAGE_BYTES):
        await reader.load(page)
    in_memory = 0
    for page in range(reader.size // PAGE_BYTES):
        try:
            reader.at(page * PAGE_BYTES + 100)
        except PageMissingError:
            continue
        in_memory += 1

    assert 0 < in_memory <= 48
