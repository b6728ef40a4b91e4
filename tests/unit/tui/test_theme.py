"""Every role can be read on every ground, at every depth of colour."""

from __future__ import annotations

import itertools

import pytest
from rich.color import Color, ColorSystem
from textual.color import Color as Shade

from aisquad_tui.ink import Ground, Role
from aisquad_tui.surroundings import ColorDepth, Terminal
from aisquad_tui.theme import GROUNDS, TEXTS, Look

_PAINTED = [(depth, dark) for depth, dark in GROUNDS]


@pytest.mark.parametrize(("depth", "is_dark"), _PAINTED)
def test_text_contrasts_enough_with_every_ground(depth: ColorDepth, is_dark: bool) -> None:
    poor = {
        (role, ground): round(contrast, 2)
        for role, ground in itertools.product(Role, Ground)
        if (contrast := _contrast(depth, is_dark, role, ground))
        < (3.0 if role is Role.QUIET else 4.5)
    }
    assert poor == {}


@pytest.mark.parametrize("is_dark", [True, False])
def test_colours_of_256_stay_what_they_are_on_the_way_to_the_terminal(is_dark: bool) -> None:
    key = ColorDepth.INDEXED, is_dark
    for name in (*TEXTS[key].values(), *GROUNDS[key].values()):
        sent = Color.parse(name).downgrade(ColorSystem.EIGHT_BIT)
        assert sent.get_truecolor().hex == name


@pytest.mark.parametrize("is_dark", [True, False])
def test_sixteen_colours_are_the_terminals_own(is_dark: bool) -> None:
    look = Look(Terminal(depth=ColorDepth.ANSI, is_dark=is_dark))
    for role, ground in itertools.product(Role, Ground):
        style = look.style(role, ground)
        assert style.color is not None
        assert style.color.triplet is None
        assert style.bgcolor is not None
        assert style.bgcolor.is_default


def test_without_colour_no_style_names_one() -> None:
    look = Look(Terminal(depth=ColorDepth.NONE))
    for role, ground in itertools.product(Role, Ground):
        style = look.style(role, ground)
        assert (style.color, style.bgcolor) == (None, None)


@pytest.mark.parametrize("depth", [ColorDepth.ANSI, ColorDepth.NONE])
def test_the_row_under_the_cursor_stands_out_without_painted_grounds(depth: ColorDepth) -> None:
    look = Look(Terminal(depth=depth))
    for role in set(Role) - {Role.MATCH}:
        styles = {look.style(role, ground) for ground in Ground}
        assert len(styles) == 3


@pytest.mark.parametrize(("depth", "dark"), itertools.product(ColorDepth, [True, False]))
def test_every_theme_makes_a_colour_system_that_dialogs_can_use(
    depth: ColorDepth, dark: bool
) -> None:
    theme = Look(Terminal(depth=depth, is_dark=dark)).theme()
    variables = theme.to_color_system().generate()
    assert theme.ansi is (depth in {ColorDepth.ANSI, ColorDepth.NONE})
    assert Shade.parse(variables["background"]).ansi is None or theme.ansi


def test_switching_goes_from_dark_to_light_and_back() -> None:
    look = Look(Terminal())
    dark = look.style(Role.TEXT)
    look.switch()
    assert look.style(Role.TEXT) != dark
    look.switch()
    assert look.style(Role.TEXT) == dark


def _contrast(depth: ColorDepth, is_dark: bool, role: Role, ground: Ground) -> float:
    key = depth, is_dark
    lights = sorted(_luminance(each) for each in (TEXTS[key][role], GROUNDS[key][ground]))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def _luminance(name: str) -> float:
    triplet = Color.parse(name).get_truecolor()
    parts = [each / 255 for each in triplet]
    linear = [
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
