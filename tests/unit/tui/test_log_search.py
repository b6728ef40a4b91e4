"""Finding something in a whole log."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisquad_core.errors import InputError
from aisquad_tui.log_matcher import Matcher
from aisquad_tui.log_search import CHUNK_BYTES, Found, search
from tests.unit.tui.log_files import MemoryLog, opened


async def _find(
    data: bytes, query: str, origin: int = -1, *, is_backward: bool = False
) -> Found | None:
    reader = await opened(MemoryLog(data))
    return await search(
        reader, Matcher(query), origin, is_backward=is_backward, on_progress=lambda _: None
    )


@settings(max_examples=20)
@given(
    places=st.sets(st.integers(0, 3 * CHUNK_BYTES // 16), min_size=1, max_size=6),
    near=st.integers(-40, 40),
    query=st.sampled_from(["needle", "Needle", "/n.edle/", "/ne+dle$/"]),
    is_backward=st.booleans(),
)
async def test_every_match_is_found_wherever_chunks_border(
    places: set[int], near: int, query: str, is_backward: bool
) -> None:
    needle = b"Needle" if query == "Needle" else b"needle"
    wanted = places | {max(0, CHUNK_BYTES // 16 + near)}
    lines = [b"x" * 15 for _ in range(3 * CHUNK_BYTES // 16 + 1)]
    for place in wanted:
        lines[place] = b"y" * 9 + needle
    data = b"\n".join(lines)
    reader = await opened(MemoryLog(data))
    found: list[int] = []
    origin = len(data) if is_backward else -1
    for _ in wanted:
        match = await search(
            reader, Matcher(query), origin, is_backward=is_backward, on_progress=lambda _: None
        )
        assert match is not None
        found.append(match.start)
        origin = match.start

    assert found == sorted((place * 16 for place in wanted), reverse=is_backward)


async def test_a_search_goes_round_at_both_ends() -> None:
    data = b"needle\n" + b"hay\n" * 200_000 + b"needle\nhay\n"
    last = len(data) - 11

    assert await _find(data, "needle", 0) == Found(last, 0)
    assert await _find(data, "needle", last) == Found(0, 0)
    assert await _find(data, "needle", 0, is_backward=True) == Found(last, 0)


async def test_the_only_match_is_found_again_and_nothing_is_none() -> None:
    assert await _find(b"hay\nneedle\n", "needle", 4) == Found(4, 0)
    assert await _find(b"hay\n", "needle") is None
    assert await _find(b"", "needle") is None


async def test_what_is_found_is_what_is_shown() -> None:
    assert await _find(b"\x1b[1mnee\x1b[0mdle\n", "needle") == Found(0, 0)
    assert await _find(b"needle\rhay\n", "needle") is None


async def test_case_counts_only_with_a_capital_letter() -> None:
    assert await _find(b"NEEDLE\n", "needle") == Found(0, 0)
    assert await _find(b"needle\n", "Needle") is None
    assert await _find("ÄPFEL\n".encode(), "äpfel") == Found(0, 0)


async def test_tabs_and_colours_hide_nothing() -> None:
    assert await _find(b"a\tneedle\n", "a       needle") == Found(0, 0)
    assert await _find(b"\x1b[1mhay\x1b[0m\nhay\n", "needle") is None
    assert await _find(b"10 %\r\x1b[31mnee\x1b[0mdle\r\n", "needle") == Found(0, 0)


async def test_progress_grows() -> None:
    told: list[int] = []
    reader = await opened(MemoryLog(b"hay\n" * (2 * CHUNK_BYTES)))
    await search(reader, Matcher("needle"), -1, is_backward=False, on_progress=told.append)

    assert told == sorted(told)
    assert told[0] == 0
    assert told[-1] > 80


def test_spans_are_those_of_the_regular_expression() -> None:
    text = "error 12, Error 345"

    assert Matcher(r"/error \d+/").spans(text) == [
        found.span() for found in re.finditer(r"(?i)error \d+", text)
    ]


def test_a_pattern_that_matches_nothing_marks_nothing() -> None:
    assert Matcher("/x*/").spans("abc") == []


@pytest.mark.parametrize(
    "query",
    ["", "/(/", "/[/", "/a{9999999999999}/", "/(a+)+$/", "/(a|aa)*x/", "/((a*)b)+c/", "/a+b+c+d+/"],
)
def test_what_cannot_be_searched_is_refused_in_words(query: str) -> None:
    with pytest.raises(InputError):
        Matcher(query)


def test_a_slash_alone_is_text() -> None:
    assert Matcher("/").spans("a/b") == [(1, 2)]


@given(
    before=st.integers(0, 3_000),
    gap=st.integers(0, 40),
    query=st.sampled_from(["/from.*to/", "/fr?om.*to/", "/from.*t?o/", "/fr*om.*t*o/"]),
)
def test_matches_far_in_a_long_line_are_found_once(before: int, gap: int, query: str) -> None:
    text = "." * before + "from" + "-" * gap + "to" + "." * 500

    assert Matcher(query).spans(text) == [(before, before + gap + 6)]


def test_marking_stops_when_its_time_is_over() -> None:
    scanned = Matcher("/a*a*x/").spans("a" * 300 + "ax" * 5_000, until=0.0)

    assert len(scanned) <= 1


@pytest.mark.parametrize("query", ["/error.*/", "/err.*or.*/", "/e.*r.*or.*/"])
def test_a_match_longer_than_a_window_is_found(query: str) -> None:
    spans = Matcher(query).spans("." * 2_000 + "error" + "-" * 5_000)

    assert [start for start, _ in spans] == [2_000]
