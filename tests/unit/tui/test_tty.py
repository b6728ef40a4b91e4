"""What the environment tells of the terminal."""

from __future__ import annotations

import pytest

from aisquad_core.errors import SettingsError
from aisquad_tui.cli import tty
from aisquad_tui.surroundings import ColorDepth, Terminal


@pytest.mark.parametrize(
    ("environ", "depth"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, ColorDepth.TRUE),
        ({"TERM": "xterm-256color", "COLORTERM": "24bit"}, ColorDepth.TRUE),
        ({"TERM": "xterm-kitty"}, ColorDepth.TRUE),
        ({"TERM": "xterm-direct"}, ColorDepth.TRUE),
        ({"TERM": "tmux-256color"}, ColorDepth.INDEXED),
        ({"TERM": "xterm"}, ColorDepth.ANSI),
        ({"TERM": "linux"}, ColorDepth.ANSI),
        ({"TERM": "vt220"}, ColorDepth.NONE),
        ({"TERM": "xterm-mono"}, ColorDepth.NONE),
        ({"TERM": "xterm-kitty", "NO_COLOR": "1"}, ColorDepth.NONE),
        ({"TERM": "xterm-kitty", "NO_COLOR": ""}, ColorDepth.TRUE),
    ],
)
def test_the_depth_of_colour_follows_the_environment(
    environ: dict[str, str], depth: ColorDepth
) -> None:
    assert tty.look_at(environ, encoding="utf-8").depth is depth


@pytest.mark.parametrize(
    ("environ", "is_dark"),
    [
        ({}, True),
        ({"COLORFGBG": "15;0"}, True),
        ({"COLORFGBG": "0;15"}, False),
        ({"COLORFGBG": "0;default;15"}, False),
        ({"COLORFGBG": "0;default"}, True),
        ({"COLORFGBG": "0;15", "AI_SQUAD_THEME": "dark"}, True),
        ({"AI_SQUAD_THEME": "LIGHT"}, False),
    ],
)
def test_the_ground_is_told_by_the_setting_before_colorfgbg(
    environ: dict[str, str], is_dark: bool
) -> None:
    assert tty.look_at(environ, encoding="utf-8").is_dark is is_dark


def test_plain_signs_are_drawn_where_the_locale_is_not_utf8_or_by_setting() -> None:
    assert not tty.look_at({}, encoding="UTF-8").is_ascii
    assert tty.look_at({}, encoding="ANSI_X3.4-1968").is_ascii
    assert tty.look_at({"AI_SQUAD_ASCII": "1"}, encoding="utf8").is_ascii
    assert not tty.look_at({"AI_SQUAD_ASCII": "no"}, encoding="latin-1").is_ascii


def test_mouse_cursor_link_and_multiplexer_are_told() -> None:
    assert tty.look_at({}, encoding="utf-8") == Terminal(depth=ColorDepth.ANSI)
    told = tty.look_at(
        {
            "TERM": "screen-256color",
            "SSH_CONNECTION": "10.0.0.1 5 10.0.0.2 22",
            "TMUX": "/tmp/tmux-1/default,1,0",
            "AI_SQUAD_MOUSE": "false",
            "AI_SQUAD_CURSOR": "yes",
            "AI_SQUAD_BELL": "off",
        },
        encoding="utf-8",
    )
    assert told == Terminal(
        depth=ColorDepth.INDEXED,
        has_mouse=False,
        is_remote=True,
        multiplexer="tmux",
        has_bell=False,
        shows_cursor=True,
    )


def test_a_setting_that_is_not_allowed_is_refused_by_its_name() -> None:
    with pytest.raises(SettingsError, match="AI_SQUAD_MOUSE = 'maybe': expected one of"):
        tty.look_at({"AI_SQUAD_MOUSE": "maybe"}, encoding="utf-8")


@pytest.mark.parametrize(
    ("environ", "is_terminal", "said"),
    [
        ({"TERM": "xterm"}, False, "needs a terminal"),
        ({"TERM": "dumb"}, True, "TERM=dumb"),
        ({}, True, "TERM is not set"),
    ],
)
def test_what_cannot_show_a_screen_is_told_why(
    environ: dict[str, str], is_terminal: bool, said: str
) -> None:
    assert said in str(tty.refusal(environ, is_terminal=is_terminal))


def test_any_other_terminal_may_show_a_screen() -> None:
    assert tty.refusal({"TERM": "xterm"}, is_terminal=True) is None


def test_a_size_that_the_caller_exported_is_dropped() -> None:
    environ = {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    tty.prepare(environ, Terminal())
    assert not {"COLUMNS", "LINES"} & set(environ)


def test_textual_is_told_the_depth_and_to_draw_keys_at_once_and_nothing_moving() -> None:
    told = {depth: dict[str, str]() for depth in ColorDepth}
    for depth, environ in told.items():
        environ["NO_COLOR"] = ""
        tty.prepare(environ, Terminal(depth=depth))
    systems = [told[depth]["TEXTUAL_COLOR_SYSTEM"] for depth in ColorDepth]
    assert systems == ["standard", "standard", "256", "truecolor"]
    assert [depth for depth in ColorDepth if "NO_COLOR" in told[depth]] == [ColorDepth.NONE]
    environ = told[ColorDepth.TRUE]
    assert (environ["TEXTUAL_FPS"], environ["TEXTUAL_ANIMATIONS"]) == ("250", "none")


@pytest.mark.parametrize(
    ("given", "is_remote", "expected"),
    [
        (None, False, "100"),
        (None, True, "150"),
        ("25", False, "100"),
        ("25", True, "150"),
        ("400", True, "400"),
        ("99999", False, "1000"),
        ("soon", False, "100"),
    ],
)
def test_a_torn_sequence_has_time_to_come_together(
    given: str | None, is_remote: bool, expected: str
) -> None:
    environ = {} if given is None else {"ESCDELAY": given}
    tty.prepare(environ, Terminal(is_remote=is_remote))
    assert environ["ESCDELAY"] == expected


@pytest.mark.parametrize("multiplexer", ["tmux", "screen", None])
def test_kitty_keys_are_off_inside_a_multiplexer(multiplexer: str | None) -> None:
    environ: dict[str, str] = {}
    tty.prepare(environ, Terminal(multiplexer=multiplexer))
    assert ("TEXTUAL_DISABLE_KITTY_KEY" in environ) is (multiplexer is not None)
