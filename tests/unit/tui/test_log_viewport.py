"""What of a log is on display, and how it moves."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from aisquad_tui.formatting import cell_width
from aisquad_tui.log_viewport import Viewport, cut_left, shape, wrap
from tests.unit.tui.log_files import MemoryLog, loading, opened, texts

if TYPE_CHECKING:
    from aisquad_tui.log_reader import LogReader

_LINES = st.lists(st.text("ab \t漢é", max_size=40), min_size=1, max_size=60)


async def _viewport(
    data: bytes, *, cells: int = 20, rows: int = 5, is_wrapped: bool = True
) -> tuple[LogReader, Viewport]:
    reader = await opened(MemoryLog(data))
    viewport = Viewport(reader)
    viewport.resize(cells, rows)
    if not is_wrapped:
        viewport.toggle_wrap()
    return reader, viewport


def _numbered(count: int) -> bytes:
    return b"".join(b"line %d\n" % number for number in range(count))


async def test_a_log_opens_at_its_end() -> None:
    reader, viewport = await _viewport(_numbered(10_000))

    assert await texts(reader, viewport) == [f"line {n}" for n in range(9_995, 10_000)]


async def test_a_short_log_stands_at_the_top_and_does_not_scroll() -> None:
    reader, viewport = await _viewport(b"one\ntwo")
    for rows in (-3, 3):
        await loading(reader, partial(viewport.scroll, rows))

        assert await texts(reader, viewport) == ["one", "two"]


async def test_an_empty_log_shows_nothing_and_moves_nowhere() -> None:
    reader, viewport = await _viewport(b"")
    viewport.scroll(5)

    assert await texts(reader, viewport) == []


async def test_scrolling_up_ends_following_and_scrolling_down_again_does_not_begin_it() -> None:
    reader, viewport = await _viewport(_numbered(100))
    await loading(reader, lambda: viewport.scroll(-3))
    assert not viewport.is_following
    await loading(reader, lambda: viewport.scroll(50))

    assert await texts(reader, viewport) == [f"line {n}" for n in range(95, 100)]
    assert not viewport.is_following


async def test_to_start_shows_the_first_rows() -> None:
    reader, viewport = await _viewport(_numbered(10_000))
    viewport.to_start()

    assert await texts(reader, viewport) == [f"line {n}" for n in range(5)]


async def test_what_stands_still_stays_when_the_log_grows_and_what_follows_does_not() -> None:
    log = MemoryLog(_numbered(10), is_final=False)
    reader = await opened(log)
    still, following = Viewport(reader), Viewport(reader)
    for each in (still, following):
        each.resize(20, 2)
    await loading(reader, still.hold)
    log.data += b"line 10\nline 11\n"
    await reader.look()

    assert await texts(reader, still) == ["line 8", "line 9"]
    assert await texts(reader, following) == ["line 10", "line 11"]


async def test_long_lines_wrap_or_are_cut_and_shifted() -> None:
    reader, viewport = await _viewport(b"0123456789" * 3 + b"\nend\n", cells=20)
    assert await texts(reader, viewport) == ["01234567890123456789", "0123456789", "end"]
    viewport.toggle_wrap()
    viewport.shift(15)

    assert await texts(reader, viewport) == ["567890123456789", ""]


async def test_show_brings_a_match_far_in_a_wrapped_line_on_display() -> None:
    data = b"x" * 4_000 + b"needle" + b"y" * 1_000 + b"\n"
    reader, viewport = await _viewport(data * 3)
    await loading(reader, lambda: viewport.show(0, 4_000))

    assert any("needle" in row for row in await texts(reader, viewport))


async def test_show_shifts_a_cut_line_to_its_match() -> None:
    reader, viewport = await _viewport(b"x" * 500 + b"needle\n", is_wrapped=False)
    await loading(reader, lambda: viewport.show(0, 500))

    assert "needle" in (await texts(reader, viewport))[0]


@settings(max_examples=60)
@given(
    lines=_LINES,
    cells=st.integers(2, 30),
    rows=st.integers(1, 8),
    moves=st.lists(st.integers(1, 9), max_size=6),
    is_wrapped=st.booleans(),
)
async def test_scrolling_down_then_up_comes_back(
    lines: list[str], cells: int, rows: int, moves: list[int], is_wrapped: bool
) -> None:
    reader, viewport = await _viewport(
        "\n".join(lines).encode(), cells=cells, rows=rows, is_wrapped=is_wrapped
    )
    viewport.to_start()
    tops = [viewport.top]
    for move in moves:
        before = viewport.top
        await loading(reader, partial(viewport.scroll, move))
        await loading(reader, lambda: viewport.scroll(0))
        tops.append(viewport.top)
        assert viewport.top >= before
    for move, top in zip(reversed(moves), reversed(tops[:-1]), strict=True):
        await loading(reader, partial(viewport.scroll, -move))
        assert viewport.top <= top
    await loading(reader, lambda: viewport.scroll(-1_000))

    assert viewport.top == tops[0]


@settings(max_examples=60)
@given(lines=_LINES, cells=st.integers(2, 30), rows=st.integers(1, 8))
async def test_scrolling_row_by_row_shows_every_row_once(
    lines: list[str], cells: int, rows: int
) -> None:
    reader, viewport = await _viewport("\n".join(lines).encode(), cells=cells, rows=rows)
    viewport.to_start()
    shown = await texts(reader, viewport)
    while True:
        before = viewport.top
        await loading(reader, lambda: viewport.scroll(1))
        if viewport.top == before:
            break
        shown.append((await texts(reader, viewport))[-1])

    kept = lines[:-1] if lines[-1] == "" else lines
    assert "".join(shown) == "".join(line.expandtabs(8) for line in kept)
    assert all(cell_width(row) <= cells for row in shown)


@given(text=st.text("ab 漢é\u0301", max_size=60), cells=st.integers(2, 12))
def test_wrapped_rows_make_up_the_text_and_fit(text: str, cells: int) -> None:
    begins = wrap(text, cells)
    rows = [text[a:b] for a, b in zip(begins, [*begins[1:], len(text)], strict=True)]

    assert "".join(rows) == text
    assert all(cell_width(row) <= cells for row in rows)


def test_a_progress_bar_shows_its_last_state() -> None:
    assert shape(b"10 %\r50 %\r100 %\r\n") == "100 %"


def test_control_sequences_are_harmless_and_markup_is_text() -> None:
    raw = b"\x1b[31mred\x1b[0m \x1b]52;c;aGk=\x07[@click=app.quit]x[/] \x9b1m\x07"

    assert shape(raw) == "red [@click=app.quit]x[/] \ufffd1m"


def test_bytes_that_are_no_text_are_replaced_and_tabs_expanded() -> None:
    assert shape(b"a\tb\xff\n") == "a       b\ufffd"


def test_cut_left_counts_cells() -> None:
    assert cut_left("漢字abc", 3) == 2
