"""A canvas repaints the cells that changed, and draws what it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from textual.app import App

from aisquad_tui.ink import Ground, Line, Role, line
from aisquad_tui.surroundings import Terminal
from aisquad_tui.theme import Look
from aisquad_tui.widgets.canvas import Canvas, Row

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.geometry import Region


class _Recording(Canvas):
    """A canvas that remembers what it repainted."""

    painted: list[Region]

    def refresh(
        self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False
    ) -> _Recording:
        whole = self.size.region
        self.painted = [*getattr(self, "painted", ()), *(regions or (whole,))]
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)


class _Walled(_Recording):
    has_walls = True


class _OneCanvas(App[None]):
    def __init__(self, canvas: Canvas) -> None:
        super().__init__()
        self.canvas = canvas

    def compose(self) -> ComposeResult:
        yield self.canvas


def _row(text: str, role: Role = Role.TEXT, ground: Ground = Ground.PLAIN) -> Row:
    return line((text, role)), ground


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (_row("abcdef"), _row("abcdef"), []),
        (_row("abcdef"), _row("abXdef"), [(2, 1)]),
        (_row("abc"), _row("abcd"), [(3, 1)]),
        (_row("a" + "-" * 20 + "b"), _row("A" + "-" * 20 + "B"), [(0, 1), (21, 1)]),
        (_row("a---b"), _row("A---B"), [(0, 5)]),
        (_row("abc"), _row("abc", Role.BAD), [(0, 3)]),
        (_row("abc"), _row("abc", ground=Ground.CURSOR), [(0, 40)]),
        (_row("漢字 a"), _row("漢字 b"), [(0, 40)]),
    ],
)
async def test_only_cells_that_differ_are_repainted(
    before: Row, after: Row, expected: list[tuple[int, int]]
) -> None:
    canvas = _Recording(Look(Terminal()))
    async with _OneCanvas(canvas).run_test(size=(40, 5)):
        canvas.draw([before])
        canvas.painted = []
        canvas.draw([after])
        assert [(region.x, region.width) for region in canvas.painted] == expected


async def test_the_same_text_in_other_pieces_is_not_repainted() -> None:
    canvas = _Recording(Look(Terminal()))
    async with _OneCanvas(canvas).run_test(size=(40, 5)):
        canvas.draw_lines([line("abc", "def")])
        canvas.painted = []
        canvas.draw_lines([line("abcdef")])
        assert canvas.painted == []


async def test_a_row_that_went_is_cleared() -> None:
    canvas = _Recording(Look(Terminal()))
    async with _OneCanvas(canvas).run_test(size=(40, 5)):
        canvas.draw_lines([line("one"), line("two")])
        canvas.painted = []
        canvas.draw_lines([line("one")])
        assert [tuple(region) for region in canvas.painted] == [(0, 1, 40, 1)]
        assert canvas.render_line(1).text == " " * 40


async def test_every_row_is_as_wide_as_the_canvas() -> None:
    canvas = Canvas(Look(Terminal()))
    async with _OneCanvas(canvas).run_test(size=(40, 5)):
        for text in ("", "short", "漢" * 30, "long " * 20):
            canvas.draw_lines([line(text)])
            assert canvas.render_line(0).cell_length == 40


async def test_walls_stay_on_the_plain_ground() -> None:
    look = Look(Terminal())
    canvas = _Walled(look)
    wall: Line = (("|", Role.ACCENT),)
    async with _OneCanvas(canvas).run_test(size=(5, 5)):
        canvas.draw([((*wall, ("abc", Role.TEXT), *wall), Ground.CURSOR)])
        styles = [segment.style for segment in canvas.render_line(0)]
    plain = look.style(Role.ACCENT)
    assert styles == [plain, look.style(Role.TEXT, Ground.CURSOR), plain]
